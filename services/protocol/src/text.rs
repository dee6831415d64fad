//! Text as it may travel on every path: through JSON to clients and through XML 1.0 between nodes.
//!
//! A character that XML forbids would reach some members and not others, so it is refused at the edge; carriage returns
//! become line feeds before numbering, because XML parsers do the same on the way.

use crate::limits::MAX_REFUSAL_BYTES;
use std::borrow::Cow;

/// Stands where a lone surrogate stood in JSON. It is itself forbidden, so the value that holds it is refused by name
/// instead of the whole frame being refused as "not JSON".
pub const LONE_SURROGATE_MARK: char = '\u{FFFE}';

/// True if XML 1.0 cannot carry `c` (section 2.2 of the recommendation, production `Char`).
#[must_use]
pub const fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// The first forbidden character of `text`, if there is one.
#[must_use]
pub fn first_forbidden(text: &str) -> Option<char> {
    // Bytes first: nearly every text has none of the lead bytes, and a byte scan is several times faster than decoding.
    let suspicious = text.bytes().any(|b| b < 0x20 || b == 0xEF);
    if suspicious {
        text.chars().find(|c| is_forbidden(*c))
    } else {
        None
    }
}

/// Turns CR LF and lone CR into LF.
#[must_use]
pub fn normalise_newlines(text: &str) -> Cow<'_, str> {
    if !text.contains('\r') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\r') {
        out.push_str(&rest[..at]);
        out.push('\n');
        rest = &rest[at + 1..];
        rest = rest.strip_prefix('\n').unwrap_or(rest);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The longest prefix of `text` that has at most `max` bytes and ends between two characters.
#[must_use]
pub fn prefix(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What another node says to explain itself, as far as a client can be shown it.
pub(crate) fn explanation(said: &str) -> String {
    prefix(said, MAX_REFUSAL_BYTES)
        .chars()
        .filter(|c| !is_forbidden(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_become_line_feeds() {
        assert_eq!(normalise_newlines("a\r\nb\rc\nd\r"), "a\nb\nc\nd\n");
        assert!(matches!(normalise_newlines("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn tab_line_feed_and_astral_characters_pass() {
        assert_eq!(first_forbidden("a\tb\nc\u{7f}\u{85}\u{2028}\u{1F600}\u{FFFD}"), None);
        for bad in ['\0', '\u{8}', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(first_forbidden(&format!("x{bad}y")), Some(bad));
        }
    }

    #[test]
    fn a_prefix_never_cuts_a_character() {
        assert_eq!(prefix("äöü", 3), "ä");
        assert_eq!(prefix("abc", 9), "abc");
    }
}
