//! `chat-chaos`: kills, stops, fills and cuts a cluster of three processes, and says whether a promise was broken.

// A command speaks on its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use chat_tests::chaos::fault::Fault;
use chat_tests::chaos::{self, Plan, rolling};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
chat-chaos --program PATH [--rounds N] [--seed N] [--small-disk DIR] [--only KIND] [--first-only]
chat-chaos --program PATH --rolling [--turns N] [--down MS]

Runs three nodes under load, lets one random fault after the other happen, and compares after each what was acknowledged
and shown with what the rooms hold. Exit status: 0 all promises kept, 1 one was broken, 2 it could not be run, 3 too little
happened to prove anything.

  --program PATH     the server, chat-node
  --rolling          instead of random faults: restarts the nodes one after the other by SIGTERM; no extended session may
                     have to rejoin
  --turns N          how often each node is restarted (2)
  --down MS          how long it stays away, in milliseconds (0)
  --rounds N         how many faults (10)
  --seed N           replays the schedule of a run with this seed
  --small-disk DIR   a directory on a small file system; adds the fault of a full disk
  --only KIND        kill, stop, terminate, disk or wire: no other fault
  --first-only       stops at the first broken promise
";

/// What to do.
enum Task {
    Faults(Plan),
    Rolling {
        program: PathBuf,
        turns: u32,
        down: Duration,
    },
}

fn task() -> Result<Task, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut plan = Plan {
        program: PathBuf::new(),
        rounds: 10,
        seed: u64::from(now.subsec_nanos()) ^ now.as_secs(),
        small_disk: None,
        only: None,
        first_only: false,
    };
    let (mut rolling, mut turns, mut down) = (false, 2, Duration::ZERO);
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
            "--rolling" => rolling = true,
            "--down" => down = Duration::from_millis(number(value()?)?),
            "--turns" => turns = value()?.parse().map_err(|_| "--turns needs a number".to_owned())?,
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
    if !rolling {
        return Ok(Task::Faults(plan));
    }
    Ok(Task::Rolling {
        program: plan.program,
        turns,
        down,
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match task() {
        Ok(Task::Faults(plan)) => faults(&plan).await,
        Ok(Task::Rolling { program, turns, down }) => roll(&program, turns, down).await,
        Err(why) => Err(why),
    };
    done.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(2)
    })
}

async fn roll(program: &Path, turns: u32, down: Duration) -> Result<ExitCode, String> {
    let rolled = rolling::run(program, turns, down, |line| println!("{line}")).await?;
    println!("{}", rolled.report.to_text());
    if let Some(kept) = &rolled.kept {
        println!("logs and data of the nodes are in {}", kept.display());
    }
    Ok(ExitCode::from(rolled.report.verdict.exit_status()))
}

async fn faults(plan: &Plan) -> Result<ExitCode, String> {
    println!("{} rounds, seed {}", plan.rounds, plan.seed);
    let outcome = chaos::run(plan, |line| println!("{line}")).await;
    let outcome = outcome.map_err(|why| format!("seed {}: {why}", plan.seed))?;
    if let Some(kept) = &outcome.kept {
        println!("logs and data of the nodes are in {}", kept.display());
    }
    let longest = outcome.pauses.iter().max().copied().unwrap_or_default();
    println!(
        "{} acknowledged, {} delivered; {} rooms deleted ({} confirmed), {} kept; longest write pause {:.2} s; {}",
        outcome.acknowledged,
        outcome.delivered,
        outcome.doomed.gone,
        outcome.doomed.confirmed,
        outcome.doomed.whole,
        longest.as_secs_f64(),
        match outcome.violations.len() {
            0 => "nothing lost, nothing doubled, nothing out of order".to_owned(),
            broken => format!("{broken} promises broken (seed {})", plan.seed),
        }
    );
    Ok(ExitCode::from(u8::from(!outcome.violations.is_empty())))
}
