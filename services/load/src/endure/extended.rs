//! A session of the extended dialect: it outlives its connections, so nothing may be lost to it.

use super::crowd::{PATIENT, connect_options};
use super::notes::{Notes, UnderWay};
use chat_client::{ResumingClient, ResumingOptions, SendError, SessionEvent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Starts the tasks of a session that knows all `targets` and begins with its own.
pub(super) fn start(notes: &Arc<Notes>, member: usize, targets: &[String], pace: Duration, tasks: &mut JoinSet<()>) {
    let home = notes.members[member].home;
    let in_turn = |nth: usize| targets[(home + nth) % targets.len()].clone();
    let (client, events, driver) = ResumingClient::start(ResumingOptions {
        client: "chat-load".into(),
        connect: connect_options(),
        persistent: true,
        ..ResumingOptions::new((0..targets.len()).map(in_turn).collect(), notes.who(member))
    });
    tasks.spawn(async move { drop(driver.await) });
    tasks.spawn(take_events(Arc::clone(notes), member, events));
    for room in 0..notes.rooms.len() {
        tasks.spawn(attend(Arc::clone(notes), member, client.clone(), room, pace));
    }
}

async fn take_events(notes: Arc<Notes>, member: usize, mut events: mpsc::Receiver<SessionEvent>) {
    while let Some(event) = events.recv().await {
        let irregular = |room_id: &str, what: String| {
            if let Some(room) = notes.room(room_id) {
                notes.irregular(room, format!("{} {what}", notes.who(member)));
            }
        };
        match event {
            SessionEvent::Message(message) => notes.shown(member, message),
            SessionEvent::Joined { room, resumed } => {
                if let Some(room) = notes.room(&room.room_id) {
                    notes.entered(room, member, resumed);
                }
            }
            SessionEvent::Irregular { room_id, due, came } => {
                irregular(&room_id, format!("was sent {came} where {due} was due"));
            }
            SessionEvent::Resynced { room_id, from, reason } => {
                irregular(&room_id, format!("had to begin again at {from}: {reason}"));
            }
            SessionEvent::JoinRefused { room_id, refusal } => irregular(&room_id, format!("was refused: {refusal}")),
            SessionEvent::MemberJoined(who) => notes.heard(member, &who, true),
            SessionEvent::MemberLeft(who) => notes.heard(member, &who, false),
            _ => {}
        }
    }
    for room in 0..notes.rooms.len() {
        notes.irregular(room, format!("the session {} ended", notes.who(member)));
    }
}

/// Joins a room and, if the member is a sender, sends into it for ever.
async fn attend(notes: Arc<Notes>, member: usize, client: ResumingClient, room: usize, pace: Duration) {
    let (id, who) = (&notes.rooms[room].id, notes.who(member));
    client.join(id, PATIENT).await;
    if !notes.members[member].sends {
        // The session lives as long as somebody holds it.
        std::future::pending::<()>().await;
    }
    for counter in 0_u64.. {
        notes.may_send().await;
        let content = format!("{who} {room} {counter}");
        let under_way = UnderWay::begin(&notes, room, member);
        match client.send(id, &content, &content).await {
            Ok(sent) => under_way.acknowledged(sent.seq, sent.message_id, content),
            Err(SendError::Refused(refusal)) => notes.irregular(room, format!("{content} was refused: {refusal}")),
            Err(SendError::Ended) => return,
        }
        sleep(pace).await;
    }
}
