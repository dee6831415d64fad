//! Servers, inputs, and what a conversation with them comes to.

use chat_tui::chat::{End, chat};
use chat_tui::input::Input;
use chat_tui::settings::{Args, Dialect, Settings};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Longest conversation. Reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Host {
    listener: TcpListener,
}

impl Host {
    pub(crate) async fn open() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
        (Self { listener }, url)
    }

    pub(crate) async fn guest(&self) -> Guest {
        let (stream, _) = self.listener.accept().await.expect("a client");
        Guest {
            socket: accept_async(stream).await.expect("a handshake"),
        }
    }

    /// Drops every connection, for ever: as good as a server that is gone, but nobody else can take its port.
    pub(crate) async fn turn_away(&self) {
        while let Ok((stream, _)) = self.listener.accept().await {
            drop(stream);
        }
    }
}

/// An address at which nobody listens, and nobody else can as long as the socket is there.
pub(crate) fn nowhere() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let url = format!("ws://{}", socket.local_addr().expect("a bound socket"));
    (socket, url)
}

pub(crate) struct Guest {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Guest {
    /// Waits for a request that contains all of `words`.
    pub(crate) async fn expect(&mut self, words: &[&str]) {
        loop {
            match self
                .socket
                .next()
                .await
                .expect("an open connection")
                .expect("a good frame")
            {
                Message::Text(text) => {
                    let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
                    assert!(missing.is_empty(), "{text} lacks {missing:?}");
                    return;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{words:?} expected, {other:?} came"),
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.socket
            .send(Message::Text(text.into()))
            .await
            .expect("an open connection");
    }
}

pub(crate) fn settings(dialect: Dialect, addresses: &[String]) -> Settings {
    let args = Args {
        plain: true,
        addresses: addresses.to_vec(),
        name: "ines".into(),
        room: "hall".into(),
        dialect,
    };
    let settings = Settings::new(args).expect("good arguments");
    Settings {
        jitter: || 0.0,
        ..settings
    }
}

/// How a conversation ended, and what was shown.
pub(crate) struct Talk {
    pub(crate) end: End,
    pub(crate) out: String,
    pub(crate) notices: String,
}

/// A conversation of `ines` in the room `hall`.
pub(crate) async fn talk(settings: &Settings, lines: mpsc::Receiver<Input>) -> Talk {
    let (mut out, mut notices) = (Vec::new(), Vec::new());
    let end = timeout(PATIENCE, chat(settings, lines, &mut out, &mut notices)).await;
    let end = end.expect("it ends in time").expect("memory can be written");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Talk {
        end,
        out: text(out),
        notices: text(notices),
    }
}

/// An input that has these lines and then ends.
pub(crate) fn whole(lines: &[&str]) -> mpsc::Receiver<Input> {
    let (input, queue) = mpsc::channel(lines.len().max(1));
    lines
        .iter()
        .for_each(|line| input.try_send(Input::Line((*line).into())).expect("room for all"));
    queue
}
