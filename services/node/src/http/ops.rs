//! The operations port: `/metrics`, `/live`, `/ready`, `/startup`, `/rooms/busiest`, and `/log-level`, which can be changed.
//!
//! Whoever reaches the port may look; only whoever is on this machine may change something.
//!
//! It runs on a thread of its own ([`OpsRuntime`]), so that it answers while the main runtime is too busy to, and can
//! say so: `/live` looks at pulses that only the event loops of the main runtime keep beating.

mod log_level;
mod probes;
mod runtime;
#[cfg(test)]
mod tests;

pub(crate) use probes::BEAT;
pub use probes::{Pulse, Pulses, Readiness, Stage};
pub use runtime::OpsRuntime;

use super::strict::{Bodies, Strict};
use super::{HEAD_BUFFER, one_host};
use crate::rooms::WeakRooms;
use crate::rooms::traffic::Busy;
use crate::telemetry::metrics::Metrics;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use warp::Filter;
use warp::filters::BoxedFilter;

/// Most connections at once. A probe or a scrape takes milliseconds; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// Longest life of a connection. Each carries one request, so nobody can hold one of the places for longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after a failed accept: out of file descriptors is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the port tells about. Clones share it.
#[derive(Debug, Clone)]
pub struct OpsState {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/ready` and `/startup`.
    pub readiness: Arc<Readiness>,
    /// For `/live`.
    pub pulses: Arc<Pulses>,
    /// For `/rooms/busiest`, as soon as there are rooms.
    pub rooms: Arc<OnceLock<WeakRooms>>,
}

/// A served operations port. It is served until [`OpsHandle::stop`], or until its runtime stops.
#[derive(Debug)]
pub struct OpsHandle {
    address: SocketAddr,
    task: AbortHandle,
}

impl OpsHandle {
    /// Where the port is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and its connections, without waiting for either.
    pub fn stop(&self) {
        self.task.abort();
    }
}

/// Serves `state` on `listener`.
///
/// # Errors
/// The listener cannot be used by the runtime.
pub fn spawn(runtime: &OpsRuntime, listener: std::net::TcpListener, state: OpsState) -> io::Result<OpsHandle> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = {
        let _inside = runtime.handle().enter();
        TcpListener::from_std(listener)?
    };
    let task = runtime.handle().spawn(accept(listener, routes(state))).abort_handle();
    Ok(OpsHandle { address, task })
}

/// Accepts for ever. The connections are tasks of its own: they end with it.
async fn accept(listener: TcpListener, routes: BoxedFilter<(Response<String>,)>) {
    let mut connections = tokio::task::JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (routes, caller) = (routes.clone(), Caller::of(ip_of(&stream), peer.ip()));
                connections.spawn(async move {
                    let _place = place;
                    serve(stream, caller, routes).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the operations port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program of this machine, or of this pod.
    Near,
    /// Anybody.
    Far,
}

impl Caller {
    fn of(own: Option<IpAddr>, peer: IpAddr) -> Self {
        // A machine that calls its own address is no other one: nobody else gets an answer under it.
        if own == Some(peer) || peer.to_canonical().is_loopback() {
            Self::Near
        } else {
            Self::Far
        }
    }
}

fn ip_of(stream: &TcpStream) -> Option<IpAddr> {
    Some(stream.local_addr().ok()?.ip())
}

async fn serve(stream: TcpStream, caller: Caller, routes: BoxedFilter<(Response<String>,)>) {
    let routes = TowerToHyperService::new(warp::service(routes));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller);
        routes.call(request)
    });
    let stream = TokioIo::new(Strict::new(stream, Bodies::None));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BUFFER)
        .serve_connection(stream, service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the operations port broke"),
        Err(_) => tracing::debug!("a connection to the operations port took too long"),
    }
}

fn routes(state: OpsState) -> BoxedFilter<(Response<String>,)> {
    let OpsState {
        metrics,
        readiness,
        pulses,
        rooms,
    } = state;
    let (ready, stage) = (Arc::clone(&readiness), Arc::clone(&readiness));
    let metrics = warp::path!("metrics").map(move || {
        metrics.set_stage(stage.stage());
        answer_metrics(&metrics)
    });
    let live = warp::path!("live").map(move || match pulses.check() {
        Ok(()) => plain(StatusCode::OK, "live\n".into()),
        Err((who, silence)) => {
            let text = format!("{who} has been silent for {} ms\n", silence.as_millis());
            plain(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    });
    let ready = warp::path!("ready").map(move || match ready.stage() {
        Stage::Ready => plain(StatusCode::OK, "ready\n".into()),
        Stage::Starting => plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        Stage::Stopping => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()),
    });
    let startup = warp::path!("startup").map(move || match readiness.stage() {
        Stage::Starting => plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        Stage::Ready | Stage::Stopping => plain(StatusCode::OK, "started\n".into()),
    });
    let busiest = warp::path!("rooms" / "busiest").then(move || busiest(Arc::clone(&rooms)));
    let probes = live.or(ready).unify().or(startup).unify();
    let looks = warp::get().and(metrics.or(probes).unify().or(busiest).unify());
    one_host().and(looks.or(log_level::routes()).unify()).boxed()
}

fn answer_metrics(metrics: &Metrics) -> Response<String> {
    match metrics.text() {
        Ok(text) => answer(StatusCode::OK, prometheus::TEXT_FORMAT, text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// The busiest rooms of this node as JSON. A shard that does not turn is waited for as long as the connection lives.
async fn busiest(rooms: Arc<OnceLock<WeakRooms>>) -> Response<String> {
    let Some(rooms) = rooms.get().and_then(WeakRooms::upgrade) else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "there are no rooms yet, or not any more\n".into(),
        );
    };
    let list: Vec<_> = rooms.busiest().await.iter().map(Busy::to_json).collect();
    answer(
        StatusCode::OK,
        "application/json",
        format!("{}\n", serde_json::json!({ "rooms": list })),
    )
}

fn plain(status: StatusCode, text: String) -> Response<String> {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
