//! `chat-kube`: makes the chart's files and runs the suite; see `chat-kube --help`.

use chat_kube::{generated, suite};
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

/// Makes the files of the chart that are made, and runs the chart on the cluster that KUBECONFIG names.
#[derive(Debug, Parser)]
#[command(name = "chat-kube")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write README.md and values.schema.json of the chart.
    Generate,
    /// Say which version of the image the chart installs.
    Version,
    /// Say what the suite consists of.
    List,
    /// Run the suite, or only what is named. It makes namespaces of its own and removes them. Status 1: something failed,
    /// or was skipped while CHAT_KUBE_ALL=1.
    Run {
        /// Scenarios.
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate => generated::write(),
        Command::Version => {
            say(env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::List => {
            for scenario in suite::SCENARIOS {
                say(&format!("{:<28} {}", scenario.name, scenario.about));
            }
            Ok(())
        }
        Command::Run { names } => suite::run(&names, &mut say),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            drop(writeln!(std::io::stderr(), "chat-kube: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
