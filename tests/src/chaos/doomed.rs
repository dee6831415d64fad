//! Rooms that are deleted while something is wrong. Afterwards each of them is gone everywhere or whole everywhere, and gone if
//! that was said.

use super::fault::Random;
use chat_client::{ConnectOptions, Connection, Event, Events, RawConnection, RequestError, request};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longest time until a room is one or the other everywhere: five seconds for votes, ten until a node asks that was told
/// nothing, three for a round of a link.
pub const SETTLED: Duration = Duration::from_secs(30);
/// Longest wait for the last answer to a deletion: the store may be doubted for ten seconds after five of votes and before five of
/// confirmations.
const ANSWERED: Duration = Duration::from_secs(25);
/// Rooms per round.
const ROOMS: usize = 2;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A room that somebody wanted to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Which.
    pub room: String,
    /// What was acknowledged in it, in its order.
    pub said: Vec<String>,
    /// Whoever asked was told that the room is deleted.
    pub confirmed: bool,
}

/// How a room looks from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// Nobody knows it.
    Gone,
    /// It takes members and messages, and shows these.
    Whole(Vec<String>),
    /// Neither.
    Unclear(String),
}

/// How a room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is nowhere.
    Gone,
    /// It is everywhere.
    Whole,
}

/// What the pictures of all nodes mean.
///
/// # Errors
/// What must not be.
pub fn judge(doomed: &Doomed, pictures: &[Picture]) -> Result<End, String> {
    let mut longest: Option<&Vec<String>> = None;
    let mut gone = 0;
    for (n, picture) in pictures.iter().enumerate() {
        let texts = match picture {
            Picture::Gone => {
                gone += 1;
                continue;
            }
            Picture::Unclear(why) => return Err(format!("room {} at node {}: {why}", doomed.room, n + 1)),
            Picture::Whole(texts) => texts,
        };
        let mut rest = texts.iter();
        if let Some(lost) = doomed.said.iter().find(|said| !rest.any(|text| text == *said)) {
            return Err(format!(
                "room {} at node {} is there without {lost:?}, which was acknowledged: {texts:?}",
                doomed.room,
                n + 1
            ));
        }
        // One history goes on where the other ends.
        if longest.is_some_and(|other| other.iter().zip(texts).any(|(one, two)| one != two)) {
            return Err(format!("room {} has two histories: {pictures:?}", doomed.room));
        }
        longest = longest.filter(|other| other.len() >= texts.len()).or(Some(texts));
    }
    match (gone, doomed.confirmed) {
        (0, true) => Err(format!("room {} is there, but its deletion was confirmed", doomed.room)),
        (0, false) => Ok(End::Whole),
        (gone, _) if gone == pictures.len() => Ok(End::Gone),
        _ => Err(format!("room {} is deleted by half: {pictures:?}", doomed.room)),
    }
}

/// Looks at a room from every node until it is gone or whole everywhere; how long that took. Looking leaves a message in it.
///
/// # Errors
/// What is still wrong when `patience` is over.
pub async fn settled(urls: &[String], doomed: &Doomed, patience: Duration) -> Result<(End, Duration), String> {
    let began = Instant::now();
    for look in 0_u32.. {
        let mut pictures = Vec::new();
        for (n, url) in urls.iter().enumerate() {
            let seen = timeout(
                patience,
                picture(url, &doomed.room, &format!("looker {}.{look}", n + 1)),
            )
            .await;
            pictures.push(seen.unwrap_or_else(|_| Picture::Unclear("no answer".into())));
        }
        match judge(doomed, &pictures) {
            Ok(end) => return Ok((end, began.elapsed())),
            Err(why) if began.elapsed() > patience => return Err(why),
            Err(_) => sleep(LOOK).await,
        }
    }
    Err("never".into())
}

async fn picture(url: &str, room: &str, user: &str) -> Picture {
    match look(url, room, user).await {
        Ok(picture) => picture,
        Err(why) => Picture::Unclear(why),
    }
}

async fn look(url: &str, room: &str, user: &str) -> Result<Picture, String> {
    let (connection, mut events) = Connection::connect(url, &options())
        .await
        .map_err(|why| why.to_string())?;
    match connection.join(room, user).await {
        Ok(_) => {}
        Err(RequestError::Refused { code, .. }) if code == "ROOM_NOT_FOUND" => {
            let list = connection.discover_rooms().await.map_err(|why| why.to_string())?;
            let listed = list.rooms.iter().any(|listed| listed.room_id == room);
            return if listed {
                Err("it is in the list, but cannot be joined".into())
            } else {
                Ok(Picture::Gone)
            };
        }
        Err(why) => return Err(format!("it cannot be joined: {why}")),
    }
    let probe = format!("{user} looks");
    let sent = connection.send(room, user, &probe).await;
    sent.map_err(|why| format!("nothing can be said in it: {why}"))?;
    let mut texts = Vec::new();
    while let Ok(Some(event)) = timeout(options().answer_deadline, events.next()).await {
        let Event::NewMessage(message) = event else { continue };
        if message.seq != texts.len() as u64 + 1 {
            return Err(format!("message {} follows {} others", message.seq, texts.len()));
        }
        texts.push(message.content);
        if texts.last() == Some(&probe) {
            drop(connection.leave(room, user).await);
            return Ok(Picture::Whole(texts));
        }
    }
    Err("its history does not end with what was just said".into())
}

/// Whoever is in the room.
struct Member {
    name: String,
    connection: Connection,
    events: Events,
}

impl Member {
    /// A member is told how the room ended, or its connection ends.
    async fn check(&mut self, room: &str, end: End) -> Result<(), String> {
        let told = async {
            match end {
                End::Gone => {
                    while let Some(event) = self.events.next().await {
                        if matches!(event, Event::Other { kind, .. } if kind == "room_deleted") {
                            return Ok(());
                        }
                    }
                    Ok(())
                }
                End::Whole => loop {
                    match self.connection.send(room, &self.name, "still here").await {
                        Ok(_) | Err(RequestError::Closed(_)) => return Ok(()),
                        Err(RequestError::Timeout) => sleep(LOOK).await,
                        Err(why) => return Err(format!("{} is in room {room}, but cannot send: {why}", self.name)),
                    }
                },
            }
        };
        let late = || Err(format!("{} was not told that room {room} is {end:?}", self.name));
        timeout(SETTLED, told).await.unwrap_or_else(|_| late())
    }
}

struct Candidate {
    doomed: Doomed,
    members: Vec<Member>,
    asked: Option<JoinHandle<bool>>,
}

/// The rooms of one round.
#[derive(Default)]
pub struct Rooms(Vec<Candidate>);

/// How the rooms of a round ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Ends {
    /// Nowhere.
    pub gone: usize,
    /// Everywhere, because the deletion was given up.
    pub whole: usize,
    /// Of those that are gone, the ones whose end was confirmed.
    pub confirmed: usize,
}

impl Ends {
    /// And those of another round.
    pub const fn add(&mut self, other: Self) {
        self.gone += other.gone;
        self.whole += other.whole;
        self.confirmed += other.confirmed;
    }
}

impl Rooms {
    /// Rooms of random nodes, each with a member at each node that has said something.
    ///
    /// # Errors
    /// That is not possible, although nothing is wrong yet.
    pub async fn open(urls: &[String], random: &mut Random) -> Result<Self, String> {
        let mut this = Self::default();
        for n in 0..ROOMS {
            let home = any(urls, random);
            let (creator, _events) = Connection::connect(home, &options())
                .await
                .map_err(|why| why.to_string())?;
            let created = creator.create_room(&format!("doomed {n}"), "doom", None).await;
            let room = created.map_err(|why| format!("no room to be deleted: {why}"))?.room_id;
            let (mut members, mut said) = (Vec::new(), Vec::new());
            for (n, url) in urls.iter().enumerate() {
                let (connection, events) = Connection::connect(url, &options())
                    .await
                    .map_err(|why| why.to_string())?;
                let name = format!("condemned-{}", n + 1);
                connection.join(&room, &name).await.map_err(|why| why.to_string())?;
                let text = format!("{name} was here");
                let sent = connection.send(&room, &name, &text).await;
                sent.map_err(|why| why.to_string())?;
                said.push(text);
                members.push(Member {
                    name,
                    connection,
                    events,
                });
            }
            this.0.push(Candidate {
                doomed: Doomed {
                    room,
                    said,
                    confirmed: false,
                },
                members,
                asked: None,
            });
        }
        Ok(this)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; here because clippy expects it beside `len`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them is to be deleted, at the wish of somebody at some node.
    pub fn delete(&mut self, nth: usize, urls: &[String], random: &mut Random) {
        let candidate = &mut self.0[nth];
        let (url, room) = (any(urls, random).clone(), candidate.doomed.room.clone());
        candidate.asked = Some(tokio::spawn(async move { delete(&url, &room).await }));
    }

    /// When nothing is wrong any more: what must not be, and how the rooms ended. Those that survived are deleted now, which must
    /// be possible.
    pub async fn judge(self, urls: &[String]) -> (Vec<String>, Ends) {
        let (mut broken, mut ends) = (Vec::new(), Ends::default());
        for judged in join_all(self.0.into_iter().map(|candidate| candidate.judge(urls))).await {
            match judged {
                Ok((End::Gone, confirmed)) => {
                    ends.gone += 1;
                    ends.confirmed += usize::from(confirmed);
                }
                Ok((End::Whole, _)) => ends.whole += 1,
                Err(why) => broken.push(why),
            }
        }
        (broken, ends)
    }
}

impl Candidate {
    async fn judge(mut self, urls: &[String]) -> Result<(End, bool), String> {
        if let Some(asked) = self.asked.take() {
            self.doomed.confirmed = asked.await.unwrap_or_default();
        }
        let (end, _) = settled(urls, &self.doomed, SETTLED).await?;
        let room = self.doomed.room.clone();
        for member in &mut self.members {
            member.check(&room, end).await?;
        }
        let confirmed = self.doomed.confirmed;
        if end == End::Whole {
            if !delete(&urls[0], &room).await {
                return Err(format!(
                    "room {room} survived its deletion and cannot be deleted any more"
                ));
            }
            self.doomed.confirmed = true;
            settled(urls, &self.doomed, SETTLED).await?;
        }
        Ok((end, confirmed))
    }
}

fn any<'a>(urls: &'a [String], random: &mut Random) -> &'a String {
    &urls[usize::try_from(random.below(urls.len() as u64)).unwrap_or(0)]
}

/// True if the deletion was confirmed.
async fn delete(url: &str, room: &str) -> bool {
    let confirmed = async {
        let mut connection = RawConnection::connect(url, &options()).await.ok()?;
        let text = serde_json::json!({"type": "delete_room", "data": {"room_id": room, "username": "doom"}});
        connection.queue_text(text.to_string()).ok()?;
        loop {
            let frame = match connection.next().await {
                chat_client::RawFrame::Text(text) => text,
                chat_client::RawFrame::Binary(_) => continue,
                chat_client::RawFrame::Closed(_) => return None,
            };
            match request::type_of(&frame) {
                "delete_room_success" => return Some(()),
                "delete_room_failed" => return None,
                _ => {}
            }
        }
    };
    timeout(ANSWERED, confirmed).await.ok().flatten().is_some()
}

fn options() -> ConnectOptions {
    ConnectOptions {
        connect_deadline: Duration::from_secs(2),
        answer_deadline: Duration::from_secs(10),
        ping_every: None,
        ..ConnectOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doomed(confirmed: bool) -> Doomed {
        Doomed {
            room: "r1".into(),
            said: vec!["one".into(), "two".into()],
            confirmed,
        }
    }

    fn whole(texts: &[&str]) -> Picture {
        Picture::Whole(texts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_room_is_gone_everywhere_or_whole_everywhere() {
        let gone = [Picture::Gone, Picture::Gone];
        assert_eq!(judge(&doomed(true), &gone), Ok(End::Gone));
        assert_eq!(judge(&doomed(false), &gone), Ok(End::Gone));
        let there = [whole(&["one", "x", "two"]), whole(&["one", "x", "two", "later"])];
        assert_eq!(judge(&doomed(false), &there), Ok(End::Whole));
    }

    #[test]
    fn a_room_that_is_deleted_by_half_or_back_or_has_lost_something_is_found() {
        let found = |confirmed, pictures: [Picture; 2]| judge(&doomed(confirmed), &pictures).unwrap_err();
        let complete = || whole(&["one", "two"]);
        assert!(found(false, [Picture::Gone, complete()]).contains("by half"));
        assert!(found(true, [complete(), Picture::Gone]).contains("by half"));
        assert!(found(true, [complete(), complete()]).contains("was confirmed"));
        assert!(found(false, [complete(), whole(&["two", "one"])]).contains("was acknowledged"));
        assert!(found(false, [whole(&["one"]), complete()]).contains("was acknowledged"));
        assert!(found(false, [complete(), whole(&["one", "x", "two"])]).contains("two histories"));
        assert!(found(false, [complete(), Picture::Unclear("held".into())]).contains("at node 2: held"));
    }
}
