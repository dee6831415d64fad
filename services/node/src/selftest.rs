//! `chat-node selftest`: a whole conversation on running nodes, from outside, as clients have it.
//!
//! One connection per target (two if there is one target) creates a room, joins it, says something, hears everybody,
//! and a newcomer reads it back. What is waited for again and again until the patience is over is only what needs time
//! after a start: that a target accepts, and that its node knows the node of the room. A message is sent once.

use crate::config::SelftestOptions;
use crate::health;
use chat_client::{
    ConnectError, ConnectOptions, Connection, Event, Events, NewMessage, RawConnection, RawFrame, RequestError,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Between two tries of what needs time after a start.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest wait for the deletion of the room, also when the rest took all of the patience.
const REMOVAL: Duration = Duration::from_secs(15);

/// Holds the conversation, telling each step to `say`. Must not be called from within a tokio runtime.
///
/// # Errors
/// The first step that failed, and why. The room is removed then, too, if it can be.
pub fn run(options: &SelftestOptions, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("no runtime: {why}"))?;
    let deadline = Instant::now() + options.patience;
    runtime.block_on(async {
        let mut talk = Talk {
            options,
            room: None,
            step: "connect",
            trouble: None,
            say,
            since: Instant::now(),
        };
        let told = match timeout(options.patience, talk.hold()).await {
            Ok(told) => told,
            Err(_) => {
                let trouble = talk.trouble.as_deref().unwrap_or("no answer");
                Err(format!(
                    "not done after {} ms ({trouble})",
                    options.patience.as_millis()
                ))
            }
        };
        let told = told.map_err(|why| format!("{}: {why}", talk.step));
        let removed = talk.remove().await;
        told.and(removed)
    })?;
    metrics(options, deadline, say)?;
    say("passed");
    Ok(())
}

struct Talk<'a> {
    options: &'a SelftestOptions,
    /// The room, once there is one.
    room: Option<String>,
    /// What is being tried.
    step: &'static str,
    /// Why it is being tried again.
    trouble: Option<String>,
    say: &'a mut dyn FnMut(&str),
    since: Instant,
}

/// One member.
struct Member {
    name: String,
    connection: Connection,
    events: Events,
}

impl Talk<'_> {
    fn done(&mut self, what: &str) {
        (self.say)(&format!("{:>6} ms  {what}", self.since.elapsed().as_millis()));
    }

    /// The targets, at least two of them.
    fn targets(&self) -> impl Iterator<Item = &str> {
        let again = if self.options.targets.len() == 1 { 2 } else { 1 };
        (0..again).flat_map(|_| self.options.targets.iter().map(String::as_str))
    }

    async fn hold(&mut self) -> Result<(), String> {
        let urls: Vec<String> = self.targets().map(str::to_owned).collect();
        let mut members = Vec::new();
        for (i, url) in urls.iter().enumerate() {
            members.push(self.member(url, format!("selftest-{i}")).await?);
        }
        self.done(&format!("connected {} times: {}", urls.len(), urls.join(", ")));

        self.step = "create a room";
        let first = members.first().ok_or("no target")?;
        let name = format!("selftest {}", Uuid::new_v4());
        let created = first.connection.create_room(&name, &first.name, None).await;
        let created = created.map_err(|why| why.to_string())?;
        self.room = Some(created.room_id.clone());
        self.done(&format!("created \"{name}\" on {}", created.admin_node));

        self.step = "join it";
        let room = created.room_id;
        for member in &members {
            self.join(member, &room).await?;
        }
        self.done("all joined");

        self.step = "send to it";
        let mut sent = Vec::new();
        for member in &members {
            let content = format!("hello from {}", member.name);
            let answer = member.connection.send(&room, &member.name, &content).await;
            let answer = answer.map_err(|why| format!("{}: {why}", member.name))?;
            sent.push((answer.seq, answer.message_id, member.name.clone(), content));
        }
        self.done(&format!("{} messages confirmed", sent.len()));

        self.step = "hear everything once and in order";
        for member in &mut members {
            let heard = hear(&mut member.events, sent.len()).await;
            compare(&sent, &heard?).map_err(|why| format!("{}: {why}", member.name))?;
        }
        self.done("all heard all of them, in one order");

        self.step = "read it back as a newcomer";
        let last = urls.last().ok_or("no target")?;
        let mut newcomer = self.member(last, "selftest-newcomer".into()).await?;
        self.join(&newcomer, &room).await?;
        compare(&sent, &hear(&mut newcomer.events, sent.len()).await?)?;
        self.done("a newcomer reads the same");

        self.step = "leave it";
        members.push(newcomer);
        for mut member in members {
            let left = member.connection.leave(&room, &member.name).await;
            left.map_err(|why| format!("{}: {why}", member.name))?;
            member.connection.close(1000, "").await;
            while let Some(event) = member.events.next().await {
                if let Event::NewMessage(message) = event {
                    return Err(format!("{}: heard again: {message:?}", member.name));
                }
            }
        }
        self.done("all left");
        Ok(())
    }

    /// Connects, as soon as somebody accepts.
    async fn member(&mut self, url: &str, name: String) -> Result<Member, String> {
        loop {
            match Connection::connect(url, &ConnectOptions::default()).await {
                Ok((connection, events)) => {
                    return Ok(Member {
                        name,
                        connection,
                        events,
                    });
                }
                Err(ConnectError::BadAddress(why)) => return Err(why),
                Err(why) => self.again(format!("{url}: {why}")).await,
            }
        }
    }

    /// Joins, as soon as the node that is asked knows the node of the room.
    async fn join(&mut self, member: &Member, room: &str) -> Result<(), String> {
        loop {
            let why = match member.connection.join(room, &member.name).await {
                Ok(_) => return Ok(()),
                Err(why) => why,
            };
            let text = format!("{}: {why}", member.name);
            match why {
                RequestError::Refused { code, .. }
                    if matches!(code.as_str(), "ROOM_NOT_FOUND" | "ADMIN_NODE_UNAVAILABLE") =>
                {
                    self.again(text).await;
                }
                _ => return Err(text),
            }
        }
    }

    /// Notes why a step needs another try, and waits for it.
    async fn again(&mut self, why: String) {
        self.trouble = Some(why);
        sleep(PAUSE).await;
    }

    /// Deletes the room, if there is one, so that the test can be repeated for ever.
    async fn remove(&mut self) -> Result<(), String> {
        let (Some(room), Some(url)) = (self.room.take(), self.options.targets.first()) else {
            return Ok(());
        };
        let said = match timeout(REMOVAL, delete(url, &room)).await {
            Ok(said) => said.map_err(|why| format!("delete the room: {why}"))?,
            Err(_) => return Err("delete the room: no answer in time".into()),
        };
        self.done(said);
        Ok(())
    }
}

/// The next `count` messages.
async fn hear(events: &mut Events, count: usize) -> Result<Vec<NewMessage>, String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match events.next().await {
            Some(Event::NewMessage(message)) => heard.push(message),
            Some(Event::Closed(closed)) => return Err(closed.to_string()),
            Some(_) => {}
            None => return Err("the connection is gone".into()),
        }
    }
    Ok(heard)
}

/// Is it what was sent, numbered from 1 without a hole?
fn compare(sent: &[(u64, String, String, String)], heard: &[NewMessage]) -> Result<(), String> {
    for (number, (sent, heard)) in (1..).zip(sent.iter().zip(heard)) {
        let (seq, id, name, content) = sent;
        let same = *seq == number
            && heard.seq == number
            && heard.message_id == *id
            && heard.username == *name
            && heard.content == *content;
        if !same {
            return Err(format!(
                "message {number} should be {content:?} as {id}, number {seq}, and is {heard:?}"
            ));
        }
    }
    Ok(())
}

/// Deletes a room and says what became of it.
async fn delete(url: &str, room: &str) -> Result<&'static str, String> {
    let mut connection = RawConnection::connect(url, &ConnectOptions::default())
        .await
        .map_err(|why| why.to_string())?;
    let request = json!({"type": "delete_room", "data": {"room_id": room, "username": "selftest-0"}});
    let queued = connection.queue_text(request.to_string());
    queued.map_err(|why| format!("not sent: {why:?}"))?;
    loop {
        let text = match connection.next().await {
            RawFrame::Text(text) => text,
            RawFrame::Binary(_) => continue,
            RawFrame::Closed(closed) => return Err(closed.to_string()),
        };
        let frame: Value = serde_json::from_str(text.as_str()).map_err(|why| why.to_string())?;
        if let Some(verdict) = deleted(&frame) {
            return verdict;
        }
    }
}

/// What a frame says about the deletion, if it says how it ended.
fn deleted(frame: &Value) -> Option<Result<&'static str, String>> {
    match frame["type"].as_str() {
        Some("delete_room_success") => Some(Ok("the room is deleted")),
        Some("delete_room_failed" | "error") => Some(Err(frame["data"].to_string())),
        _ => None,
    }
}

/// Reads the metrics that were asked for.
fn metrics(options: &SelftestOptions, deadline: Instant, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    for url in &options.metrics {
        let host = url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let left = deadline.saturating_duration_since(Instant::now());
        let (status, text) = health::get(host, url.port_u16().unwrap_or(80), url.path(), left)
            .map_err(|why| format!("read {url}: {why}"))?;
        let series = text.lines().filter(|line| line.starts_with("chat_")).count();
        if status != 200 || series == 0 {
            return Err(format!("read {url}: status {status}, {series} series of ours"));
        }
        say(&format!("{series} series of ours at {url}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seq: u64, id: &str, content: &str) -> NewMessage {
        NewMessage {
            message_id: id.into(),
            room_id: "room".into(),
            username: "selftest-0".into(),
            content: content.into(),
            seq,
            timestamp: String::new(),
        }
    }

    fn sent(seq: u64, id: &str, content: &str) -> (u64, String, String, String) {
        (seq, id.into(), "selftest-0".into(), content.into())
    }

    #[test]
    fn only_what_was_sent_in_its_order_and_numbered_from_1_is_right() {
        let both = [sent(1, "a", "x"), sent(2, "b", "y")];
        assert_eq!(compare(&both, &[heard(1, "a", "x"), heard(2, "b", "y")]), Ok(()));
        for wrong in [
            [heard(1, "b", "y"), heard(2, "a", "x")],
            [heard(1, "a", "x"), heard(3, "b", "y")],
            [heard(1, "a", "x"), heard(1, "a", "x")],
            [heard(1, "a", "x"), heard(2, "b", "z")],
            [heard(1, "a", "x"), heard(2, "c", "y")],
        ] {
            assert!(compare(&both, &wrong).is_err(), "{wrong:?}");
        }
        let late = [sent(2, "a", "x"), sent(3, "b", "y")];
        assert!(compare(&late, &[heard(2, "a", "x"), heard(3, "b", "y")]).is_err());
    }

    #[test]
    fn a_deletion_ends_with_success_or_a_reason() {
        let frame = |kind: &str, reason: &str| json!({"type": kind, "data": {"room_id": "r", "reason": reason}});
        assert_eq!(deleted(&frame("delete_room_initiated", "")), None);
        assert_eq!(deleted(&frame("room_deleted", "")), None);
        assert_eq!(
            deleted(&frame("delete_room_success", "")),
            Some(Ok("the room is deleted"))
        );
        let refused = deleted(&frame("delete_room_failed", "Node node3 timed out"));
        assert!(refused.unwrap().unwrap_err().contains("node3"));
    }
}
