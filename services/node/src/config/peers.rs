//! `PEER_NODES` and every other address of a peer.

use chat_protocol::ids::NodeId;
use http::Uri;
use std::collections::{BTreeMap, BTreeSet};

/// Reads `id:http://host:port[/path]` and `id:host:port`, separated by commas; the id ends at the first colon, of a
/// repeated id the last entry wins, empty entries are skipped.
///
/// The second list holds what is wrong with the others.
pub(super) fn parse_peers(text: &str) -> (BTreeMap<NodeId, Uri>, Vec<String>) {
    let mut peers = BTreeMap::new();
    let mut mistakes = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match parse_peer(entry) {
            Ok((id, url)) => {
                peers.insert(id, url);
            }
            Err(why) => mistakes.push(format!("{entry:?} {why}")),
        }
    }
    (peers, mistakes)
}

/// Reads ids, separated by commas. The second list holds what is wrong with the others.
pub(super) fn parse_ids(text: &str) -> (BTreeSet<NodeId>, Vec<String>) {
    let mut ids = BTreeSet::new();
    let mut mistakes = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match NodeId::parse(entry) {
            Ok(id) => drop(ids.insert(id)),
            Err(why) => mistakes.push(format!("{entry:?} {why}")),
        }
    }
    (ids, mistakes)
}

fn parse_peer(entry: &str) -> Result<(NodeId, Uri), String> {
    let expected = "(expected id:http://host:port or id:host:port)";
    let (id, address) = entry
        .split_once(':')
        .ok_or_else(|| format!("has no colon {expected}"))?;
    let id = NodeId::parse(id.trim()).map_err(|why| format!("has an id that {why} {expected}"))?;
    let address = address.trim();
    let url = if address.contains("://") {
        parse_url(address)
    } else {
        parse_url(&format!("http://{address}"))
    };
    let url = url.map_err(|why| format!("{why} {expected}"))?;
    if !address.contains("://") && url.port_u16().is_none() {
        return Err(format!("has no port {expected}"));
    }
    Ok((id, url))
}

/// Reads `http://host[:port][/path]`. A URL without a path gets `/RPC2`, as original callers read it.
pub(super) fn parse_url(text: &str) -> Result<Uri, String> {
    if text
        .get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    {
        return Err("has an https address, which is not supported yet".into());
    }
    let rest = text.strip_prefix("http://").ok_or("is not an http URL")?;
    let whole = if rest.contains('/') {
        text.to_owned()
    } else {
        format!("{text}/RPC2")
    };
    let url: Uri = whole.parse().map_err(|why| format!("is not a URL: {why}"))?;
    let authority = url.authority().ok_or("has no host")?;
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if authority.host().is_empty() || authority.as_str().contains('@') {
        Err("has no plain host".into())
    } else if url.query().is_some() {
        Err("has a query".into())
    } else if !port.is_empty() && url.port_u16().is_none_or(|port| port == 0) {
        Err("has a port that is no number from 1 to 65535".into())
    } else {
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peers as `id=url` words, and how many mistakes there are.
    fn peers(text: &str) -> (String, usize) {
        let (peers, mistakes) = parse_peers(text);
        let words: Vec<String> = peers.iter().map(|(id, url)| format!("{id}={url}")).collect();
        (words.join(" "), mistakes.len())
    }

    #[test]
    fn every_form_of_the_original_is_read_as_it_meant_it() {
        for (text, expected) in [
            ("", ""),
            ("node2:http://h:9090", "node2=http://h:9090/RPC2"),
            (
                " node2 : http://h:9090 , node3:http://g:1 ",
                "node2=http://h:9090/RPC2 node3=http://g:1/RPC2",
            ),
            ("node2:h:9090", "node2=http://h:9090/RPC2"),
            ("node2:http://h:9090/", "node2=http://h:9090/"),
            ("node2:http://h:9090/RPC2", "node2=http://h:9090/RPC2"),
            ("node2:http://[::1]:9090", "node2=http://[::1]:9090/RPC2"),
            ("node2:[::1]:9090", "node2=http://[::1]:9090/RPC2"),
            ("a:http://x:1,a:http://y:2", "a=http://y:2/RPC2"),
            ("a:http://x:1,,", "a=http://x:1/RPC2"),
            ("a:http://proxy", "a=http://proxy/RPC2"),
        ] {
            assert_eq!(peers(text), (expected.into(), 0), "{text:?}");
        }
    }

    #[test]
    fn a_bad_entry_is_a_mistake_and_the_good_ones_beside_it_stay() {
        for bad in [
            "node2",
            "node2:h",
            ":http://h:1",
            "n:http://:1",
            "n:h:port",
            "n:h:0",
            "n:h:65536",
            "n:ftp://h:1",
            "n:a b:1",
            "n:http://u@h:1",
            "n:",
        ] {
            assert_eq!(
                peers(&format!("ok:h:1,{bad}")),
                ("ok=http://h:1/RPC2".into(), 1),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn https_is_refused_by_name() {
        let (_, mistakes) = parse_peers("node2:https://h:9090");
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].contains("https") && mistakes[0].contains("not supported yet"),
            "{mistakes:?}"
        );
    }
}
