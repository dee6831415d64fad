//! What nodes say of a deletion.

use super::*;

#[test]
fn items_of_a_deletion() {
    let transaction = || TransactionId::parse("t-1").unwrap();
    let room_name = || RoomName::parse("hall").unwrap();
    let initiator = || user("ines");
    let vote = |vote| DeletionItem::Vote {
        transaction: transaction(),
        vote,
    };
    let refused = |reject, transaction| DeletionItem::Refused {
        request: 3,
        reject,
        transaction,
    };
    let progress = |phase| DeletionItem::Progress {
        request: 3,
        progress: Progress {
            phase,
            ready: vec![node("node2")],
            waiting_for: vec![node("node3"), node("node4")],
        },
    };
    for (item, expected) in [
        (
            DeletionItem::Delete {
                request: 3,
                session: SessionId(9),
                user: initiator(),
            },
            r#""kind":"delete","request":3,"session":9,"user":"ines""#,
        ),
        (
            vote(Vote::Ready),
            r#""kind":"delete_vote","transaction":"t-1","ready":true"#,
        ),
        (
            vote(Vote::Abort(None)),
            r#""kind":"delete_vote","transaction":"t-1","ready":false"#,
        ),
        (
            vote(Vote::Abort(Some("busy".into()))),
            r#""kind":"delete_vote","transaction":"t-1","ready":false,"reason":"busy""#,
        ),
        (
            DeletionItem::Done {
                transaction: transaction(),
                obeyed: true,
            },
            r#""kind":"delete_done","transaction":"t-1","obeyed":true"#,
        ),
        (
            DeletionItem::Prepare {
                transaction: transaction(),
                initiator: initiator(),
                room_name: room_name(),
            },
            r#""kind":"delete_prepare","transaction":"t-1","initiator":"ines","name":"hall""#,
        ),
        (
            DeletionItem::Commit {
                transaction: transaction(),
                room_name: room_name(),
            },
            r#""kind":"delete_commit","transaction":"t-1","name":"hall""#,
        ),
        (
            DeletionItem::Rollback {
                transaction: transaction(),
            },
            r#""kind":"delete_rollback","transaction":"t-1""#,
        ),
        (
            DeletionItem::Initiated {
                request: 3,
                transaction: transaction(),
                initiator: initiator(),
            },
            r#""kind":"delete_initiated","request":3,"transaction":"t-1","initiator":"ines""#,
        ),
        (
            progress(Phase::Preparing),
            r#""kind":"delete_progress","request":3,"phase":"preparing","ready":["node2"],"waiting_for":["node3","node4"]"#,
        ),
        (
            progress(Phase::Committing),
            r#""kind":"delete_progress","request":3,"phase":"committing","ready":["node2"],"waiting_for":["node3","node4"]"#,
        ),
        (
            progress(Phase::RollingBack),
            r#""kind":"delete_progress","request":3,"phase":"rolling_back","ready":["node2"],"waiting_for":["node3","node4"]"#,
        ),
        (
            DeletionItem::Deleted {
                request: 3,
                transaction: transaction(),
            },
            r#""kind":"deleted","request":3,"transaction":"t-1""#,
        ),
        (
            refused(Reject::Unauthorized, None),
            r#""kind":"delete_refused","request":3,"code":"UNAUTHORIZED","text":"Only the room creator can delete the room""#,
        ),
        (
            refused(Reject::deleted_already(Phase::Preparing), None),
            r#""kind":"delete_refused","request":3,"code":"INVALID_STATE","text":"Room is in DELETION_PENDING state, cannot delete""#,
        ),
        (
            refused(Reject::DeletionNotStarted, None),
            r#""kind":"delete_refused","request":3,"code":"INTERNAL_ERROR","text":"Failed to start deletion transaction""#,
        ),
        (
            refused(
                Reject::DeletionFailed("Node node3 timed out".into()),
                Some(transaction()),
            ),
            r#""kind":"delete_refused","request":3,"code":"DELETION_FAILED","text":"Node node3 timed out","transaction":"t-1""#,
        ),
    ] {
        assert_eq!(fields(PeerBody::Deletion(item)), format!("{{{expected}}}"));
    }
}

#[test]
fn calls_about_a_deletion() {
    use chat_protocol::peer_call::deletion::{self, OriginalDeletion};
    let transaction = TransactionId::parse("t-1").unwrap();
    let params = deletion::status_params(&room(), &transaction);
    assert_eq!(deletion::status_from_params(&params), Ok((room(), transaction.clone())));
    assert_eq!(
        deletion::status_from_params(&params[..1]),
        Err(PeerFault::InvalidParams)
    );
    for fate in [
        Fate::Pending,
        Fate::Aborted,
        Fate::NoRoom,
        Fate::Committed {
            transaction: transaction.clone(),
            room_name: RoomName::parse("hall").unwrap(),
        },
    ] {
        assert_eq!(deletion::read_status(&deletion::status(&fate)), Ok(fate));
    }
    let committed = Fate::Committed {
        transaction: transaction.clone(),
        room_name: RoomName::parse("hall").unwrap(),
    };
    assert_eq!(
        write_response(&deletion::status(&committed)),
        r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>fate</name><value><string>committed</string></value></member><member><name>room_name</name><value><string>hall</string></value></member><member><name>transaction_id</name><value><string>t-1</string></value></member></struct></value></param></params></methodResponse>"#
    );
    for (place, text) in [
        (Place::Hosted, "<boolean>1</boolean>"),
        (Place::Elsewhere, "<boolean>0</boolean>"),
        (Place::Deleted, "<name>deleted</name><value><boolean>1</boolean>"),
    ] {
        let value = peer_call::located(place);
        assert!(write_response(&value).contains(text), "{place:?}");
        assert_eq!(peer_call::read_located(&value), Ok(place));
    }
    let original = |third: Option<&str>| OriginalDeletion {
        room: room(),
        transaction: transaction.clone(),
        third: third.map(str::to_owned),
    };
    for third in [None, Some("node1")] {
        let params = original(third).to_params();
        assert_eq!(OriginalDeletion::from_params(&params), Ok(original(third)));
    }
    let mut nil = original(None).to_params();
    nil.push(Value::Nil);
    assert_eq!(OriginalDeletion::from_params(&nil), Ok(original(None)));
    nil.push(Value::Nil);
    assert_eq!(OriginalDeletion::from_params(&nil), Err(PeerFault::InvalidParams));
    let member = |name: &str, value: &str| {
        format!("<member><name>{name}</name><value><string>{value}</string></value></member>")
    };
    let answer = |members: &str| {
        format!(
            r#"<?xml version="1.0"?><methodResponse><params><param><value><struct>{members}</struct></value></param></params></methodResponse>"#
        )
    };
    let common = member("node_id", "node2");
    for (vote, before, after) in [
        (Vote::Ready, String::new(), member("vote", "READY")),
        (Vote::Abort(None), String::new(), member("vote", "ABORT")),
        (
            Vote::Abort(Some("no".into())),
            member("reason", "no"),
            member("vote", "ABORT"),
        ),
    ] {
        let value = deletion::voted(&vote, &node("node2"), &transaction);
        assert_eq!(
            write_response(&value),
            answer(&format!("{common}{before}{}{after}", member("transaction_id", "t-1")))
        );
        assert_eq!(deletion::read_vote(&value), Ok(vote));
    }
    // The original takes everything for a yes that does not say no.
    assert_eq!(deletion::read_vote(&Value::Struct([].into())), Ok(Vote::Ready));
    assert_eq!(deletion::read_vote(&Value::Nil), Err(PeerFault::InvalidParams));
    assert_eq!(
        write_response(&deletion::finished(true, &node("node2"))),
        answer(&format!(
            "{common}<member><name>success</name><value><boolean>1</boolean></value></member>"
        ))
    );
}
