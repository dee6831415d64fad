//! How a call between nodes says who makes it: the headers beside the XML, which stays as it is.
//!
//! A call carries [`SIGNATURE`]: nine words with one space between them, the last of which is an HMAC-SHA256 under the key
//! that the nodes share, over the method and path of the request and the eight words before it.
//!
//! ```text
//! 1 <sender> <its life> <receiver> <cluster> <challenge or -> <counter> <SHA-256 of the body> <MAC>
//! ```
//!
//! The answer carries [`ANSWER`]: an HMAC over the MAC of the call, the status, the refusal if it is one, and the hash of the
//! body. A refusal says why in [`REFUSED`].

use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::limits::{MAX_ID_BYTES, MAX_SIGNATURE_BYTES};
use std::fmt::Write as _;

/// Header of a call.
pub const SIGNATURE: &str = "x-chat-signature";
/// Header of an answer.
pub const ANSWER: &str = "x-chat-answer";
/// Header of an answer that is a refusal: a word for the reason and, if there is one, a challenge.
pub const REFUSED: &str = "x-chat-refused";

/// The form of the header that this release writes and reads.
const VERSION: &str = "1";

/// What a receiver wants to see in the next call, so that nothing that was signed before counts. Not a secret.
pub type Challenge = [u8; 16];
/// A SHA-256.
pub type Hash = [u8; 32];
/// An HMAC-SHA256.
pub type Mac = [u8; 32];

/// What a call says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who calls.
    pub sender: NodeId,
    /// In which life.
    pub life: Incarnation,
    /// Whom it means to call.
    pub receiver: NodeId,
    /// The cluster that both belong to.
    pub cluster: ClusterId,
    /// What the receiver asked for; `None` if the sender has not heard from it.
    pub challenge: Option<Challenge>,
    /// Rises with every call of one life to one receiver.
    pub counter: u64,
    /// The hash of the body.
    pub body: Hash,
}

/// A signature as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What it says.
    pub signature: Signature,
    /// The words that the MAC is over.
    pub words: &'a str,
    /// The MAC.
    pub mac: Mac,
}

impl Signature {
    /// The words that the MAC is over; it follows behind a space.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = String::with_capacity(256);
        words.push_str(VERSION);
        words.push(' ');
        push_escaped(&mut words, self.sender.as_str());
        let _infallible = write!(words, " {} ", self.life);
        push_escaped(&mut words, self.receiver.as_str());
        words.push(' ');
        push_escaped(&mut words, self.cluster.as_str());
        words.push(' ');
        match &self.challenge {
            Some(challenge) => push_hex(&mut words, challenge),
            None => words.push('-'),
        }
        let _infallible = write!(words, " {} ", self.counter);
        push_hex(&mut words, &self.body);
        words
    }

    /// Reads the value of [`SIGNATURE`]; `None` if it is none. Costs no more than its length, which is bounded.
    #[must_use]
    pub fn read(value: &str) -> Option<Signed<'_>> {
        if value.len() > MAX_SIGNATURE_BYTES {
            return None;
        }
        let (words, mac) = value.rsplit_once(' ')?;
        let mut parts = words.split(' ');
        if parts.next()? != VERSION {
            return None;
        }
        let id = |part: &str| NodeId::parse(&unescaped(part)?).ok();
        let sender = id(parts.next()?)?;
        let life = Incarnation(number(parts.next()?)?);
        let receiver = id(parts.next()?)?;
        let cluster = ClusterId::parse(&unescaped(parts.next()?)?).ok()?;
        let challenge = match parts.next()? {
            "-" => None,
            text => Some(from_hex(text)?),
        };
        let counter = number(parts.next()?)?;
        let body = from_hex(parts.next()?)?;
        if parts.next().is_some() {
            return None;
        }
        let signature = Self {
            sender,
            life,
            receiver,
            cluster,
            challenge,
            counter,
            body,
        };
        let mac = from_hex(mac)?;
        Some(Signed { signature, words, mac })
    }
}

/// Why a call was refused before it was looked at. It was certainly not executed, except perhaps a repeated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It has no signature.
    Unsigned,
    /// Its signature cannot be read.
    Malformed,
    /// No key of the receiver made its MAC.
    UnknownKey,
    /// It belongs to another cluster.
    OtherCluster,
    /// It is meant for another node.
    OtherReceiver,
    /// It answers no challenge of the receiver's life; it may be signed anew.
    Stale,
    /// Its counter was seen, or is too old to know.
    Replay,
    /// Its body is not the signed one.
    OtherBody,
    /// It speaks for another node than the one that signed it.
    OtherIdentity,
    /// The method is not for callers without a signature.
    NotExempt,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unsigned,
        Self::Malformed,
        Self::UnknownKey,
        Self::OtherCluster,
        Self::OtherReceiver,
        Self::Stale,
        Self::Replay,
        Self::OtherBody,
        Self::OtherIdentity,
        Self::NotExempt,
    ];

    /// The word for it, in [`REFUSED`] and in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::OtherCluster => "other_cluster",
            Self::OtherReceiver => "other_receiver",
            Self::Stale => "stale",
            Self::Replay => "replay",
            Self::OtherBody => "other_body",
            Self::OtherIdentity => "other_identity",
            Self::NotExempt => "not_exempt",
        }
    }

    /// The value of [`REFUSED`].
    #[must_use]
    pub fn header(self, challenge: Option<&Challenge>) -> String {
        let mut text = self.label().to_owned();
        if let Some(challenge) = challenge {
            text.push(' ');
            push_hex(&mut text, challenge);
        }
        text
    }

    /// Reads the value of [`REFUSED`].
    #[must_use]
    pub fn read(value: &str) -> Option<(Self, Option<Challenge>)> {
        let (label, challenge) = match value.split_once(' ') {
            Some((label, challenge)) => (label, Some(from_hex(challenge)?)),
            None => (value, None),
        };
        let refusal = Self::ALL.into_iter().find(|refusal| refusal.label() == label)?;
        Some((refusal, challenge))
    }
}

fn push_escaped(to: &mut String, id: &str) {
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~') {
            to.push(char::from(byte));
        } else {
            let _infallible = write!(to, "%{byte:02x}");
        }
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len().min(MAX_ID_BYTES));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => 16 * digit(rest.next()?)? + digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A number as it is written: nothing but digits, none too many.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Appends bytes in lower-case hexadecimal digits.
pub fn push_hex(to: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _infallible = write!(to, "{byte:02x}");
    }
}

/// Exactly `N` bytes from lower-case hexadecimal digits.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = 16 * digit(pair[0])? + digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signature() -> Signature {
        Signature {
            sender: NodeId::parse("node 1/ä").unwrap(),
            life: Incarnation(1_700_000_000_000),
            receiver: NodeId::parse("node2").unwrap(),
            cluster: ClusterId::parse("shop/chat").unwrap(),
            challenge: Some([0xab; 16]),
            counter: 17,
            body: [0x0f; 32],
        }
    }

    #[test]
    fn the_words_of_a_signature_are_these() {
        let expected = format!(
            "1 node%201%2f%c3%a4 1700000000000 node2 shop%2fchat {} 17 {}",
            "ab".repeat(16),
            "0f".repeat(32)
        );
        assert_eq!(signature().words(), expected);
        let header = format!("{expected} {}", "cd".repeat(32));
        let read = Signature::read(&header).unwrap();
        assert_eq!(read.signature, signature());
        assert_eq!((read.words, read.mac), (expected.as_str(), [0xcd; 32]));
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let good = format!("{} {}", signature().words(), "cd".repeat(32));
        for bad in [
            String::new(),
            " ".repeat(8),
            good.replacen('1', "2", 1),
            good.replace("1700000000000", "+1"),
            good.replace("1700000000000", "99999999999999999999"),
            good.replace("node2", ""),
            good.replace("node2", "%2"),
            good.replace("node2", "%ff"),
            good.replace("node2", &"n".repeat(129)),
            good.replace("cd", "CD"),
            good.replace(" 17 ", " 17  "),
            format!("{good} "),
            format!("{good} 00"),
            good[..good.len() - 1].to_owned(),
            "x".repeat(1 << 16),
        ] {
            assert_eq!(Signature::read(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_word_and_perhaps_a_challenge() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::read(&refusal.header(None)), Some((refusal, None)));
            let challenged = refusal.header(Some(&[7; 16]));
            assert_eq!(Refusal::read(&challenged), Some((refusal, Some([7; 16]))));
        }
        assert_eq!(Refusal::read("stale 00"), None);
        assert_eq!(Refusal::read("nonsense"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,400}") {
            prop_assert!(Signature::read(&text).is_none_or(|signed| text.starts_with(signed.words)));
            let refusal = Refusal::read(&text);
            prop_assert!(refusal.is_none_or(|(refusal, _)| text.starts_with(refusal.label())));
        }

        #[test]
        fn every_signature_is_read_as_it_was_written(
            sender in "[ -~ä]{1,60}", receiver in "[a-z%]{1,60}", counter: u64, life: u64, body: Hash, mac: Mac,
        ) {
            let written = Signature {
                sender: NodeId::parse(&sender).unwrap(),
                receiver: NodeId::parse(&receiver).unwrap(),
                life: Incarnation(life),
                challenge: None,
                counter,
                body,
                ..signature()
            };
            let mut header = written.words();
            header.push(' ');
            push_hex(&mut header, &mac);
            let read = Signature::read(&header).unwrap();
            prop_assert_eq!(read.signature, written);
            prop_assert_eq!(read.mac, mac);
        }
    }
}
