//! What to do, as meant: checked once, without options that mean "default".

use super::crowd::Member;
use crate::args::{Dialect, Dialects, EndureArgs};
use std::time::Duration;

/// Most sessions times rooms: each place costs some memory and, in a sender's case, traffic.
const MOST_PLACES: usize = 100_000;
/// Most rooms: a node seats a connection in so many.
const MOST_ROOMS: usize = 100;
/// A week, in seconds: far from the end of every clock.
const WEEK: f64 = 604_800.0;

/// A run of sessions that are to stay.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Addresses of servers, at least one.
    pub targets: Vec<String>,
    /// At least 1.
    pub rooms: usize,
    /// At least 1, of which at least 1 sends.
    pub members: Vec<Member>,
    /// From an acknowledgement to the next message of the same sender.
    pub pace: Duration,
    /// How long; `None`: until somebody ends it.
    pub length: Option<Duration>,
    /// Longest wait for each of: the last answers, the logs, the last deliveries.
    pub patience: Duration,
    /// How often to tell how it stands.
    pub progress: Option<Duration>,
    /// With fewer acknowledged messages nothing is proved.
    pub min_acknowledged: u64,
    /// With fewer resumes of some extended session nothing is proved.
    pub min_resumes: u64,
    /// Whether an extended session that joins anew breaks a promise.
    pub rejoins_break: bool,
}

impl Plan {
    /// Checks the arguments.
    ///
    /// # Errors
    /// What is wrong with them, all of it, for people.
    pub fn new(args: &EndureArgs) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let mut demand = |holds: bool, otherwise: &str| {
            if !holds {
                wrong.push(otherwise.to_owned());
            }
        };
        let senders = args.senders.unwrap_or(args.members);
        demand(
            args.targets.iter().all(|target| target.starts_with("ws://")),
            "each --target must begin with ws://",
        );
        demand(
            (1..=MOST_ROOMS).contains(&args.rooms),
            &format!("--rooms must be 1 to {MOST_ROOMS}"),
        );
        demand(args.members >= 1, "--members must be at least 1");
        demand(
            args.members.saturating_mul(args.rooms) <= MOST_PLACES,
            &format!("--members times --rooms must be at most {MOST_PLACES}"),
        );
        demand(
            (1..=args.members.max(1)).contains(&senders),
            "--senders must be 1 to --members",
        );
        demand(
            args.dialect != Dialects::Both || args.members >= 2,
            "--dialect both needs at least 2 --members",
        );
        demand(
            args.dialect != Dialects::Classic || args.min_resumes == 0,
            "--min-resumes counts extended sessions, of which there are none",
        );
        let mut seconds = |name: &str, value: f64| {
            let fits = (0.1..=WEEK).contains(&value);
            demand(fits, &format!("{name} must be 0.1 to {WEEK} seconds"));
            Duration::from_secs_f64(if fits { value } else { 1.0 })
        };
        let plan = Self {
            length: args.seconds.map(|value| seconds("--seconds", value)),
            patience: seconds("--patience", args.patience),
            progress: args.progress.map(|value| seconds("--progress", value)),
            targets: args.targets.clone(),
            rooms: args.rooms,
            members: Vec::new(),
            pace: Duration::from_millis(args.pace),
            min_acknowledged: args.min_acknowledged,
            min_resumes: args.min_resumes,
            rejoins_break: !args.allow_rejoins,
        };
        if wrong.is_empty() {
            let members = (0..args.members).map(|nth| member(args, nth, nth < senders));
            Ok(Self {
                members: members.collect(),
                ..plan
            })
        } else {
            Err(wrong.join("; "))
        }
    }

    /// Connections that are open at once, the reader of the logs included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.len() + 1
    }

    /// In words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let of = |dialect| self.members.iter().filter(|member| member.dialect == dialect).count();
        format!(
            "{} rooms, {} extended and {} classic sessions ({} send), {} ms of pause, {}",
            self.rooms,
            of(Dialect::Extended),
            of(Dialect::Classic),
            self.members.iter().filter(|member| member.sends).count(),
            self.pace.as_millis(),
            self.targets.join(" ")
        )
    }
}

/// With both dialects, an extended and a classic session share a home.
fn member(args: &EndureArgs, nth: usize, sends: bool) -> Member {
    let (dialect, turn) = match args.dialect {
        Dialects::Extended => (Dialect::Extended, nth),
        Dialects::Classic => (Dialect::Classic, nth),
        Dialects::Both if nth.is_multiple_of(2) => (Dialect::Extended, nth / 2),
        Dialects::Both => (Dialect::Classic, nth / 2),
    };
    let kind = match dialect {
        Dialect::Extended => "extended",
        Dialect::Classic => "classic",
    };
    Member {
        name: format!("{kind}-{}", turn + 1),
        dialect,
        home: turn % args.targets.len(),
        sends,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn plan(line: &str) -> Result<Plan, String> {
        let words = ["chat-load", "endure"].into_iter().chain(line.split_whitespace());
        match Cli::parse_from(words).command {
            Command::Endure(args) => Plan::new(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sessions_of_both_dialects_begin_at_every_target() {
        let plan = plan("--target ws://a,ws://b --members 5 --senders 3").unwrap();
        let members = plan.members.iter();
        let members: Vec<_> = members.map(|m| (m.name.as_str(), m.dialect, m.home, m.sends)).collect();
        assert_eq!(
            members,
            [
                ("extended-1", Dialect::Extended, 0, true),
                ("classic-1", Dialect::Classic, 0, true),
                ("extended-2", Dialect::Extended, 1, true),
                ("classic-2", Dialect::Classic, 1, false),
                ("extended-3", Dialect::Extended, 0, false),
            ]
        );
        assert!(
            plan.in_words()
                .starts_with("3 rooms, 3 extended and 2 classic sessions (3 send)")
        );
    }

    #[test]
    fn everybody_sends_until_it_is_ended_unless_told_otherwise() {
        let plan = plan("--dialect extended").unwrap();
        assert_eq!((plan.members.len(), plan.length, plan.progress), (6, None, None));
        assert!(
            plan.members
                .iter()
                .all(|m| m.sends && m.dialect == Dialect::Extended && m.home == 0)
        );
        assert!(plan.rejoins_break);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let wrong = plan(
            "--target wss://a --rooms 0 --members 1 --senders 2 --dialect classic --min-resumes 1 --seconds 0 --patience inf --progress nan",
        );
        let wrong = wrong.unwrap_err();
        for part in [
            "--target",
            "--rooms",
            "--senders",
            "--min-resumes",
            "--seconds",
            "--patience",
            "--progress",
        ] {
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
        for (line, part) in [
            ("--members 0", "--members must be"),
            ("--senders 0", "--senders"),
            ("--members 1", "--dialect both"),
            ("--rooms 100 --members 1001", "times"),
            ("--rooms 101", "--rooms"),
        ] {
            let wrong = plan(line).unwrap_err();
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
    }
}
