//! The command line, as written.

use crate::floor::Fault;
use crate::hostile::HostileArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Puts load on a chat server and checks what it promises. Exit status: 0 all promises kept, 1 a promise broken, 2 the
/// run itself failed, 3 (of `endure`) too little happened to prove anything.
#[derive(Debug, Parser)]
#[command(name = "chat-load")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send messages at a rate, check every delivery, report latencies and costs.
    Run(RunArgs),
    /// Keep sessions talking while nodes are killed, stopped and cut off, and compare at the end what was acknowledged
    /// and shown with what the rooms hold. Nodes must keep the messages of a room until they are compared, which is done
    /// every five seconds, or as soon as the room can be read again.
    Endure(EndureArgs),
    /// Open connections that do nothing and report what each costs.
    Idle(IdleArgs),
    /// Kill a server under many sessions and report when all are back on the others.
    Resume(ResumeArgs),
    /// Repeat sends that a long room has seen, and report how long it takes to find out.
    Once(OnceArgs),
    /// Misbehave at the ports of a node in every way that costs it something.
    Hostile(HostileArgs),
    /// Serve rooms in the simplest way that works, as a yardstick for real servers.
    Floor(FloorArgs),
}

/// What clients and servers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// As every server of this protocol does.
    Classic,
    /// From `hello` on.
    Extended,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Servers, separated by commas; members are spread over them.
    #[arg(long = "target", value_delimiter = ',', default_value = "ws://127.0.0.1:8080")]
    pub targets: Vec<String>,
    /// Create all rooms on this server, which need not be a target; without it on one target after the other.
    #[arg(long)]
    pub create_on: Option<String>,
    /// Rooms.
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Members of each room; each is one connection.
    #[arg(long, default_value_t = 10)]
    pub members: usize,
    /// Members of each room that send.
    #[arg(long, default_value_t = 1)]
    pub senders: usize,
    /// How members speak. In the extended dialect every message has an id by which a repeat would be recognised.
    #[arg(long, value_enum, default_value_t = Dialect::Classic)]
    pub dialect: Dialect,
    /// Messages per second in total. Each has its intended time, whatever the server does, and latency counts from it.
    #[arg(long, default_value_t = 100.0, conflicts_with = "closed")]
    pub rate: f64,
    /// Instead of a rate: each sender sends its next message when the last one is answered.
    #[arg(long)]
    pub closed: bool,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of the same load before them.
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    /// Bytes of content of each message.
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    /// Process ids of servers on this machine, for CPU time and memory.
    #[arg(long = "server-pid")]
    pub server_pids: Vec<u32>,
    /// Longest wait for the last answers and deliveries, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
    /// Threads; rooms are split among them.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which dialects are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialects {
    /// Classic sessions only.
    Classic,
    /// Extended sessions only.
    Extended,
    /// One after the other.
    Both,
}

/// Arguments of `endure`.
#[derive(Debug, Clone, Args)]
pub struct EndureArgs {
    /// Servers, separated by commas. Sessions are spread over them; an extended one goes on to the next when it is lost, a
    /// classic one comes back to its own. Logs are read from whichever answers.
    #[arg(long = "target", value_delimiter = ',', default_value = "ws://127.0.0.1:8080")]
    pub targets: Vec<String>,
    /// Rooms, created on one target after the other.
    #[arg(long, default_value_t = 3)]
    pub rooms: usize,
    /// Members of each room. Each is one session, which is in all rooms.
    #[arg(long, default_value_t = 6)]
    pub members: usize,
    /// Members that send into each room; without it all of them.
    #[arg(long)]
    pub senders: Option<usize>,
    /// How members speak.
    #[arg(long, value_enum, default_value_t = Dialects::Both)]
    pub dialect: Dialects,
    /// Milliseconds from an acknowledgement to the next message of the same sender: in the same room if it is an extended
    /// session, in the next one if it is a classic one.
    #[arg(long, default_value_t = 100)]
    pub pace: u64,
    /// Seconds of load; without it until Ctrl-C or SIGTERM, which end it in any case. A second one gives up the comparison.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Longest wait at the end, in seconds, for each of: answers to what was sent, the logs of the rooms, the last
    /// deliveries. The node of a room may be down for so long.
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// Tell so often, in seconds and on standard error, how it stands.
    #[arg(long)]
    pub progress: Option<f64>,
    /// Fail with status 3 if fewer messages were acknowledged.
    #[arg(long, default_value_t = 1)]
    pub min_acknowledged: u64,
    /// Fail with status 3 if some extended session came back less often.
    #[arg(long, default_value_t = 0)]
    pub min_resumes: u64,
    /// Report extended sessions that had to join anew, but do not count it as a broken promise: for faults that keep a
    /// session away for more than ten seconds.
    #[arg(long)]
    pub allow_rejoins: bool,
    /// Write the verdict and the figures into this file at the end, at most 4000 bytes of short lines: what fits into the
    /// message with which a container ends (`/dev/termination-log`).
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// The server.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub target: String,
    /// Connections to open.
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Process ids of servers on this machine, for memory.
    #[arg(long = "server-pid")]
    pub server_pids: Vec<u32>,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// Servers, separated by commas. All sessions begin on the first one, which is killed; the rooms are on the second.
    #[arg(long = "target", value_delimiter = ',', required = true)]
    pub targets: Vec<String>,
    /// The process id of the first server.
    #[arg(long)]
    pub kill: u32,
    /// Sessions.
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Rooms that they share; each session is in one.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..10_000))]
    pub rooms: u64,
    /// Messages that are said in each room as soon as the server is dead.
    #[arg(long, default_value_t = 20)]
    pub missed: u64,
    /// Longest wait until all are back, in seconds.
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// Process ids of the other servers, for memory.
    #[arg(long = "server-pid")]
    pub server_pids: Vec<u32>,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `once`.
#[derive(Debug, Clone, Args)]
pub struct OnceArgs {
    /// The server.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub target: String,
    /// The id of a room that was filled as the documentation of the module says.
    #[arg(long)]
    pub room: String,
    /// How many messages are in it.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1 << 31))]
    pub stored: u64,
    /// How many of them are sent again, and how many new ones are sent.
    #[arg(long, default_value_t = 100_000)]
    pub sends: u64,
    /// Sessions that send, each one message after the other.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..10_000))]
    pub senders: u64,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `floor`.
#[derive(Debug, Clone, Args)]
pub struct FloorArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8088")]
    pub listen: String,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Lose every n-th delivery on purpose, to see the check of `run` fail.
    #[arg(long, conflicts_with = "double_every")]
    pub lose_every: Option<u64>,
    /// Deliver every n-th delivery twice on purpose, to see the check of `run` fail.
    #[arg(long)]
    pub double_every: Option<u64>,
}

impl FloorArgs {
    /// What the server is to do wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match (self.lose_every, self.double_every) {
            (Some(n), _) => Fault::LoseEvery(n),
            (None, Some(n)) => Fault::DoubleEvery(n),
            (None, None) => Fault::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_and_repeats_are_understood() {
        let cli = Cli::parse_from([
            "chat-load",
            "run",
            "--target",
            "ws://a:1,ws://b:2",
            "--closed",
            "--server-pid",
            "1",
            "--server-pid",
            "2",
        ]);
        let Command::Run(args) = cli.command else {
            panic!("not run")
        };
        assert_eq!(args.targets, ["ws://a:1", "ws://b:2"]);
        assert_eq!(args.server_pids, [1, 2]);
        assert!(args.closed);
        assert!(Cli::try_parse_from(["chat-load", "run", "--closed", "--rate", "5"]).is_err());
    }
}
