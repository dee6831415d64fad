//! One message to one node, and what came back.

use crate::telemetry::metrics::CanaryOf;
use chat_client::{ConnectOptions, Connection, Event, Events, NewMessage, RequestError};
use chat_protocol::ids::{NodeId, RoomId};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for everything about one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends to one node, again and again.
pub(super) struct Probe {
    room: String,
    user: String,
    url: String,
    options: ConnectOptions,
    sent: u64,
    connection: Option<(Connection, Events)>,
    numbers: Numbers,
}

/// Why a message did not come back.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The node has no hidden room.
    Absent,
    /// It was refused, or the connection broke.
    Error(String),
    /// Nothing came in time.
    Late,
}

impl Probe {
    /// From `me`, whose clients are served at `url`, to `node`. `None` if an id is too long for a name.
    pub(super) fn new(me: &NodeId, node: &NodeId, url: &str, every: Duration) -> Option<Self> {
        let patience = every.min(PATIENCE);
        Some(Self {
            room: RoomId::canary_of(node)?.to_string(),
            user: RoomId::canary_of(me)?.to_string(),
            url: url.to_owned(),
            options: ConnectOptions {
                connect_deadline: patience,
                answer_deadline: patience,
                // Something comes every few seconds, or it is joined anew.
                ping_every: None,
                ..ConnectOptions::default()
            },
            sent: 0,
            connection: None,
            numbers: Numbers::default(),
        })
    }

    /// Sends one message and counts what became of it. Dropping the future gives the message up.
    pub(super) async fn send(&mut self, metrics: &CanaryOf) {
        let deadline = Instant::now() + self.options.answer_deadline;
        let answer = timeout_at(deadline, self.there_and_back(metrics)).await;
        match answer.unwrap_or(Err(Failure::Late)) {
            Ok(took) => metrics.came_back(took.as_secs_f64()),
            Err(Failure::Absent) => {}
            Err(failure) => {
                tracing::debug!(room = %self.room, ?failure, "a message to a hidden room did not come back");
                metrics.failed(failure == Failure::Late);
                // Whatever is wrong with it, the next one begins from nothing.
                self.connection = None;
            }
        }
    }

    async fn there_and_back(&mut self, metrics: &CanaryOf) -> Result<Duration, Failure> {
        if self.connection.is_none() {
            let joined = self.join().await?;
            // Numbers go on where they were, but what was said before is not heard by who was not there.
            self.numbers = Numbers::default();
            self.connection = Some(joined);
        }
        let Some((connection, events)) = &mut self.connection else {
            return Err(Failure::Late);
        };
        self.sent += 1;
        let text = format!("{} {}", self.user, self.sent);
        let since = Instant::now();
        connection
            .send(&self.room, &self.user, &text)
            .await
            .map_err(|why| Failure::of(&why))?;
        loop {
            match events.next().await {
                Some(Event::NewMessage(message)) => {
                    metrics.missed(self.numbers.take(&message));
                    if message.username == self.user && message.content == text {
                        return Ok(since.elapsed());
                    }
                }
                Some(Event::Closed(_)) | None => return Err(Failure::Error("the connection ended".into())),
                Some(_) => {}
            }
        }
    }

    async fn join(&self) -> Result<(Connection, Events), Failure> {
        let connected = Connection::connect(&self.url, &self.options).await;
        let (connection, events) = connected.map_err(|why| Failure::Error(why.to_string()))?;
        let joined = connection.join(&self.room, &self.user).await;
        joined.map_err(|why| Failure::of(&why))?;
        Ok((connection, events))
    }
}

impl Failure {
    fn of(why: &RequestError) -> Self {
        match why {
            RequestError::Refused { code, .. } if code == "ROOM_NOT_FOUND" => Self::Absent,
            RequestError::Timeout => Self::Late,
            other => Self::Error(other.to_string()),
        }
    }
}

/// Which number comes next.
#[derive(Debug, Default)]
struct Numbers {
    last: Option<u64>,
}

impl Numbers {
    /// Takes a message; how many are missing before it.
    fn take(&mut self, message: &NewMessage) -> u64 {
        let missing = self.last.map_or(0, |last| message.seq.saturating_sub(last + 1));
        self.last = Some(message.seq);
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_between_two_messages_is_counted() {
        let mut numbers = Numbers::default();
        let mut take = |seq| {
            numbers.take(&NewMessage {
                message_id: String::new(),
                room_id: String::new(),
                username: String::new(),
                content: String::new(),
                seq,
                timestamp: String::new(),
            })
        };
        assert_eq!(take(7), 0, "the first one begins anywhere");
        assert_eq!(take(8), 0);
        assert_eq!(take(11), 2);
        assert_eq!(take(12), 0);
    }

    #[test]
    fn a_node_without_a_hidden_room_is_no_failure() {
        let refused = |code: &str| {
            Failure::of(&RequestError::Refused {
                code: code.into(),
                text: "no".into(),
            })
        };
        assert_eq!(refused("ROOM_NOT_FOUND"), Failure::Absent);
        assert_eq!(
            refused("ADMIN_NODE_UNAVAILABLE"),
            Failure::Error("no (ADMIN_NODE_UNAVAILABLE)".into())
        );
        assert_eq!(Failure::of(&RequestError::Timeout), Failure::Late);
        assert_eq!(
            Failure::of(&RequestError::Closed(None)),
            Failure::Error("connection broken".into())
        );
    }
}
