//! How much a running node logs can be asked and changed by whoever is on its machine.

use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

struct Node {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    port: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-node"));
    command.env_clear();
    command
}

impl Node {
    fn start() -> Self {
        let hosts = [
            "--websocket-host=127.0.0.1",
            "--xmlrpc-host=127.0.0.1",
            "--operations-host=127.0.0.1",
        ];
        let mut child = program()
            .args(hosts)
            .args(["--websocket-port=0", "--xmlrpc-port=0", "--operations-port=0"])
            .args([
                "--node-id=node1",
                "--store=memory",
                "--log-format=json",
                "--log-level=info",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = next(&mut log, "ready");
        let address = ready["operations"].as_str().expect("an address");
        let port = address.rsplit(':').next().expect("a port").to_owned();
        Self { child, log, port }
    }

    /// Status and what it says.
    fn level(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = program()
            .args([
                "log-level",
                "--operations-host=127.0.0.1",
                "--operations-port",
                &self.port,
            ])
            .args(args)
            .output()
            .expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// The next line with this message.
fn next(log: &mut Lines<BufReader<ChildStderr>>, message: &str) -> Value {
    log.map(|line| serde_json::from_str::<Value>(&line.expect("the log is text")).expect("and JSON"))
        .find(|line| line["message"] == message)
        .expect("the line comes")
}

#[test]
fn the_log_level_of_a_running_node_can_be_asked_and_changed() {
    let mut node = Node::start();
    assert_eq!(node.level(&[]), (Some(0), "info\n".to_owned()));
    assert_eq!(node.level(&["--new-level", "debug"]), (Some(0), "debug\n".to_owned()));
    let changed = next(&mut node.log, "the log level is changed");
    assert_eq!((&changed["before"], &changed["now"]), (&"info".into(), &"debug".into()));
    assert_eq!(node.level(&[]), (Some(0), "debug\n".to_owned()));
    // A connection that breaks is only worth a line for whoever looks closely.
    let mut odd = std::net::TcpStream::connect(format!("127.0.0.1:{}", node.port)).expect("the port is open");
    std::io::Write::write_all(&mut odd, b"220 mail.example ESMTP\r\n\r\n").expect("it is taken");
    drop(odd);
    let broke = next(&mut node.log, "a connection to the operations port broke");
    assert_eq!(broke["level"], "DEBUG");
    // The last line of a log that falls silent says so.
    assert_eq!(node.level(&["--new-level=off"]), (Some(0), "off\n".to_owned()));
    assert_eq!(next(&mut node.log, "the log level is changed")["now"], "off");
    let (status, said) = node.level(&["--new-level=loud"]);
    assert_eq!(status, Some(64), "{said}");
}
