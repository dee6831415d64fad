//! The peer port: XML-RPC over HTTP on `/` and `/RPC2`.
//!
//! It is accepted, read and, for a heartbeat, answered on the operations runtime, so that a node that is busy is not
//! taken for a dead one. Everything else is handed to the main runtime.

use super::ACCEPT_PAUSE;
use super::doors::{Place, Places};
use super::line::{Line, Watch};
use crate::config::Limits;
use crate::peers::inbound::{Methods, Written};
use bytes::Bytes;
use chat_protocol::limits::MAX_REQUEST_BODY;
use chat_protocol::peer_call::method;
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::peer_xml::{self, XmlLimits};
use http::{HeaderMap, Response, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::Instant;
use warp::filters::BoxedFilter;
use warp::{Filter, Rejection, Reply};

/// How long a peer may always take for its next request, also while others wait for its place: longer than there is between
/// two heartbeats.
const NEXT_REQUEST: Duration = Duration::from_secs(2);

/// What a connection of a peer needs.
#[derive(Clone)]
pub struct PeerPort {
    /// What can be called.
    pub methods: Arc<Methods>,
    /// Where calls are executed.
    pub main: Handle,
    /// Bounds.
    pub limits: Arc<Limits>,
}

/// Accepts peers until the task is aborted. To be run on the operations runtime.
pub async fn serve_peers(listener: TcpListener, port: PeerPort) {
    let places = Places::new(port.limits.peer_connections, NEXT_REQUEST);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let port = port.clone();
                let (place, made_way) = places.take().await;
                if made_way {
                    tracing::debug!("a connection of a peer made way for another");
                }
                tokio::spawn(serve(stream, port, Arc::new(place)));
            }
            Err(why) => {
                tracing::warn!(%why, "cannot accept a peer");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, port: PeerPort, place: Arc<Place>) {
    drop(stream.set_nodelay(true));
    let header_timeout = port.limits.header_timeout;
    let Ok((line, watch)) = Line::new(stream) else { return };
    let methods = Arc::clone(&port.methods);
    let last = Arc::new(LastAnswer {
        watch,
        written: Mutex::default(),
    });
    let service = warp::service(filter(port, Arc::clone(&place), Arc::clone(&last)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(line), TowerToHyperService::new(service));
    let in_order = tokio::select! {
        biased;
        () = place.out.cancelled() => false,
        // An error here is the caller's: it went away, was silent for too long, or did not speak HTTP.
        served = served => served.is_ok(),
    };
    last.ended(&methods, in_order && !last.watch.is_broken()).await;
}

/// The last answer on a connection, if it matters whether it arrived.
struct LastAnswer {
    watch: Arc<Watch>,
    written: Mutex<Option<Written>>,
}

impl LastAnswer {
    /// The answer is about to be written. Whoever has hung up by now does not get it.
    fn put(&self, methods: &Methods, call: &peer_xml::Call) {
        if !self.watch.has_hung_up() {
            *self.lock() = methods.written(call);
        }
    }

    async fn ended(&self, methods: &Methods, arrived: bool) {
        let written = self.lock().take();
        if let Some(written) = written {
            methods.ended(written, arrived).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Written>> {
        // Nothing can panic while it is changed.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter tree of the peer port, for one connection.
fn filter(port: PeerPort, place: Arc<Place>, last: Arc<LastAnswer>) -> BoxedFilter<(impl Reply,)> {
    let path = warp::path::end().or(warp::path("RPC2").and(warp::path::end())).unify();
    let body_timeout = port.limits.header_timeout;
    path.and(warp::post())
        .and(warp::body::content_length_limit(MAX_REQUEST_BODY as u64))
        .and(warp::body::stream())
        .and_then(move |body| async move {
            match tokio::time::timeout(body_timeout, collect(body)).await {
                Ok(Some(body)) => Ok(body),
                // Too slow, broken off, or longer than announced.
                _ => Err(warp::reject::custom(Unfinished)),
            }
        })
        .then(move |body: Bytes| {
            let (port, place, last) = (port.clone(), Arc::clone(&place), Arc::clone(&last));
            async move {
                place.ours();
                let answer = answer(port, last, body).await;
                place.theirs(Instant::now());
                answer
            }
        })
        .recover(|rejection: Rejection| async move {
            if rejection.find::<Unfinished>().is_some() {
                let mut response = Response::new(String::new());
                *response.status_mut() = http::StatusCode::REQUEST_TIMEOUT;
                return Ok(response);
            }
            Err(rejection)
        })
        .boxed()
}

#[derive(Debug)]
struct Unfinished;

impl warp::reject::Reject for Unfinished {}

async fn collect<B: bytes::Buf>(body: impl futures_util::Stream<Item = Result<B, warp::Error>>) -> Option<Bytes> {
    use futures_util::StreamExt;
    let mut body = std::pin::pin!(body);
    let mut all = bytes::BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.ok()?;
        if all.len() + chunk.remaining() > MAX_REQUEST_BODY {
            return None;
        }
        let bytes = chunk.copy_to_bytes(chunk.remaining());
        all.extend_from_slice(&bytes);
    }
    Some(all.freeze())
}

async fn answer(port: PeerPort, last: Arc<LastAnswer>, body: Bytes) -> Response<String> {
    // Whoever goes on has the answer before.
    last.ended(&port.methods, true).await;
    let Ok(call) = peer_xml::read_call(&body, XmlLimits::REQUEST) else {
        return fault(PeerFault::InvalidRequest);
    };
    if call.method == method::HEARTBEAT {
        return execute(&port.methods, &call).await.unwrap_or_else(fault);
    }
    let methods = Arc::clone(&port.methods);
    let watch = Arc::clone(&last.watch);
    let executed = port.main.spawn(async move {
        // What happens once is not begun for a caller that is gone: it may have called again by now.
        let executed = if Methods::is_unrepeatable(&call) && watch.has_hung_up() {
            Err(PeerFault::NotInTime)
        } else {
            execute(&methods, &call).await
        };
        (executed, methods, call)
    });
    // A panic in a handler is one failed call.
    let Ok((executed, methods, call)) = executed.await else {
        return fault(PeerFault::Internal);
    };
    match executed {
        // Had the caller hung up, this would not be reached.
        Ok(answer) => {
            last.put(&methods, &call);
            answer
        }
        Err(why) => fault(why),
    }
}

async fn execute(methods: &Methods, call: &peer_xml::Call) -> Result<Response<String>, PeerFault> {
    let handler = methods.get(call.method.as_str()).ok_or(PeerFault::NoSuchMethod)?;
    match handler.handle(&call.params, HeaderMap::new()).await {
        Ok(value) => Ok(xml(peer_xml::write_response(&value))),
        // A fault is written here, so that whoever answers knows that it is one.
        Err(fault) => Err(PeerFault::of_code(fault.code())),
    }
}

fn fault(fault: PeerFault) -> Response<String> {
    xml(peer_xml::write_fault(fault.code(), fault.text()))
}

fn xml(body: String) -> Response<String> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}
