//! A wire between two nodes that a test can make misbehave.

use crate::snare::{Fate, Snares};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Everything passes.
    Open,
    /// Bytes and connections are taken and kept: the other end is silent, not gone.
    Silent,
    /// Connections are closed as soon as they say something.
    Reset,
    /// Everything passes, so much later.
    Delay(Duration),
    /// What is said passes; answers do not.
    OneWay,
}

/// Forwards connections to one address.
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
    snares: Snares,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// An open wire to `target`.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound port has an address");
        let wire = Arc::new(watch::Sender::new(Wire::Open));
        let state = Arc::clone(&wire);
        let snares = Snares::default();
        let set = snares.clone();
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, target, state.subscribe(), set.clone()));
            }
        });
        Self {
            address,
            wire,
            snares,
            accepting,
        }
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where calls with a certain text are caught.
    #[must_use]
    pub const fn snares(&self) -> &Snares {
        &self.snares
    }

    /// From now on the wire is like that. What was kept passes when it is open again.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(near: TcpStream, target: SocketAddr, wire: watch::Receiver<Wire>, snares: Snares) {
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let deaf = AtomicBool::new(false);
    tokio::select! {
        () = ask(near_read, far_write, wire.clone(), &snares, &deaf) => {}
        () = answer(far_read, near_write, wire, &deaf) => {}
    }
}

/// Carries what is said, until it is caught in a snare that loses it.
async fn ask(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    snares: &Snares,
    deaf: &AtomicBool,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut scan = snares.scan();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        match scan.fate(&buffer[..read]).await {
            Fate::Passes => {}
            Fate::IsNotAnswered => deaf.store(true, Ordering::Relaxed),
            Fate::IsLost => return,
        }
        if !passes(&mut wire, false).await || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Carries the answers, until one is due that nobody shall get.
async fn answer(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    deaf: &AtomicBool,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if deaf.load(Ordering::Relaxed)
            || !passes(&mut wire, true).await
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

/// Waits until the wire lets something through; false if the connection ends instead.
async fn passes(wire: &mut watch::Receiver<Wire>, answers: bool) -> bool {
    let open = |wire: &Wire| match wire {
        Wire::Open | Wire::Delay(_) | Wire::Reset => true,
        Wire::OneWay => !answers,
        Wire::Silent => false,
    };
    // The sender of the state goes with the proxy, and the proxy with the test.
    let Ok(now) = wire.wait_for(open).await.map(|wire| *wire) else {
        return false;
    };
    if let Wire::Delay(time) = now {
        tokio::time::sleep(time).await;
    }
    now != Wire::Reset
}
