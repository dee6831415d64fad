//! `chat-node health` and `chat-node log-level`: one request to an operations port, for machines without any other HTTP client.

use crate::config::{HealthOptions, LogLevelOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Most bytes of an answer: metrics of a thousand peers have a tenth of it.
const MAX_ANSWER: u64 = 8 << 20;

/// Asks, and gives what the node said.
///
/// # Errors
/// What the node said if its answer is no, or why there is no answer.
pub fn ask(options: &HealthOptions) -> Result<String, String> {
    let path = options.probe.path();
    let (status, text) = get(&options.host, options.port, path, options.patience)
        .map_err(|why| format!("no answer to {path} from {}:{}: {why}", options.host, options.port))?;
    let text = text.trim().to_owned();
    if status == 200 { Ok(text) } else { Err(text) }
}

/// How long a node may take to say or change what it logs.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Asks how much a node logs, or changes it, and gives what it logs then.
///
/// # Errors
/// What the node said if its answer is no, or why there is no answer.
pub fn log_level(options: &LogLevelOptions) -> Result<String, String> {
    let (host, port) = (options.host.as_str(), options.port);
    let answer = match options.level {
        None => request("GET", host, port, "/log-level", LOG_PATIENCE),
        Some(level) => request("PUT", host, port, &format!("/log-level/{level}"), LOG_PATIENCE),
    };
    let (status, text) = answer.map_err(|why| format!("no answer from {host}:{port}: {why}"))?;
    let text = text.trim().to_owned();
    match status {
        200 => Ok(text),
        _ if text.is_empty() => Err(format!("status {status}")),
        _ => Err(text),
    }
}

/// Status and body of a GET. `patience` is the longest wait for all of it, but for resolving the name. Blocks.
///
/// # Errors
/// Why there is no whole answer.
pub(crate) fn get(host: &str, port: u16, path: &str, patience: Duration) -> Result<(u16, String), String> {
    request("GET", host, port, path, patience)
}

fn request(method: &str, host: &str, port: u16, path: &str, patience: Duration) -> Result<(u16, String), String> {
    let deadline = Instant::now() + patience;
    let mut stream = connect(host, port, deadline)?;
    stream
        .set_write_timeout(Some(left(deadline)?))
        .map_err(|why| why.to_string())?;
    // Version 1.0 asks for a body that ends with the connection.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n\r\n", in_a_head(host));
    stream.write_all(request.as_bytes()).map_err(|why| why.to_string())?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        stream
            .set_read_timeout(Some(left(deadline)?))
            .map_err(|why| why.to_string())?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err("no whole answer in time".into());
            }
            Err(why) => return Err(why.to_string()),
        }
        if answer.len() as u64 > MAX_ANSWER {
            return Err("the answer is too long".into());
        }
    }
    parse(&answer).ok_or_else(|| "the answer is no HTTP".into())
}

/// A host as a head names it: an address of IPv6 in brackets, without which it is none.
fn in_a_head(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let mut why = "the host has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(|why| why.to_string())? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(failed) => why = failed.to_string(),
        }
    }
    Err(why)
}

/// Never zero, which would mean: for ever.
fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err("no answer in time".into())
    } else {
        Ok(left)
    }
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Probe;
    use std::net::TcpListener;

    /// Answers one request with `answer`, byte for byte, and closes.
    fn server(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (port, serving)
    }

    fn options(port: u16) -> HealthOptions {
        HealthOptions {
            host: "127.0.0.1".into(),
            port,
            probe: Probe::Live,
            patience: Duration::from_secs(30),
        }
    }

    #[test]
    fn the_answer_decides() {
        let (port, serving) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlive\n");
        assert_eq!(ask(&options(port)), Ok("live".into()));
        assert_eq!(serving.join().unwrap(), "GET /live HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        let (port, _serving) = server("HTTP/1.1 503 Service Unavailable\r\n\r\nstopping\n");
        assert_eq!(ask(&options(port)), Err("stopping".into()));
    }

    #[test]
    fn an_address_of_ipv6_is_named_in_brackets() {
        assert_eq!(in_a_head("::1"), "[::1]");
        assert_eq!(in_a_head("[::1]"), "[::1]");
        assert_eq!(in_a_head("node1.chat"), "node1.chat");
    }

    #[test]
    fn nobody_there_nonsense_and_silence_are_a_no() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(ask(&options(free)).unwrap_err().contains("refused"));
        let (port, _serving) = server("220 mail.example ESMTP\r\n\r\n");
        assert!(ask(&options(port)).unwrap_err().ends_with("the answer is no HTTP"));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = options(silent.local_addr().unwrap().port());
        options.patience = Duration::from_millis(50);
        assert!(ask(&options).unwrap_err().ends_with("in time"));
    }
}
