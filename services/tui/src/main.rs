//! `chat-tui`: see `chat-tui --help`.

use chat_tui::chat::{End, chat};
use chat_tui::input::{WAITING_LINES, read_lines};
use chat_tui::settings::{Args, Settings};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// As in sysexits.h.
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const IO_ERROR: u8 = 74;

/// Some line did not reach the room, or nobody knows.
const NOT_ALL_SENT: u8 = 1;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output and is no error.
            let _told = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match Settings::new(args) {
        Ok(settings) => talk(&settings),
        Err(message) => fail(&message, USAGE),
    }
}

fn talk(settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}"), IO_ERROR),
    };
    let (lines, queue) = tokio::sync::mpsc::channel(WAITING_LINES);
    // A thread of its own, because a read of a terminal cannot be cancelled: the process ends without waiting for it.
    let reader = std::thread::Builder::new().spawn(move || read_lines(std::io::stdin().lock(), &lines));
    if let Err(error) = reader {
        return fail(&format!("cannot read: {error}"), IO_ERROR);
    }
    let (mut out, mut notices) = (std::io::stdout(), std::io::stderr());
    match runtime.block_on(chat(settings, queue, &mut out, &mut notices)) {
        Ok(End::AllSent) => ExitCode::SUCCESS,
        Ok(End::NotAllSent) => ExitCode::from(NOT_ALL_SENT),
        Ok(End::NoServer) => ExitCode::from(UNAVAILABLE),
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write: {error}"), IO_ERROR),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    // Nobody is left to tell if even this fails.
    let _told = writeln!(std::io::stderr(), "chat-tui: {message}");
    ExitCode::from(status)
}
