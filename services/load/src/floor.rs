//! The yardstick: the simplest room server that does the work. What a real server costs beyond it is the price of its
//! promises; what it costs less is the gain of its design.
//!
//! No store, no checks, no history, no member events. A room is a list of sockets under a lock; each message is encoded
//! once and written to each member with one write of its own, nothing is put together; then the sender gets its
//! confirmation. It can be told to misbehave, to see the check of a run fail.

use chat_protocol::client_frame::ClientFrame;
use chat_protocol::codec::{encode, parse};
use chat_protocol::ids::{MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{RoomInfo, RoomSummary, ServerFrame};
use chat_protocol::timestamp::Timestamp;
use chat_protocol::ws_frame;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

mod read_side;

use read_side::ReadSide;

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause of the accept loop when the system has no more files.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// What the server does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every n-th delivery is lost.
    LoseEvery(u64),
    /// Every n-th delivery comes twice.
    DoubleEvery(u64),
    /// Every n-th confirmation names the number after the right one.
    MisnumberEvery(u64),
}

impl Fault {
    /// How often delivery number `nth` is made.
    fn copies(self, nth: u64) -> usize {
        match self {
            Self::LoseEvery(n) if n > 0 && nth.is_multiple_of(n) => 0,
            Self::DoubleEvery(n) if n > 0 && nth.is_multiple_of(n) => 2,
            _ => 1,
        }
    }

    /// The number that the confirmation of the message with number `seq` names.
    fn confirmed(self, seq: Seq) -> Seq {
        match self {
            Self::MisnumberEvery(n) if n > 0 && seq.0.is_multiple_of(n) => seq.next(),
            _ => seq,
        }
    }
}

/// Serves until `shutdown` is done, then drops all connections.
pub async fn serve(listener: TcpListener, fault: Fault, shutdown: impl Future<Output = ()>) {
    let floor = Arc::new(Floor {
        fault,
        ..Floor::default()
    });
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(Arc::clone(&floor).attend(stream))),
                Err(_) => tokio::time::sleep(OUT_OF_FILES).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

struct Floor {
    fault: Fault,
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    /// For ids of rooms, messages and connections.
    next_id: AtomicU64,
    deliveries: AtomicU64,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            rooms: Mutex::default(),
            next_id: AtomicU64::new(1),
            deliveries: AtomicU64::new(1),
        }
    }
}

struct Room {
    id: RoomId,
    name: RoomName,
    creator: UserName,
    seats: tokio::sync::Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    last: Seq,
    members: Vec<(Arc<Peer>, UserName)>,
}

struct Peer {
    id: u64,
    socket: tokio::sync::Mutex<OwnedWriteHalf>,
}

impl Peer {
    /// One write; more only if the socket is full. A peer that is gone is noticed by its own task.
    async fn write(&self, frame: &[u8]) {
        let _gone = self.socket.lock().await.write_all(frame).await;
    }
}

impl Floor {
    async fn attend(self: Arc<Self>, stream: TcpStream) {
        let config = Some(WebSocketConfig::default().read_buffer_size(4_096));
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Ok(Ok(socket)) = timeout(HANDSHAKE, accept_async_with_config(stream, config)).await else {
            return;
        };
        // Nothing is lost: the handshake refuses bytes that come before its answer.
        let (read, write) = socket.into_inner().into_split();
        let peer = Arc::new(Peer {
            id: self.fresh(),
            socket: tokio::sync::Mutex::new(write),
        });
        let mut requests = WebSocketStream::from_raw_socket(ReadSide(read), Role::Server, config).await;
        let mut joined = Vec::new();
        while let Some(Ok(message)) = requests.next().await {
            match message {
                WsMessage::Text(text) => self.answer(&peer, &mut joined, &text).await,
                WsMessage::Ping(payload) => peer.write(&ws_frame::pong(&payload)).await,
                WsMessage::Close(_) => {
                    peer.write(&ws_frame::close(1000, "")).await;
                    break;
                }
                _ => {}
            }
        }
        for room in joined {
            room.seats
                .lock()
                .await
                .members
                .retain(|(member, _)| member.id != peer.id);
        }
    }

    async fn answer(&self, peer: &Arc<Peer>, joined: &mut Vec<Arc<Room>>, text: &str) {
        let answer = match parse(text) {
            Err(refusal) => refusal,
            Ok(ClientFrame::ListRooms(_)) => self.list().await,
            Ok(ClientFrame::DiscoverRooms(_)) => match self.list().await {
                ServerFrame::RoomsList { rooms, total } => ServerFrame::GlobalRoomsList {
                    rooms,
                    total,
                    available: vec![node()],
                    unavailable: vec![],
                },
                other => other,
            },
            Ok(ClientFrame::CreateRoom {
                room_name, creator_id, ..
            }) => self.create(room_name, creator_id),
            Ok(ClientFrame::JoinRoom { room_id, username, .. }) => match self.room(&room_id) {
                Some(room) => {
                    join(peer, &room, username).await;
                    joined.push(room);
                    return;
                }
                None => ServerFrame::JoinRoomError {
                    room_id: room_id.as_str().into(),
                    reject: Reject::RoomNotFound,
                },
            },
            Ok(ClientFrame::LeaveRoom { room_id, username }) => {
                joined.retain(|room| room.id != room_id);
                if let Some(room) = self.room(&room_id) {
                    room.seats
                        .lock()
                        .await
                        .members
                        .retain(|(member, _)| member.id != peer.id);
                }
                ServerFrame::LeaveRoomSuccess {
                    room_id: room_id.as_str().into(),
                    username: username.as_str().into(),
                }
            }
            Ok(ClientFrame::SendMessage {
                room_id,
                username,
                content,
                ..
            }) => match self.room(&room_id) {
                Some(room) => self.send(&room, username, content).await,
                None => ServerFrame::MessageError {
                    room_id: room_id.as_str().into(),
                    reject: Reject::RoomNotFound,
                },
            },
            Ok(ClientFrame::DeleteRoom { .. } | ClientFrame::ReadHistory { .. }) => {
                ServerFrame::Error("The floor neither deletes nor remembers".into())
            }
        };
        peer.write(&encode(&answer)).await;
    }

    /// Numbers the message and writes it to all members under the room's lock, which is what keeps the order.
    async fn send(&self, room: &Room, username: UserName, content: Arc<str>) -> ServerFrame {
        let message_id = MessageId::parse(&self.fresh_uuid()).expect("an id of 36 bytes is valid");
        let (room_id, timestamp) = (room.id.clone(), now());
        let mut seats = room.seats.lock().await;
        let seq = seats.last.next();
        seats.last = seq;
        let message = Message {
            message_id,
            room_id,
            username,
            content,
            seq,
            timestamp,
        };
        let frame = MessageFrame::encode(&message).bytes(0);
        for (member, _) in &seats.members {
            for _ in 0..self.fault.copies(self.deliveries.fetch_add(1, Ordering::Relaxed)) {
                member.write(&frame).await;
            }
        }
        let Message {
            message_id, room_id, ..
        } = message;
        ServerFrame::MessageSent {
            room_id,
            message_id,
            seq: self.fault.confirmed(seq),
            timestamp,
        }
    }

    fn create(&self, room_name: RoomName, creator: UserName) -> ServerFrame {
        let room_id = RoomId::parse(&self.fresh_uuid()).expect("an id of 36 bytes is valid");
        let room = Room {
            id: room_id.clone(),
            name: room_name.clone(),
            creator,
            seats: tokio::sync::Mutex::default(),
        };
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(room_id.clone(), Arc::new(room));
        ServerFrame::RoomCreated {
            room_id,
            room_name,
            admin_node: node(),
            created_at: now(),
        }
    }

    async fn list(&self) -> ServerFrame {
        let all: Vec<Arc<Room>> = self
            .rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        let mut rooms = Vec::with_capacity(all.len());
        for room in all {
            let members = room.seats.lock().await.members.len();
            rooms.push(RoomSummary {
                room_id: room.id.clone(),
                room_name: room.name.clone(),
                description: None,
                member_count: u32::try_from(members).unwrap_or(u32::MAX),
                admin_node: node(),
                creator_id: room.creator.clone(),
                node_address: None,
            });
        }
        ServerFrame::RoomsList {
            total: rooms.len(),
            rooms,
        }
    }

    fn room(&self, id: &RoomId) -> Option<Arc<Room>> {
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn fresh(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// As long as a real one, so that frames have the size of real ones.
    fn fresh_uuid(&self) -> String {
        format!("{:08x}-0000-7000-8000-{:012x}", std::process::id(), self.fresh())
    }
}

async fn join(peer: &Arc<Peer>, room: &Room, username: UserName) {
    let mut seats = room.seats.lock().await;
    seats.members.push((Arc::clone(peer), username));
    let info = RoomInfo {
        room_id: room.id.clone(),
        room_name: room.name.clone(),
        description: None,
        members: seats.members.iter().map(|(_, name)| name.clone()).collect(),
        admin_node: node(),
    };
    // Under the lock, so that no message overtakes the answer.
    peer.write(&encode(&ServerFrame::JoinRoomSuccess(info))).await;
}

fn node() -> NodeId {
    NodeId::parse("floor").expect("a short id is valid")
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
