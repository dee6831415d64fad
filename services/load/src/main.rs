//! `chat-load`: see `chat-load --help`.

use chat_load::args::{Cli, Command, EndureArgs, FloorArgs, IdleArgs, OnceArgs, ResumeArgs, RunArgs};
use chat_load::endure::Endurance;
use chat_load::endure::plan::Plan;
use chat_load::endure::report::Report;
use chat_load::hostile::{self, HostileArgs};
use chat_load::scenario::Scenario;
use chat_load::{CannotRun, floor, idle, once, raise_open_files, resume, run};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// A promise was broken.
const BROKEN: u8 = 1;

/// Nothing could be said about the server, because the run itself failed.
const COULD_NOT_RUN: u8 = 2;

/// Most characters of the reason in a brief report of a run that failed itself; four bytes each fit.
const MOST_REASON: usize = 900;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => load(&args),
        Command::Endure(args) => endure(&args),
        Command::Idle(args) => sit(&args),
        Command::Resume(args) => come_back(&args),
        Command::Once(args) => repeat(&args),
        Command::Hostile(args) => misbehave(&args),
        Command::Floor(args) => stand(&args),
    };
    result.unwrap_or_else(|error| {
        // Nobody is left to tell if even this fails.
        let _told = writeln!(std::io::stderr(), "chat-load could not run: {error}");
        ExitCode::from(COULD_NOT_RUN)
    })
}

fn load(args: &RunArgs) -> Result<ExitCode, CannotRun> {
    let scenario = Scenario::new(args).map_err(CannotRun)?;
    raise_open_files(scenario.connections())?;
    let report = run(&scenario)?;
    say(&if args.json { report.to_json() } else { report.to_text() })?;
    Ok(if report.promises_kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BROKEN)
    })
}

fn endure(args: &EndureArgs) -> Result<ExitCode, CannotRun> {
    let report = stay(args);
    if let Some(file) = &args.report {
        let brief = match &report {
            Ok(report) => report.to_brief(),
            Err(why) => {
                let why: String = why.to_string().chars().take(MOST_REASON).collect();
                format!("verdict could_not_run\n- {why}\n")
            }
        };
        std::fs::write(file, brief).map_err(|why| CannotRun(format!("cannot write {}: {why}", file.display())))?;
    }
    let report = report?;
    say(&if args.json { report.to_json() } else { report.to_text() })?;
    Ok(ExitCode::from(report.verdict.exit_status()))
}

fn stay(args: &EndureArgs) -> Result<Report, CannotRun> {
    let plan = Plan::new(args).map_err(CannotRun)?;
    raise_open_files(plan.connections())?;
    runtime(1)?.block_on(async {
        let mut run = tokio::select! {
            started = Endurance::start(plan) => started?,
            () = asked_to_stop() => return Err(CannotRun("it was stopped before the load began".into())),
        };
        run.hold(asked_to_stop(), |line| {
            // Nobody reads it: the report follows all the same.
            let _told = writeln!(std::io::stderr(), "{line}");
        })
        .await;
        tokio::select! {
            report = run.finish() => Ok(report),
            () = asked_to_stop() => Err(CannotRun("it was stopped again before everything was compared".into())),
        }
    })
}

/// Waits for Ctrl-C or SIGTERM. If signals cannot be had, the process is stopped the hard way.
async fn asked_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminated => {}
        () = interrupted => {}
    }
}

fn sit(args: &IdleArgs) -> Result<ExitCode, CannotRun> {
    raise_open_files(args.connections)?;
    let cost = runtime(1)?.block_on(idle::measure(args))?;
    say(&if args.json { cost.to_json() } else { cost.to_text() })?;
    Ok(ExitCode::SUCCESS)
}

fn come_back(args: &ResumeArgs) -> Result<ExitCode, CannotRun> {
    raise_open_files(2 * args.sessions)?;
    let report = runtime(1)?.block_on(resume::measure(args))?;
    say(&if args.json { report.to_json() } else { report.to_text() })?;
    Ok(ExitCode::SUCCESS)
}

fn repeat(args: &OnceArgs) -> Result<ExitCode, CannotRun> {
    let report = runtime(1)?.block_on(once::measure(args))?;
    say(&if args.json { report.to_json() } else { report.to_text() })?;
    Ok(ExitCode::from(if report.wrong == 0 { 0 } else { BROKEN }))
}

fn misbehave(args: &HostileArgs) -> Result<ExitCode, CannotRun> {
    raise_open_files(args.connections)?;
    let report = runtime(1)?.block_on(hostile::attack(args))?;
    say(&if args.json { report.to_json() } else { report.to_text() })?;
    Ok(ExitCode::SUCCESS)
}

fn stand(args: &FloorArgs) -> Result<ExitCode, CannotRun> {
    // As many as the system allows: who connects decides how many there will be.
    raise_open_files(0)?;
    runtime(args.threads)?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&args.listen)
            .await
            .map_err(|e| CannotRun(format!("cannot listen on {}: {e}", args.listen)))?;
        floor::serve(listener, args.fault(), asked_to_stop()).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, CannotRun> {
    let built = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        many => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(many)
            .enable_all()
            .build(),
    };
    built.map_err(|e| CannotRun(format!("no runtime: {e}")))
}

fn say(text: &str) -> Result<(), CannotRun> {
    writeln!(std::io::stdout(), "{text}").map_err(|e| CannotRun(format!("cannot write the report: {e}")))
}
