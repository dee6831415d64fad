//! Who is a node of this cluster: calls and answers are signed with a key that all nodes share.
//!
//! [`keys`] reads the key file, now and whenever it changes. [`seal`] signs what this node asks and checks what it is
//! answered, [`gate`] checks what it is asked and signs what it answers, [`identity`] sees that nobody speaks for another.
//!
//! Nothing here looks at a clock. A receiver gives each sender a random challenge, takes every counter under it once
//! ([`window`]), and forgets it when it ends: what was recorded before is signed for a challenge that nobody has any more.

pub(crate) mod gate;
pub(super) mod identity;
pub(crate) mod keys;
pub(super) mod seal;
#[cfg(test)]
mod tests;
mod window;

use crate::telemetry::metrics::PeerAuthMetrics;
use chat_protocol::ids::{ClusterId, Incarnation, NodeId};
use chat_protocol::peer_auth::{Hash, Mac};
use hmac::Mac as _;
use http::{HeaderValue, Method, StatusCode};
use keys::{Key, KeyRing};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a node needs to know to believe others and to be believed.
#[derive(Debug)]
pub(crate) struct Auth {
    /// This node.
    pub(crate) me: NodeId,
    /// In this life.
    pub(crate) life: Incarnation,
    /// Its cluster.
    pub(crate) cluster: ClusterId,
    /// The keys.
    pub(crate) keys: Arc<KeyRing>,
    /// Peers that cannot sign: nodes of the original.
    pub(crate) exempt: BTreeSet<NodeId>,
    /// What is counted.
    pub(crate) metrics: PeerAuthMetrics,
}

/// The MAC of a call.
fn call_mac(key: &Key, method: &Method, path: &str, words: &str) -> hmac::Hmac<Sha256> {
    let mut mac = key.mac();
    mac.update(b"chat call 1\n");
    mac.update(method.as_str().as_bytes());
    mac.update(b" ");
    mac.update(path.as_bytes());
    mac.update(b"\n");
    mac.update(words.as_bytes());
    mac
}

/// The MAC of an answer to the call with the MAC `call`.
fn answer_mac(
    key: &Key,
    call: &Mac,
    status: StatusCode,
    refused: Option<&HeaderValue>,
    body: &Hash,
) -> hmac::Hmac<Sha256> {
    let mut mac = key.mac();
    mac.update(b"chat answer 1\n");
    mac.update(call);
    mac.update(status.as_str().as_bytes());
    mac.update(b" ");
    mac.update(refused.map_or(&[][..], HeaderValue::as_bytes));
    mac.update(b"\n");
    mac.update(body);
    mac
}

/// The hash of a body.
pub(crate) fn hash(body: &[u8]) -> Hash {
    Sha256::digest(body).into()
}
