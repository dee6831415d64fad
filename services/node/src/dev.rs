//! A whole cluster in one process, for a laptop.

use crate::app::{Listeners, RunError, run};
use crate::config::{Config, DevOptions, PeerAuth};
use crate::lifecycle::Shutdown;
use crate::telemetry::metrics::Metrics;
use std::fmt::Write as _;
use std::path::PathBuf;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Runs the nodes of `options` until `shutdown`. All ports are bound before `announce` is given what to tell the user.
///
/// # Errors
/// The first [`RunError`] of a node; the others are stopped.
pub async fn run_cluster(options: DevOptions, shutdown: Shutdown, announce: impl FnOnce(&str)) -> Result<(), RunError> {
    // Held until the end: a temporary directory goes with the cluster.
    let temporary = if options.data_dir.is_none() {
        Some(tempfile::tempdir()?)
    } else {
        None
    };
    let data_dir: PathBuf = match (&options.data_dir, &temporary) {
        (Some(given), _) => given.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let mut configs = options.configs(&data_dir);
    // Nobody else is to join them.
    let key = PeerAuth::random();
    for config in &mut configs {
        config.peer_auth = key.clone();
    }
    let listeners = configs.iter().map(Listeners::bind).collect::<Result<Vec<_>, _>>()?;
    let text = welcome(&configs);
    let mut nodes = JoinSet::new();
    for (i, (config, listeners)) in configs.into_iter().zip(listeners).enumerate() {
        let mut metrics = Metrics::new(&config.node_id);
        if i == 0 {
            metrics = metrics.with_process(&Handle::current());
        }
        nodes.spawn(run(config, listeners, shutdown.clone(), metrics));
    }
    announce(&text);
    let mut result = Ok(());
    while let Some(ended) = nodes.join_next().await {
        let ended = ended.unwrap_or_else(|panic| Err(RunError::System(std::io::Error::other(panic))));
        if ended.is_err() && result.is_ok() {
            result = ended;
            shutdown.request();
        }
    }
    result
}

/// What a user of a laptop wants to know.
fn welcome(configs: &[Config]) -> String {
    let mut text = String::from("A chat cluster is running.\n\n");
    for config in configs {
        let _infallible = writeln!(
            text,
            "  {:<8} clients ws://127.0.0.1:{}   peers http://127.0.0.1:{}   operations http://127.0.0.1:{}/metrics",
            config.node_id.as_str(),
            config.websocket.port,
            config.xmlrpc.port,
            config.operations.port,
        );
    }
    let (first, last) = match configs {
        [first, .., last] => (first, last),
        [only] => (only, only),
        [] => return text,
    };
    let _infallible = write!(
        text,
        "\nChat from two more terminals:\n\
         \n  cargo run --release -p chat-tui -- --plain ws://127.0.0.1:{} --name ines --room hall\
         \n  cargo run --release -p chat-tui -- --plain ws://127.0.0.1:{} --name otto --room hall\n\
         \nCtrl-C stops the cluster.",
        first.websocket.port, last.websocket.port,
    );
    text
}
