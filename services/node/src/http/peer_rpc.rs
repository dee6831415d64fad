//! The peer port: XML-RPC over HTTP on `/` and `/RPC2`.
//!
//! It is accepted, read and, for a heartbeat, answered on the operations runtime, so that a node that is busy is not
//! taken for a dead one. So are the short calls of a link, which only hand something to the rooms: on the way to another thread and back
//! they would cost more than in themselves. Everything else is handed to the main runtime, and documents that take long to read to
//! a thread that nobody waits for.
//!
//! Whoever reaches this port may call. So nothing that it can do holds a place, memory or a thread for longer than its turn:
//! a silent connection makes way for the next one, a body and an answer have a deadline, a long document waits for the one
//! before it, and so does what has to be looked up, and the longest answer is made once for all who ask for it.

use super::doors::{Addresses, Place, Places};
use super::line::{Line, Watch};
use super::patient::Patient;
use super::strict::{Bodies, Strict};
use super::{ACCEPT_PAUSE, one_host};
use crate::aside::{Aside, Priority};
use crate::config::Limits;
use crate::peers::auth::gate::{self as auth, Admitted, Sealer, Who};
use crate::peers::auth::hash;
use crate::peers::inbound::{Methods, Written};
use bytes::Bytes;
use chat_protocol::limits::MAX_REQUEST_BODY;
use chat_protocol::peer_auth::Hash;
use chat_protocol::peer_call::method;
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::peer_xml::{self, Call, XmlLimits};
use chat_protocol::trace_context::{TRACEPARENT, TraceContext};
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::{Filter, Rejection, Reply};

/// How long a peer may always take for its next request, also while others wait for its place: longer than there is between
/// two heartbeats.
const NEXT_REQUEST: Duration = Duration::from_secs(2);
/// Most bytes of a request head.
const HEAD_BYTES: usize = 32 << 10;
/// A body up to here is read at once, on the operations runtime: a heartbeat is shorter, and so is a message of usual length.
const SHORT_BODY: usize = 4 << 10;
/// A body beyond this waits for its turn. What a link carries at once is shorter as long as it keeps up.
const LONG_BODY: usize = 64 << 10;

/// What connections of peers need.
#[derive(Clone)]
pub struct PeerPort {
    methods: Arc<Methods>,
    main: Handle,
    limits: Arc<Limits>,
    /// Where long documents are read, one at a time.
    documents: Arc<Aside>,
    /// One call at a time has something looked up in the store, where clients read, too.
    lookups: Arc<Semaphore>,
}

impl PeerPort {
    /// A port on which `methods` can be called, which are executed on `main`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(methods: Arc<Methods>, main: Handle, limits: Arc<Limits>) -> io::Result<Self> {
        Ok(Self {
            methods,
            main,
            limits,
            documents: Arc::new(Aside::start("documents", Priority::Low)?),
            lookups: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Accepts peers until the task is aborted. To be run on the operations runtime.
pub async fn serve_peers(listener: TcpListener, port: PeerPort) {
    let places = Places::new(port.limits.peer_connections, NEXT_REQUEST);
    let addresses = Addresses::new(port.limits.peer_connections_per_address);
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let port = port.clone();
                let Some(of_address) = addresses.enter(address.ip()) else {
                    tracing::debug!(%address, "too many connections of peers of one address");
                    continue;
                };
                let (place, made_way) = places.take().await;
                if made_way {
                    tracing::debug!("a connection of a peer made way for another");
                }
                tokio::spawn(async move {
                    serve(stream, port, Arc::new(place)).await;
                    drop(of_address);
                });
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
    let stream = TokioIo::new(Strict::new(Patient::new(line, header_timeout), Bodies::Counted));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(stream, TowerToHyperService::new(service));
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
    fn put(&self, methods: &Methods, call: &Call) {
        if Methods::is_unrepeatable(call) && !self.watch.has_hung_up() {
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
    let for_us = warp::header::headers_cloned()
        .and_then(|headers: HeaderMap| ready(for_us(&headers).map_err(|why| warp::reject::custom(Refused(why)))))
        .untuple_one();
    let gated = port.clone();
    path.and(warp::post())
        .and(one_host())
        .and(for_us)
        .and(warp::body::content_length_limit(MAX_REQUEST_BODY as u64))
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and_then(move |path: FullPath, headers: HeaderMap, body| {
            let methods = Arc::clone(&gated.methods);
            async move {
                let admitted = methods.gate().admit(&Method::POST, path.as_str(), &headers);
                // Whoever has no key is answered at once, and what it says is not read.
                let admitted = match admitted {
                    Err(refused) if !refused.is_of_a_node() => return Ok(Err(refused)),
                    admitted => admitted,
                };
                let trace = trace_of(&headers);
                let signed = matches!(admitted, Ok(Admitted::Signed(..)));
                match tokio::time::timeout(body_timeout, collect(body, signed)).await {
                    Ok(Some((body, hash))) => Ok(admitted
                        .and_then(|admitted| methods.gate().accept(admitted, &hash))
                        .map(|(who, sealer)| (who, sealer, (body, trace)))),
                    // Too slow, broken off, or longer than announced.
                    _ => Err(warp::reject::custom(Refused(StatusCode::REQUEST_TIMEOUT))),
                }
            }
        })
        .then(move |call: Result<(Who, Option<Sealer>, Body), auth::Refused>| {
            let (port, place, last) = (port.clone(), Arc::clone(&place), Arc::clone(&last));
            async move {
                let (who, sealer, (body, trace)) = match call {
                    Ok(call) => call,
                    Err(refused) => return refused.response(),
                };
                place.ours();
                let mut answer = port.answer(&last, who, body, trace).await;
                if let Some(sealer) = sealer {
                    port.seal(sealer, &mut answer).await;
                }
                place.theirs(Instant::now());
                answer
            }
        })
        .recover(|rejection: Rejection| ready(Ok::<_, Infallible>(refusal(status_of(&rejection)))))
        .boxed()
}

/// Of which trace a call is part, if it says so.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// What a call brings, and of which trace it is part if it says so.
type Body = (Bytes, Option<TraceContext>);

/// A request that is not even read.
#[derive(Debug)]
struct Refused(StatusCode);

impl warp::reject::Reject for Refused {}

/// Every browser says from where a page posts, also to the host that it came from, and no node does: so it does not help a page
/// that its own name was made to lead here.
fn for_us(headers: &HeaderMap) -> Result<(), StatusCode> {
    if headers.contains_key(header::ORIGIN) {
        return Err(StatusCode::FORBIDDEN);
    }
    match headers.get(header::EXPECT) {
        Some(expected) if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(StatusCode::EXPECTATION_FAILED)
        }
        _ => Ok(()),
    }
}

fn status_of(rejection: &Rejection) -> StatusCode {
    if let Some(Refused(status)) = rejection.find() {
        *status
    } else if rejection.is_not_found() {
        StatusCode::NOT_FOUND
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        StatusCode::METHOD_NOT_ALLOWED
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        StatusCode::LENGTH_REQUIRED
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        StatusCode::PAYLOAD_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Whoever sends what is no call is no node, and what comes behind it is not read.
fn refusal(status: StatusCode) -> Response<&'static str> {
    let mut response = Response::new("");
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// A body, and its hash if it is wanted; `None` if it breaks off or is too long.
async fn collect<B: bytes::Buf>(
    body: impl futures_util::Stream<Item = Result<B, warp::Error>>,
    hashed: bool,
) -> Option<(Bytes, Hash)> {
    use futures_util::StreamExt;
    use sha2::Digest;
    let mut body = std::pin::pin!(body);
    let mut all = bytes::BytesMut::new();
    // As it comes, so that a long one stops nobody.
    let mut digest = sha2::Sha256::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.ok()?;
        if all.len() + chunk.remaining() > MAX_REQUEST_BODY {
            return None;
        }
        let bytes = chunk.copy_to_bytes(chunk.remaining());
        if hashed {
            digest.update(&bytes);
        }
        all.extend_from_slice(&bytes);
    }
    Some((all.freeze(), digest.finalize().into()))
}

impl PeerPort {
    /// Signs an answer; a long one where nobody waits.
    async fn seal(&self, sealer: Sealer, answer: &mut Response<Bytes>) {
        let body = answer.body().clone();
        let hashed = if body.len() <= LONG_BODY {
            Ok(hash(&body))
        } else {
            self.main.spawn_blocking(move || hash(&body)).await
        };
        // Without a signature it is not believed: the call failed.
        if let Ok(hashed) = hashed {
            sealer.seal(answer, &hashed);
        }
    }

    async fn answer(&self, last: &LastAnswer, who: Who, body: Bytes, trace: Option<TraceContext>) -> Response<Bytes> {
        // Whoever goes on has the answer before.
        last.ended(&self.methods, true).await;
        if body.len() <= SHORT_BODY {
            return match read(&body) {
                Ok(call) if call.method == method::HEARTBEAT => {
                    let executed = self.methods.execute(&who, &call, trace);
                    executed.await.map_or_else(fault, xml)
                }
                Ok(call) if call.method == method::EXCHANGE => {
                    self.on(&Handle::current(), last, who, trace, ready(Ok(call))).await
                }
                call => self.on(&self.main, last, who, trace, ready(call)).await,
            };
        }
        if body.len() <= LONG_BODY {
            return self.on(&self.main, last, who, trace, async move { read(&body) }).await;
        }
        let documents = Arc::clone(&self.documents);
        let call = async move {
            documents
                .run(move || read_in_pieces(&body))
                .await
                .unwrap_or(Err(PeerFault::Internal))
        };
        self.on(&self.main, last, who, trace, call).await
    }

    /// Executes a call on a runtime, to its end also if the caller is gone.
    async fn on(
        &self,
        runtime: &Handle,
        last: &LastAnswer,
        who: Who,
        trace: Option<TraceContext>,
        call: impl Future<Output = Result<Call, PeerFault>> + Send + 'static,
    ) -> Response<Bytes> {
        let (methods, lookups) = (Arc::clone(&self.methods), Arc::clone(&self.lookups));
        let watch = Arc::clone(&last.watch);
        let executed = runtime.spawn(async move {
            let call = call.await?;
            // What happens once is not begun for a caller that is gone: it may have called again by now.
            if Methods::is_unrepeatable(&call) && watch.has_hung_up() {
                return Err(PeerFault::NotInTime);
            }
            let _turn = match call.method.as_str() {
                method::HEADS | method::READ_RANGE => lookups.acquire().await.ok(),
                _ => None,
            };
            methods.execute(&who, &call, trace).await.map(|answer| (answer, call))
        });
        // A panic in a handler is one failed call.
        match executed.await.unwrap_or(Err(PeerFault::Internal)) {
            // Had the caller hung up, this would not be reached.
            Ok((answer, call)) => {
                last.put(&self.methods, &call);
                xml(answer)
            }
            Err(why) => fault(why),
        }
    }
}

fn read(body: &[u8]) -> Result<Call, PeerFault> {
    peer_xml::read_call(body, XmlLimits::REQUEST).map_err(|_| PeerFault::InvalidRequest)
}

/// On a thread of low priority, which the scheduler lets finish its slice of milliseconds unless it gives way by itself.
fn read_in_pieces(body: &[u8]) -> Result<Call, PeerFault> {
    peer_xml::read_call_in_pieces(body, XmlLimits::REQUEST, std::thread::yield_now)
        .map_err(|_| PeerFault::InvalidRequest)
}

fn fault(fault: PeerFault) -> Response<Bytes> {
    xml(peer_xml::write_fault(fault.code(), fault.text()).into())
}

fn xml(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}
