//! What this node asks of one peer: signed, and believed only if the answer is signed, too.

use super::keys::Key;
use super::{Auth, answer_mac, call_mac, hash};
use crate::peers::lock;
use chat_protocol::ids::NodeId;
use chat_protocol::peer_auth::{ANSWER, Challenge, Hash, Mac, REFUSED, Refusal, Signature, from_hex, push_hex};
use hmac::Mac as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::sync::{Arc, Mutex};

/// The seal on calls to one peer. One per link: its counter never goes back.
#[derive(Debug)]
pub(in crate::peers) struct Seal {
    auth: Arc<Auth>,
    peer: NodeId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    counter: u64,
}

/// What an answer has to fit.
#[derive(Debug)]
pub(in crate::peers) struct Sent {
    key: Key,
    mac: Mac,
    /// The value of the header.
    pub(in crate::peers) header: HeaderValue,
}

/// What an answer is worth.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::peers) enum Verdict {
    /// The peer said it.
    Believed,
    /// The call was refused and not executed.
    Refused(Refusal),
    /// The call was refused because it repeats no challenge that holds; the right one is known now.
    SignAnew,
    /// Nobody knows who said it.
    Unsigned,
}

impl Seal {
    pub(in crate::peers) fn new(auth: Arc<Auth>, peer: NodeId) -> Self {
        Self {
            auth,
            peer,
            state: Mutex::default(),
        }
    }

    /// Signs a call; `None` if it cannot be written, which the bounds on ids rule out.
    pub(in crate::peers) fn sign(&self, path: &str, body: &Hash) -> Option<Sent> {
        let (challenge, counter) = {
            let mut state = lock(&self.state);
            state.counter += 1;
            (state.challenge, state.counter)
        };
        let signature = Signature {
            sender: self.auth.me.clone(),
            life: self.auth.life,
            receiver: self.peer.clone(),
            cluster: self.auth.cluster.clone(),
            challenge,
            counter,
            body: *body,
        };
        let mut words = signature.words();
        let key = self.auth.keys.now().first().clone();
        let mac: Mac = call_mac(&key, &Method::POST, path, &words)
            .finalize()
            .into_bytes()
            .into();
        words.push(' ');
        push_hex(&mut words, &mac);
        let header = HeaderValue::from_str(&words).ok()?;
        Some(Sent { key, mac, header })
    }

    /// Judges an answer.
    pub(in crate::peers) fn judge(&self, sent: &Sent, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
        let refused = headers.get(REFUSED);
        let answer = headers.get(ANSWER).and_then(|value| value.to_str().ok());
        let signed = answer.and_then(from_hex::<32>).is_some_and(|mac| {
            // In constant time.
            let expected = answer_mac(&sent.key, &sent.mac, status, refused, &hash(body));
            expected.verify_slice(&mac).is_ok()
        });
        let said = refused.and_then(|value| value.to_str().ok()).and_then(Refusal::read);
        match (signed, said) {
            (true, None) => Verdict::Believed,
            (true, Some((Refusal::Stale, Some(challenge)))) => {
                lock(&self.state).challenge = Some(challenge);
                Verdict::SignAnew
            }
            (true, Some((refusal, _))) => Verdict::Refused(refusal),
            // Whoever does not have the key cannot sign that it does not; whoever forges this could as well drop the call.
            (false, Some((refusal @ (Refusal::Unsigned | Refusal::Malformed | Refusal::UnknownKey), _)))
                if status == StatusCode::UNAUTHORIZED =>
            {
                Verdict::Refused(refusal)
            }
            (false, _) => Verdict::Unsigned,
        }
    }
}
