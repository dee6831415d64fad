//! The traces that messages of an item belong to: a member of its own, which a node that does not know it leaves alone.

use super::PeerBody;
use crate::ids::Seq;
use crate::limits::MAX_ITEM_TRACES;
use crate::trace_context::{TRACEPARENT_BYTES, TraceContext};
use std::fmt::Write as _;

/// Which message of an item belongs to which trace: its number in a delivery; 0 in a forwarded message, which has none yet.
pub type Traced = (Seq, TraceContext);

/// The name of the member.
pub(super) const MEMBER: &str = "traces";

/// Most bytes of one entry: a number, two separators and a `traceparent`.
const ENTRY: usize = 20 + 1 + TRACEPARENT_BYTES + 1;

/// Most bytes around the entries: the tags of one more member.
const AROUND: usize = 90;

/// Most bytes that they take in a call.
pub(super) fn size(traces: &[Traced]) -> usize {
    match traces.len().min(MAX_ITEM_TRACES) {
        0 => 0,
        count => count * ENTRY + AROUND,
    }
}

/// `number:traceparent`, separated by commas; `None` if there is nothing to say.
pub(super) fn write(traces: &[Traced]) -> Option<String> {
    if traces.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(traces.len() * ENTRY);
    for (i, (seq, context)) in traces.iter().take(MAX_ITEM_TRACES).enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _infallible = write!(text, "{comma}{seq}:{context}");
    }
    Some(text)
}

/// The reverse of [`write`]. What is no trace is left out: no message is lost because of one.
pub(super) fn read(text: &str, body: &PeerBody) -> Vec<Traced> {
    if !matches!(body, PeerBody::Forward { .. } | PeerBody::Deliver { .. }) {
        return Vec::new();
    }
    let entry = |entry: &str| {
        let (seq, context) = entry.split_once(':')?;
        Some((Seq(seq.parse().ok()?), context.parse().ok()?))
    };
    text.split(',').take(MAX_ITEM_TRACES).filter_map(entry).collect()
}
