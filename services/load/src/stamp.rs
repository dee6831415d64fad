//! What the content of a load message says: who sent it, which of its messages it is, and when it was due.

/// Smallest content that holds a stamp of ordinary numbers, in bytes.
pub const MIN_SIZE: usize = 40;

/// The identity of one message of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the room in the run.
    pub room: u64,
    /// Number of the sender in the room.
    pub sender: u64,
    /// Number of the message of this sender, from 0.
    pub counter: u64,
    /// Intended time of sending, in µs since the start of the run.
    pub micros: u64,
}

impl Stamp {
    /// Appends the stamp, padded to `size` bytes. The text needs no escaping in JSON.
    pub fn write(&self, out: &mut String, size: usize) {
        let start = out.len();
        for (number, width) in [(self.room, 6), (self.sender, 4), (self.counter, 10), (self.micros, 12)] {
            push_hex(out, number, width);
            out.push('.');
        }
        let padding = (start + size).saturating_sub(out.len());
        out.extend(std::iter::repeat_n('x', padding));
    }

    /// Reads what [`Self::write`] wrote.
    #[must_use]
    pub fn parse(content: &str) -> Option<Self> {
        let mut parts = content.splitn(5, '.');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let stamp = Self {
            room: number()?,
            sender: number()?,
            counter: number()?,
            micros: number()?,
        };
        parts.next().map(|_| stamp)
    }
}

/// Appends at least `width` hexadecimal digits.
fn push_hex(out: &mut String, number: u64, width: u32) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(width);
    for at in (0..digits).rev() {
        let digit = (number >> (4 * at)) & 0xf;
        out.push(char::from(
            b"0123456789abcdef"[usize::try_from(digit).unwrap_or_default()],
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for stamp in [
            Stamp {
                room: 0,
                sender: 0,
                counter: 0,
                micros: 0,
            },
            Stamp {
                room: 0xffffff,
                sender: 0xffff,
                counter: 0xff_ffff_ffff,
                micros: 604_800_000_000,
            },
            Stamp {
                room: 7,
                sender: 70_000,
                counter: u64::MAX,
                micros: 1,
            },
        ] {
            let mut text = String::from("before");
            stamp.write(&mut text, 100);
            assert_eq!(text.len(), 106);
            assert_eq!(Stamp::parse(&text[6..]), Some(stamp));
        }
        let mut small = String::new();
        Stamp {
            room: 1,
            sender: 2,
            counter: 3,
            micros: 4,
        }
        .write(&mut small, MIN_SIZE);
        assert_eq!(small, "000001.0002.0000000003.000000000004.xxxx");
    }

    #[test]
    fn other_texts_are_no_stamps() {
        for text in ["", "hello", "1.2.3", "1.2.3.4", "1.2.x.4.", "....."] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
