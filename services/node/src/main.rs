//! The program: reads the configuration, listens for signals, runs a node or a cluster, and says how it ended.

use chat_node::config::{Command, Config};
use chat_node::telemetry::{init_logging, metrics::Metrics};
use chat_node::{Listeners, RunError, Shutdown, dev, health, selftest};
use std::io::Write;
use std::process::ExitCode;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

/// Wrong usage, in the numbers of `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let command = match Config::from_process() {
        Ok(command) => command,
        Err(mistakes) => {
            complain(&format!("chat-node cannot start:\n  {}", mistakes.join("\n  ")));
            return ExitCode::from(USAGE);
        }
    };
    match command {
        Command::Help(text) => say(&text),
        Command::Version => say(&format!("chat-node {}", chat_node::VERSION)),
        Command::Serve(config) => {
            let logging = config.logging;
            return start(logging, async move |shutdown| {
                let listeners = Listeners::bind(&config)?;
                let metrics = Metrics::new(&config.node_id).with_process(&Handle::current());
                chat_node::run(*config, listeners, shutdown, metrics).await
            });
        }
        Command::Dev(options) => {
            let logging = options.logging;
            return start(logging, async move |shutdown| {
                dev::run_cluster(*options, shutdown, say).await
            });
        }
        Command::Health(options) => return conclude(health::ask(&options).map(|text| say(&text))),
        Command::LogLevel(options) => return conclude(health::log_level(&options).map(|text| say(&text))),
        Command::Selftest(options) => return conclude(selftest::run(&options, &mut say)),
    }
    ExitCode::SUCCESS
}

/// The status of a command that looks at running nodes: 0 all is well, 1 it is not, and what was wrong.
fn conclude(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("chat-node: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn start(logging: chat_node::config::Logging, serve: impl AsyncFnOnce(Shutdown) -> Result<(), RunError>) -> ExitCode {
    if let Err(why) = init_logging(logging) {
        complain(&format!("no log: {why}"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            complain(&format!("chat-node cannot start: {why}"));
            return ExitCode::from(RunError::System(why).exit_status());
        }
    };
    let shutdown = Shutdown::default();
    let ended = runtime.block_on(async {
        tokio::spawn(on_signals(shutdown.clone()));
        serve(shutdown).await
    });
    // Tasks that still run belong to connections that were cut.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("chat-node: {why}"));
            ExitCode::from(why.exit_status())
        }
    }
}

/// The first SIGTERM or SIGINT stops in stages, the second at once.
async fn on_signals(shutdown: Shutdown) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    for stop in [Shutdown::request, Shutdown::force] {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        stop(&shutdown);
    }
}

/// Writes to standard output; a closed pipe is nobody's loss.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
