//! Configuration, parsed twice: as written ([`raw`]), then as meant ([`settings`]).
//!
//! Every setting is an environment variable and a command-line flag of the same name; the flag wins. All mistakes are
//! reported together, before any port is bound. After the second step no `Option` means "the default".

mod checks;
mod dev;
mod help;
mod limits;
mod peer_auth;
mod peers;
mod raw;
mod reading;
mod settings;
#[cfg(test)]
mod tests;
mod traces;

pub use checks::{HealthOptions, LogLevelOptions, MOST_TARGETS, Probe, SelftestOptions};
pub use dev::DevOptions;
pub use limits::Limits;
pub use peer_auth::{PeerAuth, PeerKey};
pub use settings::{Config, Discovery, Listen, LogFormat, Logging, StoreKind};
pub use traces::{Collector, Sampling, Share, TraceSettings};

use raw::{Mode, Request, SETTINGS, Written};
use reading::Reading;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve as one node.
    Serve(Box<Config>),
    /// Run a whole cluster in this process.
    Dev(Box<DevOptions>),
    /// Ask a node of this machine how it is.
    Health(HealthOptions),
    /// Hold a conversation on running nodes.
    Selftest(SelftestOptions),
    /// Ask a node of this machine how much it logs, or change it.
    LogLevel(LogLevelOptions),
    /// Print this text and leave.
    Help(String),
    /// Print the version and leave.
    Version,
}

impl Config {
    /// Reads `args` (the words after the program's name) and the environment.
    ///
    /// # Errors
    /// All mistakes, each naming the setting, what was given and what is expected.
    pub fn load(
        args: impl Iterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Command, Vec<String>> {
        let written = match Written::parse(args, env) {
            Request::Help => return Ok(Command::Help(help::text())),
            Request::Version => return Ok(Command::Version),
            Request::Run(written) => written,
        };
        let mut reading = Reading::new(&written);
        let command = match written.mode() {
            Mode::Serve => Command::Serve(Box::new(Self::read(&mut reading))),
            Mode::Dev => Command::Dev(Box::new(DevOptions::read(&mut reading))),
            Mode::Health => Command::Health(HealthOptions::read(&mut reading)),
            Mode::Selftest => Command::Selftest(SelftestOptions::read(&mut reading)),
            Mode::LogLevel => Command::LogLevel(LogLevelOptions::read(&mut reading)),
        };
        let mistakes = reading.into_mistakes();
        if mistakes.is_empty() {
            Ok(command)
        } else {
            Err(mistakes)
        }
    }

    /// [`Config::load`] with the arguments and the environment of this process.
    ///
    /// # Errors
    /// As [`Config::load`]; besides, every word and variable that is not UTF-8.
    // The one lawful place: everybody else gets a `Config`.
    #[allow(clippy::disallowed_methods)]
    pub fn from_process() -> Result<Command, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut args = Vec::new();
        for arg in std::env::args_os().skip(1) {
            match arg.into_string() {
                Ok(arg) => args.push(arg),
                Err(arg) => mistakes.push(format!("{}: not UTF-8", arg.display())),
            }
        }
        for setting in SETTINGS {
            if std::env::var_os(setting.env).is_some_and(|value| value.to_str().is_none()) {
                mistakes.push(format!("{}: not UTF-8", setting.env));
            }
        }
        if mistakes.is_empty() {
            Self::load(args.into_iter(), |name| std::env::var(name).ok())
        } else {
            Err(mistakes)
        }
    }
}
