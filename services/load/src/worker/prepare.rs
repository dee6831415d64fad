//! Creating the rooms and bringing all members in.

use super::member::{Member, attend};
use super::{Room, Shared};
use crate::CannotRun;
use crate::args::Dialect;
use crate::check::RoomCheck;
use crate::limits::local_address;
use chat_client::{ConnectOptions, Connection, RawConnection, request};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Members of one thread that connect at the same time.
const AT_ONCE: usize = 64;

/// Creates the rooms of a thread and starts a task for each of their members. Returns when all are in.
pub(super) async fn rooms(shared: &Rc<Shared>, index: usize, tasks: &mut JoinSet<()>) -> Result<Vec<Room>, CannotRun> {
    let scenario = &shared.scenario;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut arrivals = JoinSet::new();
    let mut rooms = Vec::new();
    for (nth, room_id) in create(shared, index).await? {
        let check = RoomCheck::new(nth as u64, room_id, scenario.members, scenario.senders);
        let check = Rc::new(RefCell::new(check));
        let mut signals = Vec::with_capacity(scenario.members);
        for seat in 0..scenario.members {
            let (shared, check, turns) = (Rc::clone(shared), Rc::clone(&check), Arc::clone(&turns));
            let signal = Rc::default();
            signals.push(Rc::clone(&signal));
            arrivals.spawn_local(async move {
                let _turn = turns.acquire().await.map_err(|_| CannotRun("given up".into()))?;
                let raw = arrive(&shared, &check, nth, seat).await?;
                Ok::<_, CannotRun>(Member::new(shared, check, signal, raw, nth, seat))
            });
        }
        rooms.push(Room { check, signals });
    }
    // Who is in starts to read at once: each later arrival is an event for it.
    while let Some(arrived) = arrivals.join_next().await {
        let member = arrived.map_err(|e| CannotRun(format!("a member did not arrive: {e}")))??;
        tasks.spawn_local(attend(member));
    }
    Ok(rooms)
}

/// The thread's rooms: their numbers in the run and their ids.
async fn create(shared: &Shared, index: usize) -> Result<Vec<(usize, String)>, CannotRun> {
    let scenario = &shared.scenario;
    // Names must be new on the server, also when one process runs twice.
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let mut creators: HashMap<&str, Connection> = HashMap::new();
    let mut created = Vec::new();
    for nth in (index..scenario.rooms).step_by(scenario.threads) {
        let url = scenario.creator_of(nth);
        let connection = match creators.get(url) {
            Some(connection) => connection.clone(),
            None => {
                let connected = Connection::connect(url, &ConnectOptions::default()).await;
                let (connection, _nothing_is_pushed_without_a_join) =
                    connected.map_err(|e| CannotRun(format!("cannot connect to {url}: {e}")))?;
                creators.insert(url, connection.clone());
                connection
            }
        };
        let name = format!("load-{nanos:x}-{nth}");
        let room = connection.create_room(&name, "load", None).await;
        created.push((
            nth,
            room.map_err(|e| CannotRun(format!("{url} created no room: {e}")))?
                .room_id,
        ));
    }
    Ok(created)
}

/// Connects a member and brings it in.
async fn arrive(
    shared: &Shared,
    check: &RefCell<RoomCheck>,
    room: usize,
    seat: usize,
) -> Result<RawConnection, CannotRun> {
    let scenario = &shared.scenario;
    let url = &scenario.targets[scenario.target_of(room, seat)];
    let fail = |what: String| CannotRun(format!("room {room} member {seat} at {url}: {what}"));
    let options = ConnectOptions {
        local_address: local_address(url, scenario.connections(), room * scenario.members + seat),
        ..ConnectOptions::default()
    };
    let mut raw = RawConnection::connect(url, &options)
        .await
        .map_err(|e| fail(e.to_string()))?;
    let name = super::member::name(seat);
    let join = match scenario.dialect {
        Dialect::Classic => request::join_room(check.borrow().room_id(), &name),
        Dialect::Extended => {
            let hello = request::hello(&name);
            let welcome = raw.request_text(&hello, options.answer_deadline).await;
            let welcome = welcome.map_err(|e| fail(e.to_string()))?;
            if request::type_of(&welcome) != "welcome" {
                return Err(fail("not welcomed: it does not speak the extended dialect".into()));
            }
            request::join_room(check.borrow().room_id(), &name)
        }
    };
    let answer = raw
        .request_text(&join, options.answer_deadline)
        .await
        .map_err(|e| fail(e.to_string()))?;
    match request::type_of(&answer) {
        "join_room_success" => Ok(raw),
        _ => Err(fail(format!(
            "not let in: {}",
            chat_protocol::text::prefix(&answer, 300)
        ))),
    }
}
