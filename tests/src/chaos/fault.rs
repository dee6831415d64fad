//! What goes wrong, chosen by a seed.

use super::nodes::Nodes;
use crate::proxy::Wire;
use std::fmt;
use std::time::Duration;
use tokio::time::sleep;

/// Numbers that look random and are the same for the same seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// One thing that goes wrong, and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of these nodes, which are started again after the time.
    Kill(Vec<usize>, Duration),
    /// A node stands still.
    Stop(usize, Duration),
    /// A node is asked to stop, and started again.
    Terminate(usize),
    /// The disk of the node is full for a time.
    DiskFull(Duration),
    /// The way from one node to another misbehaves for a time.
    Wire(usize, usize, Wire, Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(nodes, down) => {
                let names: Vec<String> = nodes.iter().map(|n| (n + 1).to_string()).collect();
                write!(f, "kill -9 of node {}, back after {down:?}", names.join(" and "))
            }
            Self::Stop(node, time) => write!(f, "node {} stands still for {time:?}", node + 1),
            Self::Terminate(node) => write!(f, "SIGTERM to node {}, then a start", node + 1),
            Self::DiskFull(time) => write!(f, "the disk of node 3 is full for {time:?}"),
            Self::Wire(from, to, wire, time) => {
                write!(
                    f,
                    "the wire from node {} to node {} is {wire:?} for {time:?}",
                    from + 1,
                    to + 1
                )
            }
        }
    }
}

impl Fault {
    /// The kinds, as a user names them.
    pub const KINDS: [&'static str; 5] = ["kill", "stop", "terminate", "disk", "wire"];

    /// The nodes that begin another life.
    #[must_use]
    pub fn restarted(&self) -> &[usize] {
        match self {
            Self::Kill(nodes, _) => nodes,
            Self::Terminate(node) => std::slice::from_ref(node),
            Self::Stop(..) | Self::DiskFull(_) | Self::Wire(..) => &[],
        }
    }

    /// Which of [`Self::KINDS`] it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kill(..) => "kill",
            Self::Stop(..) => "stop",
            Self::Terminate(_) => "terminate",
            Self::DiskFull(_) => "disk",
            Self::Wire(..) => "wire",
        }
    }

    /// One of all kinds.
    pub fn random(random: &mut Random, nodes: usize, small_disk: bool) -> Self {
        let node = |random: &mut Random| usize::try_from(random.below(nodes as u64)).unwrap_or(0);
        let millis = |random: &mut Random, from: u64, to: u64| Duration::from_millis(from + random.below(to - from));
        let first = node(random);
        let second = (first + 1) % nodes;
        // Half of the restarts are so fast that no heartbeat is missed.
        let down = if random.below(2) == 0 {
            Duration::ZERO
        } else {
            millis(random, 500, 6_000)
        };
        match random.below(10) {
            0 | 1 => Self::Kill(vec![first], down),
            2 => Self::Kill(vec![first, second], down),
            3 => Self::Kill((0..nodes).collect(), down),
            4 => Self::Stop(first, millis(random, 1_000, 20_000)),
            5 => Self::Terminate(first),
            6 if small_disk => Self::DiskFull(millis(random, 500, 3_000)),
            _ => {
                let wire = match random.below(4) {
                    0 => Wire::Silent,
                    1 => Wire::Reset,
                    2 => Wire::Delay(Duration::from_millis(20 + random.below(400))),
                    _ => Wire::OneWay,
                };
                Self::Wire(first, second, wire, millis(random, 500, 8_000))
            }
        }
    }

    /// Lets it happen; returns when it is over.
    ///
    /// # Errors
    /// A node did not come back.
    pub async fn happen(&self, nodes: &mut Nodes) -> Result<(), String> {
        match self {
            Self::Kill(which, down) => {
                for n in which {
                    nodes.signal(*n, "KILL");
                }
                for n in which {
                    nodes.wait_for_end(*n).await?;
                }
                sleep(*down).await;
                for n in which {
                    nodes.launch(*n)?;
                }
                for n in which {
                    nodes.wait_until_ready(*n).await?;
                }
            }
            Self::Stop(node, time) => {
                nodes.freeze(*node).await;
                sleep(*time).await;
                nodes.signal(*node, "CONT");
            }
            Self::Terminate(node) => nodes.restart(*node, Duration::ZERO).await?,
            Self::DiskFull(time) => {
                nodes.fill_disk().await?;
                sleep(*time).await;
                nodes.free_disk();
            }
            Self::Wire(from, to, wire, time) => {
                nodes.wire(*from, *to).set(*wire);
                sleep(*time).await;
                nodes.wire(*from, *to).set(Wire::Open);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_replays_its_schedule_and_all_kinds_occur() {
        let plan = |seed| {
            let mut random = Random::new(seed);
            (0..100)
                .map(|_| Fault::random(&mut random, 3, true))
                .collect::<Vec<_>>()
        };
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        let kinds: BTreeSet<&str> = plan(7).iter().map(Fault::kind).collect();
        assert_eq!(kinds, BTreeSet::from(Fault::KINDS));
    }
}
