//! The command line: as written, then as meant.

use chat_client::{ConnectOptions, policy};
use clap::Parser;

/// Talk in a room. Each line of the input is sent as a message; times are UTC. At the end of the input the client leaves.
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
    /// Deadlines of connections.
    pub connect: ConnectOptions,
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
            addresses, name, room, ..
        } = args;
        Ok(Self {
            addresses,
            name,
            room,
            connect: ConnectOptions::default(),
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
