//! Hand-made bad histories, and what is found in them.

use super::*;

fn seen(seq: u64, content: &str) -> Seen {
    Seen {
        seq,
        message_id: format!("m-{content}"),
        content: content.into(),
    }
}

fn ack(seq: u64, content: &str) -> Acknowledged {
    Acknowledged {
        sender: 0,
        seq,
        message_id: format!("m-{content}"),
        content: content.into(),
    }
}

fn room(contents: &[&str]) -> Room {
    let mut room = Room::new("r");
    room.extend((1..).zip(contents).map(|(seq, content)| seen(seq, content)).collect());
    room
}

#[test]
fn a_good_history_is_good() {
    let mut room = room(&["a", "b", "c"]);
    assert_eq!(room.check_log(), []);
    assert_eq!(room.check_acknowledged(&[ack(1, "a"), ack(3, "c")]), []);
    assert_eq!(
        room.check_shown("x", 1, &[seen(1, "a"), seen(2, "b"), seen(3, "c")]),
        []
    );
    assert_eq!(room.find("m-b"), Some(2));
    assert_eq!(room.find("m-z"), None);
}

#[test]
fn one_lost_is_found() {
    let mut room = room(&["a", "c"]);
    assert_eq!(
        room.check_acknowledged(&[ack(1, "a"), ack(2, "b"), ack(3, "d")]),
        [Violation::Lost(ack(2, "b")), Violation::Lost(ack(3, "d"))]
    );
}

#[test]
fn one_doubled_is_found() {
    let mut room = room(&["a", "b", "a"]);
    assert_eq!(room.check_log(), [Violation::Doubled("a".into(), Some(1), 3)]);
    assert_eq!(room.check_log(), [], "once");
}

#[test]
fn two_swapped_are_found() {
    let mut room = room(&["b", "a"]);
    assert_eq!(
        room.check_acknowledged(&[ack(2, "a"), ack(1, "b")]),
        [Violation::Reordered(2, 1)]
    );
    assert_eq!(
        room.check_shown("x", 1, &[seen(2, "a"), seen(1, "b")]),
        [
            Violation::Skipped("x".into(), 1, 2),
            Violation::Skipped("x".into(), 3, 1)
        ]
    );
}

#[test]
fn one_changed_is_found() {
    let mut room = Room::new("r");
    room.extend(vec![Seen {
        content: "A".into(),
        ..seen(1, "a")
    }]);
    assert_eq!(
        room.check_acknowledged(&[ack(1, "a")]),
        [Violation::Changed(ack(1, "a"), "A".into())]
    );
    assert_eq!(
        room.check_shown("x", 1, &[seen(1, "a")]),
        [Violation::ShownUncommitted("x".into(), seen(1, "a"))]
    );
}

#[test]
fn one_shown_before_its_commit_is_found() {
    let room = room(&["a", "c"]);
    assert_eq!(
        room.check_shown("x", 2, &[seen(2, "b")]),
        [Violation::ShownUncommitted("x".into(), seen(2, "b"))]
    );
}

#[test]
fn one_acknowledged_twice_with_different_numbers_is_found() {
    let mut room = room(&["a", "b", "a"]);
    assert_eq!(
        room.check_acknowledged(&[ack(1, "a"), ack(3, "a")]),
        [Violation::AcknowledgedTwice("a".into(), 1, 3)]
    );
}

#[test]
fn a_hole_is_found() {
    let mut room = Room::new("r");
    room.extend(vec![seen(1, "a"), seen(3, "c")]);
    assert_eq!(room.check_log(), [Violation::Hole(2)]);
}

#[test]
fn a_hole_is_found_once_however_much_is_behind_it() {
    let mut room = Room::new("r");
    room.extend(vec![seen(1, "a"), seen(3, "c"), seen(4, "d")]);
    assert_eq!(room.check_log(), [Violation::Hole(2)]);
}

#[test]
fn what_is_forgotten_is_found_if_it_comes_again() {
    let mut room = room(&["a 1", "b", "a 2", "c"]);
    assert_eq!(room.check_acknowledged(&[ack(2, "b"), ack(4, "c")]), []);
    room.forget(3);
    assert_eq!((room.head(), room.at(3), room.at(4)), (4, None, Some(&seen(4, "c"))));
    assert_eq!((room.find("m-b"), room.find("m-c")), (None, Some(4)));
    room.extend(vec![seen(5, "a 1"), seen(6, "b"), seen(7, "c")]);
    assert_eq!(
        room.check_log(),
        [
            Violation::Doubled("a 1".into(), None, 5),
            Violation::Doubled("b".into(), None, 6),
            Violation::Doubled("c".into(), Some(4), 7)
        ]
    );
    assert_eq!(
        room.check_acknowledged(&[ack(7, "c")]),
        [Violation::AcknowledgedTwice("c".into(), 4, 7)]
    );
    room.forget(100);
    assert_eq!(room.head(), 7, "what was not read is not forgotten");
}
