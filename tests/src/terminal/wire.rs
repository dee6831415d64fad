//! The original client's end of the WebSocket: its handshake, its JSON, its bounds.

use crate::PATIENCE;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use std::fmt::Write;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Largest message that the original client takes, in bytes; a larger one ends the connection.
const MAX_FRAME: usize = 1 << 20;

/// A field of a request. The original client sends `null` for a description that was left empty.
pub(super) type Field<'a> = (&'a str, Option<&'a str>);

/// One connection.
pub(super) struct Wire {
    socket: WebSocketStream<TcpStream>,
}

/// What came.
pub(super) enum Got {
    /// A JSON object.
    Frame(Value),
    /// The end, and why.
    End(String),
}

impl Wire {
    pub(super) async fn connect(url: &str) -> Self {
        let mut request = url.into_client_request().expect("a WebSocket URL");
        // Offered by the library that the original client uses. A server need not accept it.
        let deflate = HeaderValue::from_static("permessage-deflate; client_max_window_bits");
        request.headers_mut().insert("Sec-WebSocket-Extensions", deflate);
        let authority = request.uri().authority().expect("a host").to_string();
        let stream = TcpStream::connect(authority).await.expect("the node listens");
        stream.set_nodelay(true).expect("an open socket");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let connected = timeout(PATIENCE, client_async_with_config(request, stream, Some(config))).await;
        let (socket, response) = connected.expect("an answer in time").expect("the node takes clients");
        // This end could not read what was compressed.
        assert_eq!(response.headers().get("Sec-WebSocket-Extensions"), None);
        Self { socket }
    }

    /// Sends a request as the original client writes it: Python's separators, and ASCII only.
    pub(super) async fn send(&mut self, kind: &str, fields: &[Field<'_>]) {
        let mut data = String::new();
        for (key, value) in fields {
            let comma = if data.is_empty() { "" } else { ", " };
            let value = value.map_or_else(|| "null".to_owned(), ascii);
            write!(data, "{comma}{}: {value}", ascii(key)).expect("a string takes everything");
        }
        let kind = ascii(kind);
        let text = if data.is_empty() {
            format!(r#"{{"type": {kind}}}"#)
        } else {
            format!(r#"{{"type": {kind}, "data": {{{data}}}}}"#)
        };
        let sent = timeout(PATIENCE, self.socket.send(Message::text(text.clone()))).await;
        let sent = sent.expect("a node that reads");
        assert!(sent.is_ok(), "the connection was lost before {text}");
    }

    /// The next frame. Without one the screen of the original client hangs for ever.
    pub(super) async fn next(&mut self) -> Option<Got> {
        loop {
            let item = timeout(PATIENCE, self.socket.next()).await.ok()?;
            if let Some(got) = understand(item) {
                return Some(got);
            }
        }
    }

    /// The next frame, if it is here already.
    pub(super) fn ready(&mut self) -> Option<Got> {
        loop {
            let item = self.socket.next().now_or_never()?;
            if let Some(got) = understand(item) {
                return Some(got);
            }
        }
    }
}

fn understand(item: Option<Result<Message, Error>>) -> Option<Got> {
    Some(match item {
        Some(Ok(Message::Text(text))) => {
            let parsed: Result<Value, _> = serde_json::from_str(text.as_str());
            match parsed {
                Ok(frame) if frame.is_object() => Got::Frame(frame),
                other => panic!("no JSON object: {} ({other:?})", text.as_str()),
            }
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
        Some(Ok(Message::Binary(bytes))) => panic!("a binary frame: {bytes:?}"),
        Some(Ok(Message::Close(frame))) => Got::End(format!("closed with {frame:?}")),
        Some(Err(Error::Capacity(why))) => panic!("a frame that ends the connection of the original client: {why}"),
        Some(Err(why)) => Got::End(why.to_string()),
        None => Got::End("the end".into()),
    })
}

/// A JSON string with every other character than printable ASCII escaped.
fn ascii(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_written_in_ascii() {
        assert_eq!(
            super::ascii("caf\u{e9} \"\u{1f6a2}\"\n"),
            r#""caf\u00e9 \"\ud83d\udea2\"\n""#
        );
    }
}
