//! A byte stream whose other end must read what is written for it.
//!
//! hyper has a deadline for what it reads and none for what it writes: without one, whoever asks and does not read the
//! answer keeps it in memory for as long as the connection stands.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Fails a write if what was begun is not written to its end in time.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs from the first write that had to wait to the next flush.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            deadline: None,
        }
    }

    fn waited(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.waited(cx),
            done => done,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Pending => self.waited(cx),
            done => done,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.deadline = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn whoever_does_not_read_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut ours = Patient::new(ours, Duration::from_millis(50));
        let written = ours.write_all(&[0; 1_000]).await;
        assert_eq!(written.map_err(|why| why.kind()), Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn reading_a_little_now_and_then_is_not_enough() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut ours = Patient::new(ours, Duration::from_millis(50));
        let reading = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::task::yield_now().await
            }
        });
        let endless = [0; 1_000];
        let failed = loop {
            if let Err(why) = ours.write_all(&endless).await {
                break why.kind();
            }
        };
        assert_eq!(failed, io::ErrorKind::TimedOut);
        drop(ours);
        reading.await.expect("no panic");
    }

    #[tokio::test]
    async fn what_is_read_in_time_is_written() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.map(|_| all.len())
        });
        let mut ours = Patient::new(ours, Duration::from_secs(3_600));
        for _ in 0..3 {
            ours.write_all(&[0; 1_000]).await.expect("written");
            ours.flush().await.expect("flushed");
            assert!(ours.deadline.is_none());
        }
        drop(ours);
        assert_eq!(reading.await.expect("no panic").expect("read"), 3_000);
    }
}
