//! `chat-chaos`: kills, stops, fills and cuts a cluster of three processes, and says whether a promise was broken.

// A command speaks on its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use chat_tests::chaos::fault::Fault;
use chat_tests::chaos::{self, Plan};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const HELP: &str = "\
chat-chaos --program PATH [--rounds N] [--seed N] [--small-disk DIR] [--only KIND] [--first-only]

Runs three nodes under load, lets one random fault after the other happen, and compares after each what was acknowledged
and shown with what the rooms hold. Exit status: 0 all promises kept, 1 one was broken, 2 it could not be run.

  --program PATH     the server, chat-node
  --rounds N         how many faults (10)
  --seed N           replays the schedule of a run with this seed
  --small-disk DIR   a directory on a small file system; adds the fault of a full disk
  --only KIND        kill, stop, terminate, disk or wire: no other fault
  --first-only       stops at the first broken promise
";

fn plan() -> Result<Plan, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut plan = Plan {
        program: PathBuf::new(),
        rounds: 10,
        seed: u64::from(now.subsec_nanos()) ^ now.as_secs(),
        small_disk: None,
        only: None,
        first_only: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match arg.as_str() {
            "--program" => plan.program = value()?.into(),
            "--rounds" => plan.rounds = value()?.parse().map_err(|_| "--rounds needs a number".to_owned())?,
            "--seed" => plan.seed = number(value()?)?,
            "--small-disk" => plan.small_disk = Some(value()?.into()),
            "--only" => plan.only = Some(value()?),
            "--first-only" => plan.first_only = true,
            _ => return Err(HELP.into()),
        }
    }
    if let Some(only) = &plan.only
        && (!Fault::KINDS.contains(&only.as_str()) || (only == "disk" && plan.small_disk.is_none()))
    {
        return Err(format!(
            "there is no fault of the kind {only}, or it needs --small-disk"
        ));
    }
    if plan.program.as_os_str().is_empty() {
        return Err(HELP.into());
    }
    Ok(plan)
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    println!("{} rounds, seed {}", plan.rounds, plan.seed);
    let outcome = match chaos::run(&plan, |line| println!("{line}")).await {
        Ok(outcome) => outcome,
        Err(why) => {
            eprintln!("seed {}: {why}", plan.seed);
            return ExitCode::from(2);
        }
    };
    for violation in outcome.violations.iter().take(50) {
        println!("BROKEN {violation}");
    }
    if let Some(kept) = &outcome.kept {
        println!("logs and data of the nodes are in {}", kept.display());
    }
    let longest = outcome.pauses.iter().max().copied().unwrap_or_default();
    println!(
        "{} acknowledged, {} delivered; longest write pause {:.2} s; {}",
        outcome.acknowledged,
        outcome.delivered,
        longest.as_secs_f64(),
        match outcome.violations.len() {
            0 => "nothing lost, nothing doubled, nothing out of order".to_owned(),
            broken => format!("{broken} promises broken (seed {})", plan.seed),
        }
    );
    ExitCode::from(u8::from(!outcome.violations.is_empty()))
}
