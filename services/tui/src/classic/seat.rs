//! Finding a place in the room: connect, look for the room, create it if there is none, join.

use crate::settings::Settings;
use chat_client::{Connection, Events, Joined, RequestError, RoomSummary};
use std::fmt;

/// Rounds of looking and creating: a room may be created or deleted by others in between.
const ROUNDS: usize = 3;

/// A place in the room.
#[derive(Debug)]
pub(super) struct Seat {
    /// Over which to talk.
    pub(super) connection: Connection,
    /// What happens; the room's history comes first.
    pub(super) events: Events,
    /// The room.
    pub(super) joined: Joined,
}

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoSeat {
    /// For people.
    pub(super) reason: String,
    /// The close code, if the server closed.
    pub(super) code: Option<u16>,
    /// Whether another attempt may succeed, here or elsewhere.
    pub(super) again: bool,
}

impl fmt::Display for NoSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<RequestError> for NoSeat {
    fn from(error: RequestError) -> Self {
        let code = if let RequestError::Closed(code) = error {
            code
        } else {
            None
        };
        // The name or the room's name is not acceptable, here or anywhere.
        let again = !matches!(&error, RequestError::Refused { code, .. } if code == "INVALID_REQUEST");
        Self {
            reason: error.to_string(),
            code,
            again,
        }
    }
}

/// Takes a place on the server at `address`: in the room with id `known` if it still exists, else in the one with the
/// lowest id of those that have the right name, else in a new one.
///
/// # Errors
/// [`NoSeat`]. The connection is closed then.
pub(super) async fn take_seat(settings: &Settings, address: &str, known: Option<&str>) -> Result<Seat, NoSeat> {
    let connected = Connection::connect(address, &settings.connect).await;
    let (connection, events) = connected.map_err(|e| NoSeat {
        again: !matches!(e, chat_client::ConnectError::BadAddress(_)),
        reason: format!("{address}: {e}"),
        code: None,
    })?;
    let joined = enter(settings, &connection, known).await.map_err(|no_seat| NoSeat {
        reason: format!("{address}: {no_seat}"),
        ..no_seat
    })?;
    Ok(Seat {
        connection,
        events,
        joined,
    })
}

async fn enter(settings: &Settings, connection: &Connection, known: Option<&str>) -> Result<Joined, NoSeat> {
    let Settings { name, room, .. } = settings;
    if let Some(room_id) = known {
        match connection.join(room_id, name).await {
            Err(error) if is_not_found(&error) => {}
            result => return Ok(result?),
        }
    }
    let mut last = None;
    for _ in 0..ROUNDS {
        let rooms = connection.discover_rooms().await?.rooms;
        let room_id = match pick(&rooms, room) {
            Some(found) => found.room_id.clone(),
            None => match connection.create_room(room, name, None).await {
                Ok(created) => created.room_id,
                // Perhaps somebody else was faster; then the next round finds it.
                Err(refused @ RequestError::Refused { .. }) => {
                    last = Some(refused);
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        match connection.join(&room_id, name).await {
            Err(error) if is_not_found(&error) => last = Some(error),
            result => return Ok(result?),
        }
    }
    let reason = last.map_or_else(|| "no room".into(), |error| error.to_string());
    Err(NoSeat {
        reason,
        code: None,
        again: known.is_some(),
    })
}

/// All clients that look at the same list pick the same room.
fn pick<'a>(rooms: &'a [RoomSummary], name: &str) -> Option<&'a RoomSummary> {
    rooms
        .iter()
        .filter(|room| room.room_name == name)
        .min_by(|a, b| a.room_id.cmp(&b.room_id))
}

fn is_not_found(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused { code, .. } if code == "ROOM_NOT_FOUND")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(room_id: &str, room_name: &str) -> RoomSummary {
        RoomSummary {
            room_id: room_id.into(),
            room_name: room_name.into(),
            description: None,
            member_count: 0,
            admin_node: "n".into(),
            creator_id: "c".into(),
            node_address: None,
        }
    }

    #[test]
    fn of_rooms_with_one_name_the_lowest_id_is_picked() {
        let rooms = [
            room("c", "hall"),
            room("a", "chess"),
            room("b", "hall"),
            room("0", "Hall"),
        ];
        assert_eq!(pick(&rooms, "hall").map(|r| r.room_id.as_str()), Some("b"));
        assert_eq!(pick(&rooms, "harbour"), None);
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        let refused = |code: &str| RequestError::Refused {
            code: code.into(),
            text: "t".into(),
        };
        assert!(!NoSeat::from(refused("INVALID_REQUEST")).again);
        assert!(NoSeat::from(refused("ADMIN_NODE_UNAVAILABLE")).again);
        assert!(NoSeat::from(RequestError::Timeout).again);
        assert_eq!(NoSeat::from(RequestError::Closed(Some(1013))).code, Some(1013));
    }
}
