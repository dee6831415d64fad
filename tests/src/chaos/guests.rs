//! Members that go while something is wrong. Soon after, nobody may believe that they are still there.

use chat_client::{ConnectOptions, Connection, Events};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long a guest may still be listed after it went, or after the room's node began another life: the fault ends within 20
/// seconds, a seat behind a lost node or a restarted one waits for ten, and a round of the link takes three.
pub const FORGOTTEN: Duration = Duration::from_secs(40);

/// A guest in one room, with its connection.
struct Seated {
    room: usize,
    name: String,
    connection: Connection,
    _events: Events,
}

/// Somebody who went.
#[derive(Debug)]
struct Gone {
    room: usize,
    name: String,
    /// When it went, or when the node of the room last returned: a room that comes back gives every seat its ten seconds anew,
    /// because it does not know how long the session behind it is gone.
    since: Instant,
}

/// Guests of all rounds.
#[derive(Default)]
pub struct Guests {
    seated: Vec<Seated>,
    gone: Vec<Gone>,
    came: u64,
}

impl Guests {
    /// One guest of each node enters each room, where that is possible now.
    pub async fn enter(&mut self, urls: &[String], rooms: &[String]) {
        for url in urls {
            for (room, id) in rooms.iter().enumerate() {
                self.came += 1;
                let name = format!("guest-{}", self.came);
                let Ok((connection, events)) = Connection::connect(url, &options()).await else {
                    continue;
                };
                if connection.join(id, &name).await.is_ok() {
                    self.seated.push(Seated {
                        room,
                        name,
                        connection,
                        _events: events,
                    });
                }
            }
        }
    }

    /// All go: every other one asks to leave, the rest just closes.
    pub async fn go(&mut self, rooms: &[String]) {
        let going = self.seated.drain(..).enumerate().map(async |(nth, guest)| {
            if nth % 2 == 0 {
                // Whoever cannot be told that it left has left all the same: its connection ends here.
                drop(guest.connection.leave(&rooms[guest.room], &guest.name).await);
            }
            Gone {
                room: guest.room,
                name: guest.name,
                since: Instant::now(),
            }
        });
        self.gone.extend(join_all(going).await);
    }

    /// The node of a room began another life just now.
    pub fn returned(&mut self, room: usize) {
        for gone in self.gone.iter_mut().filter(|gone| gone.room == room) {
            gone.since = Instant::now();
        }
    }

    /// Who is still listed as a member long after it went. Rooms are asked at their admin nodes, `urls` in the order of
    /// `rooms`; one that cannot be asked now is asked the next time.
    pub async fn ghosts(&mut self, urls: &[String], rooms: &[String]) -> Vec<String> {
        let mut ghosts = Vec::new();
        for (room, id) in rooms.iter().enumerate() {
            let Ok(members) = members(&urls[room], id).await else {
                continue;
            };
            self.gone.retain(|gone| {
                let listed = gone.room == room && members.contains(&gone.name);
                let since = gone.since.elapsed();
                if listed && since > FORGOTTEN {
                    ghosts.push(format!(
                        "{} is still a member of room {room} {:.0} s after it went or the room returned",
                        gone.name,
                        since.as_secs_f64()
                    ));
                }
                gone.room != room || (listed && since <= FORGOTTEN)
            });
        }
        ghosts
    }

    /// Whether everybody who went is forgotten.
    #[must_use]
    pub const fn all_forgotten(&self) -> bool {
        self.gone.is_empty()
    }
}

fn options() -> ConnectOptions {
    ConnectOptions {
        connect_deadline: Duration::from_secs(2),
        answer_deadline: Duration::from_secs(5),
        ..ConnectOptions::default()
    }
}

async fn members(url: &str, room: &str) -> Result<BTreeSet<String>, String> {
    let (connection, _events) = Connection::connect(url, &options())
        .await
        .map_err(|why| why.to_string())?;
    let joined = connection.join(room, "checker").await.map_err(|why| why.to_string())?;
    Ok(joined.members.into_iter().collect())
}
