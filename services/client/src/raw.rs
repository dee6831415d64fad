//! A connection without a task: frames in, frames out, as they are.

use crate::event::Closed;
use crate::options::{ConnectError, ConnectOptions};
use crate::{RequestError, request};
use bytes::Bytes;
use chat_protocol::limits::{MAX_INBOUND_FRAME, MAX_OUTBOUND_FRAME};
use futures_util::{Sink, Stream};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The text of a frame; a clone shares the bytes.
pub type Text = tokio_tungstenite::tungstenite::Utf8Bytes;

/// Bytes that the socket is read into. A frame of a short message has about 300.
const READ_BUFFER: usize = 4_096;

/// Most bytes that may wait to be written: twice the largest request that a server takes.
const WRITE_BUFFER: usize = 2 * MAX_INBOUND_FRAME;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawFrame {
    /// A text message.
    Text(Text),
    /// A binary message. A chat node sends none.
    Binary(Bytes),
    /// The end; every further read says the same.
    Closed(Closed),
}

/// Why a frame was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueError {
    /// Too many bytes wait for a server that does not read. Nothing was queued; read on and try again.
    Full,
    /// The connection is at its end.
    Closed(Closed),
}

/// One WebSocket over one TCP connection. Pings are answered while frames are read.
#[derive(Debug)]
pub struct RawConnection {
    socket: WebSocketStream<TcpStream>,
    unflushed: bool,
    heard: u64,
    closed: Option<Closed>,
}

impl RawConnection {
    /// Connects to `ws://host[:port][/path]`.
    ///
    /// # Errors
    /// [`ConnectError`], at the latest after `options.connect_deadline`.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        match timeout(options.connect_deadline, Self::handshake(url, options)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut),
        }
    }

    async fn handshake(url: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let (request, host) = target(url)?;
        let stream = open(&host, request.uri().port_u16().unwrap_or(80), options).await?;
        stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_OUTBOUND_FRAME))
            .max_frame_size(Some(MAX_OUTBOUND_FRAME));
        let (socket, _response) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|e| ConnectError::Refused(e.to_string()))?;
        Ok(Self {
            socket,
            unflushed: false,
            heard: 0,
            closed: None,
        })
    }

    /// Queues a text frame; it leaves with the next read or flush, together with others that wait.
    ///
    /// # Errors
    /// [`QueueError`]; the frame is not queued then.
    pub fn queue_text(&mut self, text: impl Into<Text>) -> Result<(), QueueError> {
        self.queue(Message::Text(text.into()))
    }

    /// Queues a binary frame, as [`Self::queue_text`].
    ///
    /// # Errors
    /// [`QueueError`]; the frame is not queued then.
    pub fn queue_binary(&mut self, bytes: impl Into<Bytes>) -> Result<(), QueueError> {
        self.queue(Message::Binary(bytes.into()))
    }

    /// Queues a ping.
    ///
    /// # Errors
    /// [`QueueError`]; the frame is not queued then.
    pub fn queue_ping(&mut self) -> Result<(), QueueError> {
        self.queue(Message::Ping(Bytes::new()))
    }

    /// Queues a close frame. Read on until [`RawFrame::Closed`] to see the answer.
    ///
    /// # Errors
    /// [`QueueError`]; the frame is not queued then.
    pub fn queue_close(&mut self, code: u16, reason: &str) -> Result<(), QueueError> {
        let reason = chat_protocol::text::prefix(reason, 123).into();
        self.queue(Message::Close(Some(CloseFrame {
            code: code.into(),
            reason,
        })))
    }

    fn queue(&mut self, message: Message) -> Result<(), QueueError> {
        if let Some(closed) = &self.closed {
            return Err(QueueError::Closed(closed.clone()));
        }
        // Without `poll_ready`: the library takes what fits into its buffer and says so when it does not.
        match Pin::new(&mut self.socket).start_send(message) {
            Ok(()) => {
                self.unflushed = true;
                Ok(())
            }
            Err(Error::WriteBufferFull(_)) => Err(QueueError::Full),
            Err(error) => Err(QueueError::Closed(self.end(None, error.to_string()))),
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// [`Closed`] if the connection ended. Waits as long as the server does not read.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        match poll_fn(|cx| Pin::new(&mut self.socket).poll_flush(cx)).await {
            Ok(()) => {
                self.unflushed = false;
                Ok(())
            }
            Err(error) => Err(self.end(None, error.to_string())),
        }
    }

    /// Reads the next frame, writing what is queued meanwhile. Cancel-safe.
    pub async fn next(&mut self) -> RawFrame {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// As [`Self::next`], for those who poll themselves.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<RawFrame> {
        if let Some(closed) = &self.closed {
            return Poll::Ready(RawFrame::Closed(closed.clone()));
        }
        if self.unflushed {
            // An error shows up in the read below, after what the server said before it.
            self.unflushed = Pin::new(&mut self.socket).poll_flush(cx).is_pending();
        }
        loop {
            let item = std::task::ready!(Pin::new(&mut self.socket).poll_next(cx));
            self.heard += 1;
            return Poll::Ready(match item {
                Some(Ok(Message::Text(text))) => RawFrame::Text(text),
                Some(Ok(Message::Binary(bytes))) => RawFrame::Binary(bytes),
                Some(Ok(Message::Close(frame))) => {
                    // One try to return the close frame; the server may be gone already, which is as good.
                    let _answered = Pin::new(&mut self.socket).poll_flush(cx);
                    let (code, reason) = frame.map_or((Some(1005), String::new()), |f| {
                        (Some(u16::from(f.code)), f.reason.as_str().to_owned())
                    });
                    RawFrame::Closed(self.end(code, reason))
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => RawFrame::Closed(self.end(None, error.to_string())),
                None => RawFrame::Closed(self.end(None, "end of stream".into())),
            });
        }
    }

    /// Sends any text and gives the text of the very next frame, whatever it is.
    ///
    /// # Errors
    /// [`RequestError::Closed`] or, after `deadline`, [`RequestError::Timeout`].
    pub async fn request_text(&mut self, text: &str, deadline: Duration) -> Result<String, RequestError> {
        self.queue_text(text).map_err(|e| match e {
            QueueError::Full => RequestError::Timeout,
            QueueError::Closed(closed) => RequestError::Closed(closed.code),
        })?;
        match timeout(deadline, self.next()).await {
            Ok(RawFrame::Text(text)) => Ok(text.as_str().to_owned()),
            Ok(RawFrame::Binary(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(RawFrame::Closed(closed)) => Err(RequestError::Closed(closed.code)),
            Err(_) => Err(RequestError::Timeout),
        }
    }

    /// Reads frames until one of type `kind` comes and gives its text; others are dropped.
    ///
    /// # Errors
    /// [`RequestError::Closed`] or, after `deadline`, [`RequestError::Timeout`].
    pub async fn wait_for(&mut self, kind: &str, deadline: Duration) -> Result<String, RequestError> {
        let wanted = async {
            loop {
                match self.next().await {
                    RawFrame::Text(text) if request::type_of(&text) == kind => return Ok(text.as_str().to_owned()),
                    RawFrame::Closed(closed) => return Err(RequestError::Closed(closed.code)),
                    RawFrame::Text(_) | RawFrame::Binary(_) => {}
                }
            }
        };
        timeout(deadline, wanted).await.unwrap_or(Err(RequestError::Timeout))
    }

    /// Frames that came so far, pings and pongs included.
    #[must_use]
    pub const fn heard(&self) -> u64 {
        self.heard
    }

    /// Says 1000 and waits for the answer, at most `deadline`.
    pub async fn close(mut self, deadline: Duration) {
        if self.queue_close(1000, "").is_err() {
            return;
        }
        let farewell = async { while !matches!(self.next().await, RawFrame::Closed(_)) {} };
        // A server that does not answer in time is left without an answer.
        let _in_time = timeout(deadline, farewell).await;
    }

    fn end(&mut self, code: Option<u16>, reason: String) -> Closed {
        self.closed.get_or_insert(Closed { code, reason }).clone()
    }
}

/// Whether [`RawConnection::connect`] would take this address; nobody is connected to.
///
/// # Errors
/// [`ConnectError::BadAddress`].
pub fn check_address(url: &str) -> Result<(), ConnectError> {
    target(url).map(drop)
}

/// What to ask for, and of which host.
fn target(url: &str) -> Result<(Request, String), ConnectError> {
    let bad = |why: &str| ConnectError::BadAddress(format!("{url}: {why}"));
    let request = url.into_client_request().map_err(|e| bad(&e.to_string()))?;
    if request.uri().scheme_str() != Some("ws") {
        return Err(bad("the scheme must be ws"));
    }
    let host = request.uri().host().ok_or_else(|| bad("the host is missing"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((request, host))
}

async fn open(host: &str, port: u16, options: &ConnectOptions) -> Result<TcpStream, ConnectError> {
    let Some(local) = options.local_address else {
        return TcpStream::connect((host, port))
            .await
            .map_err(ConnectError::Unreachable);
    };
    let mut last = std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "no address of the family of the local one",
    );
    let addresses = lookup_host((host, port)).await.map_err(ConnectError::Unreachable)?;
    for address in addresses.filter(|a| a.is_ipv4() == local.is_ipv4()) {
        let socket = if local.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let connected = async {
            let socket = socket?;
            socket.bind((local, 0).into())?;
            socket.connect(address).await
        };
        match connected.await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Unreachable(last))
}
