//! What other nodes ask of this one.
//!
//! Answers come from queues and from the store; no handler calls another node.

mod deletion;

use super::auth::gate::{Gate, Who};
use super::auth::identity;
use super::original::replies::Replies;
use super::{Peers, lock};
use crate::bugs;
use crate::rooms::{RoomsHandle, ShardInput};
use crate::telemetry::traces::{Active, SpanKind};
use bytes::Bytes;
use chat_protocol::ids::{Incarnation, NodeId};
use chat_protocol::limits::{MAX_HEADS, MAX_PEERS, MAX_RESPONSE_BODY};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::original_call::{self, Forwarded};
use chat_protocol::peer_call::{self, Capabilities, Exchange, Heartbeat, Range, method};
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::peer_xml::{self, Call};
use chat_protocol::trace_context::TraceContext;
use dxr::{Fault, Value};
use dxr_server::{Handler, HandlerResult, async_trait};
use http::HeaderMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// Most messages of one range.
const MAX_RANGE: usize = 500;
/// Most bytes of content of one range: escaped five times it still fits an answer.
const RANGE_BYTES: usize = 512 << 10;
/// How long a list of rooms is given out again.
const LIST_AGE: Duration = Duration::from_secs(1);
/// Senders whose place is remembered, at least as long as they are peers.
const MAX_SENDERS: usize = 4 * MAX_PEERS;

/// Where the items of one sender are.
#[derive(Debug, Default)]
struct Received {
    incarnation: Incarnation,
    next: u64,
}

/// The methods of this node, ready to be called.
pub struct Inbound {
    pub(super) peers: Peers,
    pub(super) rooms: RoomsHandle,
    /// One per sender; held while its items are handed over, so that two calls of one sender never mix. A peer that is forgotten
    /// leaves its place behind for a while, so that its late words stay late.
    received: Mutex<BTreeMap<NodeId, Arc<tokio::sync::Mutex<Received>>>>,
    /// The list of rooms as it was given out last; held while it is made again.
    list: tokio::sync::Mutex<Option<List>>,
    /// How often the list was asked for. A node of the original does so before every call.
    pub(super) looks: AtomicU64,
    pub(super) replies: Replies,
    /// Held while a forwarded message is on its way to its room: of two with the same words the first one is the first.
    pub(super) forwarding: tokio::sync::Mutex<()>,
}

/// A list of rooms that is given out for a while: it may have 4 MiB, which all who ask share.
struct List {
    made: Instant,
    /// How many rooms had been created or deleted then. Whoever was told of it may ask for the list at once.
    changed: u64,
    answer: Bytes,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}

/// One method, as dxr dispatches it.
struct Method {
    name: &'static str,
    inbound: Arc<Inbound>,
}

#[async_trait]
impl Handler for Method {
    async fn handle(&self, params: &[Value], _headers: HeaderMap) -> HandlerResult {
        let answer = self.inbound.dispatch(self.name, params).await;
        answer.map_err(|fault| Fault::new(fault.code(), fault.text().to_owned()))
    }
}

/// All methods by name.
pub struct Methods {
    handlers: HashMap<&'static str, Box<dyn Handler>>,
    inbound: Arc<Inbound>,
    gate: Gate,
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Methods").finish_non_exhaustive()
    }
}

impl Methods {
    /// The document that answers a call.
    ///
    /// # Errors
    /// What the call failed with; also a fault is written by whoever answers, so that it knows that it is one.
    pub(crate) async fn execute(
        &self,
        who: &Who,
        call: &Call,
        trace: Option<TraceContext>,
    ) -> Result<Bytes, PeerFault> {
        let since = Instant::now();
        let result = match self.span_of(call, trace) {
            None => self.execute_uncounted(who, call).await,
            Some(mut span) => {
                let executed = self.execute_uncounted(who, call).instrument(span.log().clone());
                let result = executed.await;
                if let Err(fault) = &result {
                    span.set("rpc.response.status_code", fault.code().to_string());
                    span.fail("fault");
                }
                result
            }
        };
        let served = &self.inbound.rooms.shared().metrics.served;
        served.count(&call.method, result.is_ok(), since.elapsed());
        result
    }

    /// The span of a call that is part of a trace.
    fn span_of(&self, call: &Call, trace: Option<TraceContext>) -> Option<Active> {
        let trace = trace?;
        let name = all_methods().find(|name| *name == call.method).unwrap_or("unknown");
        let traces = &self.inbound.rooms.shared().traces;
        let mut span = traces.part_of([trace], name, SpanKind::Server)?;
        span.set("rpc.system.name", "xmlrpc");
        span.set("rpc.method", name);
        Some(span)
    }

    async fn execute_uncounted(&self, who: &Who, call: &Call) -> Result<Bytes, PeerFault> {
        self.check(who, call)?;
        if call.method == method::GET_HOSTED_ROOMS {
            peer_call::no_params(&call.params)?;
            return self.inbound.hosted_rooms().await;
        }
        let handler = self.handlers.get(call.method.as_str()).ok_or(PeerFault::NoSuchMethod)?;
        match handler.handle(&call.params, HeaderMap::new()).await {
            Ok(value) => Ok(peer_xml::write_response(&value).into()),
            Err(fault) => Err(PeerFault::of_code(fault.code())),
        }
    }

    /// Who may call at all.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    fn check(&self, who: &Who, call: &Call) -> Result<(), PeerFault> {
        let peers = &self.inbound.peers;
        // It may call itself otherwise than it is configured here.
        let exempt = |id: &NodeId| peers.configured(id).is_some_and(|id| peers.is_exempt(&id));
        let checked = identity::check(who, call, exempt);
        checked.map_err(|refusal| {
            self.gate.count(refusal);
            PeerFault::NotYours
        })
    }

    /// True if a call does again what it did when it is repeated.
    #[must_use]
    pub fn is_unrepeatable(call: &Call) -> bool {
        call.method == original_call::method::FORWARD_MESSAGE
    }

    /// The answer to a call is being written on a connection that is still there. Something, if it matters whether it
    /// arrives; to be handed to [`Self::ended`] when that is known.
    #[must_use]
    pub fn written(&self, call: &Call) -> Option<Written> {
        if !Self::is_unrepeatable(call) {
            return None;
        }
        let forwarded = Forwarded::from_params(&call.params).ok()?;
        self.inbound.replies.written(&forwarded);
        Some(Written(forwarded))
    }

    /// An answer arrived, or its connection broke and nobody knows.
    pub async fn ended(&self, written: Written, arrived: bool) {
        if arrived {
            self.inbound.forward_arrived(&written.0).await;
        }
        self.inbound.replies.ended(&written.0);
    }
}

/// An answer that was written and may not have arrived.
#[derive(Debug)]
pub struct Written(Forwarded);

fn all_methods() -> impl Iterator<Item = &'static str> {
    method::ALL.into_iter().chain(original_call::method::ALL)
}

impl Inbound {
    /// The methods of a node.
    #[must_use]
    pub fn methods(peers: Peers, rooms: RoomsHandle) -> Arc<Methods> {
        let inbound = Arc::new(Self {
            peers,
            rooms,
            received: Mutex::default(),
            list: tokio::sync::Mutex::default(),
            looks: AtomicU64::new(0),
            replies: Replies::default(),
            forwarding: tokio::sync::Mutex::default(),
        });
        let handler = |name: &'static str| {
            let handler: Box<dyn Handler> = Box::new(Method {
                name,
                inbound: Arc::clone(&inbound),
            });
            (name, handler)
        };
        // The list of rooms is answered as a whole document.
        let by_value = all_methods().filter(|name| *name != method::GET_HOSTED_ROOMS);
        let handlers = by_value.map(handler).collect();
        let gate = Gate::new(inbound.peers.0.auth.clone());
        Arc::new(Methods {
            handlers,
            inbound,
            gate,
        })
    }

    async fn dispatch(&self, name: &str, params: &[Value]) -> Result<Value, PeerFault> {
        match name {
            method::HEARTBEAT => peer_call::no_params(params).map(|()| self.heartbeat()),
            method::LIST_METHODS => {
                peer_call::no_params(params)?;
                Ok(Value::Array(
                    all_methods().map(|name| Value::String(name.to_owned())).collect(),
                ))
            }
            method::CAPABILITIES => peer_call::no_params(params).map(|()| self.capabilities()),
            method::EXCHANGE => self.exchange(Exchange::from_params(params)?).await,
            method::LOCATE => {
                let room = peer_call::locate_from_params(params)?;
                Ok(peer_call::located(self.place_of(room).await?))
            }
            method::DELETION_STATUS => self.deletion_status(params).await,
            method::READ_RANGE => self.read_range(params).await,
            method::HEADS => {
                let rooms = peer_call::heads_from_params(params)?;
                if rooms.len() > MAX_HEADS {
                    return Err(PeerFault::InvalidParams);
                }
                let heads = self.rooms.store().heads(rooms).await.map_err(|_| PeerFault::Internal)?;
                Ok(peer_call::heads(&heads))
            }
            method::PREPARE_DELETE_ROOM => self.prepare_delete_room(params).await,
            method::COMMIT_DELETE_ROOM => self.commit_delete_room(params).await,
            method::ROLLBACK_DELETE_ROOM => self.rollback_delete_room(params).await,
            other => match self.original(other, params).await {
                Some(answer) => answer,
                None => Err(PeerFault::NoSuchMethod),
            },
        }
    }

    fn heartbeat(&self) -> Value {
        let heartbeat = Heartbeat {
            node_id: self.peers.0.me.clone(),
            incarnation: Some(self.peers.0.incarnation),
            timestamp: self.rooms.shared().clock.now().wall,
        };
        heartbeat.to_value()
    }

    fn capabilities(&self) -> Value {
        let (node_id, incarnation) = (self.peers.0.me.clone(), self.peers.0.incarnation);
        Capabilities {
            node_id,
            incarnation,
            versions: vec![1],
        }
        .to_value()
    }

    async fn hosted_rooms(&self) -> Result<Bytes, PeerFault> {
        self.looks.fetch_add(1, Ordering::AcqRel);
        let mut list = self.list.lock().await;
        let changed = self.rooms.shared().rooms_changed.load(Ordering::Acquire);
        if let Some(list) = &*list
            && list.made.elapsed() < LIST_AGE
            && list.changed == changed
        {
            return Ok(list.answer.clone());
        }
        let made = Instant::now();
        let (mut rooms, _) = self.rooms.own_rooms().await.map_err(|_| PeerFault::Internal)?;
        for room in &mut rooms {
            room.node_address = Some(Arc::clone(&self.rooms.shared().address));
        }
        let rooms = peer_call::hosted_rooms(&rooms, MAX_RESPONSE_BODY);
        let answer = Bytes::from(peer_xml::write_response(&rooms));
        *list = Some(List {
            made,
            changed,
            answer: answer.clone(),
        });
        Ok(answer)
    }

    async fn read_range(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let (room, from, limit) = peer_call::range_from_params(params)?;
        let read = self.rooms.store().read(room, from, limit.min(MAX_RANGE), RANGE_BYTES);
        let messages = read.await.map_err(|_| PeerFault::Internal)?;
        let frames = messages.iter().map(MessageFrame::encode).collect();
        Ok(Range::of(from, frames).to_value())
    }

    /// Where the items of a sender are, if it is a peer.
    fn received_of(&self, sender: &NodeId) -> Option<Arc<tokio::sync::Mutex<Received>>> {
        if !self.peers.knows(sender) {
            return None;
        }
        let mut received = lock(&self.received);
        if received.len() > MAX_SENDERS {
            received.retain(|node, _| self.peers.knows(node));
        }
        Some(Arc::clone(received.entry(sender.clone()).or_default()))
    }

    /// Takes the items of one call: those that are new, in order, once.
    async fn exchange(&self, exchange: Exchange) -> Result<Value, PeerFault> {
        let any_life = bugs::has("former-life");
        if exchange.receiver_incarnation != self.peers.0.incarnation && !any_life {
            return Err(PeerFault::Superseded);
        }
        let received = self.received_of(&exchange.sender).ok_or(PeerFault::InvalidParams)?;
        let mut received = received.lock().await;
        if exchange.sender_incarnation < received.incarnation && !any_life {
            return Err(PeerFault::Superseded);
        }
        if exchange.sender_incarnation > received.incarnation && !any_life {
            *received = Received {
                incarnation: exchange.sender_incarnation,
                next: 0,
            };
            let now = self.rooms.shared().clock.mono();
            let life = Some(exchange.sender_incarnation);
            let changes = self.peers.heard(now, &exchange.sender, life);
            self.peers.apply(changes, &self.rooms).await;
        }
        if exchange.first_index > received.next {
            tracing::warn!(peer = %exchange.sender, "items were given up on the way");
            self.rooms
                .tell_all(|| ShardInput::PeerReset(exchange.sender.clone()))
                .await;
            received.next = exchange.first_index;
        }
        let known = usize::try_from(received.next - exchange.first_index).unwrap_or(usize::MAX);
        let count = exchange.items.len();
        let fresh: Vec<_> = exchange.items.into_iter().skip(known).flatten().collect();
        self.rooms.items(&exchange.sender, fresh).await;
        received.next = received.next.max(exchange.first_index + count as u64);
        Ok(peer_call::accepted(received.next))
    }
}
