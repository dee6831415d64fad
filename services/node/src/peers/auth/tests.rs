//! Calls from one node to another, judged on both sides without a socket between them.

use super::gate::{Gate, Who};
use super::keys::{KeyRing, Keys};
use super::seal::{Seal, Sent, Verdict};
use super::{Auth, hash};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use chat_protocol::ids::{ClusterId, Incarnation, NodeId};
use chat_protocol::limits::REPLAY_WINDOW;
use chat_protocol::peer_auth::{Refusal, SIGNATURE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::sync::Arc;

const OLD: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
const BODY: &[u8] = b"<methodCall/>";

fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

fn auth_of(me: &str, life: u64, keys: &str, cluster: &str, exempt: &[&str]) -> Arc<Auth> {
    Arc::new(Auth {
        me: node(me),
        life: Incarnation(life),
        cluster: ClusterId::parse(cluster).unwrap(),
        keys: Arc::new(KeyRing::new(Keys::parse(keys).unwrap())),
        exempt: exempt.iter().map(|id| node(id)).collect(),
        metrics: Metrics::new(&node(me)).peer_auth,
    })
}

fn gate(keys: &str) -> Gate {
    Gate::new(Some(auth_of("b", 1, keys, "chat", &[])))
}

fn seal(life: u64, keys: &str) -> Seal {
    Seal::new(auth_of("a", life, keys, "chat", &[]), node("b"))
}

/// What the gate says to a head and a body: who it is, or the answer that refuses.
fn ask(gate: &Gate, headers: &HeaderMap, body: &[u8]) -> Result<Who, Box<Response<Bytes>>> {
    gate.admit(&Method::POST, "/RPC2", headers)
        .and_then(|admitted| gate.accept(admitted, &hash(body)))
        .map(|(who, _)| who)
        .map_err(|refused| Box::new(refused.response()))
}

fn head(sent: &Sent) -> HeaderMap {
    HeaderMap::from_iter([(SIGNATURE.parse().unwrap(), sent.header.clone())])
}

fn sign(seal: &Seal) -> Sent {
    seal.sign("/RPC2", &hash(BODY)).unwrap()
}

/// Says something once, without trying again.
fn once(seal: &Seal, gate: &Gate) -> Result<Who, Verdict> {
    let sent = sign(seal);
    ask(gate, &head(&sent), BODY).map_err(|answer| judged(seal, &sent, &answer))
}

fn judged(seal: &Seal, sent: &Sent, answer: &Response<Bytes>) -> Verdict {
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    seal.judge(sent, answer.status(), answer.headers(), answer.body())
}

/// A seal whose sender has been heard in this life.
fn introduced(gate: &Gate, life: u64) -> Seal {
    let seal = seal(life, OLD);
    assert_eq!(
        once(&seal, gate),
        Err(Verdict::SignAnew),
        "the first call knows no challenge"
    );
    assert_eq!(once(&seal, gate), Ok(Who::Node(node("a"), Incarnation(life))));
    seal
}

#[test]
fn a_call_is_taken_after_one_challenge_and_the_same_bytes_never_again() {
    let gate = gate(OLD);
    let seal = introduced(&gate, 1);
    let sent = sign(&seal);
    assert!(ask(&gate, &head(&sent), BODY).is_ok());
    for _ in 0..2 {
        let answer = ask(&gate, &head(&sent), BODY).unwrap_err();
        assert_eq!(judged(&seal, &sent, &answer), Verdict::Refused(Refusal::Replay));
    }
}

#[test]
fn what_was_recorded_before_a_restart_of_the_receiver_is_stale_and_the_next_call_is_taken() {
    let before = gate(OLD);
    let seal = introduced(&before, 1);
    let recorded = sign(&seal);
    assert!(ask(&before, &head(&recorded), BODY).is_ok());
    // The same life again, as it is when its clock stands still: nothing depends on it.
    let after = gate(OLD);
    assert!(ask(&after, &head(&recorded), BODY).is_err());
    assert_eq!(once(&seal, &after), Err(Verdict::SignAnew));
    assert!(once(&seal, &after).is_ok());
    assert!(
        ask(&after, &head(&recorded), BODY).is_err(),
        "also once the sender was heard"
    );
}

#[test]
fn what_was_recorded_before_a_restart_of_the_sender_is_stale_whatever_its_clock_says() {
    for life in [2, 1, 0] {
        let gate = gate(OLD);
        let former = introduced(&gate, 1);
        let (recorded, late) = (sign(&former), sign(&former));
        assert!(ask(&gate, &head(&recorded), BODY).is_ok());
        let seal = introduced(&gate, life);
        assert!(ask(&gate, &head(&recorded), BODY).is_err());
        assert!(ask(&gate, &head(&late), BODY).is_err(), "nor what was never sent");
        assert!(once(&seal, &gate).is_ok(), "and neither ends the session");
    }
}

#[test]
fn calls_may_overtake_each_other_within_the_window_and_not_beyond() {
    let gate = gate(OLD);
    let seal = introduced(&gate, 1);
    let (first, second) = (sign(&seal), sign(&seal));
    for _ in 0..REPLAY_WINDOW - 3 {
        let _skipped = sign(&seal);
    }
    assert!(once(&seal, &gate).is_ok());
    assert!(
        ask(&gate, &head(&second), BODY).is_ok(),
        "the oldest that the window knows"
    );
    assert!(once(&seal, &gate).is_ok());
    let answer = ask(&gate, &head(&first), BODY).unwrap_err();
    assert_eq!(judged(&seal, &first, &answer), Verdict::Refused(Refusal::Replay));
}

#[test]
fn a_changed_body_path_method_or_word_is_refused() {
    let gate = gate(OLD);
    let seal = introduced(&gate, 1);
    let sent = sign(&seal);
    let answer = ask(&gate, &head(&sent), b"<methodCall />").unwrap_err();
    assert_eq!(judged(&seal, &sent, &answer), Verdict::Refused(Refusal::OtherBody));
    assert!(gate.admit(&Method::POST, "/", &head(&sent)).is_err());
    assert!(gate.admit(&Method::PUT, "/RPC2", &head(&sent)).is_err());
    let text = sent.header.to_str().unwrap();
    let changed = HeaderValue::from_str(&text.replacen(" a ", " c ", 1)).unwrap();
    let answer = ask(
        &gate,
        &HeaderMap::from_iter([(SIGNATURE.parse().unwrap(), changed)]),
        BODY,
    )
    .unwrap_err();
    assert_eq!(judged(&seal, &sent, &answer), Verdict::Refused(Refusal::UnknownKey));
    assert!(
        ask(&gate, &head(&sent), BODY).is_ok(),
        "what was not taken may still come"
    );
}

#[test]
fn unsigned_malformed_doubled_and_foreign_calls_are_refused_by_name_and_counted() {
    let metrics = Metrics::new(&node("b"));
    let mut auth = auth_of("b", 1, OLD, "chat", &[]);
    Arc::get_mut(&mut auth).unwrap().metrics = metrics.peer_auth.clone();
    let gate = Gate::new(Some(auth));
    let of = |me: &str, to: &str, key: &str, cluster: &str| Seal::new(auth_of(me, 1, key, cluster, &[]), node(to));
    for (seal, expected) in [
        (of("a", "b", NEW, "chat"), Refusal::UnknownKey),
        (of("a", "b", OLD, "other"), Refusal::OtherCluster),
        (of("a", "c", OLD, "chat"), Refusal::OtherReceiver),
        (of("b", "b", OLD, "chat"), Refusal::OtherReceiver),
    ] {
        assert_eq!(once(&seal, &gate), Err(Verdict::Refused(expected)));
    }
    let seal = seal(1, OLD);
    let sent = sign(&seal);
    let answer = ask(&gate, &HeaderMap::new(), BODY).unwrap_err();
    assert_eq!(judged(&seal, &sent, &answer), Verdict::Refused(Refusal::Unsigned));
    let mut doubled = head(&sent);
    doubled.append(SIGNATURE, sent.header.clone());
    let answer = ask(&gate, &doubled, BODY).unwrap_err();
    assert_eq!(judged(&seal, &sent, &answer), Verdict::Refused(Refusal::Malformed));
    let text = metrics.text().unwrap();
    for (reason, count) in [
        ("unknown_key", 1),
        ("other_cluster", 1),
        ("other_receiver", 2),
        ("unsigned", 1),
        ("malformed", 1),
    ] {
        let line = format!("chat_peer_calls_refused_total{{reason=\"{reason}\",node=\"b\"}} {count}");
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn an_answer_is_believed_only_as_it_was_signed_and_only_to_its_call() {
    let gate = gate(OLD);
    let seal = introduced(&gate, 1);
    let answer_to = |sent: &Sent| {
        let admitted = gate.admit(&Method::POST, "/RPC2", &head(sent)).unwrap();
        let (_, sealer) = gate.accept(admitted, &hash(BODY)).unwrap();
        let mut answer = Response::new(Bytes::from_static(b"yes"));
        sealer.unwrap().seal(&mut answer, &hash(b"yes"));
        answer
    };
    let (one, two) = (sign(&seal), sign(&seal));
    let (to_one, to_two) = (answer_to(&one), answer_to(&two));
    let judge = |answer: &Response<Bytes>, body: &[u8]| seal.judge(&one, answer.status(), answer.headers(), body);
    assert_eq!(judge(&to_one, b"yes"), Verdict::Believed);
    assert_eq!(judge(&to_one, b"no"), Verdict::Unsigned);
    assert_eq!(judge(&to_two, b"yes"), Verdict::Unsigned);
    assert_eq!(
        seal.judge(&one, StatusCode::NOT_FOUND, to_one.headers(), b"yes"),
        Verdict::Unsigned
    );
    assert_eq!(
        seal.judge(&one, StatusCode::OK, &HeaderMap::new(), b"yes"),
        Verdict::Unsigned
    );
    let forged = HeaderMap::from_iter([(
        "x-chat-refused".parse().unwrap(),
        HeaderValue::from_static("stale 00000000000000000000000000000000"),
    )]);
    assert_eq!(
        seal.judge(&one, StatusCode::UNAUTHORIZED, &forged, b""),
        Verdict::Unsigned,
        "nobody else may say what is to be signed"
    );
}

#[test]
fn both_keys_are_believed_and_the_first_one_signs_so_that_a_change_passes_unnoticed() {
    let both = |one: &str, two: &str| format!("{one}\n{two}\n");
    for (sender, receiver) in [
        (OLD.to_owned(), both(OLD, NEW)),
        (both(OLD, NEW), OLD.to_owned()),
        (both(NEW, OLD), both(OLD, NEW)),
        (both(OLD, NEW), both(NEW, OLD)),
        (both(NEW, OLD), NEW.to_owned()),
        (NEW.to_owned(), both(NEW, OLD)),
    ] {
        let (seal, gate) = (seal(1, &sender), gate(&receiver));
        assert_eq!(once(&seal, &gate), Err(Verdict::SignAnew));
        assert!(once(&seal, &gate).is_ok());
    }
}

#[test]
fn whoever_need_not_sign_is_let_in_as_such_and_a_bad_signature_is_not() {
    let gate = Gate::new(Some(auth_of("b", 1, OLD, "chat", &["old"])));
    assert_eq!(ask(&gate, &HeaderMap::new(), BODY).unwrap(), Who::Exempt);
    assert_eq!(once(&seal(1, NEW), &gate), Err(Verdict::Refused(Refusal::UnknownKey)));
    assert_eq!(ask(&Gate::new(None), &HeaderMap::new(), BODY).unwrap(), Who::Anyone);
}
