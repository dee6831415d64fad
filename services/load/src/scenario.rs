//! What to do, as meant: checked once, without options that mean "default".

use crate::args::{Dialect, RunArgs};
use crate::stamp;
use chat_protocol::limits::MAX_CONTENT_CHARS;
use std::time::Duration;

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many per second over all senders, whatever the server does.
    Open(f64),
    /// Each sender waits for its answer.
    Closed,
}

/// Where rooms are created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOn {
    /// On one target after the other.
    Each,
    /// On this server.
    At(String),
}

/// A run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Addresses of servers, at least one.
    pub targets: Vec<String>,
    /// Where rooms are created.
    pub create_on: CreateOn,
    /// At least 1.
    pub rooms: usize,
    /// Members of each room, at least as many as senders.
    pub members: usize,
    /// Senders of each room, at least 1.
    pub senders: usize,
    /// How members speak.
    pub dialect: Dialect,
    /// When messages are sent.
    pub pace: Pace,
    /// What is measured.
    pub measured: Duration,
    /// The same load before that.
    pub warmup: Duration,
    /// Longest wait for the last deliveries.
    pub drain: Duration,
    /// Bytes of content.
    pub size: usize,
    /// At least 1 and at most as many as rooms.
    pub threads: usize,
    /// Servers on this machine.
    pub server_pids: Vec<u32>,
}

impl Scenario {
    /// Checks the arguments.
    ///
    /// # Errors
    /// What is wrong with them, all of it, for people.
    pub fn new(args: &RunArgs) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let mut demand = |holds: bool, otherwise: &str| {
            if !holds {
                wrong.push(otherwise.to_owned());
            }
        };
        demand(!args.targets.is_empty(), "--target needs an address");
        demand((1..=1_000_000).contains(&args.rooms), "--rooms must be 1 to 1,000,000");
        demand(
            (1..=1_000_000).contains(&args.members),
            "--members must be 1 to 1,000,000",
        );
        demand(
            (1..=args.members.min(60_000)).contains(&args.senders),
            "--senders must be 1 to --members",
        );
        demand(
            args.closed || (args.rate > 0.0 && args.rate <= 1e7),
            "--rate must be above 0 and at most 10,000,000",
        );
        demand(args.threads >= 1, "--threads must be at least 1");
        demand(
            (stamp::MIN_SIZE..=MAX_CONTENT_CHARS).contains(&args.size),
            &format!("--size must be {} to {MAX_CONTENT_CHARS}", stamp::MIN_SIZE),
        );
        let mut seconds = |name: &str, value: f64, least: f64| {
            // A week: long enough for any soak, and far from the end of every clock.
            let fits = (least..=604_800.0).contains(&value);
            demand(fits, &format!("{name} must be {least} to 604,800 seconds"));
            Duration::from_secs_f64(if fits { value } else { 0.0 })
        };
        let scenario = Self {
            targets: args.targets.clone(),
            create_on: args.create_on.clone().map_or(CreateOn::Each, CreateOn::At),
            rooms: args.rooms,
            members: args.members,
            senders: args.senders,
            dialect: args.dialect,
            pace: if args.closed {
                Pace::Closed
            } else {
                Pace::Open(args.rate)
            },
            measured: seconds("--seconds", args.seconds, 0.1),
            warmup: seconds("--warmup", args.warmup, 0.0),
            drain: seconds("--drain", args.drain, 0.1),
            size: args.size,
            threads: args.threads.min(args.rooms.max(1)),
            server_pids: args.server_pids.clone(),
        };
        if wrong.is_empty() {
            Ok(scenario)
        } else {
            Err(wrong.join("; "))
        }
    }

    /// Connections that the members need.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.rooms.saturating_mul(self.members)
    }

    /// The server on which `room` is created.
    #[must_use]
    pub fn creator_of(&self, room: usize) -> &str {
        match &self.create_on {
            CreateOn::Each => &self.targets[room % self.targets.len()],
            CreateOn::At(server) => server,
        }
    }

    /// The target of a member: one after the other, so that the members of each room are spread too.
    #[must_use]
    pub fn target_of(&self, room: usize, member: usize) -> usize {
        (room + member) % self.targets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn scenario(line: &str) -> Result<Scenario, String> {
        let words = ["chat-load", "run"].into_iter().chain(line.split_whitespace());
        match Cli::parse_from(words).command {
            Command::Run(args) => Scenario::new(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn members_of_each_room_are_spread_over_all_targets() {
        let s = scenario("--target ws://a,ws://b,ws://c --rooms 2 --members 4").unwrap();
        assert_eq!((0..4).map(|m| s.target_of(1, m)).collect::<Vec<_>>(), [1, 2, 0, 1]);
        assert_eq!((s.creator_of(0), s.creator_of(4)), ("ws://a", "ws://b"));
        assert_eq!(
            scenario("--target ws://a,ws://b --create-on ws://c")
                .unwrap()
                .creator_of(0),
            "ws://c"
        );
        assert_eq!(s.connections(), 8);
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let error = scenario("--rooms 0 --senders 11 --rate 0 --size 3 --seconds NaN").unwrap_err();
        for name in ["--rooms", "--senders", "--rate", "--size", "--seconds"] {
            assert!(error.contains(name), "{name} in {error}");
        }
    }
}
