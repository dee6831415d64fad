//! The source against an API server of a few lines, over real sockets.

use super::*;
use bytes::Bytes;
use chat_engine::directory::List;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Longest wait for something that has to happen.
const WAIT: Duration = Duration::from_secs(10);

/// What the API server does with one request.
enum Answer {
    /// A status with a message.
    Status(u16, &'static str),
    /// A list of slices.
    List(Vec<Value>),
    /// Lines of a watch, which then stays open.
    Watch(Vec<Value>),
    /// Nothing, and the connection stays open.
    Silence,
}

/// Answers requests in order; those for which there is no answer get silence.
struct Server {
    url: http::Uri,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

type Body = BoxBody<Bytes, Infallible>;

fn answer(answer: Option<Answer>) -> Option<Response<Body>> {
    let whole = |status: u16, body: Value| {
        Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())).boxed())
            .unwrap()
    };
    Some(match answer? {
        Answer::Silence => return None,
        Answer::Status(code, message) => whole(
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": "x"}),
        ),
        Answer::List(items) => whole(
            200,
            json!({
                "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
                "metadata": {"resourceVersion": "7"}, "items": items,
            }),
        ),
        Answer::Watch(events) => {
            let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
            let first = futures_util::stream::once(async { Ok(Frame::data(Bytes::from(lines))) });
            let open = first.chain(futures_util::stream::pending());
            Response::new(BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(Box::pin(open))))))
        }
    })
}

/// A boxed body has to be `Sync`, which costs a lock here.
struct SyncStream<S>(Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().unwrap().as_mut().poll_next(context)
    }
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (queue, log) = (Arc::clone(&answers), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (queue, log) = (Arc::clone(&queue), Arc::clone(&log));
                let serve = service_fn(move |request: Request<Incoming>| {
                    log.lock().unwrap().push(request.uri().to_string());
                    let next = queue.lock().unwrap().pop_front();
                    async move {
                        match answer(next) {
                            Some(response) => Ok::<_, Infallible>(response),
                            None => std::future::pending().await,
                        }
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(connection);
            }
        });
        Self {
            url,
            answers,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// A source that asks this server and has little patience.
    fn source(&self, list: u64, watch: u64) -> (mpsc::Receiver<Report>, AbortOnDropHandle<()>) {
        let ms = Duration::from_millis;
        let mut source = Kubernetes::new("chat-headless".into(), "here".into());
        source.config = Some(kube::Config::new(self.url.clone()));
        source.patience = Patience {
            list: ms(list),
            watch: ms(watch),
            first_retry: ms(1),
            last_retry: ms(20),
            forbidden: ms(5),
        };
        let (sender, reports) = mpsc::channel(4);
        let task = tokio::spawn(Box::new(source).run(sender));
        (reports, AbortOnDropHandle::new(task))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn slice(name: &str, endpoints: &[(&str, &str)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(pod, address)| json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod, "uid": pod}}))
        .collect();
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": name, "namespace": "here", "resourceVersion": "7", "uid": name},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "peer", "port": 9090}],
    })
}

fn event(kind: &str, slice: Value) -> Value {
    json!({"type": kind, "object": slice})
}

fn names(list: &List) -> String {
    let names: Vec<_> = list.iter().map(|(node, at)| format!("{node}={}", at.address)).collect();
    names.join(" ").replace("http://", "").replace(":9090/RPC2", "")
}

async fn next(reports: &mut mpsc::Receiver<Report>) -> Result<String, Reason> {
    match timeout(WAIT, reports.recv())
        .await
        .expect("a report in time")
        .expect("it runs")
    {
        Report::List(list) => Ok(names(&list)),
        Report::Trouble(reason, _) => Err(reason),
    }
}

/// The next list; troubles before it are passed over.
async fn next_list(reports: &mut mpsc::Receiver<Report>) -> String {
    loop {
        if let Ok(list) = next(reports).await {
            return list;
        }
    }
}

#[tokio::test]
async fn slices_are_listed_watched_and_merged() {
    let server = Server::start(vec![
        Answer::List(vec![
            slice("a", &[("chat-0", "10.0.0.1"), ("chat-1", "10.0.0.2")]),
            slice("b", &[("chat-1", "10.0.0.2"), ("chat-2", "10.0.0.3")]),
        ]),
        Answer::Watch(vec![
            event("MODIFIED", slice("b", &[("chat-2", "10.0.0.9")])),
            event("ADDED", slice("c", &[("chat-3", "10.0.0.4")])),
            event("DELETED", slice("a", &[])),
        ]),
    ])
    .await;
    let (mut reports, _running) = server.source(5_000, 60_000);
    assert_eq!(
        next(&mut reports).await,
        Ok("chat-0=10.0.0.1 chat-1=10.0.0.2 chat-2=10.0.0.3".into())
    );
    assert_eq!(
        next(&mut reports).await,
        Ok("chat-0=10.0.0.1 chat-1=10.0.0.2 chat-2=10.0.0.9".into())
    );
    assert_eq!(
        next(&mut reports).await,
        Ok("chat-0=10.0.0.1 chat-1=10.0.0.2 chat-2=10.0.0.9 chat-3=10.0.0.4".into())
    );
    assert_eq!(next(&mut reports).await, Ok("chat-2=10.0.0.9 chat-3=10.0.0.4".into()));
    let asked = server.asked();
    assert!(
        asked[0].starts_with("/apis/discovery.k8s.io/v1/namespaces/here/endpointslices?")
            && asked[0].contains("labelSelector=kubernetes.io%2Fservice-name%3Dchat-headless"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_server_error_or_a_broken_list_is_trouble_and_the_next_list_counts() {
    let server = Server::start(vec![
        Answer::Status(500, "etcd is away"),
        Answer::Status(500, "etcd is away still"),
        Answer::List(vec![json!({"metadata": 7})]),
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1")])]),
    ])
    .await;
    let (mut reports, _running) = server.source(5_000, 60_000);
    assert_eq!(next(&mut reports).await, Err(Reason::Refused));
    assert_eq!(next(&mut reports).await, Err(Reason::Refused));
    assert_eq!(next(&mut reports).await, Err(Reason::Unreachable));
    assert_eq!(next(&mut reports).await, Ok("chat-0=10.0.0.1".into()));
}

#[tokio::test]
async fn a_version_that_is_gone_means_a_list_anew() {
    let gone = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "message": "too old", "reason": "Expired",
    }});
    let server = Server::start(vec![
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1")])]),
        Answer::Watch(vec![gone]),
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.5")])]),
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.5")])]),
    ])
    .await;
    let (mut reports, _running) = server.source(5_000, 60_000);
    assert_eq!(next(&mut reports).await, Ok("chat-0=10.0.0.1".into()));
    assert_eq!(next_list(&mut reports).await, "chat-0=10.0.0.5");
}

#[tokio::test]
async fn a_refusal_is_forbidden_until_somebody_allows_it() {
    const NO: &str =
        "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:here:chat\" cannot list";
    let server = Server::start(vec![
        Answer::Status(403, NO),
        Answer::Status(403, NO),
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1")])]),
    ])
    .await;
    let (mut reports, _running) = server.source(5_000, 60_000);
    assert_eq!(next(&mut reports).await, Err(Reason::Forbidden));
    assert_eq!(next(&mut reports).await, Err(Reason::Forbidden));
    assert_eq!(next(&mut reports).await, Ok("chat-0=10.0.0.1".into()));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_unreachable_after_the_patience_and_asked_again() {
    let server = Server::start(vec![
        Answer::Silence,
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1")])]),
    ])
    .await;
    let (mut reports, _running) = server.source(100, 60_000);
    assert_eq!(next(&mut reports).await, Err(Reason::Unreachable));
    assert_eq!(next(&mut reports).await, Ok("chat-0=10.0.0.1".into()));
}

#[tokio::test]
async fn a_watch_that_says_nothing_is_trusted_for_a_while_only() {
    let server = Server::start(vec![
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1")])]),
        // A black hole: the connection stays open, whatever happens.
        Answer::Silence,
        Answer::List(vec![slice("a", &[("chat-0", "10.0.0.1"), ("chat-1", "10.0.0.2")])]),
    ])
    .await;
    let (mut reports, _running) = server.source(5_000, 300);
    assert_eq!(next(&mut reports).await, Ok("chat-0=10.0.0.1".into()));
    assert_eq!(next_list(&mut reports).await, "chat-0=10.0.0.1 chat-1=10.0.0.2");
    assert!(server.answers.lock().unwrap().is_empty());
}

#[test]
fn a_quiet_watch_is_over_before_its_connection_is_given_up() {
    let mut source = Kubernetes::new("chat-headless".into(), "here".into());
    source.config = Some(kube::Config::new("http://10.0.0.1".parse().unwrap()));
    let given_up = source.config().unwrap().read_timeout.expect("a bound");
    // By as much as a busy machine may need.
    assert!(given_up >= PATIENCE.watch + Duration::from_secs(10), "{given_up:?}");
}
