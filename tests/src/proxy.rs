//! A wire between two nodes that a test can make misbehave.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
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
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, target, state.subscribe()));
            }
        });
        Self {
            address,
            wire,
            accepting,
        }
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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

async fn connect(near: TcpStream, target: SocketAddr, wire: watch::Receiver<Wire>) {
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = pump(near_read, far_write, wire.clone(), false) => {}
        () = pump(far_read, near_write, wire, true) => {}
    }
}

async fn pump(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    answers: bool,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let passes = |wire: &Wire| match wire {
            Wire::Open | Wire::Delay(_) | Wire::Reset => true,
            Wire::OneWay => !answers,
            Wire::Silent => false,
        };
        // The sender of the state goes with the proxy, and the proxy with the test.
        let Ok(now) = wire.wait_for(passes).await.map(|wire| *wire) else {
            return;
        };
        match now {
            Wire::Reset => return,
            Wire::Delay(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
