//! A session of the classic dialect: what it did not hear the end of is lost to it, and it begins anew.

use super::crowd::{AGAIN, connect_options};
use super::notes::{Notes, UnderWay, lock};
use chat_client::{Connection, Event, Events, RequestError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Connects to one address again and again.
pub(super) async fn session(notes: Arc<Notes>, member: usize, target: String, pace: Duration) {
    let mut counter = 0_u64;
    loop {
        connection(&notes, member, &target, pace, &mut counter).await;
        for room in &notes.rooms {
            lock(&room.places[member].shown).disconnected();
        }
        sleep(AGAIN).await;
    }
}

async fn connection(notes: &Arc<Notes>, member: usize, target: &str, pace: Duration, counter: &mut u64) {
    let Ok((connection, events)) = Connection::connect(target, &connect_options()).await else {
        return;
    };
    for room in &notes.rooms {
        lock(&room.places[member].shown).connected();
    }
    // Both at once: answers wait behind what is not taken.
    tokio::select! {
        () = read(notes, member, events) => {}
        () = attend(notes, member, &connection, pace, counter) => {}
    }
}

async fn read(notes: &Notes, member: usize, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::NewMessage(message) => notes.shown(member, message),
            Event::MemberJoined(who) => notes.heard(member, &who, true),
            Event::MemberLeft(who) => notes.heard(member, &who, false),
            Event::Closed(_) | Event::Other { .. } => {}
        }
    }
}

/// Joins all rooms and, if the member is a sender, sends into one after the other until the connection is of no more use.
async fn attend(notes: &Arc<Notes>, member: usize, connection: &Connection, pace: Duration, counter: &mut u64) {
    let who = notes.who(member);
    for (nth, room) in notes.rooms.iter().enumerate() {
        if connection.join(&room.id, who).await.is_err() {
            return;
        }
        notes.entered(nth, member, false);
    }
    if !notes.members[member].sends {
        std::future::pending::<()>().await;
    }
    loop {
        for (nth, room) in notes.rooms.iter().enumerate() {
            notes.may_send().await;
            let content = format!("{who} {nth} {counter}");
            *counter += 1;
            let under_way = UnderWay::begin(notes, nth, member);
            match connection.send(&room.id, who, &content).await {
                Ok(sent) => {
                    under_way.acknowledged(sent.seq, sent.message_id, content);
                    sleep(pace).await;
                }
                // The room may be back soon; without a connection nothing is.
                Err(RequestError::Refused { code, .. }) if code != "NOT_MEMBER" => {
                    drop(under_way);
                    sleep(AGAIN).await;
                }
                Err(_) => return,
            }
        }
    }
}
