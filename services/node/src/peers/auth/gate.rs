//! What this node is asked: is it a node of the cluster that asks, and for the first time?

use super::keys::Key;
use super::window::Window;
use super::{Auth, answer_mac, call_mac, hash};
use bytes::Bytes;
use chat_protocol::ids::{Incarnation, NodeId};
use chat_protocol::limits::MAX_PEERS;
use chat_protocol::peer_auth::{ANSWER, Challenge, Hash, Mac, REFUSED, Refusal, SIGNATURE, Signature, push_hex};
use hmac::Mac as _;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Senders that are remembered. One that makes way is given another challenge, so nothing is taken twice.
const MAX_SENDERS: usize = 4 * MAX_PEERS;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody has to say: there is no key.
    Anyone,
    /// It did not sign, and some peers need not.
    Exempt,
    /// This node in this life, of this cluster.
    Node(NodeId, Incarnation),
}

/// The door of the peer port.
#[derive(Debug)]
pub(crate) struct Gate {
    /// `None` lets everybody in.
    auth: Option<Arc<Auth>>,
    senders: Mutex<Senders>,
}

#[derive(Debug, Default)]
struct Senders {
    known: BTreeMap<NodeId, Sender>,
    turn: u64,
}

#[derive(Debug)]
struct Sender {
    current: Option<Session>,
    /// What a call that begins another session has to repeat.
    offered: Challenge,
    /// When it was last heard, in turns.
    heard: u64,
}

#[derive(Debug)]
struct Session {
    life: Incarnation,
    challenge: Challenge,
    window: Window,
}

/// A call whose head is in order.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Nothing of it is signed.
    Unsigned(Who),
    /// Its body is to be compared.
    Signed(Box<Signature>, Sealer),
}

/// A call that is not executed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub(crate) refusal: Refusal,
    challenge: Option<Challenge>,
    sealer: Option<Sealer>,
}

/// Signs the answer to one call, with the key that the call was signed with.
#[derive(Debug, Clone)]
pub(crate) struct Sealer {
    key: Key,
    call: Mac,
}

fn random() -> Challenge {
    *uuid::Uuid::new_v4().as_bytes()
}

impl Gate {
    /// Lets in whom `auth` knows; everybody without it.
    #[must_use]
    pub(crate) fn new(auth: Option<Arc<Auth>>) -> Self {
        Self {
            auth,
            senders: Mutex::default(),
        }
    }

    /// Judges a call by its head, before its body is read.
    pub(crate) fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let Some(auth) = &self.auth else {
            return Ok(Admitted::Unsigned(Who::Anyone));
        };
        let refused = |refusal, sealer| Err(self.refused(refusal, None, sealer));
        let mut values = headers.get_all(SIGNATURE).iter();
        let Some(value) = values.next() else {
            return if auth.exempt.is_empty() {
                refused(Refusal::Unsigned, None)
            } else {
                Ok(Admitted::Unsigned(Who::Exempt))
            };
        };
        let read = value.to_str().ok().filter(|_| values.next().is_none());
        let Some(signed) = read.and_then(Signature::read) else {
            return refused(Refusal::Malformed, None);
        };
        let keys = auth.keys.now();
        let made_it = |key: &&Key| {
            // In constant time.
            call_mac(key, method, path, signed.words)
                .verify_slice(&signed.mac)
                .is_ok()
        };
        let Some(key) = keys.all().find(made_it) else {
            return refused(Refusal::UnknownKey, None);
        };
        let sealer = Sealer {
            key: key.clone(),
            call: signed.mac,
        };
        let signature = signed.signature;
        if signature.cluster != auth.cluster {
            return refused(Refusal::OtherCluster, Some(sealer));
        }
        if signature.receiver != auth.me || signature.sender == auth.me {
            return refused(Refusal::OtherReceiver, Some(sealer));
        }
        match self.senders().offer(&signature) {
            None => Ok(Admitted::Signed(Box::new(signature), sealer)),
            offered => Err(self.refused(Refusal::Stale, offered, Some(sealer))),
        }
    }

    /// Judges the rest of a call, of whose body this is the hash. The call is taken by this: the same is refused from now on.
    pub(crate) fn accept(&self, admitted: Admitted, body: &Hash) -> Result<(Who, Option<Sealer>), Refused> {
        let (signature, sealer) = match admitted {
            Admitted::Unsigned(who) => return Ok((who, None)),
            Admitted::Signed(signature, sealer) => (signature, sealer),
        };
        // Nothing of it is secret: whoever changed the body knows its hash.
        if signature.body != *body {
            return Err(self.refused(Refusal::OtherBody, None, Some(sealer)));
        }
        let taken = self.senders().take(&signature);
        match taken {
            Ok(true) => Ok((Who::Node(signature.sender, signature.life), Some(sealer))),
            Ok(false) => Err(self.refused(Refusal::Replay, None, Some(sealer))),
            Err(offered) => Err(self.refused(Refusal::Stale, Some(offered), Some(sealer))),
        }
    }

    /// Counts a call that was let in and then found to say what it may not.
    pub(crate) fn count(&self, refusal: Refusal) {
        if let Some(auth) = &self.auth {
            auth.metrics.refused(refusal);
        }
    }

    fn refused(&self, refusal: Refusal, challenge: Option<Challenge>, sealer: Option<Sealer>) -> Refused {
        self.count(refusal);
        Refused {
            refusal,
            challenge,
            sealer,
        }
    }

    fn senders(&self) -> std::sync::MutexGuard<'_, Senders> {
        // A session is replaced as a whole; nothing in between can panic.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Senders {
    fn sender(&mut self, id: &NodeId) -> &mut Sender {
        self.turn += 1;
        if self.known.len() >= MAX_SENDERS && !self.known.contains_key(id) {
            let silent = self.known.iter().min_by_key(|(_, sender)| sender.heard);
            let silent = silent.map(|(id, _)| id.clone());
            drop(silent.and_then(|id| self.known.remove(&id)));
        }
        let sender = self.known.entry(id.clone()).or_insert_with(|| Sender {
            current: None,
            offered: random(),
            heard: 0,
        });
        sender.heard = self.turn;
        sender
    }

    /// The challenge that a call has to repeat, if it repeats none that holds.
    fn offer(&mut self, call: &Signature) -> Option<Challenge> {
        let sender = self.sender(&call.sender);
        let current = sender.current.as_ref().is_some_and(|session| session.is_of(call));
        (!current && call.challenge != Some(sender.offered)).then_some(sender.offered)
    }

    /// Takes a call; false if it was taken before. A challenge if the call has to repeat it.
    fn take(&mut self, call: &Signature) -> Result<bool, Challenge> {
        if let Some(offered) = self.offer(call) {
            return Err(offered);
        }
        let sender = self.sender(&call.sender);
        if let Some(session) = &mut sender.current
            && session.is_of(call)
        {
            return Ok(session.window.take(call.counter));
        }
        let challenge = std::mem::replace(&mut sender.offered, random());
        let session = sender.current.insert(Session {
            life: call.life,
            challenge,
            window: Window::new(),
        });
        Ok(session.window.take(call.counter))
    }
}

impl Session {
    fn is_of(&self, call: &Signature) -> bool {
        self.life == call.life && call.challenge == Some(self.challenge)
    }
}

impl Refused {
    /// The answer. It repeats nothing of the call.
    pub(crate) fn response(self) -> Response<Bytes> {
        let body = Bytes::from_static(b"the call is not signed as this node demands\n");
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, text);
        // A word and hexadecimal digits.
        if let Ok(value) = HeaderValue::from_str(&self.refusal.header(self.challenge.as_ref())) {
            headers.insert(REFUSED, value);
        }
        if let Some(sealer) = self.sealer {
            let body = hash(response.body());
            sealer.seal(&mut response, &body);
        }
        response
    }

    /// True if the caller must be able to read the answer: it is of the cluster, so its body is not too long to be read.
    pub(crate) fn is_of_a_node(&self) -> bool {
        self.sealer.is_some()
    }
}

impl Sealer {
    /// Signs an answer, of whose body this is the hash.
    pub(crate) fn seal(&self, response: &mut Response<Bytes>, body: &Hash) {
        let refused = response.headers().get(REFUSED);
        let mac = answer_mac(&self.key, &self.call, response.status(), refused, body);
        let mut text = String::with_capacity(64);
        push_hex(&mut text, &mac.finalize().into_bytes());
        // Hexadecimal digits.
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(ANSWER, value);
        }
    }
}
