//! The command line: as written, then as meant.

use chat_client::{ConnectOptions, check_address, policy};
use clap::{Parser, ValueEnum};
use std::time::Duration;

/// Longest wait for a place in the room, and for the confirmation of one line: longer than the client tries to connect.
const PATIENCE: Duration = Duration::from_secs(300);

/// Talk in a room. Each line of the input is sent as a message; times are UTC. At the end of the input the client leaves.
/// What happens to the connection is said on the standard error.
///
/// Exit status: 0 every line is confirmed, 1 some line is not, 64 wrong usage, 69 no server, 74 the output failed.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-tui")]
pub struct Args {
    /// Line mode, for pipes and simple terminals.
    #[arg(long)]
    pub plain: bool,
    /// Servers, such as ws://127.0.0.1:8081; the first that answers is used, the others when it fails.
    #[arg(value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    /// Who you are.
    #[arg(long, default_value = "")]
    pub name: String,
    /// The room to join; it is created if there is none of this name.
    #[arg(long, default_value = "")]
    pub room: String,
    /// How to speak. A server that does not speak the extended dialect is spoken to in the classic one anyway.
    #[arg(long, value_enum, default_value_t)]
    pub dialect: Dialect,
}

/// How to speak with servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Dialect {
    /// Each line arrives once, and reconnects go unnoticed.
    #[default]
    Extended,
    /// As the original client. After a reconnect the others see a join, and a line in doubt is not sent again.
    Classic,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// At least one.
    pub addresses: Vec<String>,
    /// The user name, not empty.
    pub name: String,
    /// The room's name, not empty.
    pub room: String,
    /// In which dialect to begin.
    pub dialect: Dialect,
    /// Deadlines of connections.
    pub connect: ConnectOptions,
    /// Longest wait for a place in the room, and for the confirmation of one line (extended dialect).
    pub patience: Duration,
    /// The random part of waits, from 0 to 1.
    pub jitter: fn() -> f64,
}

impl Settings {
    /// Checks the arguments.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn new(args: Args) -> Result<Self, String> {
        if !args.plain {
            return Err("only --plain (line mode) exists in this version".into());
        }
        let missing: Vec<&str> = [
            (args.addresses.is_empty(), "an address such as ws://127.0.0.1:8081"),
            (args.name.is_empty(), "--name"),
            (args.room.is_empty(), "--room"),
        ]
        .into_iter()
        .filter_map(|(missing, what)| missing.then_some(what))
        .collect();
        if !missing.is_empty() {
            return Err(format!("missing: {}", missing.join(", ")));
        }
        let Args {
            addresses,
            name,
            room,
            dialect,
            ..
        } = args;
        let wrong = addresses.iter().filter_map(|address| check_address(address).err());
        let wrong: Vec<String> = wrong.map(|why| why.to_string()).collect();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        Ok(Self {
            addresses,
            name,
            room,
            dialect,
            connect: ConnectOptions::default(),
            patience: PATIENCE,
            jitter: policy::random_jitter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str) -> Result<Settings, String> {
        Settings::new(Args::parse_from(
            ["chat-tui"].into_iter().chain(line.split_whitespace()),
        ))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn addresses_follow_the_mode() {
        let s = settings("--plain ws://a:1 ws://b:2 --name ines --room hall").unwrap();
        assert_eq!(
            (s.addresses.join(" ").as_str(), s.name.as_str(), s.room.as_str()),
            ("ws://a:1 ws://b:2", "ines", "hall")
        );
    }

    #[test]
    fn the_dialect_is_the_extended_one_unless_asked_otherwise() {
        let dialect =
            |more: &str| settings(&format!("--plain ws://a:1 --name ines --room hall {more}")).map(|s| s.dialect);
        assert_eq!(dialect(""), Ok(Dialect::Extended));
        assert_eq!(dialect("--dialect classic"), Ok(Dialect::Classic));
    }

    #[test]
    fn addresses_that_cannot_work_are_all_named() {
        let error = settings("--plain ws://a:1 http://b wss://c --name ines --room hall").unwrap_err();
        assert!(error.contains("http://b") && error.contains("wss://c"), "{error}");
        assert!(!error.contains("ws://a:1"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(
            settings("ws://a:1 --name ines --room hall")
                .unwrap_err()
                .contains("--plain")
        );
        let error = settings("--plain").unwrap_err();
        assert!(
            error.contains("address") && error.contains("--name") && error.contains("--room"),
            "{error}"
        );
    }
}
