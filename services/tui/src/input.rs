//! Lines from standard input.

use chat_protocol::limits::{MAX_CONTENT_CHARS, MAX_JSON_BYTES_PER_CHAR};
use std::io::{BufRead, Read};
use tokio::sync::mpsc;

/// Lines that are read ahead; then reading waits.
pub const WAITING_LINES: usize = 16;

/// Longest line, in bytes without its end: what the longest message may need.
pub const MAX_LINE: usize = MAX_CONTENT_CHARS * MAX_JSON_BYTES_PER_CHAR;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A line that is not empty, without its end. Bytes that are no UTF-8 are replaced.
    Line(String),
    /// The beginning of a line that is longer than [`MAX_LINE`]; the rest is dropped.
    TooLong(String),
}

/// Reads until the end of `input`, an error, or until nobody listens. Blocks.
pub fn read_lines(mut input: impl BufRead, lines: &mpsc::Sender<Input>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line) {
            // An error is the end, too: nothing more will come.
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.ends_with(b"\n");
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let input = if text.len() <= MAX_LINE {
            Input::Line(String::from_utf8_lossy(text).into_owned())
        } else {
            if !whole && skip_line(&mut input).is_err() {
                return;
            }
            Input::TooLong(String::from_utf8_lossy(&text[..40]).into_owned())
        };
        if !text.is_empty() && lines.blocking_send(input).is_err() {
            return;
        }
    }
}

/// Reads on behind the end of the line without keeping it.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let chunk = input.fill_buf()?;
        let (used, done) = match chunk.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), chunk.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Input> {
        let (lines, mut queue) = mpsc::channel(100);
        read_lines(bytes, &lines);
        std::iter::from_fn(|| queue.try_recv().ok()).collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    #[test]
    fn each_line_comes_once_and_empty_ones_not_at_all() {
        assert_eq!(
            read(b"one\n\ntwo\r\n\r\nth\xffree"),
            [line("one"), line("two"), line("th\u{fffd}ree")]
        );
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_line_without_end_costs_bounded_memory() {
        let longest = "x".repeat(MAX_LINE);
        let long = format!("{longest}\n{longest}y\nafter\n{longest}{longest}{longest}\nlast");
        let cut = Input::TooLong("x".repeat(40));
        assert_eq!(
            read(long.as_bytes()),
            [line(&longest), cut.clone(), line("after"), cut, line("last")]
        );
    }
}
