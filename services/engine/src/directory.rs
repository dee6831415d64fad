//! Which other nodes there are, as far as lists of them tell.
//!
//! A list adds peers and tells their addresses; whether a peer lives is judged by heartbeats alone. So a list that
//! is wrong, late or missing costs nothing while the nodes reach each other. A peer is forgotten only when three things
//! come together: it has failed, complete lists leave it out over a time, and the last word of the source is such a list.

use crate::time::Millis;
use chat_protocol::ids::NodeId;
use chat_protocol::limits::MAX_PEERS;
use std::collections::BTreeMap;

/// A peer in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The URL of its peer port.
    pub address: String,
    /// What distinguishes this instance from another one of the same id, where the list tells.
    pub uid: Option<String>,
    /// True if it is about to go.
    pub leaving: bool,
}

/// Peers by id. The own node may be among them.
pub type List = BTreeMap<NodeId, Listed>;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new peer: watch it at this address.
    Watch(NodeId, String),
    /// It is at this address now, or it is another instance at the same one: call it.
    Redial(NodeId, String),
    /// It is about to go, or not any more.
    Leaving(NodeId, bool),
    /// Nobody expects it back: stop calling it.
    Forget(NodeId),
    /// It is not watched because there are [`MAX_PEERS`] already. Said once per peer.
    TooMany(NodeId),
}

#[derive(Debug)]
struct Known {
    address: String,
    uid: Option<String>,
    leaving: bool,
    /// Since when complete lists leave it out.
    absent: Option<Millis>,
}

/// All peers that are watched.
#[derive(Debug)]
pub struct Directory {
    me: NodeId,
    /// Milliseconds.
    forget_after: u64,
    known: BTreeMap<NodeId, Known>,
    /// The last word of the source was a complete list.
    sure: bool,
    /// The last one that there was no room for.
    refused: Option<NodeId>,
}

impl Directory {
    /// Nobody is known. A failed peer is forgotten after `forget_after` milliseconds without a mention.
    #[must_use]
    pub const fn new(me: NodeId, forget_after: u64) -> Self {
        Self {
            me,
            forget_after,
            known: BTreeMap::new(),
            sure: false,
            refused: None,
        }
    }

    /// Some peers were seen; nothing is said about others.
    pub fn seen(&mut self, list: List, steps: &mut Vec<Step>) {
        for (node, listed) in list {
            if node != self.me {
                self.note(node, listed, steps);
            }
        }
    }

    /// A complete list.
    pub fn listed(&mut self, now: Millis, list: List, steps: &mut Vec<Step>) {
        self.sure = true;
        for (node, known) in &mut self.known {
            if !list.contains_key(node) {
                known.absent.get_or_insert(now);
            }
        }
        self.seen(list, steps);
    }

    /// There is no complete list for now, so nobody is forgotten until there is one again.
    ///
    /// Who was left out before stays so if the next list leaves it out, too: a source that stumbles for a moment would otherwise
    /// double the time for which a node that is gone for good is taken for a failed one.
    pub const fn unsure(&mut self) {
        self.sure = false;
    }

    /// Forgets whom complete lists have left out for long, if `failed` says so.
    pub fn tick(&mut self, now: Millis, failed: impl Fn(&NodeId) -> bool, steps: &mut Vec<Step>) {
        if !self.sure {
            return;
        }
        let forget_after = self.forget_after;
        self.known.retain(|node, known| {
            let long = known
                .absent
                .is_some_and(|since| now.0.saturating_sub(since.0) >= forget_after);
            let forget = long && failed(node);
            if forget {
                steps.push(Step::Forget(node.clone()));
            }
            !forget
        });
    }

    /// Everybody who is watched, and where.
    pub fn addresses(&self) -> impl Iterator<Item = (&NodeId, &str)> {
        self.known.iter().map(|(node, known)| (node, known.address.as_str()))
    }

    fn note(&mut self, node: NodeId, listed: Listed, steps: &mut Vec<Step>) {
        let Listed { address, uid, leaving } = listed;
        let Some(known) = self.known.get_mut(&node) else {
            if self.known.len() >= MAX_PEERS {
                if self.refused.as_ref() != Some(&node) {
                    steps.push(Step::TooMany(node.clone()));
                    self.refused = Some(node);
                }
                return;
            }
            steps.push(Step::Watch(node.clone(), address.clone()));
            if leaving {
                steps.push(Step::Leaving(node.clone(), true));
            }
            let known = Known {
                address,
                uid,
                leaving,
                absent: None,
            };
            self.known.insert(node, known);
            return;
        };
        known.absent = None;
        let another = uid.is_some() && known.uid.is_some() && uid != known.uid;
        if known.address != address || another {
            steps.push(Step::Redial(node.clone(), address.clone()));
            known.address = address;
        }
        if uid.is_some() {
            known.uid = uid;
        }
        if known.leaving != leaving {
            known.leaving = leaving;
            steps.push(Step::Leaving(node, leaving));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    /// `chat-1=http://a:1` words; `#uid` and `!` (leaving) may follow.
    fn list(words: &str) -> List {
        words
            .split_whitespace()
            .map(|word| {
                let (id, rest) = word.split_once('=').unwrap();
                let leaving = rest.ends_with('!');
                let rest = rest.trim_end_matches('!');
                let (address, uid) = match rest.split_once('#') {
                    Some((address, uid)) => (address, Some(uid.to_owned())),
                    None => (rest, None),
                };
                let listed = Listed {
                    address: address.to_owned(),
                    uid,
                    leaving,
                };
                (node(id), listed)
            })
            .collect()
    }

    fn directory() -> Directory {
        Directory::new(node("chat-0"), 120_000)
    }

    fn listed(directory: &mut Directory, now: u64, words: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        directory.listed(Millis(now), list(words), &mut steps);
        steps
    }

    fn tick(directory: &mut Directory, now: u64, failed: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        directory.tick(Millis(now), |_| failed, &mut steps);
        steps
    }

    #[test]
    fn a_list_adds_everybody_but_the_node_itself_once() {
        let mut d = directory();
        assert_eq!(
            listed(&mut d, 0, "chat-0=a chat-1=b#1 chat-2=c"),
            [
                Step::Watch(node("chat-1"), "b".into()),
                Step::Watch(node("chat-2"), "c".into())
            ]
        );
        assert_eq!(listed(&mut d, 1, "chat-0=a chat-1=b#1 chat-2=c"), []);
    }

    #[test]
    fn another_address_or_another_instance_is_called_at_once() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b#1");
        assert_eq!(
            listed(&mut d, 1, "chat-1=x#1"),
            [Step::Redial(node("chat-1"), "x".into())]
        );
        assert_eq!(
            listed(&mut d, 2, "chat-1=x#2"),
            [Step::Redial(node("chat-1"), "x".into())]
        );
        // A list that does not tell instances apart says nothing about them.
        assert_eq!(listed(&mut d, 3, "chat-1=x"), []);
        assert_eq!(listed(&mut d, 4, "chat-1=x#2"), []);
    }

    #[test]
    fn who_is_about_to_go_is_told_once_and_stays_a_peer() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b");
        assert_eq!(listed(&mut d, 1, "chat-1=b!"), [Step::Leaving(node("chat-1"), true)]);
        assert_eq!(listed(&mut d, 2, "chat-1=b!"), []);
        assert_eq!(listed(&mut d, 3, "chat-1=b"), [Step::Leaving(node("chat-1"), false)]);
        assert_eq!(
            listed(&mut d, 4, "chat-1=b chat-2=c!"),
            [
                Step::Watch(node("chat-2"), "c".into()),
                Step::Leaving(node("chat-2"), true)
            ]
        );
    }

    #[test]
    fn only_a_failed_peer_that_lists_leave_out_for_two_minutes_is_forgotten() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b chat-2=c");
        assert_eq!(listed(&mut d, 1_000, "chat-1=b"), []);
        assert_eq!(tick(&mut d, 120_999, true), []);
        assert_eq!(tick(&mut d, 121_000, false), [], "it answers, whatever the list says");
        assert_eq!(listed(&mut d, 200_000, "chat-1=b"), []);
        assert_eq!(tick(&mut d, 200_000, true), [Step::Forget(node("chat-2"))]);
        assert_eq!(tick(&mut d, 900_000, true), [], "chat-1 is listed, so it may come back");
        assert_eq!(
            listed(&mut d, 900_001, "chat-1=b chat-2=c"),
            [Step::Watch(node("chat-2"), "c".into())]
        );
    }

    #[test]
    fn a_mention_begins_the_two_minutes_anew() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b");
        listed(&mut d, 1_000, "");
        listed(&mut d, 100_000, "chat-1=b");
        listed(&mut d, 110_000, "");
        assert_eq!(tick(&mut d, 229_999, true), []);
        assert_eq!(tick(&mut d, 230_000, true), [Step::Forget(node("chat-1"))]);
    }

    #[test]
    fn without_a_list_nobody_is_forgotten_and_the_next_one_says_who_was_gone_all_along() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b chat-2=c");
        listed(&mut d, 1_000, "");
        d.unsure();
        assert_eq!(tick(&mut d, 900_000, true), [], "who knows whether they are still gone");
        let mut steps = Vec::new();
        d.seen(list("chat-2=c"), &mut steps);
        listed(&mut d, 900_000, "");
        assert_eq!(tick(&mut d, 900_000, true), [Step::Forget(node("chat-1"))]);
        assert_eq!(tick(&mut d, 1_019_999, true), [], "chat-2 was seen meanwhile");
        assert_eq!(tick(&mut d, 1_020_000, true), [Step::Forget(node("chat-2"))]);
    }

    #[test]
    fn some_peers_that_are_seen_leave_nobody_out() {
        let mut d = directory();
        listed(&mut d, 0, "chat-1=b");
        let mut steps = Vec::new();
        d.seen(list("chat-2=c"), &mut steps);
        assert_eq!(steps, [Step::Watch(node("chat-2"), "c".into())]);
        assert_eq!(tick(&mut d, 900_000, true), []);
        let addresses: Vec<_> = d.addresses().map(|(id, at)| format!("{id}={at}")).collect();
        assert_eq!(addresses, ["chat-1=b", "chat-2=c"]);
    }

    #[test]
    fn there_are_not_more_peers_than_a_node_can_call() {
        let mut d = directory();
        let words: Vec<_> = (1..=MAX_PEERS).map(|n| format!("p{n}=a")).collect();
        assert_eq!(listed(&mut d, 0, &words.join(" ")).len(), MAX_PEERS);
        let more = format!("{} zulu=a", words.join(" "));
        assert_eq!(listed(&mut d, 1, &more), [Step::TooMany(node("zulu"))]);
        assert_eq!(listed(&mut d, 2, &more), []);
        // Once somebody is forgotten there is room.
        listed(&mut d, 3, &more.replace("p1=a", ""));
        assert_eq!(tick(&mut d, 120_003, true), [Step::Forget(node("p1"))]);
        assert_eq!(
            listed(&mut d, 120_004, &more.replace("p1=a", "")),
            [Step::Watch(node("zulu"), "a".into())]
        );
    }
}
