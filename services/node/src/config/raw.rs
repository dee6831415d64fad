//! Settings as written: which exist, and what was given for each. Nothing is interpreted here.

mod table;

pub(super) use table::*;

use std::collections::BTreeMap;

/// One setting. Its flag is its variable in lower case with dashes, so the two cannot drift apart.
#[derive(Debug)]
pub(super) struct Setting {
    /// The environment variable.
    pub(super) env: &'static str,
    /// Under which heading the help shows it, and by which command it is read.
    pub(super) group: Group,
    /// What a value may be.
    pub(super) kind: Kind,
    /// The value if none is given.
    pub(super) default: Fallback,
    /// One sentence for people.
    pub(super) help: &'static str,
}

impl Setting {
    /// The flag, with its dashes.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.env.to_ascii_lowercase().replace('_', "-"))
    }
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text; its reader says what it accepts.
    Text,
    /// A whole number between two bounds, both included, of a unit.
    Number(u64, u64, &'static str),
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

/// The value of a setting that nobody gave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// This text, read as if it had been given.
    Text(&'static str),
    /// Computed by the reader; this describes it.
    Derived(&'static str),
}

/// Settings that the same commands read, under one heading of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Who the node is and where peers find it.
    Addresses,
    /// Where clients are accepted.
    ClientPort,
    /// Where metrics and probes are served.
    OperationsPort,
    /// Only for `chat-node dev`.
    Dev,
    /// Only for `chat-node health`.
    Health,
    /// Only for `chat-node selftest`.
    Selftest,
    /// Only for `chat-node log-level`.
    LogLevel,
    /// Where messages are kept.
    Storage,
    /// What is logged, and how.
    Logging,
    /// What is traced, and where traces go.
    Traces,
    /// Bounds on connections of clients.
    Clients,
    /// Bounds inside rooms.
    Rooms,
    /// Bounds and rhythms between nodes.
    Peers,
    /// Waits of stopping.
    Stopping,
}

impl Group {
    /// The commands that read settings of this group.
    const fn readers(self) -> &'static [Mode] {
        match self {
            Self::Addresses => &[Mode::Serve],
            Self::ClientPort => &[Mode::Serve, Mode::Selftest],
            Self::OperationsPort => &[Mode::Serve, Mode::Health, Mode::LogLevel],
            Self::Dev => &[Mode::Dev],
            Self::Health => &[Mode::Health],
            Self::Selftest => &[Mode::Selftest],
            Self::LogLevel => &[Mode::LogLevel],
            _ => &[Mode::Serve, Mode::Dev],
        }
    }

    /// Whether `mode` reads settings of this group.
    pub(super) fn is_read_by(self, mode: Mode) -> bool {
        self.readers().contains(&mode)
    }
}

/// Which command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `chat-node`
    Serve,
    /// `chat-node dev`
    Dev,
    /// `chat-node health`
    Health,
    /// `chat-node selftest`
    Selftest,
    /// `chat-node log-level`
    LogLevel,
}

impl Mode {
    /// The command that is asked for by this word.
    fn named(word: &str) -> Option<Self> {
        match word {
            "dev" => Some(Self::Dev),
            "health" => Some(Self::Health),
            "selftest" => Some(Self::Selftest),
            "log-level" => Some(Self::LogLevel),
            _ => None,
        }
    }

    /// What to call it in a mistake.
    const fn command(self) -> &'static str {
        match self {
            Self::Serve => "\"chat-node\" alone",
            Self::Dev => "\"chat-node dev\"",
            Self::Health => "\"chat-node health\"",
            Self::Selftest => "\"chat-node selftest\"",
            Self::LogLevel => "\"chat-node log-level\"",
        }
    }
}

/// What the command line says at first sight.
pub(super) enum Request {
    /// `--help` stands somewhere.
    Help,
    /// `--version` stands somewhere.
    Version,
    /// Run with these values.
    Run(Written),
}

/// What was given, with where it stood, and the mistakes of form.
pub(super) struct Written {
    mode: Mode,
    values: BTreeMap<&'static str, Given>,
    mistakes: Vec<String>,
}

/// One given value.
struct Given {
    flag: bool,
    value: String,
}

impl Written {
    /// Splits `args` into flags and takes from `env` what no flag gives. A flag given twice counts as given last.
    pub(super) fn parse(args: impl Iterator<Item = String>, env: impl Fn(&str) -> Option<String>) -> Request {
        let mut args = args.peekable();
        let mode = args
            .next_if(|word| Mode::named(word).is_some())
            .and_then(|word| Mode::named(&word))
            .unwrap_or(Mode::Serve);
        let mut written = Self {
            mode,
            values: BTreeMap::new(),
            mistakes: Vec::new(),
        };
        for setting in SETTINGS.iter().filter(|setting| setting.group.is_read_by(mode)) {
            if let Some(value) = env(setting.env) {
                written.values.insert(setting.env, Given { flag: false, value });
            }
        }
        while let Some(word) = args.next() {
            match word.as_str() {
                "--help" | "-h" | "help" => return Request::Help,
                "--version" | "-V" => return Request::Version,
                _ => {}
            }
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let known = SETTINGS
                .iter()
                .find(|setting| flag.starts_with("--") && setting.flag() == flag);
            // An unknown flag takes its value along, so that one mistake is not reported as two.
            let value = match inline {
                None if flag.starts_with("--") => args.next_if(|next| !next.starts_with("--")),
                inline => inline,
            };
            match (known, value) {
                (None, _) if flag.starts_with('-') => {
                    written.mistakes.push(format!("{flag}: no such flag (see --help)"));
                }
                (None, _) => written.mistakes.push(format!(
                    "{word}: no such command (there are dev, health, selftest and log-level)"
                )),
                (Some(setting), _) if !setting.group.is_read_by(mode) => {
                    let readers: Vec<&str> = setting.group.readers().iter().map(|reader| reader.command()).collect();
                    written
                        .mistakes
                        .push(format!("{flag}: only for {}", readers.join(" and ")));
                }
                (Some(_), None) => written.mistakes.push(format!("{flag}: its value is missing")),
                (Some(setting), Some(value)) => {
                    written.values.insert(setting.env, Given { flag: true, value });
                }
            }
        }
        Request::Run(written)
    }

    /// Nothing was given at all.
    pub(super) fn nothing(mode: Mode) -> Self {
        Self {
            mode,
            values: BTreeMap::new(),
            mistakes: Vec::new(),
        }
    }

    /// Which command runs.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// The mistakes of form: unknown flags, missing values.
    pub(super) fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    /// The given value, if there is one.
    pub(super) fn value(&self, setting: &Setting) -> Option<&str> {
        self.values.get(setting.env).map(|given| given.value.as_str())
    }

    /// What to call `setting` in a mistake: the way in which it was given.
    pub(super) fn name(&self, setting: &Setting) -> String {
        match self.values.get(setting.env) {
            Some(given) if given.flag => setting.flag(),
            _ => setting.env.to_owned(),
        }
    }
}
