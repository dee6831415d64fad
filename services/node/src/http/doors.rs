//! Who may come in when not everybody can: places that whoever is slow gives up to others, and a bound per address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A number of places. If all are taken, whoever has kept the others waiting for longest makes way for the next one, so that
/// a few hundred silent connections do not shut the door for as long as they may be silent.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    /// Nobody makes way who was not slow for so long.
    patience: Duration,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    /// Since when it is waited for; `None` while it waits for us.
    slow_since: Option<Instant>,
    out: CancellationToken,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Cancelled when somebody else needs the place more.
    pub(super) out: CancellationToken,
}

impl Places {
    pub(super) fn new(max: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            max,
            patience,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Waits for a place. True if somebody had to make way. Cancel safe; for one task at a time.
    pub(super) async fn take(self: &Arc<Self>) -> (Place, bool) {
        loop {
            match self.try_take(Instant::now()) {
                Ok(taken) => return taken,
                Err(Some(at)) => tokio::select! {
                    () = self.freed.notified() => {}
                    () = sleep_until(at) => {}
                },
                Err(None) => self.freed.notified().await,
            }
        }
    }

    /// A place, or when there may be one if none is given back.
    fn try_take(self: &Arc<Self>, now: Instant) -> Result<(Place, bool), Option<Instant>> {
        let mut taken = self.taken();
        let full = taken.by.len() >= self.max;
        if full {
            let slow = taken
                .by
                .iter()
                .filter_map(|(number, guest)| Some((guest.slow_since?, *number)));
            let (since, number) = slow.min().ok_or(None)?;
            if now < since + self.patience {
                return Err(Some(since + self.patience));
            }
            if let Some(guest) = taken.by.remove(&number) {
                guest.out.cancel();
            }
        }
        let (number, out) = (taken.next, CancellationToken::new());
        taken.next += 1;
        let guest = Guest {
            slow_since: Some(now),
            out: out.clone(),
        };
        taken.by.insert(number, guest);
        let place = Place {
            places: Arc::clone(self),
            number,
            out,
        };
        Ok((place, full))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // A map is whole between two of its calls.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It is our turn: however long that takes, it is not the guest who is slow.
    pub(super) fn ours(&self) {
        self.set(None);
    }

    /// It is the guest's turn.
    pub(super) fn theirs(&self, now: Instant) {
        self.set(Some(now));
        self.places.freed.notify_one();
    }

    fn set(&self, slow_since: Option<Instant>) {
        // Whoever had to make way has no entry any more.
        if let Some(guest) = self.places.taken().by.get_mut(&self.number) {
            guest.slow_since = slow_since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by.remove(&self.number);
        self.places.freed.notify_one();
    }
}

/// How many connections each address has.
#[derive(Debug)]
pub(super) struct Addresses {
    /// 0 bounds nothing.
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the connections of an address; does not count any more when it is dropped.
#[derive(Debug)]
pub(super) struct OfAddress {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// At most `max` connections of each address; 0 for no bound.
    #[must_use]
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: Mutex::default(),
        })
    }

    /// One more connection of an address; `None` if it has too many.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<OfAddress> {
        let address = whose(address);
        if self.max > 0 {
            let mut open = self.open();
            let count = open.entry(address).or_default();
            if *count >= self.max {
                return None;
            }
            *count += 1;
        }
        Some(OfAddress {
            addresses: Arc::clone(self),
            address,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A map is whole between two of its calls.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut open = self.addresses.open();
        let Some(count) = open.get_mut(&self.address) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.address);
        }
    }
}

/// What counts as one address: an IPv4 address, however it is written, or the /64 that one customer of IPv6 has.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_was_slow_for_longest_makes_way_but_nobody_before_its_time() {
        let places = Places::new(2, PATIENCE);
        let start = Instant::now();
        let (first, _) = places.try_take(start).expect("free");
        let (second, made_way) = places.try_take(start + PATIENCE / 2).expect("free");
        assert!(!made_way);
        assert_eq!(
            places.try_take(start + PATIENCE / 2).err(),
            Some(Some(start + PATIENCE))
        );
        let (third, made_way) = places.try_take(start + PATIENCE).expect("a place");
        assert!(made_way && first.out.is_cancelled());
        assert!(!second.out.is_cancelled() && !third.out.is_cancelled());
        // The place of whoever made way is not given back twice.
        drop(first);
        assert!(places.try_take(start + PATIENCE).is_err());
    }

    #[test]
    fn whoever_waits_for_us_does_not_make_way() {
        let places = Places::new(1, PATIENCE);
        let start = Instant::now();
        let (only, _) = places.try_take(start).expect("free");
        only.ours();
        assert_eq!(places.try_take(start + 10 * PATIENCE).err(), Some(None));
        only.theirs(start + 10 * PATIENCE);
        assert_eq!(
            places.try_take(start + 10 * PATIENCE).err(),
            Some(Some(start + 11 * PATIENCE))
        );
        drop(only);
        assert!(places.try_take(start + 10 * PATIENCE).is_ok());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_place_gets_the_first_that_is_free() {
        let places = Places::new(1, Duration::from_secs(3_600));
        let (only, _) = places.take().await;
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await.1 }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(only);
        assert!(!waiting.await.expect("no panic"), "nobody had to make way");
    }

    #[test]
    fn an_address_has_so_many_connections_and_another_its_own() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(text.parse().expect("an address"));
        let held = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        let net = [enter("2001:db8::1"), enter("2001:db8::2:1")];
        assert!(net.iter().all(Option::is_some));
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        drop(net);
        assert!(addresses.open().is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let addresses = Addresses::new(0);
        let held: Vec<_> = (0..1_000)
            .map(|_| addresses.enter(IpAddr::from([192, 0, 2, 1])))
            .collect();
        assert!(held.iter().all(Option::is_some) && addresses.open().is_empty());
    }
}
