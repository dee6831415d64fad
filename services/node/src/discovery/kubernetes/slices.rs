//! What endpoint slices say, together.
//!
//! A Service may have many slices: one per hundred endpoints and family of addresses, and while the controller moves an
//! endpoint it may stand in two of them.

use crate::discovery::listed;
use chat_engine::directory::{List, Listed};
use chat_protocol::ids::NodeId;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The name of the peer port in the Service.
pub(in crate::discovery) const PORT_NAME: &str = "peer";

/// Most slices that are looked at.
const MAX_SLICES: usize = 64;

/// All slices of the Service by name.
#[derive(Debug, Default)]
pub(super) struct Slices(BTreeMap<String, List>);

impl Slices {
    pub(super) fn put(&mut self, slice: EndpointSlice) {
        let Some(name) = slice.metadata.name.clone() else {
            return;
        };
        if self.0.len() < MAX_SLICES || self.0.contains_key(&name) {
            self.0.insert(name, peers_of(&slice));
        }
    }

    pub(super) fn remove(&mut self, slice: &EndpointSlice) {
        if let Some(name) = &slice.metadata.name {
            self.0.remove(name);
        }
    }

    /// Everybody, once. Of several entries for one pod, one that stays is preferred to one that goes, then IPv4 to IPv6.
    pub(super) fn list(&self) -> List {
        let mut all = List::new();
        for (node, peer) in self.0.values().flatten() {
            match all.get(node) {
                Some(known) if rank(known) <= rank(peer) => {}
                _ => {
                    all.insert(node.clone(), peer.clone());
                }
            }
        }
        all
    }
}

fn rank(peer: &Listed) -> (bool, bool) {
    (peer.leaving, peer.address.starts_with("http://["))
}

fn peers_of(slice: &EndpointSlice) -> List {
    let ports = slice.ports.iter().flatten();
    let port = ports
        .filter(|port| port.name.as_deref() == Some(PORT_NAME))
        .find_map(|port| u16::try_from(port.port?).ok().filter(|port| *port != 0));
    let Some(port) = port else { return List::new() };
    slice
        .endpoints
        .iter()
        .filter_map(|endpoint| peer(endpoint, port))
        .collect()
}

/// An endpoint that is a pod with an address. Whether it is ready does not matter: heartbeats judge that.
fn peer(endpoint: &Endpoint, port: u16) -> Option<(NodeId, Listed)> {
    let pod = endpoint.target_ref.as_ref()?;
    if pod.kind.as_deref().is_some_and(|kind| kind != "Pod") {
        return None;
    }
    let node = NodeId::parse(pod.name.as_deref()?).ok()?;
    let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let leaving = endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.terminating);
    Some((node, listed(address, port, pod.uid.clone(), leaving.unwrap_or(false))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A slice of endpoints `pod=address`, with `!` behind if it terminates.
    fn slice(name: &str, port: &str, endpoints: &str) -> EndpointSlice {
        let endpoints: Vec<Value> = endpoints
            .split_whitespace()
            .map(|word| {
                let (pod, address) = word.split_once('=').unwrap();
                json!({
                    "addresses": [address.trim_end_matches('!')],
                    "conditions": {"ready": false, "terminating": address.ends_with('!')},
                    "targetRef": {"kind": "Pod", "name": pod, "uid": format!("uid of {pod}")},
                })
            })
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "client", "port": 8080}, {"name": port, "port": 9090}],
        }))
        .unwrap()
    }

    fn shown(slices: &Slices) -> Vec<String> {
        let list = slices.list();
        let show = |(node, peer): (&NodeId, &Listed)| {
            format!("{node}={}{}", peer.address, if peer.leaving { "!" } else { "" })
        };
        list.iter().map(show).collect()
    }

    #[test]
    fn pods_are_peers_whether_ready_or_not_and_their_uid_tells_instances_apart() {
        let mut slices = Slices::default();
        slices.put(slice("a", "peer", "chat-0=10.0.0.1 chat-1=10.0.0.2!"));
        assert_eq!(
            shown(&slices),
            ["chat-0=http://10.0.0.1:9090/RPC2", "chat-1=http://10.0.0.2:9090/RPC2!"]
        );
        let list = slices.list();
        let uids: Vec<_> = list.values().map(|peer| peer.uid.as_deref()).collect();
        assert_eq!(uids, [Some("uid of chat-0"), Some("uid of chat-1")]);
    }

    #[test]
    fn a_pod_in_two_slices_is_one_peer() {
        let mut slices = Slices::default();
        slices.put(slice("six", "peer", "chat-0=fd00::1 chat-1=fd00::2"));
        slices.put(slice("four", "peer", "chat-0=10.0.0.1"));
        assert_eq!(
            shown(&slices),
            ["chat-0=http://10.0.0.1:9090/RPC2", "chat-1=http://[fd00::2]:9090/RPC2"],
            "IPv4 where there is one"
        );
        // The controller moves an endpoint; its old entry still says that the pod before it goes.
        slices.put(slice("five", "peer", "chat-0=10.0.0.9!"));
        assert_eq!(shown(&slices)[0], "chat-0=http://10.0.0.1:9090/RPC2");
        slices.remove(&slice("four", "peer", ""));
        assert_eq!(shown(&slices)[0], "chat-0=http://[fd00::1]:9090/RPC2");
        slices.put(slice("six", "peer", ""));
        assert_eq!(shown(&slices), ["chat-0=http://10.0.0.9:9090/RPC2!"]);
    }

    #[test]
    fn what_is_no_pod_or_has_no_peer_port_is_nobody() {
        let mut slices = Slices::default();
        slices.put(slice("a", "metrics", "chat-0=10.0.0.1"));
        slices.put(slice("b", "peer", "chat-1=nowhere"));
        let mut odd = slice("c", "peer", "chat-2=10.0.0.3");
        odd.endpoints[0].target_ref.as_mut().unwrap().kind = Some("Node".into());
        slices.put(odd);
        let mut nameless = slice("d", "peer", "chat-3=10.0.0.4");
        nameless.endpoints[0].target_ref = None;
        slices.put(nameless);
        let mut portless = slice("e", "peer", "chat-4=10.0.0.5");
        portless.ports = None;
        slices.put(portless);
        assert_eq!(shown(&slices), [""; 0]);
    }
}
