//! Other programs: run to their end, or beside the tests.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at something that takes its time. Nothing is decided by it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The same for something that is to stay as it is.
const SELDOM: Duration = Duration::from_secs(2);

/// Lines of a program beside the tests that nobody has read yet; a program that says more waits.
const UNREAD_LINES: usize = 10_000;

/// Whether a program is on `PATH`.
#[must_use]
pub fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether its status was 0.
    pub ok: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a program to its end, at most for `limit`.
///
/// # Errors
/// It cannot be run, or does not end in time; it is killed then.
pub fn run(program: &str, args: &[&str], input: &str, limit: Duration) -> Result<Said, String> {
    let shown = format!("{program} {}", args.join(" "));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("{shown}: {why}"))?;
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says by its status what it thinks of it.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let status = wait(&mut child, limit).map_err(|why| format!("{shown}: {why}"))?;
    let text = |reader: JoinHandle<String>| reader.join().unwrap_or_default();
    Ok(Said {
        ok: status.success(),
        out: text(out),
        err: text(err),
    })
}

/// Runs a program to its end; its standard output.
///
/// # Errors
/// As [`run`], and every status but 0, with all that it said.
pub fn output(program: &str, args: &[&str], limit: Duration) -> Result<String, String> {
    let said = run(program, args, "", limit)?;
    if said.ok {
        Ok(said.out)
    } else {
        let mut text = format!("{program} {} failed:\n", args.join(" "));
        let written = write!(text, "{}{}", said.out, said.err);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
        Err(text)
    }
}

/// Waits until `look` finds something, at most for `limit`.
///
/// # Errors
/// `what` did not come, and the last thing that `look` said about why.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() >= deadline => {
                return Err(format!("{what}: not within {} s: {why}", limit.as_secs()));
            }
            Err(_) => std::thread::park_timeout(LOOK_AGAIN),
        }
    }
}

/// Looks again and again for as long as `length`; how often.
///
/// # Errors
/// What `look` said when it failed for the first time, and when.
pub fn throughout(length: Duration, mut look: impl FnMut() -> Result<(), String>) -> Result<u32, String> {
    let since = Instant::now();
    let mut looks = 0;
    while since.elapsed() < length {
        look().map_err(|why| format!("after {:.1} s: {why}", since.elapsed().as_secs_f64()))?;
        looks += 1;
        std::thread::park_timeout(SELDOM.min(length.saturating_sub(since.elapsed())));
    }
    Ok(looks)
}

fn collect(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came before an error is what there is.
            let _partly = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let ended = until("its end", limit, || match child.try_wait() {
        Ok(Some(status)) => Ok(Ok(status)),
        Ok(None) => Err("it runs".into()),
        Err(why) => Ok(Err(why.to_string())),
    });
    match ended {
        Ok(status) => status,
        Err(why) => {
            // Both fail only if it has just ended.
            let _ended = child.kill();
            let _reaped = child.wait();
            Err(why)
        }
    }
}

/// A program that runs beside the tests until it is dropped.
#[derive(Debug)]
pub struct Beside {
    shown: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Beside {
    /// Starts a line of a shell, as a user would type it.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start(line: &str) -> Result<Self, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            // Without a shell in between that would outlive it, or be all that is killed.
            .arg(format!("exec {line} 2>&1"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| format!("{line}: {why}"))?;
        let (sender, lines) = sync_channel(UNREAD_LINES);
        let output = child.stdout.take().map(BufReader::new);
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            shown: line.to_owned(),
            input: child.stdin.take(),
            child,
            lines,
            heard: Vec::new(),
        })
    }

    /// Types a line.
    ///
    /// # Errors
    /// It reads no more.
    pub fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("its input is closed")?;
        writeln!(input, "{line}").map_err(|why| format!("{}: {why}", self.shown))
    }

    /// Waits for a line that contains `part`; lines before it are passed over.
    ///
    /// # Errors
    /// It did not come, and what came instead.
    pub fn hear(&mut self, part: &str, limit: Duration) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(part) {
                        return Ok(line);
                    }
                }
                Err(why) => {
                    let how = if why == RecvTimeoutError::Timeout {
                        "did not say"
                    } else {
                        "ended without"
                    };
                    return Err(format!(
                        "{} {how} \"{part}\" but:\n{}",
                        self.shown,
                        self.heard.join("\n")
                    ));
                }
            }
        }
    }

    /// Closes its input and waits for its end; all that it said.
    ///
    /// # Errors
    /// It does not end, or with another status than 0.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<String>, String> {
        drop(self.input.take());
        let status = wait(&mut self.child, limit).map_err(|why| format!("{}: {why}", self.shown))?;
        // The lines end with the output.
        let rest: Vec<String> = self.lines.iter().collect();
        self.heard.extend(rest);
        if status.success() {
            Ok(std::mem::take(&mut self.heard))
        } else {
            Err(format!(
                "{} ended with {status}:\n{}",
                self.shown,
                self.heard.join("\n")
            ))
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
