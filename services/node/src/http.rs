//! Everything that speaks HTTP.
//!
//! Clients come through our own accept loop: it bounds connections, gives each a time for its head and its handshake,
//! and hands the byte stream to warp's filters, which know only about requests.

mod doors;
mod line;
pub mod ops;
mod patient;
pub mod peer_rpc;
mod strict;
pub mod websocket;

use crate::config::Limits;
use crate::rooms::RoomsHandle;
use crate::session::intake::Pool;
use crate::session::pace::Pace;
use crate::session::registry::Registry;
use doors::{Addresses, OfAddress, Places};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use strict::{Bodies, Strict};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warp::{Filter, Rejection};

/// Wait after a failed accept: out of file descriptors is not over at once.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may always take to open, also while others wait for its place.
const OPENING: Duration = Duration::from_millis(500);
/// Bytes of a request head that are buffered at first; the smallest that hyper takes.
const HEAD_BUFFER: usize = 8_192;

/// What a connection of a client needs.
#[derive(Debug, Clone)]
pub struct ClientPort {
    /// Where its requests go.
    pub rooms: RoomsHandle,
    /// Where it is counted.
    pub registry: Arc<Registry>,
    /// What all of them may send at once.
    pub inbound: Arc<Pool>,
    /// Bounds.
    pub limits: Arc<Limits>,
}

/// Accepts clients until `stop`. Connections that are open then live on.
pub async fn serve_clients(listener: TcpListener, port: ClientPort, stop: CancellationToken) {
    let opening = Places::new(port.limits.max_handshakes, OPENING);
    let addresses = Addresses::new(port.limits.max_connections_per_address);
    let mut pace = Pace::new(port.limits.connections_per_second, Instant::now());
    loop {
        if let Some(next) = pace.wait(Instant::now()) {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let metrics = port.rooms.metrics();
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, address.ip()),
            Err(why) => {
                tracing::warn!(%why, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        pace.count(Instant::now());
        if port.registry.len() >= port.limits.max_connections {
            // Closing at once is the cheapest refusal; a client that is told to wait would hold a descriptor.
            metrics.clients.refused.connections.inc();
            continue;
        }
        let Some(of_address) = addresses.enter(address) else {
            metrics.clients.refused.address.inc();
            continue;
        };
        // No more handshakes than the bound are in progress; further connections wait in the kernel's backlog.
        let (place, made_way) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            taken = opening.take() => taken,
        };
        if made_way {
            metrics.clients.refused.handshakes.inc();
        }
        let port = port.clone();
        tokio::spawn(async move {
            let refused = port.rooms.metrics().clients.refused.clone();
            let patience = port.limits.handshake_timeout;
            let handshake = tokio::time::timeout(patience, handshake(stream, port, of_address, Instant::now()));
            tokio::select! {
                biased;
                () = place.out.cancelled() => {}
                done = handshake => if done.is_err() {
                    refused.timeout.inc();
                }
            }
        });
    }
}

/// Reads one HTTP request and answers it. A WebSocket goes on in a task of its own.
async fn handshake(stream: TcpStream, port: ClientPort, of_address: OfAddress, since: Instant) {
    // A frame that waits for the next one to fill a packet is a frame that is late.
    drop(stream.set_nodelay(true));
    let header_timeout = port.limits.header_timeout;
    let service = warp::service(websocket::filter(port, Arc::new(of_address), since));
    let stream = TokioIo::new(Strict::new(stream, Bodies::None));
    // An error here is the client's: it went away or did not speak HTTP.
    drop(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(HEAD_BUFFER)
            .serve_connection(stream, TowerToHyperService::new(service))
            .with_upgrades()
            .await,
    );
}

/// Lets no target pass that names another host than the head does: it is for somebody else. Which host that is does not matter.
fn one_host() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::host::optional().map(|_| ()).untuple_one()
}
