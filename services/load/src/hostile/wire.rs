//! HTTP and WebSocket as raw bytes: what a proper library would not send.

use super::{Attack, Count};
use std::io;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// What a WebSocket frame is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opcode {
    /// A continuation of a message that another frame began.
    Continuation = 0,
    Text = 1,
    Ping = 9,
}

/// Connects, with a receive buffer of the system's size or of so many bytes.
pub(super) async fn connect(
    attack: &Attack,
    authority: &str,
    receive: Option<u32>,
    count: &Count,
) -> io::Result<TcpStream> {
    let address = lookup_host(authority).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(from) = attack.from {
        socket.bind((from, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    count.connected.fetch_add(1, Ordering::Relaxed);
    Ok(stream)
}

/// A WebSocket that was just opened.
pub(super) async fn upgraded(attack: &Attack, receive: Option<u32>, count: &Count) -> io::Result<TcpStream> {
    let mut stream = connect(attack, &attack.clients, receive, count).await?;
    let head = format!("{}\r\n", upgrade_head(&attack.clients));
    stream.write_all(head.as_bytes()).await?;
    let answer = read_head(&mut stream).await?;
    if answer.starts_with(b"HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(io::Error::other("no WebSocket"))
    }
}

/// The head of a request for a WebSocket, but for the empty line.
pub(super) fn upgrade_head(authority: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
}

/// Reads up to and including the empty line behind a head.
pub(super) async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 << 10 {
            return Err(io::Error::other("a head without an end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// The header of a frame as a client sends it. The mask is zero, which is a mask, too.
pub(super) fn header(opcode: Opcode, last: bool, announced: u64) -> Vec<u8> {
    let mut out = vec![opcode as u8 | if last { 0x80 } else { 0 }];
    match announced {
        0..=125 => out.push(0x80 | announced.to_be_bytes()[7]),
        126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&announced.to_be_bytes()[6..]);
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&announced.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out
}

/// A whole frame.
pub(super) fn frame(opcode: Opcode, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = header(opcode, last, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// Reads one frame of a server and forgets it.
pub(super) async fn skip_frame(stream: &mut TcpStream) -> io::Result<()> {
    let _first = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        126 => stream.read_u16().await?.into(),
        127 => stream.read_u64().await?,
        short => short.into(),
    };
    skip(stream, length).await
}

/// Reads so many bytes and forgets them.
pub(super) async fn skip(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Reads until the server ends the connection.
pub(super) async fn until_ended(stream: &mut TcpStream) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await?;
    Ok(())
}

/// A call as it is posted to a peer port.
pub(super) fn post(authority: &str, announced: usize, body: &str) -> String {
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: {authority}\r\nContent-Type: text/xml\r\nContent-Length: {announced}\r\n\r\n{body}"
    )
}

/// Reads the answer to a call and forgets it.
pub(super) async fn skip_answer(stream: &mut TcpStream) -> io::Result<()> {
    let head = read_head(stream).await?;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse().ok()) {
        Some(length) => skip(stream, length).await,
        None => until_ended(stream).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_that_any_server_reads() {
        assert_eq!(frame(Opcode::Text, true, b"hi"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(frame(Opcode::Continuation, false, b""), [0x00, 0x80, 0, 0, 0, 0]);
        assert_eq!(header(Opcode::Text, true, 126), [0x81, 0xfe, 0, 126, 0, 0, 0, 0]);
        assert_eq!(header(Opcode::Ping, true, 1 << 62)[..6], [0x89, 0xff, 0x40, 0, 0, 0]);
    }
}
