//! The calls about deletions: ours, by which a node asks how one ended, and the three of the original.
//!
//! Between our nodes a deletion travels as items of the link. The original's calls name no caller but the coordinator of a
//! PREPARE, so whoever gets one asks the room's admin node before it believes it.

use super::{as_struct, as_text, members, parsed, string};
use crate::deletion::{Fate, Vote};
use crate::ids::{NodeId, RoomId, RoomName, TransactionId};
use crate::peer_fault::PeerFault;
use crate::text::explanation;
use dxr::Value;

/// The parameters of `chat.deletion_status`: the room, and the attempt that is asked for.
#[must_use]
pub fn status_params(room: &RoomId, transaction: &TransactionId) -> Vec<Value> {
    vec![string(room), string(transaction)]
}

/// Reads the parameters of `chat.deletion_status`.
///
/// # Errors
/// [`PeerFault::InvalidParams`].
pub fn status_from_params(params: &[Value]) -> Result<(RoomId, TransactionId), PeerFault> {
    let [room, transaction] = params else {
        return Err(PeerFault::InvalidParams);
    };
    Ok((
        parsed(as_text(Some(room))?, RoomId::parse)?,
        parsed(as_text(Some(transaction))?, TransactionId::parse)?,
    ))
}

/// The answer to `chat.deletion_status`.
#[must_use]
pub fn status(fate: &Fate) -> Value {
    match fate {
        Fate::Pending => members([("fate", string("pending"))]),
        Fate::Aborted => members([("fate", string("aborted"))]),
        Fate::NoRoom => members([("fate", string("no_room"))]),
        Fate::Committed { transaction, room_name } => members([
            ("fate", string("committed")),
            ("transaction_id", string(transaction)),
            ("room_name", string(room_name)),
        ]),
    }
}

/// Reads the answer to `chat.deletion_status`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is none.
pub fn read_status(value: &Value) -> Result<Fate, PeerFault> {
    let all = as_struct(value)?;
    match as_text(all.get("fate"))? {
        "pending" => Ok(Fate::Pending),
        "aborted" => Ok(Fate::Aborted),
        "no_room" => Ok(Fate::NoRoom),
        "committed" => Ok(Fate::Committed {
            transaction: parsed(as_text(all.get("transaction_id"))?, TransactionId::parse)?,
            room_name: parsed(as_text(all.get("room_name"))?, RoomName::parse)?,
        }),
        _ => Err(PeerFault::InvalidParams),
    }
}

/// The parameters of one of the original's three calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalDeletion {
    /// Which room.
    pub room: RoomId,
    /// Which attempt.
    pub transaction: TransactionId,
    /// `prepare_delete_room`: who coordinates. `commit_delete_room`: what the room was called, if it is said.
    pub third: Option<String>,
}

impl OriginalDeletion {
    /// As parameters.
    #[must_use]
    pub fn to_params(&self) -> Vec<Value> {
        let third = self.third.as_ref().map(string);
        [string(&self.room), string(&self.transaction)]
            .into_iter()
            .chain(third)
            .collect()
    }

    /// From parameters: two, or three of which the last may be nil.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`].
    pub fn from_params(params: &[Value]) -> Result<Self, PeerFault> {
        let (ids, third) = match params {
            [_, _] => (params, None),
            [_, _, Value::Nil] => (&params[..2], None),
            [_, _, Value::String(third)] => (&params[..2], Some(third.clone())),
            _ => return Err(PeerFault::InvalidParams),
        };
        let (room, transaction) = status_from_params(ids)?;
        Ok(Self {
            room,
            transaction,
            third,
        })
    }
}

/// The answer to `prepare_delete_room`.
#[must_use]
pub fn voted(vote: &Vote, node: &NodeId, transaction: &TransactionId) -> Value {
    let word = if *vote == Vote::Ready { "READY" } else { "ABORT" };
    let value = members([
        ("vote", string(word)),
        ("node_id", string(node)),
        ("transaction_id", string(transaction)),
    ]);
    match (vote, value) {
        (Vote::Abort(Some(reason)), Value::Struct(mut all)) => {
            all.insert("reason".into(), string(reason));
            Value::Struct(all)
        }
        (_, value) => value,
    }
}

/// Reads the answer to `prepare_delete_room`. As in the original, a struct that does not say `ABORT` is a vote for the
/// deletion.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is no struct.
pub fn read_vote(value: &Value) -> Result<Vote, PeerFault> {
    let all = as_struct(value)?;
    if as_text(all.get("vote")) != Ok("ABORT") {
        return Ok(Vote::Ready);
    }
    Ok(Vote::Abort(
        as_text(all.get("reason")).ok().map(|reason| explanation(reason).into()),
    ))
}

/// The answer to `commit_delete_room` and `rollback_delete_room`.
#[must_use]
pub fn finished(success: bool, node: &NodeId) -> Value {
    members([("success", Value::Boolean(success)), ("node_id", string(node))])
}
