//! A byte stream that lets through only heads about which nobody can be of two minds.
//!
//! hyper reads heads as leniently as the standard allows: a line feed alone ends a line, a length may be said twice, and of a
//! length and a chunked body the length is forgotten. Something between a caller and this node that decides otherwise
//! sees other requests than this node does. Such a head gets a NUL before its end, which hyper refuses: it answers 400 behind
//! the answers to what came before, and closes. What hyper refuses by itself passes. Decision 0009 says why it is done here.
//!
//! Both must find the same ends of bodies, or what is read as a body here would be a head there. So the length of a body is taken
//! only from a line that was seen whole.
//!
//! The `Host` of a request is not compared with anything: the nodes of the original, proxies and probes write there whatever
//! address they were given. It has to be there once, as the standard wants it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Lines shorter than this are seen whole, and of others only the beginning: enough for a name or a length.
const LINE_BYTES: usize = 256;

/// What may follow a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    /// A body of an announced length, and the next head.
    Counted,
    /// No body. What follows is not looked at: there is one request on a connection, or it becomes a WebSocket.
    None,
}

/// The stream.
#[derive(Debug)]
pub(super) struct Strict<S> {
    stream: S,
    heads: Heads,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S, bodies: Bodies) -> Self {
        Self {
            stream,
            heads: Heads::new(bodies),
        }
    }

    /// The stream below. Nothing of it is held here.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.heads.at == At::End {
            // Whoever reads this far has an answer to write, and closes behind it.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
        let passed = match this.heads.look(fresh) {
            Look::All => return Poll::Ready(Ok(())),
            Look::Until(end) => end,
            Look::Spoilt(at) => {
                if let Some(byte) = fresh.get_mut(at) {
                    *byte = 0;
                }
                at + 1
            }
        };
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in the stream the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a head.
    Head,
    /// In a body of which so much is left.
    Body(u64),
    /// Behind the only head.
    Free,
    /// Behind what is refused: nothing more is read.
    End,
}

/// What of some bytes may pass.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    All,
    /// The first so many.
    Until(usize),
    /// Those before this one, which is refused.
    Spoilt(usize),
}

/// A head is refused.
struct Refused;

/// Follows heads and bodies, byte by byte.
#[derive(Debug)]
struct Heads {
    bodies: Bodies,
    at: At,
    /// The beginning of the line that is not ended.
    line: Vec<u8>,
    /// The last byte was a carriage return.
    returned: bool,
    head: Head,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    /// Empty lines before it.
    blank: usize,
    /// Its first line is complete.
    begun: bool,
    /// It is a request of HTTP/1.0, which need not name a host.
    old: bool,
    hosts: usize,
    length: Option<u64>,
    /// Its body has another form than so many bytes.
    coded: bool,
}

impl Heads {
    fn new(bodies: Bodies) -> Self {
        Self {
            bodies,
            at: At::Head,
            line: Vec::new(),
            returned: false,
            head: Head::default(),
        }
    }

    fn look(&mut self, bytes: &[u8]) -> Look {
        let mut next = 0;
        while let Some(rest) = bytes.get(next..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::Free => return Look::All,
                At::End => return Look::Until(next),
                At::Body(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    next += skipped;
                    self.at = match left - skipped as u64 {
                        0 => At::Head,
                        left => At::Body(left),
                    };
                }
                At::Head => {
                    if self.byte(rest[0]).is_err() {
                        self.at = At::End;
                        return Look::Spoilt(next);
                    }
                    next += 1;
                }
            }
        }
        Look::All
    }

    fn byte(&mut self, byte: u8) -> Result<(), Refused> {
        match (byte, std::mem::replace(&mut self.returned, byte == b'\r')) {
            (b'\n', true) => self.line(),
            (b'\n', false) => Err(Refused),
            // hyper refuses one that no line feed follows.
            (b'\r', _) => Ok(()),
            _ => {
                if self.line.len() < LINE_BYTES {
                    self.line.push(byte);
                }
                Ok(())
            }
        }
    }

    /// A line is complete.
    fn line(&mut self) -> Result<(), Refused> {
        let line = std::mem::take(&mut self.line);
        if !self.head.begun {
            return self.head.begin(&line);
        }
        if !line.is_empty() {
            return self.head.field(&line);
        }
        let head = std::mem::take(&mut self.head);
        head.is_clear()?;
        self.at = match (self.bodies, head.length, head.coded) {
            (Bodies::None, None | Some(0), false) => At::Free,
            (Bodies::None, ..) => return Err(Refused),
            // Its answer is that a length is required.
            (Bodies::Counted, _, true) => At::End,
            (Bodies::Counted, None | Some(0), false) => At::Head,
            (Bodies::Counted, Some(length), false) => At::Body(length),
        };
        Ok(())
    }
}

impl Head {
    fn begin(&mut self, line: &[u8]) -> Result<(), Refused> {
        if line.is_empty() {
            // One is what careless callers write behind a body.
            self.blank += 1;
            return if self.blank > 1 { Err(Refused) } else { Ok(()) };
        }
        self.begun = true;
        self.old = line.ends_with(b" HTTP/1.0");
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        // hyper refuses a line without a colon, and one with a blank at its beginning or before the colon.
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Ok(());
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let again = self.length.replace(length(value)?).is_some();
            if again || line.len() >= LINE_BYTES {
                return Err(Refused);
            }
        }
        Ok(())
    }

    /// Where its body ends is said once, and so is the host.
    fn is_clear(&self) -> Result<(), Refused> {
        let hosts = if self.old { 0..=1 } else { 1..=1 };
        if hosts.contains(&self.hosts) && !(self.coded && self.length.is_some()) {
            Ok(())
        } else {
            Err(Refused)
        }
    }
}

/// A length as hyper takes it; it refuses a sign by itself.
fn length(value: &[u8]) -> Result<u64, Refused> {
    let text = std::str::from_utf8(value.trim_ascii()).map_err(|_| Refused)?;
    text.parse().map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    const CALL: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

    /// What passes of `sent`, however it is cut into pieces; a byte that was spoilt is shown as `#`.
    fn passed(bodies: Bodies, sent: &str) -> String {
        let whole = in_pieces(bodies, sent, sent.len());
        for size in 1..sent.len() {
            assert_eq!(in_pieces(bodies, sent, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn in_pieces(bodies: Bodies, sent: &str, size: usize) -> String {
        let mut heads = Heads::new(bodies);
        let mut all = Vec::new();
        for piece in sent.as_bytes().chunks(size) {
            match heads.look(piece) {
                Look::All => all.extend_from_slice(piece),
                Look::Until(end) => all.extend_from_slice(&piece[..end]),
                Look::Spoilt(at) => {
                    all.extend_from_slice(&piece[..at]);
                    all.push(b'#');
                }
            }
        }
        String::from_utf8(all).expect("whole characters")
    }

    #[test]
    fn calls_with_their_bodies_pass_one_after_the_other() {
        let old = "POST /RPC2 HTTP/1.0\r\ncontent-length:0\r\n\r\n";
        let loose = "\r\nGET / HTTP/1.1\r\nhOST:\tx \r\nnothing: \u{e4}\r\n\r\n";
        // A body may say anything.
        let body = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\n\0\r\nb";
        let all = format!("{CALL}{old}{body}{loose}{CALL}");
        assert_eq!(passed(Bodies::Counted, &all), all);
    }

    #[test]
    fn a_head_that_two_could_read_as_two_things_is_spoilt_before_its_end() {
        for head in [
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\ncontent-LENGTH: 4\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.0\r\nHost: x\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: x\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\n\nabc",
            "\n\r\n",
            "\r\n\r\n",
        ] {
            let first = passed(Bodies::Counted, head);
            let (before, after) = first.split_once('#').unwrap_or_else(|| panic!("{head:?} passes"));
            assert!(!before.ends_with("\r\n\r\n") && after.is_empty(), "{first:?}");
            // What came before it passes whole, and nothing does behind it.
            let second = passed(Bodies::Counted, &format!("{CALL}{head}{CALL}"));
            assert_eq!(second, format!("{CALL}{first}"));
        }
    }

    /// hyper reads every digit of a length, so one of which the last digits are not seen here is none.
    #[test]
    fn a_length_is_taken_only_from_a_line_that_is_seen_whole() {
        let call = |zeros: usize| {
            let length = format!("Content-Length:{}3", "0".repeat(zeros));
            let whole = format!("POST / HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\nabc{CALL}");
            (length.len(), whole)
        };
        let (bytes, longest) = call(LINE_BYTES - 17);
        assert_eq!(bytes, LINE_BYTES - 1);
        assert_eq!(passed(Bodies::Counted, &longest), longest);
        for zeros in [LINE_BYTES - 16, LINE_BYTES - 15, 1_000] {
            assert!(passed(Bodies::Counted, &call(zeros).1).ends_with("3\r#"), "{zeros}");
        }
    }

    #[test]
    fn behind_a_body_of_unknown_length_nothing_is_read() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(passed(Bodies::Counted, &format!("{head}0\r\n\r\n{CALL}")), head);
    }

    #[test]
    fn where_no_body_belongs_there_is_none_and_what_follows_is_left_alone() {
        let plain = "GET / HTTP/1.1\r\nHost: x\r\n\r\n\n\0whatever";
        assert_eq!(passed(Bodies::None, plain), plain);
        let empty = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(passed(Bodies::None, empty), empty);
        for body in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{body}\r\n\r");
            assert_eq!(passed(Bodies::None, &format!("{head}\nabc")), format!("{head}#"));
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_byte_that_is_refused() {
        let sent = format!("{CALL}POST / HTTP/1.1\nHost: x");
        let mut stream = Strict::new(sent.as_bytes(), Bodies::Counted);
        let mut read = vec![0; CALL.len() + 16];
        stream.read_exact(&mut read).await.expect("read");
        assert_eq!(read, format!("{CALL}POST / HTTP/1.1\0").as_bytes());
        let more = tokio::time::timeout(std::time::Duration::ZERO, stream.read_u8()).await;
        assert!(more.is_err(), "nothing more is read");
    }
}
