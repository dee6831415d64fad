//! Peers by the SRV records of one name: the first label of a target is the id of a node.
//!
//! That is what Kubernetes publishes for a headless Service of a StatefulSet, and what anybody can publish elsewhere.

use super::{Reason, Report, Source, about, listed};
use chat_engine::directory::List;
use chat_protocol::ids::NodeId;
use chat_protocol::limits::MAX_PEERS;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Longest wait for everything that one look asks.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) struct Dns {
    name: String,
    wanted: Option<watch::Receiver<bool>>,
}

impl Dns {
    /// Looks as long as it runs.
    pub(super) const fn always(name: String) -> Self {
        Self { name, wanted: None }
    }

    /// Looks while it is wanted.
    #[cfg(feature = "kubernetes")]
    pub(super) const fn while_wanted(name: String, wanted: watch::Receiver<bool>) -> Self {
        Self {
            name,
            wanted: Some(wanted),
        }
    }

    async fn look(&self) -> Report {
        match timeout(PATIENCE, find(&self.name)).await {
            Ok(Ok(list)) if list.is_empty() => Report::Trouble(Reason::Incomplete, "no records".into()),
            Ok(Ok(list)) => Report::List(list),
            Ok(Err(why)) => Report::Trouble(Reason::Unreachable, why),
            Err(_) => Report::Trouble(Reason::Unreachable, "no answer in time".into()),
        }
    }
}

impl Source for Dns {
    fn run(mut self: Box<Self>, reports: mpsc::Sender<Report>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                if let Some(wanted) = &mut self.wanted
                    && wanted.wait_for(|wanted| *wanted).await.is_err()
                {
                    return;
                }
                let report = self.look().await;
                if reports.send(report).await.is_err() {
                    return;
                }
                sleep(about(EVERY)).await;
            }
        })
    }
}

/// All targets with their addresses, asked anew: what a cache knows is what changed.
async fn find(name: &str) -> Result<List, String> {
    let why = |error: &dyn std::fmt::Display| error.to_string();
    let mut builder = TokioResolver::builder_tokio().map_err(|error| why(&error))?;
    builder.options_mut().cache_size = 0;
    let resolver = builder.build().map_err(|error| why(&error))?;
    let answer = resolver.srv_lookup(name).await.map_err(|error| why(&error))?;
    let mut list = List::new();
    for record in answer.answers() {
        let RData::SRV(service) = &record.data else { continue };
        let Some(node) = node_of(&service.target.to_ascii()) else {
            continue;
        };
        if list.len() >= MAX_PEERS {
            break;
        }
        // Whoever has no address yet is found with the next look.
        if let Ok(addresses) = resolver.lookup_ip(service.target.clone()).await
            && let Some(address) = addresses.iter().min_by_key(std::net::IpAddr::is_ipv6)
        {
            list.insert(node, listed(address, service.port, None, false));
        }
    }
    Ok(list)
}

/// The node of a target: its first label.
fn node_of(target: &str) -> Option<NodeId> {
    let label = target.split('.').next()?;
    NodeId::parse(label).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_of_a_target_is_the_node() {
        let node = |target: &str| node_of(target).map(|node| node.to_string());
        assert_eq!(
            node("chat-0.chat-headless.default.svc.cluster.local."),
            Some("chat-0".into())
        );
        assert_eq!(node("chat-0"), Some("chat-0".into()));
        assert_eq!(node(""), None);
        assert_eq!(node("."), None);
    }
}
