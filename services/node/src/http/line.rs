//! A connection that remembers how it ends. hyper takes the reset of a connection that waits for its next request for a
//! farewell; whoever must know whether the last answer arrived takes it for what it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is known of a connection besides its bytes.
#[derive(Debug)]
pub(super) struct Watch {
    /// The same socket once more.
    socket: std::net::TcpStream,
    failed: AtomicBool,
}

impl Watch {
    /// True if the other end has closed or reset the connection: it waits for no answer.
    pub(super) fn has_hung_up(&self) -> bool {
        matches!(self.socket.peek(&mut [0]), Ok(0)) || self.is_broken()
    }

    /// True if the connection was reset, or did not take what was written.
    pub(super) fn is_broken(&self) -> bool {
        self.failed.load(Ordering::Acquire) || !matches!(self.socket.take_error(), Ok(None))
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl Line {
    /// A connection and what watches it.
    ///
    /// # Errors
    /// The system has no handle left.
    pub(super) fn new(stream: TcpStream) -> io::Result<(Self, Arc<Watch>)> {
        let stream = stream.into_std()?;
        let watch = Arc::new(Watch {
            socket: stream.try_clone()?,
            failed: AtomicBool::new(false),
        });
        let stream = TcpStream::from_std(stream)?;
        let this = Self {
            stream,
            watch: Arc::clone(&watch),
        };
        Ok((this, watch))
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(result, Poll::Ready(Err(_))) {
            self.watch.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(result)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection that the other end closed first need not be shut down; that is no failure.
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
