//! Resume tokens: how a session is recognised when it comes back on another connection.
//!
//! A token is made by the node that a session first spoke to and means nothing by itself: the rooms in which the session
//! sits know it by a hash, the [`SeatKey`]. So no node keeps a list of tokens, and who reads the seats on a disk cannot
//! come back in anybody's name.

use chat_protocol::ids::{SeatKey, UserName};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

/// Hexadecimal digits of each part of a token.
const PART: usize = 32;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(PART / 2).fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Names the user, so that a token of another one is known to be that without asking any room.
fn mark(user: &UserName) -> String {
    hex(&Sha256::digest(user.as_str()))
}

/// A new token for `user`: 122 random bits behind the user's mark.
#[must_use]
pub fn new_token(user: &UserName) -> Arc<str> {
    format!("{}.{}", mark(user), uuid::Uuid::new_v4().simple()).into()
}

/// True if `token` has the form of a token of `user`. Whether it opens anything is known to the rooms.
#[must_use]
pub fn belongs_to(token: &str, user: &UserName) -> bool {
    match token.split_once('.') {
        Some((found, secret)) => {
            found == mark(user) && secret.len() == PART && secret.bytes().all(|b| b.is_ascii_hexdigit())
        }
        None => false,
    }
}

/// By what rooms know the seats of a session with `token`.
#[must_use]
pub fn seat_key(token: &str) -> SeatKey {
    SeatKey::parse(&hex(&Sha256::digest(token))).expect("hexadecimal digits are a valid id")
}

/// An id that is the same whenever the same creator asks the same node with the same request id.
#[must_use]
pub fn repeatable_id(parts: [&str; 3]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_user_and_to_nobody_else() {
        let user = |name| UserName::parse(name).unwrap();
        let token = new_token(&user("ines"));
        assert!(belongs_to(&token, &user("ines")));
        assert!(!belongs_to(&token, &user("otto")));
        for bad in [
            "",
            ".",
            "abc",
            &token[1..],
            &token[..token.len() - 1],
            &format!("{token}0"),
        ] {
            assert!(!belongs_to(bad, &user("ines")), "{bad}");
        }
        assert_ne!(new_token(&user("ines")), token);
    }

    #[test]
    fn a_key_does_not_show_its_token_and_is_always_the_same() {
        let token = new_token(&UserName::parse("ines").unwrap());
        let key = seat_key(&token);
        assert_eq!(key, seat_key(&token));
        let (mark, secret) = token.split_once('.').unwrap();
        assert!(!key.as_str().contains(mark) && !key.as_str().contains(secret));
    }

    #[test]
    fn a_repeatable_id_depends_on_every_part() {
        let id = repeatable_id(["node1", "ines", "r"]);
        assert_eq!(id, repeatable_id(["node1", "ines", "r"]));
        assert_ne!(id, repeatable_id(["node1", "inesr", ""]));
        assert_eq!(id.len(), 36);
    }
}
