//! The queue of an original node: order, bounds, and what is taken back.

use super::*;
use chat_protocol::ids::{MessageId, Seq, UserName};
use chat_protocol::message_frame::Message;
use chat_protocol::server_frame::LeaveReason;
use chat_protocol::timestamp::Timestamp;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn room(id: &str) -> RoomId {
    RoomId::parse(id).unwrap()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn message(id: &str, seq: u64) -> Job {
    let frame = MessageFrame::encode(&Message {
        message_id: MessageId::parse("m").unwrap(),
        room_id: room(id),
        username: user("otto"),
        content: "hi".into(),
        seq: Seq(seq),
        timestamp: Timestamp(0),
    });
    Job::new(room(id), What::Message(frame, 0))
}

fn event(id: &str, name: &str, left: Option<LeaveReason>) -> Job {
    let event = MemberEvent {
        room_id: room(id),
        username: user(name),
        member_count: 1,
        timestamp: Timestamp(0),
        left,
        version: 0,
    };
    Job::new(room(id), What::Event(event))
}

/// What was told, in its order.
struct Told<T>(Arc<Mutex<VecDeque<T>>>);

impl<T> Clone for Told<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Told<T> {
    fn nothing() -> Self {
        Self(Arc::new(Mutex::new(VecDeque::new())))
    }

    fn tell(&self, what: T) {
        self.0.lock().unwrap().push_back(what);
    }

    fn next(&self) -> Option<T> {
        self.0.lock().unwrap().pop_front()
    }
}

type Outcomes = Told<(u32, Result<Value, NoAnswer>)>;

/// A request with a number that comes back with its outcome.
fn request(number: u32, until: Instant, outcomes: &Outcomes) -> Job {
    let outcomes = outcomes.clone();
    let done: Done = Box::new(move |result| outcomes.tell((number, result)));
    Job::new(
        room("r"),
        What::Request("forward_message", vec![], Often::Once(until, done)),
    )
}

fn goodbye(name: &str) -> Job {
    Job::new(
        room("r"),
        What::Request(
            "leave_room",
            vec![Value::String(name.into())],
            Often::UntilAnswered(None),
        ),
    )
}

fn queue_of(jobs: Vec<Job>) -> Queue {
    let mut queue = Queue::new(1 << 20);
    for job in jobs {
        assert!(queue.push(job).is_ok());
    }
    queue
}

fn pushed(queue: &mut Queue, job: Job) -> bool {
    queue.push(job).is_ok()
}

/// What the next call says, as a word.
fn begin(queue: &mut Queue) -> Option<String> {
    let (_, params) = queue.begin(Instant::now(), &mut Follow::default())?;
    Some(match params.as_slice() {
        [Value::String(room), Value::Struct(message)] => format!("{room} {:?}", message["sequence_number"]),
        [Value::String(room), Value::String(kind), _] => format!("{room} {kind}"),
        [Value::String(name)] => format!("goodbye {name}"),
        _ => "request".into(),
    })
}

/// Ends the call in flight; true if it is tried again.
fn end(queue: &mut Queue, ended: Ended) -> bool {
    let mut follow = Follow::default();
    let again = queue.end(ended, &mut follow);
    follow.tell();
    again
}

fn answered() -> Ended {
    Ended::Answered(Value::Boolean(true))
}

#[test]
fn nothing_passes_what_is_tried_again() {
    let mut queue = queue_of(vec![message("r", 1), event("r", "vera", None), message("s", 1)]);
    assert_eq!(begin(&mut queue).as_deref(), Some("r Integer(1)"));
    assert!(end(&mut queue, Ended::Undone));
    assert_eq!(begin(&mut queue).as_deref(), Some("r Integer(1)"));
    assert!(end(&mut queue, Ended::Unknown));
    assert_eq!(begin(&mut queue).as_deref(), Some("r Integer(1)"));
    assert!(!end(&mut queue, answered()));
    assert_eq!(begin(&mut queue).as_deref(), Some("r member_joined"));
    assert!(!end(&mut queue, answered()));
    assert_eq!(begin(&mut queue).as_deref(), Some("s Integer(1)"));
    assert!(!end(&mut queue, answered()));
    assert_eq!((begin(&mut queue), queue.bytes()), (None, 0));
}

#[test]
fn whoever_asks_does_not_wait_until_a_busy_room_is_done() {
    let outcomes = Outcomes::nothing();
    let later = Instant::now() + Duration::from_secs(60);
    let mut queue = queue_of(vec![
        message("s", 1),
        message("s", 2),
        message("s", 3),
        goodbye("otto"),
        request(1, later, &outcomes),
    ]);
    let order = [
        "s Integer(1)",
        "goodbye otto",
        "s Integer(2)",
        "request",
        "s Integer(3)",
    ];
    for expected in order {
        assert_eq!(begin(&mut queue).as_deref(), Some(expected));
        end(&mut queue, answered());
    }
    assert_eq!((begin(&mut queue), queue.bytes()), (None, 0));
    // What is tried again lets the other lane go first.
    let mut queue = queue_of(vec![message("s", 1), goodbye("otto"), goodbye("vera")]);
    begin(&mut queue);
    assert!(end(&mut queue, Ended::Fault));
    for expected in ["goodbye otto", "s Integer(1)", "goodbye vera"] {
        assert_eq!(begin(&mut queue).as_deref(), Some(expected));
        end(&mut queue, answered());
    }
}

#[test]
fn the_deletion_of_a_room_does_not_pass_what_the_room_said() {
    let commit = Job::new(
        room("s"),
        What::Request(deletion::COMMIT_DELETE_ROOM, vec![], Often::UntilAnswered(None)),
    );
    let mut queue = queue_of(vec![message("s", 1), message("s", 2), commit]);
    for expected in ["s Integer(1)", "s Integer(2)", "request"] {
        assert_eq!(begin(&mut queue).as_deref(), Some(expected));
        end(&mut queue, answered());
    }
}

#[test]
fn what_never_works_is_given_up_and_stops_nobody() {
    let mut queue = queue_of(vec![message("r", 1), message("r", 2)]);
    for _ in 1..MAX_TRIES {
        begin(&mut queue);
        assert!(end(&mut queue, Ended::Fault));
    }
    begin(&mut queue);
    let mut follow = Follow::default();
    assert!(!queue.end(Ended::Fault, &mut follow));
    assert_eq!(follow.given_up, 1);
    assert_eq!(begin(&mut queue).as_deref(), Some("r Integer(2)"));
}

#[test]
fn a_request_is_made_once_and_its_outcome_is_told() {
    let outcomes = Outcomes::nothing();
    let later = Instant::now() + Duration::from_secs(60);
    for (number, ended, outcome) in [
        (1, answered(), Ok(Value::Boolean(true))),
        (2, Ended::Fault, Err(NoAnswer::Fault)),
        (3, Ended::Undone, Err(NoAnswer::Undone)),
        (4, Ended::Unknown, Err(NoAnswer::Unknown)),
    ] {
        let mut queue = queue_of(vec![request(number, later, &outcomes)]);
        assert_eq!(begin(&mut queue).as_deref(), Some("request"));
        assert!(!end(&mut queue, ended));
        assert_eq!(outcomes.next(), Some((number, outcome)));
        assert_eq!(begin(&mut queue), None);
    }
}

#[test]
fn a_request_whose_time_is_over_is_not_made_but_one_in_flight_ends() {
    let outcomes = Outcomes::nothing();
    let now = Instant::now();
    let soon = now + Duration::from_millis(10);
    let mut queue = queue_of(vec![
        request(1, soon, &outcomes),
        request(2, soon, &outcomes),
        request(3, now + Duration::from_secs(60), &outcomes),
    ]);
    assert_eq!(queue.next_expiry(), Some(soon));
    assert!(queue.begin(now, &mut Follow::default()).is_some());
    let mut follow = Follow::default();
    queue.expire(soon, &mut follow);
    follow.tell();
    assert_eq!(outcomes.next(), Some((2, Err(NoAnswer::Undone))));
    assert!(outcomes.next().is_none());
    end(&mut queue, answered());
    assert_eq!(outcomes.next(), Some((1, Ok(Value::Boolean(true)))));
    begin(&mut queue);
    end(&mut queue, answered());
    assert_eq!(outcomes.next(), Some((3, Ok(Value::Boolean(true)))));
}

#[test]
fn who_came_back_is_not_thrown_out_by_its_own_departure() {
    let left = || event("r", "otto", Some(LeaveReason::Left));
    let mut queue = queue_of(vec![
        left(),
        event("r", "otto", None),
        event("s", "otto", Some(LeaveReason::Left)),
        event("r", "vera", Some(LeaveReason::Left)),
        left(),
    ]);
    let departure = Recalled::Departure(user("otto"));
    begin(&mut queue);
    assert!(queue.is_in_flight(&room("r"), &departure));
    queue.recall(&room("r"), &departure, &mut Follow::default());
    // What is on its way cannot be stopped, but is not repeated.
    assert!(!end(&mut queue, Ended::Unknown));
    assert!(!queue.is_in_flight(&room("r"), &departure));
    for expected in ["r member_joined", "s member_left", "r member_left"] {
        assert_eq!(begin(&mut queue).as_deref(), Some(expected));
        end(&mut queue, answered());
    }
    assert_eq!((begin(&mut queue), queue.bytes()), (None, 0));
}

#[test]
fn messages_under_numbers_that_count_no_more_are_taken_back() {
    let mut queue = queue_of(vec![
        message("r", 1),
        message("s", 1),
        event("r", "vera", None),
        message("r", 2),
    ]);
    queue.recall(&room("r"), &Recalled::Messages, &mut Follow::default());
    assert_eq!(begin(&mut queue).as_deref(), Some("s Integer(1)"));
    end(&mut queue, answered());
    assert_eq!(begin(&mut queue).as_deref(), Some("r member_joined"));
    end(&mut queue, answered());
    assert_eq!(begin(&mut queue), None);
}

#[test]
fn a_full_queue_takes_no_message_but_whoever_waits_hears_when_half_is_free() {
    let woken = Told::nothing();
    let waiter = |woken: &Told<()>| -> Waiter {
        let woken = woken.clone();
        Box::new(move || woken.tell(()))
    };
    let size = message("r", 1).size();
    let mut queue = Queue::new(4 * size);
    for seq in 1..=4 {
        assert!(pushed(&mut queue, message("r", seq)));
    }
    assert!(!queue.has_room());
    assert!(!pushed(&mut queue, message("r", 5)));
    // What is no message finds room.
    assert!(pushed(&mut queue, event("r", "vera", None)));
    assert!(queue.when_drained(waiter(&woken)).is_none());
    for _ in 0..2 {
        begin(&mut queue);
        end(&mut queue, answered());
    }
    assert!(woken.next().is_none());
    begin(&mut queue);
    end(&mut queue, answered());
    assert!(woken.next().is_some());
    assert!(queue.when_drained(waiter(&woken)).is_some());
}

#[test]
fn the_number_of_jobs_is_bounded() {
    let mut queue = Queue::new(1 << 20);
    for _ in 0..MAX_JOBS {
        assert!(pushed(&mut queue, event("r", "vera", None)));
    }
    assert!(!pushed(&mut queue, event("r", "vera", None)));
    assert!(pushed(&mut queue, message("r", 1)), "messages are counted in bytes");
}

#[test]
fn of_a_node_that_failed_only_goodbyes_are_kept() {
    let outcomes = Outcomes::nothing();
    let later = Instant::now() + Duration::from_secs(60);
    let mut queue = queue_of(vec![
        message("r", 1),
        goodbye("otto"),
        request(1, later, &outcomes),
        event("r", "vera", None),
    ]);
    begin(&mut queue);
    let mut follow = Follow::default();
    queue.fail(&mut follow);
    assert_eq!(follow.given_up, 1);
    follow.tell();
    assert_eq!(outcomes.next(), Some((1, Err(NoAnswer::Undone))));
    // What was in flight is not repeated.
    assert!(!end(&mut queue, Ended::Unknown));
    assert_eq!(begin(&mut queue).as_deref(), Some("goodbye otto"));
    assert!(end(&mut queue, Ended::Undone), "a goodbye is repeated");
    begin(&mut queue);
    assert!(!end(&mut queue, Ended::Fault), "but a refusal is an answer");
    assert_eq!((begin(&mut queue), queue.bytes()), (None, 0));
}
