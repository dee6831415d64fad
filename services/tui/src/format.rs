//! What each event looks like. Every function gives one output, without the last line end.
//!
//! Texts come from strangers: control characters, which could drive the terminal, are replaced, and the lines of a
//! message after its first are indented, so that nobody can imitate another's line.

use chat_client::{Closed, MemberChange, NewMessage};

/// Names that are listed at a join.
const NAMES: usize = 20;

/// `[06:07:09] otto: ahoy`, in the time of the message (UTC).
#[must_use]
pub fn message(message: &NewMessage) -> String {
    let time = message.timestamp.get(11..19).unwrap_or("--:--:--");
    format!(
        "[{}] {}: {}",
        clean(time),
        one_line(&message.username),
        clean(&message.content)
    )
}

/// `-- joined hall (2 members: ines, otto)`.
#[must_use]
pub fn joined(room: &str, members: &[String]) -> String {
    let mut names: Vec<String> = members.iter().map(|name| one_line(name)).collect();
    names.sort_unstable();
    let more = if names.len() > NAMES { ", …" } else { "" };
    names.truncate(NAMES);
    let word = if members.len() == 1 { "member" } else { "members" };
    format!(
        "-- joined {} ({} {word}: {}{more})",
        one_line(room),
        members.len(),
        names.join(", ")
    )
}

/// `-- otto joined`.
#[must_use]
pub fn came(change: &MemberChange) -> String {
    format!("-- {} joined", one_line(&change.username))
}

/// `-- otto left (User disconnected)`.
#[must_use]
pub fn went(change: &MemberChange) -> String {
    match &change.reason {
        Some(reason) => format!("-- {} left ({})", one_line(&change.username), one_line(reason)),
        None => format!("-- {} left", one_line(&change.username)),
    }
}

/// The user was removed from the room.
#[must_use]
pub fn removed(change: &MemberChange) -> String {
    format!(
        "-- you were removed ({})",
        one_line(change.reason.as_deref().unwrap_or("no reason given"))
    )
}

/// The connection is gone.
#[must_use]
pub fn lost(closed: &Closed) -> String {
    format!("-- connection lost: {}", one_line(&closed.to_string()))
}

/// There is no connection, and another attempt follows.
#[must_use]
pub fn reconnecting(why: &str) -> String {
    format!("-- reconnecting: {}", one_line(why))
}

/// The session is where it was before the connection was lost.
#[must_use]
pub fn connected_again() -> String {
    "-- connected again".into()
}

/// Whether the admin node of the room answers.
#[must_use]
pub fn degraded(degraded: bool) -> String {
    if degraded {
        "-- the room does not answer for now; lines wait".into()
    } else {
        "-- the room answers again".into()
    }
}

/// Messages are missing, or come once more, because what was known of the room is void.
#[must_use]
pub fn resynced(from: u64, reason: &str) -> String {
    format!("-- the room goes on with message {from} ({})", one_line(reason))
}

/// The server does not speak the extended dialect, and said so.
#[must_use]
pub fn fallback(why: &str) -> String {
    format!("-- classic dialect: {}", one_line(why))
}

/// Something did not work.
#[must_use]
pub fn trouble(what: &str) -> String {
    format!("!! {}", one_line(what))
}

/// The line certainly did not reach the room.
#[must_use]
pub fn not_sent(reason: &str, text: &str) -> String {
    format!("!! {}; not sent: {}", one_line(reason), clean(text))
}

/// The line may have reached the room.
#[must_use]
pub fn outcome_unknown(text: &str) -> String {
    format!("!! outcome unknown: {}", clean(text))
}

fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push('\t'),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(username: &str, content: &str, timestamp: &str) -> String {
        message(&NewMessage {
            message_id: "m".into(),
            room_id: "r".into(),
            username: username.into(),
            content: content.into(),
            seq: 1,
            timestamp: timestamp.into(),
        })
    }

    fn change(reason: Option<&str>) -> MemberChange {
        MemberChange {
            room_id: "r".into(),
            username: "otto".into(),
            member_count: 1,
            timestamp: "t".into(),
            reason: reason.map(Into::into),
        }
    }

    #[test]
    fn messages_have_a_time_a_name_and_a_text() {
        assert_eq!(
            said("otto", "ahoy", "2031-04-05T06:07:09.000321+00:00"),
            "[06:07:09] otto: ahoy"
        );
        assert_eq!(
            said("otto", "ahoy", "2031-04-05T06:07:11+00:00"),
            "[06:07:11] otto: ahoy"
        );
        assert_eq!(said("otto", "ahoy", "ööööööööööööööööö"), "[--:--:--] otto: ahoy");
    }

    #[test]
    fn nobody_can_drive_the_terminal_or_imitate_a_line() {
        assert_eq!(
            said(
                "ot\nto\x1b",
                "a\tb\n[00:00:00] ines: c\x1b[2J\r",
                "2031-04-05T06:07:09Z"
            ),
            "[06:07:09] ot\u{fffd}to\u{fffd}: a\tb\n    [00:00:00] ines: c\u{fffd}[2J\u{fffd}"
        );
        assert_eq!(trouble("a\n-- b"), "!! a\u{fffd}-- b");
    }

    #[test]
    fn members_are_listed_in_order_and_not_without_end() {
        let names = |n: usize| (0..n).rev().map(|i| format!("m{i:02}")).collect::<Vec<_>>();
        assert_eq!(joined("hall", &names(1)), "-- joined hall (1 member: m00)");
        assert_eq!(joined("hall", &names(3)), "-- joined hall (3 members: m00, m01, m02)");
        let many = joined("hall", &names(21));
        assert!(
            many.starts_with("-- joined hall (21 members: m00, ") && many.ends_with(", m19, …)"),
            "{many}"
        );
    }

    #[test]
    fn comings_and_goings() {
        assert_eq!(came(&change(None)), "-- otto joined");
        assert_eq!(went(&change(None)), "-- otto left");
        assert_eq!(
            went(&change(Some("User disconnected"))),
            "-- otto left (User disconnected)"
        );
        assert_eq!(removed(&change(Some("Inactivity"))), "-- you were removed (Inactivity)");
        let closed = Closed {
            code: Some(1012),
            reason: "node is restarting".into(),
        };
        assert_eq!(
            lost(&closed),
            "-- connection lost: closed with 1012: node is restarting"
        );
    }

    #[test]
    fn what_happens_to_the_connection() {
        assert_eq!(
            reconnecting("ws://a: closed with 1012\n"),
            "-- reconnecting: ws://a: closed with 1012\u{fffd}"
        );
        assert_eq!(degraded(true), "-- the room does not answer for now; lines wait");
        assert_eq!(degraded(false), "-- the room answers again");
        assert_eq!(resynced(7, "trimmed"), "-- the room goes on with message 7 (trimmed)");
        assert_eq!(
            fallback("Unknown message type: hello"),
            "-- classic dialect: Unknown message type: hello"
        );
    }

    #[test]
    fn unsent_text_stays_visible() {
        assert_eq!(
            not_sent("You are not a member", "hello"),
            "!! You are not a member; not sent: hello"
        );
        assert_eq!(outcome_unknown("hello"), "!! outcome unknown: hello");
    }
}
