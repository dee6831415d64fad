//! How the deletion of a room meets the store, the clients, the other nodes and the metrics.

use super::entry::{Completion, Entry, Machine};
use super::relations::For;
use super::shard::{Outside, Shard};
use crate::bugs;
use crate::session::outbound::Kind;
use chat_engine::deletion::coordinator::Word;
use chat_engine::deletion::vote_of_the_admin;
use chat_engine::effect::{Answer, DeletionEnd, Notice, Origin};
use chat_engine::room::deletion::DeletionInput;
use chat_engine::room::{self, follower, guest};
use chat_engine::stored::{BeginDeletion, DecideDeletion, DecideOutcome, Decision};
use chat_engine::time::Now;
use chat_protocol::codec;
use chat_protocol::deletion::Vote;
use chat_protocol::ids::{NodeId, RoomId, RoomName, SessionId, TransactionId};
use chat_protocol::peer_call::deletion::{self, OriginalDeletion};
use chat_protocol::peer_call::method;
use chat_protocol::peer_item::{DeletionItem, PeerBody};
use chat_protocol::server_frame::{Extra, ServerFrame};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a node of the original says about the deletion of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalWord {
    /// What.
    pub word: Word,
    /// Of which attempt.
    pub transaction: TransactionId,
    /// Who coordinates, if the word says so and it is a peer.
    pub coordinator: Option<NodeId>,
    /// What the room was called, if the word says so.
    pub room_name: Option<RoomName>,
}

/// A notice as its members see it.
pub(super) fn frame(room: &RoomId, notice: &Notice) -> ServerFrame {
    let room_id = room.clone();
    match notice {
        Notice::Initiated { initiator } => ServerFrame::DeleteRoomInitiated {
            room_id,
            initiator: initiator.clone(),
            transaction: None,
        },
        Notice::Cancelled { transaction } => ServerFrame::DeleteRoomCancelled {
            room_id,
            transaction: transaction.clone(),
        },
        Notice::Deleted { room_name, transaction } => ServerFrame::RoomDeleted {
            room_id,
            room_name: room_name.clone(),
            transaction: transaction.clone(),
        },
    }
}

fn admin(input: DeletionInput) -> Completion {
    Completion::Admin(room::Input::Deletion(input))
}

impl Outside {
    // === the store

    pub(super) fn begin_deletion(&self, room: &RoomId, begin: BeginDeletion) {
        let begun = self.store.begin_deletion(room.clone(), begin.clone());
        self.complete(room, async move { admin(DeletionInput::Begun(begin, begun.await)) });
    }

    pub(super) fn decide_deletion(&self, room: &RoomId, decide: DecideDeletion) {
        let (store, of, what) = (Arc::clone(&self.store), room.clone(), decide.clone());
        let decided = bugs::held("decision", move || store.decide_deletion(of, what));
        let shared = Arc::clone(&self.shared);
        self.complete(room, async move {
            let outcome = decided.await;
            if outcome == DecideOutcome::Decided && decide.decision == Decision::Commit {
                shared.rooms_changed.fetch_add(1, Ordering::AcqRel);
            }
            admin(DeletionInput::Decided(decide, outcome))
        });
    }

    pub(super) fn purge(&self, room: &RoomId) {
        let purged = self.store.purge(room.clone());
        self.complete(room, async move {
            admin(DeletionInput::Purged(purged.await.map_err(|why| why.to_string())))
        });
    }

    // === other nodes

    pub(super) fn ask_fate(&self, room: &RoomId, node: NodeId, transaction: TransactionId, question: u64) {
        let (peers, of) = (self.peers.clone(), room.clone());
        self.complete(room, async move {
            let fate = peers.fate(&node, &of, &transaction).await;
            let answered = follower::deletion::DeletionInput::Fate { question, fate };
            Completion::Member(follower::Input::Deletion(answered))
        });
    }

    /// Calls a node of the original, in its turn. A PREPARE is called once; whoever was asked to prepare or may have been is
    /// told the end until it answers.
    pub(super) fn tell_original(
        &self,
        room: &RoomId,
        node: &NodeId,
        word: Word,
        (transaction, room_name): (TransactionId, RoomName),
    ) {
        let Some(outbound) = self.peers.original(node) else {
            return;
        };
        let call = |third: Option<String>| OriginalDeletion {
            room: room.clone(),
            transaction: transaction.clone(),
            third,
        };
        let come_back = {
            let (completions, room) = (self.completions.clone(), room.clone());
            move |input| drop(completions.send((room, admin(input))))
        };
        let (node, attempt) = (node.clone(), transaction.clone());
        match word {
            Word::Prepare => {
                let params = call(Some(self.shared.me.to_string())).to_params();
                let done = Box::new(move |result: Result<_, _>| {
                    let vote = result.ok().and_then(|value| deletion::read_vote(&value).ok());
                    let transaction = attempt;
                    come_back(match vote {
                        Some(vote) => DeletionInput::Voted {
                            node,
                            transaction,
                            vote,
                        },
                        None => DeletionInput::Silent { node, transaction },
                    });
                });
                outbound.ask(room, method::PREPARE_DELETE_ROOM, params, done);
            }
            Word::Commit => {
                let params = call(Some(room_name.to_string())).to_params();
                // Its result says nothing that is acted upon.
                let done = Box::new(move |_| {
                    let transaction = attempt;
                    come_back(DeletionInput::Done { node, transaction });
                });
                outbound.insist_and_tell(room, method::COMMIT_DELETE_ROOM, params, done);
            }
            Word::Rollback => outbound.insist(room, method::ROLLBACK_DELETE_ROOM, call(None).to_params()),
        }
    }

    // === clients

    /// Tells the audience here.
    pub(super) fn notify(&mut self, room: &RoomId, entry: &Entry, notice: &Notice, except: Option<SessionId>) {
        if let (Machine::Admin(_), Notice::Initiated { .. }) = (&entry.machine, notice) {
            self.shared.metrics.deletions.started.inc();
        }
        let bytes = codec::encode(&frame(room, notice));
        let audience = entry.subscribers.iter().filter(|(id, _)| Some(**id) != except);
        for (_, subscriber) in audience {
            self.push(&subscriber.session, bytes.clone());
        }
    }

    /// Tells whoever asked that the deletion has begun, or how far it is: not the last answer.
    pub(super) fn report_deletion(&mut self, room: &RoomId, entry: &Entry, request: (SessionId, u64), answer: Answer) {
        let Some(asking) = entry.asking.get(&request) else {
            return;
        };
        let room_id = room.clone();
        let frame = match answer {
            Answer::DeletionInitiated { transaction, initiator } => ServerFrame::DeleteRoomInitiated {
                room_id,
                initiator,
                transaction: Some(transaction),
            },
            Answer::DeletionProgress(progress) if asking.session.is_extended() => {
                ServerFrame::DeleteRoomProgress { room_id, progress }
            }
            _ => return,
        };
        let session = Arc::clone(&asking.session);
        let bytes = session.encode(asking.re.as_ref(), &frame, &Extra::None);
        if session.outbound.push(Kind::Answer, bytes) {
            self.dirty.push(session);
        }
    }

    // === people

    pub(super) fn count_deletion(&self, room: &RoomId, end: &DeletionEnd, took: u64) {
        tracing::info!(%room, ?end, took_ms = took, "deletion of a room");
        self.shared.metrics.deletions.ended(end, took);
    }
}

impl Shard {
    /// Answers what is said about a deletion to a node that has nobody in the room; gives back what is for a machine.
    pub(super) fn answer_for_nobody(&mut self, from: &NodeId, room: &RoomId, body: PeerBody) -> Option<PeerBody> {
        let PeerBody::Deletion(item) = body else {
            return Some(body);
        };
        let (vote, obeyed) = match self.rooms.get(room).map(|entry| &entry.machine) {
            Some(Machine::Admin(_)) => (vote_of_the_admin(&self.outside.shared.me), false),
            Some(Machine::Member(machine)) if machine.admin() == from => return Some(PeerBody::Deletion(item)),
            // It is not for this node to say, nor does it matter.
            Some(Machine::Member(_) | Machine::Guest(_)) => (Vote::Abort(Some("Not the admin node".into())), false),
            None => (Vote::Ready, true),
        };
        let answer = match item {
            DeletionItem::Prepare { transaction, .. } => DeletionItem::Vote { transaction, vote },
            DeletionItem::Commit { transaction, .. } => DeletionItem::Done { transaction, obeyed },
            DeletionItem::Rollback { .. } => return None,
            other => return Some(PeerBody::Deletion(other)),
        };
        self.outside.peers.tell(from, room, PeerBody::Deletion(answer));
        None
    }

    /// A node of the original says something about a room that it may administer.
    pub(super) fn on_original_word(&mut self, now: Now, room: &RoomId, said: OriginalWord) {
        let OriginalWord {
            word,
            transaction,
            coordinator,
            room_name,
        } = said;
        let input = match (self.rooms.get(room).map(|entry| &entry.machine), word) {
            (Some(Machine::Guest(_)), Word::Prepare) => guest::deletion::DeletionInput::Prepare {
                transaction,
                coordinator,
            },
            (Some(Machine::Guest(_)), Word::Commit) => {
                guest::deletion::DeletionInput::Commit { transaction, room_name }
            }
            (Some(Machine::Guest(_)), Word::Rollback) => guest::deletion::DeletionInput::Rollback(transaction),
            // Nobody of the original administers the room: its admin node is asked before anything is believed.
            (Some(Machine::Member(_)), Word::Commit) => {
                let claimed = follower::deletion::DeletionInput::Claimed(transaction);
                self.feed(now, room, Completion::Member(follower::Input::Deletion(claimed)));
                return;
            }
            _ => return,
        };
        self.feed(now, room, Completion::Guest(guest::Input::Deletion(input)));
    }
}

/// For which machine an item about a deletion is.
pub(super) fn from_item(from: &NodeId, item: DeletionItem) -> For {
    use follower::deletion::DeletionInput as Member;
    let answered = |request, answer| For::Member(follower::Input::Answered { request, answer });
    match item {
        DeletionItem::Delete { request, session, user } => For::Admin(room::Input::Delete {
            origin: Origin {
                node: from.clone(),
                session,
                request,
            },
            user,
            transaction: super::shard::new_transaction_id(),
        }),
        DeletionItem::Vote { transaction, vote } => For::Admin(room::Input::Deletion(DeletionInput::Voted {
            node: from.clone(),
            transaction,
            vote,
        })),
        // Whoever does not obey has nobody to tell, either.
        DeletionItem::Done { transaction, .. } => For::Admin(room::Input::Deletion(DeletionInput::Done {
            node: from.clone(),
            transaction,
        })),
        DeletionItem::Prepare {
            transaction, initiator, ..
        } => For::Member(follower::Input::Deletion(Member::Prepare { transaction, initiator })),
        DeletionItem::Commit { transaction, room_name } => {
            For::Member(follower::Input::Deletion(Member::Commit { transaction, room_name }))
        }
        DeletionItem::Rollback { transaction } => For::Member(follower::Input::Deletion(Member::Rollback(transaction))),
        DeletionItem::Initiated {
            request,
            transaction,
            initiator,
        } => answered(request, Answer::DeletionInitiated { transaction, initiator }),
        DeletionItem::Progress { request, progress } => answered(request, Answer::DeletionProgress(progress)),
        DeletionItem::Deleted { request, transaction } => answered(
            request,
            Answer::Deleted {
                transaction,
                farewell: None,
            },
        ),
        DeletionItem::Refused {
            request,
            reject,
            transaction,
        } => answered(request, Answer::DeleteRefused { reject, transaction }),
    }
}
