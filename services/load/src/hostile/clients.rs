//! What clients may do wrong.

use super::wire::{self, Opcode};
use super::{Attack, Count};
use chat_client::request;
use chat_protocol::limits::MAX_INBOUND_FRAME;
use std::io;
use std::sync::LazyLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;

static PADDING: [u8; CHUNK] = [b' '; CHUNK];

/// Rooms that a client joins which never reads.
const ROOMS: usize = 5;

/// Connects and waits.
pub(super) async fn silent(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::connect(attack, &attack.clients, None, count).await?;
    wire::until_ended(&mut stream).await
}

/// A head that is never finished.
pub(super) async fn slow_head(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::connect(attack, &attack.clients, None, count).await?;
    let head = wire::upgrade_head(&attack.clients);
    for byte in head.bytes().chain("X-Padding: ".bytes()).chain(std::iter::repeat(b'x')) {
        stream.write_all(&[byte]).await?;
        count.acted();
        sleep(attack.pace).await;
    }
    Ok(())
}

/// All of the largest frame but its last byte.
pub(super) async fn half_frame(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::upgraded(attack, None, count).await?;
    stream
        .write_all(&wire::header(Opcode::Text, true, MAX_INBOUND_FRAME as u64))
        .await?;
    pour(&mut stream, MAX_INBOUND_FRAME - 1).await?;
    count.acted();
    wire::until_ended(&mut stream).await
}

/// A message in fragments that lacks its end; the pings between them say that somebody is there.
pub(super) async fn half_message(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::upgraded(attack, None, count).await?;
    let mut opcode = Opcode::Text;
    for _ in 0..MAX_INBOUND_FRAME / CHUNK - 1 {
        stream.write_all(&wire::frame(opcode, false, &PADDING)).await?;
        opcode = Opcode::Continuation;
    }
    loop {
        stream.write_all(&wire::frame(Opcode::Ping, true, b"")).await?;
        count.acted();
        wire::skip_frame(&mut stream).await?;
        count.answered();
        sleep(attack.pace).await;
    }
}

/// The largest pings, in bursts, each of which is answered.
pub(super) async fn pings_only(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::upgraded(attack, None, count).await?;
    let burst = wire::frame(Opcode::Ping, true, &[b'p'; 125]).repeat(50);
    loop {
        stream.write_all(&burst).await?;
        for _ in 0..50 {
            count.acted();
            wire::skip_frame(&mut stream).await?;
            count.answered();
        }
        sleep(attack.pace).await;
    }
}

/// Joins what rooms there are, then asks for the list of them and never reads again.
pub(super) async fn never_reads(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::upgraded(attack, Some(4_096), count).await?;
    say(&mut stream, &request::list_rooms()).await?;
    let list = read_text(&mut stream).await?;
    for room in room_ids(&list).into_iter().take(ROOMS) {
        say(&mut stream, &request::join_room(&room, "never reads")).await?;
    }
    loop {
        say(&mut stream, &request::list_rooms()).await?;
        count.acted();
        sleep(attack.pace).await;
    }
}

/// A frame that announces one byte too much, and one that announces everything.
pub(super) async fn oversized_frame(attack: &Attack, count: &Count) -> io::Result<()> {
    for announced in [MAX_INBOUND_FRAME as u64 + 1, u64::MAX >> 1] {
        let mut stream = wire::upgraded(attack, None, count).await?;
        stream.write_all(&wire::header(Opcode::Text, true, announced)).await?;
        // The server need not take any of it.
        drop(pour(&mut stream, CHUNK).await);
        count.acted();
        wire::until_ended(&mut stream).await?;
        count.answered();
    }
    Ok(())
}

/// The largest frame, full of the smallest objects.
pub(super) async fn json_bomb(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::upgraded(attack, None, count).await?;
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let (head, part, tail) = (r#"{"type":"list_rooms","x":["#, r#"{"":0},"#, "0]}");
        let parts = (MAX_INBOUND_FRAME - head.len() - tail.len()) / part.len();
        wire::frame(
            Opcode::Text,
            true,
            format!("{head}{}{tail}", part.repeat(parts)).as_bytes(),
        )
    });
    loop {
        stream.write_all(&BOMB).await?;
        count.acted();
        wire::skip_frame(&mut stream).await?;
        count.answered();
        sleep(attack.pace).await;
    }
}

async fn pour(stream: &mut TcpStream, bytes: usize) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let now = left.min(CHUNK);
        stream.write_all(&PADDING[..now]).await?;
        left -= now;
    }
    Ok(())
}

async fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream
        .write_all(&wire::frame(Opcode::Text, true, text.as_bytes()))
        .await
}

/// The first frame that is a text, which is shorter than a mebibyte.
async fn read_text(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let _first = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        126 => stream.read_u16().await?.into(),
        127 => stream.read_u64().await?,
        short => short.into(),
    };
    let mut text = Vec::new();
    stream.take(length.min(1 << 20)).read_to_end(&mut text).await?;
    Ok(text)
}

fn room_ids(list: &[u8]) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_slice(list).unwrap_or_default();
    let rooms = list["data"]["rooms"].as_array().into_iter().flatten();
    rooms
        .filter_map(|room| room["room_id"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rooms_of_a_list_are_found() {
        let list = br#"{"type":"rooms_list","data":{"rooms":[{"room_id":"a"},{"room_id":"b"}]}}"#;
        assert_eq!(room_ids(list), ["a", "b"]);
        assert!(room_ids(b"no list").is_empty());
    }
}
