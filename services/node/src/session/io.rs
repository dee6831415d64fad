//! The byte stream under the WebSocket reader.
//!
//! Reading goes to the socket. Writing (pongs and close replies of the WebSocket library) goes through the connection's
//! outbound queue like everything else, so that frames from different writers never mix.

use super::Session;
use super::outbound::{Flushed, Kind, Outbound};
use bytes::Bytes;
use chat_protocol::close::CloseReason;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads from the socket of a session, writes to its queue.
#[derive(Debug)]
pub struct SessionIo(pub Arc<Session>);

impl SessionIo {
    fn outbound(&self) -> &Outbound {
        &self.0.outbound
    }
}

impl AsyncRead for SessionIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.outbound().socket();
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    if !self.0.intake.received(read) {
                        // The actor sees the reason behind the error.
                        self.outbound().close(CloseReason::Overloaded);
                        return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for SessionIo {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbound().push(Kind::Control, Bytes::copy_from_slice(buf));
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.outbound().flush() {
            Flushed::Dead => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Flushed::Empty => Poll::Ready(Ok(())),
            Flushed::Blocked => {
                // The actor waits for the socket; the library need not.
                self.0.wake();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
