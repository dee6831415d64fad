//! A collector of traces for tests: takes OTLP over HTTP and keeps the spans, decoded.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as the collector got it.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// Which node says it: its `service.instance.id`.
    pub node: String,
    /// What is said of that node.
    pub resource: BTreeMap<String, String>,
    /// What it is.
    pub name: String,
    /// Which trace, in hexadecimal digits.
    pub trace: String,
    /// Which span.
    pub id: String,
    /// Of which span it is a part; empty if of none.
    pub parent: String,
    /// Which other spans it belongs to.
    pub links: Vec<String>,
    /// Its attributes, as texts.
    pub attributes: BTreeMap<String, String>,
    /// What kind it is, in the numbers of OTLP.
    pub kind: i32,
    /// When it began and ended, in nanoseconds.
    pub time: (u64, u64),
    /// True if it failed.
    pub failed: bool,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            name,
            trace,
            id,
            parent,
            attributes,
            ..
        } = self;
        write!(f, "\n{name} at {node}: {trace} {id} of {parent:?} {attributes:?}")
    }
}

/// A running collector. It ends when it is dropped.
pub struct Collector {
    /// The URL that takes traces.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    heads: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Begins to collect.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let heads: Arc<Mutex<Vec<BTreeMap<String, String>>>> = Arc::default();
        let (all, all_heads) = (Arc::clone(&spans), Arc::clone(&heads));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, heads) = (Arc::clone(&all), Arc::clone(&all_heads));
                let service = service_fn(move |request| take(Arc::clone(&all), Arc::clone(&heads), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self {
            url: format!("http://{address}/v1/traces"),
            spans,
            heads,
            serving,
        }
    }

    /// All spans that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The headers of every request so far.
    #[must_use]
    pub fn heads(&self) -> Vec<BTreeMap<String, String>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the spans that came are as `wanted`, and gives them.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn wait_until(&self, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let deadline = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let spans = self.spans();
            if wanted(&spans) {
                return spans;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the wanted spans do not come: {spans:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(
    spans: Arc<Mutex<Vec<Span>>>,
    heads: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut head: BTreeMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    head.insert(":path".into(), request.uri().path().to_owned());
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let decoded = match request.into_body().collect().await {
        Ok(body) => ExportTraceServiceRequest::decode(body.to_bytes()).ok(),
        Err(_) => None,
    };
    let mut answer = Response::new(Full::default());
    match decoded {
        Some(request) => spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(read(request)),
        None => *answer.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            found.push(Span {
                node: resource.get("service.instance.id").cloned().unwrap_or_default(),
                resource: resource.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: texts(span.attributes),
                kind: span.kind,
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    found
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|one| (one.key, text(one.value.and_then(|value| value.value))))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
