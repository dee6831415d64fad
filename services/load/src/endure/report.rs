//! What a run found, for people and for programs.

use super::crowd::Returns;
use super::plan::Plan;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// How many broken promises are told in words.
const TOLD: usize = 50;

/// Longest brief report, in bytes. A container ends with a message of at most 4096.
const BRIEF: usize = 4_000;

/// What the run says about the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was compared and nothing is wrong.
    Kept,
    /// At least one promise is broken, whatever else could not be compared.
    Broken,
    /// Something could not be compared.
    Undecided,
    /// Nothing is wrong, and less happened than was asked for.
    ProvedNothing,
}

impl Verdict {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::Undecided => "undecided",
            Self::ProvedNothing => "proved_nothing",
        }
    }

    /// The exit status of a command that found it.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Broken => 1,
            Self::Undecided => 2,
            Self::ProvedNothing => 3,
        }
    }
}

/// Broken promises. Only the first few are kept in words, so that memory stays bounded.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Broken {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl Extend<String> for Broken {
    fn extend<T: IntoIterator<Item = String>>(&mut self, broken: T) {
        for what in broken {
            self.count += 1;
            if self.first.len() < TOLD {
                self.first.push(what);
            }
        }
    }
}

/// One room.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomReport {
    /// Which.
    pub room_id: String,
    /// How many messages it holds, as far as it could be read.
    pub messages: u64,
    /// The longest time without an acknowledgement, in milliseconds.
    pub longest_pause_ms: f64,
    /// How long the longest but one in a hundred acknowledgements took, in milliseconds, of sessions that began at each target;
    /// none of those who had no acknowledgement.
    pub p99_ms: Vec<Option<f64>>,
}

impl RoomReport {
    fn p99_in_words(&self) -> String {
        let of_home = |p99: &Option<f64>| p99.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        self.p99_ms.iter().map(of_home).collect::<Vec<_>>().join(" ")
    }
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done, in words.
    pub scenario: String,
    /// How long sends were begun.
    pub seconds: f64,
    /// Messages acknowledged to their senders.
    pub acknowledged: u64,
    /// Messages shown to members.
    pub delivered: u64,
    /// Each room.
    pub rooms: Vec<RoomReport>,
    /// How many there are.
    pub extended_sessions: usize,
    /// How often the extended session that came back least often came back without anybody hearing of it.
    pub resumes_min: u64,
    /// The same of the one that came back most often.
    pub resumes_max: u64,
    /// How often an extended session had to join a room anew.
    pub rejoins: u64,
    /// How often it was heard that an extended session left a room, or joined it again.
    pub heard: u64,
    /// What is wrong.
    pub broken: Broken,
    /// What could not be compared, and why.
    pub undecided: Vec<String>,
    /// Of what too little happened.
    pub too_little: Vec<String>,
    /// What follows from all that.
    pub verdict: Verdict,
}

/// What was found, before it is judged.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) lasted: Duration,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    pub(super) rooms: Vec<RoomReport>,
    pub(super) returns: Returns,
    pub(super) broken: Broken,
    pub(super) undecided: Vec<String>,
}

impl Report {
    pub(super) fn new(plan: &Plan, found: Found) -> Self {
        let Found {
            lasted,
            acknowledged,
            delivered,
            rooms,
            returns,
            mut broken,
            undecided,
        } = found;
        if plan.rejoins_break && (returns.rejoins > 0 || returns.heard > 0) {
            broken.extend([format!(
                "extended sessions had to join anew {} times, and others heard {} times that one left or joined again: {}",
                returns.rejoins,
                returns.heard,
                returns.words.join("; ")
            )]);
        }
        let mut too_little = Vec::new();
        if acknowledged < plan.min_acknowledged {
            too_little.push(format!(
                "{acknowledged} of {} acknowledged messages",
                plan.min_acknowledged
            ));
        }
        if returns.fewest < plan.min_resumes {
            too_little.push(format!(
                "{} of {} resumes of an extended session",
                returns.fewest, plan.min_resumes
            ));
        }
        let verdict = if broken.count > 0 {
            Verdict::Broken
        } else if !undecided.is_empty() {
            Verdict::Undecided
        } else if !too_little.is_empty() {
            Verdict::ProvedNothing
        } else {
            Verdict::Kept
        };
        Self {
            scenario: plan.in_words(),
            seconds: lasted.as_secs_f64(),
            acknowledged,
            delivered,
            rooms,
            extended_sessions: returns.sessions,
            resumes_min: returns.fewest,
            resumes_max: returns.most,
            rejoins: returns.rejoins,
            heard: returns.heard,
            broken,
            undecided,
            too_little,
            verdict,
        }
    }

    /// For programs: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For programs that get only a few bytes: a line for each figure, a word and a number (`p99_ms`: one for each target, or `-`),
    /// then as many of the reasons as fit, each behind a `-`. At most 4000 bytes.
    #[must_use]
    pub fn to_brief(&self) -> String {
        let mut brief = format!("verdict {}\n", self.verdict.name());
        let figures = [
            ("acknowledged", self.acknowledged),
            ("delivered", self.delivered),
            ("resumes_min", self.resumes_min),
            ("resumes_max", self.resumes_max),
            ("rejoins", self.rejoins),
            ("heard", self.heard),
            ("broken", self.broken.count),
        ];
        for (name, figure) in figures {
            let written = writeln!(brief, "{name} {figure}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        let pauses = self
            .rooms
            .iter()
            .map(|room| format!("pause_ms {:.0}", room.longest_pause_ms));
        let p99 = self.rooms.iter().map(|room| format!("p99_ms {}", room.p99_in_words()));
        let reasons = [&self.broken.first, &self.undecided, &self.too_little];
        let reasons = reasons.into_iter().flatten().map(|why| format!("- {why}"));
        for line in pauses.chain(p99).chain(reasons) {
            if brief.len() + line.len() + 1 > BRIEF {
                break;
            }
            brief.push_str(&line);
            brief.push('\n');
        }
        brief
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![
            format!("scenario         {}", self.scenario),
            format!("lasted           {:.1} s", self.seconds),
            format!("acknowledged     {}", self.acknowledged),
            format!("delivered        {}", self.delivered),
        ];
        for (nth, room) in self.rooms.iter().enumerate() {
            lines.push(format!(
                "{:<16} {} messages, longest write pause {:.2} s, p99 of acknowledgements by target: {} ms",
                format!("room {nth}"),
                room.messages,
                room.longest_pause_ms / 1_000.0,
                room.p99_in_words()
            ));
        }
        if self.extended_sessions > 0 {
            lines.push(format!(
                "resumes          {} to {} of each of {} extended sessions",
                self.resumes_min, self.resumes_max, self.extended_sessions
            ));
            lines.push(format!(
                "rejoins          {}; heard by others: {}",
                self.rejoins, self.heard
            ));
        }
        let verdict = match self.verdict {
            Verdict::Kept => "nothing lost, nothing doubled, nothing out of order".to_owned(),
            Verdict::Broken => format!("{} PROMISES BROKEN", self.broken.count),
            Verdict::Undecided => "nothing found, but not everything could be compared".to_owned(),
            Verdict::ProvedNothing => "nothing found, but too little happened to prove anything".to_owned(),
        };
        lines.push(format!("verdict          {verdict}"));
        let details = [&self.broken.first, &self.undecided, &self.too_little];
        lines.extend(details.into_iter().flatten().map(|what| format!("  - {what}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn report(line: &str, change: impl FnOnce(&mut Found)) -> Report {
        let words = ["chat-load", "endure"].into_iter().chain(line.split_whitespace());
        let Command::Endure(args) = Cli::parse_from(words).command else {
            panic!("not endure")
        };
        let mut found = Found {
            lasted: Duration::from_millis(30_500),
            acknowledged: 1_000,
            delivered: 6_000,
            rooms: vec![RoomReport {
                room_id: "r".into(),
                messages: 1_001,
                longest_pause_ms: 1_250.0,
                p99_ms: vec![Some(3.25), None, Some(17.0)],
            }],
            returns: Returns {
                sessions: 3,
                fewest: 1,
                most: 4,
                rejoins: 0,
                heard: 0,
                words: vec!["ines had to join room 0 anew".into()],
            },
            broken: Broken::default(),
            undecided: Vec::new(),
        };
        change(&mut found);
        Report::new(&Plan::new(&args).unwrap(), found)
    }

    #[test]
    fn a_good_run_says_so_in_both_forms() {
        let report = report("--min-acknowledged 1000 --min-resumes 1", |_| {});
        assert_eq!(report.verdict, Verdict::Kept);
        let text = report.to_text();
        for line in [
            "lasted           30.5 s",
            "acknowledged     1000",
            "room 0           1001 messages, longest write pause 1.25 s, p99 of acknowledgements by target: 3.2 - 17.0 ms",
            "resumes          1 to 4 of each of 3 extended sessions",
            "rejoins          0; heard by others: 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("verdict          nothing lost, nothing doubled, nothing out of order"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(
            (&json["verdict"], &json["rooms"][0]["longest_pause_ms"]),
            (&"kept".into(), &1_250.0.into())
        );
        assert_eq!((&json["resumes_min"], &json["broken"]["count"]), (&1.into(), &0.into()));
    }

    #[test]
    fn the_brief_report_has_every_figure_and_fits() {
        let short = report("--min-acknowledged 1001", |_| {});
        assert_eq!(
            short.to_brief(),
            "verdict proved_nothing\nacknowledged 1000\ndelivered 6000\nresumes_min 1\nresumes_max 4\nrejoins 0\nheard 0\n\
             broken 0\npause_ms 1250\np99_ms 3.2 - 17.0\n- 1000 of 1001 acknowledged messages\n"
        );
        let long = report("", |found| {
            found
                .broken
                .extend((0..60).map(|n| format!("room 0: lost {n} {}", "ÿ".repeat(100))));
        });
        let brief = long.to_brief();
        assert!(
            brief.len() <= BRIEF && brief.len() > BRIEF - 250,
            "{} bytes",
            brief.len()
        );
        assert!(
            brief.contains("\nbroken 60\npause_ms 1250\np99_ms 3.2 - 17.0\n- room 0: lost 0 ÿ"),
            "{brief}"
        );
        assert!(brief.ends_with("ÿ\n"), "no line is cut: {brief}");
    }

    #[test]
    fn too_little_proves_nothing() {
        let report = report("--min-acknowledged 1001 --min-resumes 2", |_| {});
        assert_eq!(report.verdict, Verdict::ProvedNothing);
        assert!(
            report
                .to_text()
                .ends_with("  - 1000 of 1001 acknowledged messages\n  - 1 of 2 resumes of an extended session")
        );
    }

    #[test]
    fn what_is_broken_weighs_more_than_what_is_not_known() {
        let undecided = |found: &mut Found| found.undecided.push("room 0: down".into());
        let unknown = report("--min-acknowledged 2000", undecided);
        assert_eq!(unknown.verdict, Verdict::Undecided);
        assert!(unknown.to_text().contains("  - room 0: down"));
        let broken = report("", |found| {
            undecided(found);
            found.broken.extend((0..60).map(|n| format!("room 0: lost {n}")));
        });
        assert_eq!(
            (broken.verdict, broken.broken.count, broken.broken.first.len()),
            (Verdict::Broken, 60, TOLD)
        );
        let text = broken.to_text();
        assert!(
            text.contains("verdict          60 PROMISES BROKEN\n  - room 0: lost 0\n"),
            "{text}"
        );
    }

    #[test]
    fn a_rejoin_breaks_a_promise_unless_it_is_allowed() {
        for change in [(|found| found.returns.rejoins = 1) as fn(&mut Found), |found| {
            found.returns.heard = 2
        }] {
            let broken = report("", change);
            assert_eq!(broken.verdict, Verdict::Broken);
            assert!(broken.broken.first[0].ends_with("joined again: ines had to join room 0 anew"));
            let allowed = report("--allow-rejoins", change);
            assert_eq!(allowed.verdict, Verdict::Kept);
            assert!(!allowed.to_text().contains("rejoins          0; heard by others: 0"));
        }
    }
}
