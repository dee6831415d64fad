//! The rolling restart: three real processes under load are told to stop and started again, one after the other, as an
//! upgrade does. Nobody may notice more than a short pause.

use super::nodes::Nodes;
use super::{PACE, RECOVERY, SETTLE, members};
use chat_load::endure::Endurance;
use chat_load::endure::plan::Plan;
use chat_load::endure::report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// With fewer acknowledged messages nothing is proved.
const ENOUGH: u64 = 1_000;

/// What came out.
#[derive(Debug)]
pub struct Rolled {
    /// The promises.
    pub report: Report,
    /// Where logs and data of the nodes are, if a promise was broken.
    pub kept: Option<PathBuf>,
}

/// Restarts each node `turns` times, each time after it was `down` for so long. The next one is not touched before the last
/// one is ready and everybody got a message into every room. `say` gets one line per restart.
///
/// # Errors
/// The cluster could not be started, or a node did not come back.
pub async fn run(program: &Path, turns: u32, down: Duration, mut say: impl FnMut(String)) -> Result<Rolled, String> {
    let mut nodes = Nodes::start(program, None).await?;
    let plan = Plan {
        targets: nodes.urls(),
        rooms: nodes.len(),
        members: members(nodes.len()),
        pace: PACE,
        length: None,
        patience: SETTLE,
        progress: None,
        min_acknowledged: ENOUGH,
        // Wherever a session is, its node is restarted once in each turn.
        min_resumes: u64::from(turns.min(1)),
        rejoins_break: true,
    };
    let mut run = Endurance::start(plan).await.map_err(|why| why.to_string())?;
    let crowd = run.crowd();
    crowd
        .everybody_sends(RECOVERY)
        .await
        .map_err(|why| format!("at the start: {why}"))?;
    let mut late = Vec::new();
    for turn in 1..=turns {
        for n in 0..nodes.len() {
            let began = Instant::now();
            nodes.restart(n, down).await?;
            let (restarted, ready) = (began.elapsed(), Instant::now());
            if let Err(why) = crowd.everybody_sends(RECOVERY).await {
                late.push(format!(
                    "turn {turn}: not everybody could send within {RECOVERY:?} after node {} was ready: {why}",
                    n + 1
                ));
            }
            let returns = crowd.returns();
            say(format!(
                "turn {turn}: node {} restarted within {:.2} s, everybody sends {:.2} s later, {} rejoins, {} heard",
                n + 1,
                restarted.as_secs_f64(),
                ready.elapsed().as_secs_f64(),
                returns.rejoins,
                returns.heard,
            ));
        }
    }
    // A fast machine is through before much was said.
    let deadline = Instant::now() + SETTLE;
    while run.crowd().totals().0 < ENOUGH && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    run.blame(late);
    let report = run.finish().await;
    let kept = if report.broken.count > 0 {
        nodes.keep_logs()
    } else {
        None
    };
    Ok(Rolled { report, kept })
}
