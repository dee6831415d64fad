//! `traceparent` of W3C Trace Context: where in a trace something was asked for.
//!
//! What is no `traceparent` counts as none: no message is worse off because of a trace. `tracestate` is not read and not passed on.

use std::fmt;
use std::str::FromStr;

/// The name of the HTTP header, and of the field of a client's request.
pub const TRACEPARENT: &str = "traceparent";

/// Bytes of a `traceparent` of version 00, the only one that is written.
pub const TRACEPARENT_BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// One span of a trace, as others name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Which trace; not all zeros.
    pub trace_id: [u8; 16],
    /// Which span of it; not all zeros.
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATraceparent;

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    /// Reads version 00 to the byte, and of a later one what version 00 has, as the recommendation asks for.
    fn from_str(text: &str) -> Result<Self, NotATraceparent> {
        let bytes = text.as_bytes();
        let (known, more) = bytes.split_at_checked(TRACEPARENT_BYTES).ok_or(NotATraceparent)?;
        let [version] = hex(known, 0)?;
        let ends = more.is_empty() || (version != 0 && more.first() == Some(&b'-'));
        let dashes = [2, 35, 52].into_iter().all(|at| known.get(at) == Some(&b'-'));
        let context = Self {
            trace_id: hex(known, 3)?,
            span_id: hex(known, 36)?,
            sampled: hex::<1>(known, 53)?[0] & 1 == 1,
        };
        let named = context.trace_id != [0; 16] && context.span_id != [0; 8];
        if version != 0xff && ends && dashes && named {
            Ok(context)
        } else {
            Err(NotATraceparent)
        }
    }
}

/// `N` bytes written as lower-case digits from `at` on.
fn hex<const N: usize>(text: &[u8], at: usize) -> Result<[u8; N], NotATraceparent> {
    let digit = |at: usize| match text.get(at) {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        _ => Err(NotATraceparent),
    };
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(at + 2 * i)? << 4 | digit(at + 2 * i + 1)?;
    }
    Ok(bytes)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_read_back() {
        let context: TraceContext = SAMPLED.parse().unwrap();
        assert_eq!(context.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(context.span_id[6..], [0x33, 0x31]);
        assert!(context.sampled);
        assert_eq!(context.to_string(), SAMPLED);
        assert_eq!(SAMPLED.len(), TRACEPARENT_BYTES);
        let unsampled = SAMPLED.replace("-01", "-00");
        assert_eq!(unsampled.parse::<TraceContext>().unwrap().to_string(), unsampled);
    }

    #[test]
    fn of_the_flags_only_the_known_one_counts() {
        assert!(SAMPLED.replace("-01", "-ff").parse::<TraceContext>().unwrap().sampled);
        assert!(!SAMPLED.replace("-01", "-fe").parse::<TraceContext>().unwrap().sampled);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = SAMPLED.replacen("00", "cc", 1);
        assert_eq!(later.parse::<TraceContext>().unwrap().to_string(), SAMPLED);
        assert!(
            format!("{later}-what-the-future-will-be")
                .parse::<TraceContext>()
                .is_ok()
        );
        assert!(format!("{later}.what").parse::<TraceContext>().is_err());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            "x",
            &SAMPLED[..54],
            &format!("{SAMPLED}-"),
            &format!("{SAMPLED}-00"),
            &format!(" {SAMPLED}"),
            &SAMPLED.replacen("00", "ff", 1),
            &SAMPLED.replacen("00", "0x", 1),
            &SAMPLED.to_uppercase(),
            &SAMPLED.replace('-', "_"),
            &SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &SAMPLED.replace("b7ad6b7169203331", &"0".repeat(16)),
            &SAMPLED.replace("b7ad", "b7aé"),
            &"é".repeat(40),
            &SAMPLED.replace("-01", "-0g"),
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NotATraceparent), "{text}");
        }
    }
}
