//! Sends spans to a collector: OTLP over HTTP, as protobuf.
//!
//! The batch processor of the SDK has a thread of its own and does not say how many spans it drops; this one is a task of the
//! runtime that the HTTP client needs anyhow, behind a queue with a bound. Whoever ends a span never waits.

use crate::config::{Collector, TraceSettings};
use crate::telemetry::metrics::TraceMetrics;
use bytes::Bytes;
use chat_protocol::ids::NodeId;
use dxr_server::async_trait;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use prometheus::IntCounter;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest answer of a collector that is read.
const MAX_ANSWER: usize = 64 << 10;
/// Pauses before the second and the third try of a batch.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// How often at most a log says that a collector takes nothing.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// What is said of this node with every span.
pub(super) fn resource(settings: &TraceSettings, node: &NodeId) -> Resource {
    let given = settings.attributes.iter();
    // Not the default detectors: they read the environment, which is read by `config` only.
    Resource::builder_empty()
        .with_attributes(given.map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .with_attributes([
            KeyValue::new("service.name", settings.service.clone()),
            KeyValue::new("service.version", crate::VERSION),
            KeyValue::new("service.instance.id", node.to_string()),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            KeyValue::new("telemetry.sdk.language", "rust"),
        ])
        .build()
}

/// Where spans wait when they have ended.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    dropped: IntCounter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The end is [`Export::finish`].
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What sends the spans of a node. It ends with [`Self::finish`], or when it is dropped.
#[derive(Debug)]
pub struct Export {
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Export {
    pub(super) fn start(
        collector: &Collector,
        resource: &Resource,
        metrics: &TraceMetrics,
    ) -> io::Result<(Queue, Self)> {
        let (sender, spans) = mpsc::channel(collector.queue);
        let headers = collector.headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new(collector))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector.url.to_string())
            .with_timeout(collector.timeout)
            .with_headers(headers.collect())
            // Its own one would let a thread of the runtime sleep.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(io::Error::other)?;
        exporter.set_resource(resource);
        let closing = CancellationToken::new();
        let sending = Sending {
            exporter,
            spans,
            closing: closing.clone(),
            metrics: metrics.clone(),
            batch: collector.batch,
            delay: collector.delay,
            complained: None,
        };
        let queue = Queue {
            spans: sender,
            dropped: metrics.dropped.clone(),
        };
        let task = tokio::spawn(sending.run());
        Ok((queue, Self { closing, task }))
    }

    /// Sends what waits, and takes nothing more; not longer than `patience`.
    pub async fn finish(mut self, patience: Duration) {
        self.closing.cancel();
        if tokio::time::timeout(patience, &mut self.task).await.is_err() {
            tracing::warn!("the collector of traces did not take the last ones in time");
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Sending {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    closing: CancellationToken,
    metrics: TraceMetrics,
    batch: usize,
    delay: Duration,
    complained: Option<tokio::time::Instant>,
}

impl Sending {
    async fn run(mut self) {
        while let Some(batch) = self.next().await {
            let count = batch.len() as u64;
            match self.exporter.export(batch).await {
                Ok(()) => self.metrics.exported.inc_by(count),
                Err(why) => {
                    self.metrics.failed.inc_by(count);
                    self.complain(&why);
                }
            }
        }
    }

    /// The next batch: full, or as full as it is after a while; `None` at the end.
    async fn next(&mut self) -> Option<Vec<SpanData>> {
        let (mut batch, mut waited) = (Vec::new(), None);
        while batch.len() < self.batch {
            let room = self.batch - batch.len();
            tokio::select! {
                biased;
                // What is there is still given out.
                () = self.closing.cancelled(), if !self.spans.is_closed() => self.spans.close(),
                () = until(waited) => break,
                more = self.spans.recv_many(&mut batch, room) => {
                    if more == 0 {
                        break;
                    }
                    waited.get_or_insert_with(|| tokio::time::Instant::now() + self.delay);
                }
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn complain(&mut self, why: &opentelemetry_sdk::error::OTelSdkError) {
        let now = tokio::time::Instant::now();
        if self.complained.is_none_or(|last| now - last >= COMPLAINT_EVERY) {
            self.complained = Some(now);
            tracing::warn!(%why, "the collector of traces took nothing");
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The HTTP client of the exporter.
#[derive(Debug)]
struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl Http {
    fn new(collector: &Collector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build_http();
        Self {
            client,
            timeout: collector.timeout,
        }
    }

    async fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.clone().map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let tries = async {
            for pause in PAUSES {
                match self.send(&request).await {
                    Ok(answer) if !may_be_tried_again(answer.status()) => return Ok(answer),
                    _ => tokio::time::sleep(pause).await,
                }
            }
            self.send(&request).await
        };
        tokio::time::timeout(self.timeout, tries).await?
    }
}

/// As the specification of OTLP says.
fn may_be_tried_again(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}
