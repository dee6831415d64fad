//! Traces: the way of one message through the nodes, for the few that are traced.
//!
//! Whether a message is traced is decided once, where a client says it. Nearly always it is not, and then there is nothing: no
//! span, no allocation, and no field of a trace on any wire; a `None` goes along in place of an [`Active`]. What follows has a
//! parent that is recorded, or is not recorded.

mod export;
#[cfg(test)]
mod tests;

pub use export::Export;

use crate::config::{Sampling, TraceSettings};
use crate::telemetry::metrics::TraceMetrics;
use chat_protocol::ids::NodeId;
use chat_protocol::trace_context::TraceContext;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanProcessor};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use opentelemetry::trace::SpanKind;

/// Makes the spans of one node, or none. Clones share it.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    tracer: SdkTracer,
    sampling: Sampling,
    /// The next random number.
    random: AtomicU64,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Traces {
    /// Traces as the settings want them, and what sends them, if there is a collector. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The exporter cannot be made.
    pub fn start(
        settings: &TraceSettings,
        node: &NodeId,
        metrics: &TraceMetrics,
    ) -> io::Result<(Self, Option<Export>)> {
        let Some(collector) = &settings.collector else {
            return Ok((Self::default(), None));
        };
        let resource = export::resource(settings, node);
        let (queue, export) = Export::start(collector, &resource, metrics)?;
        Ok((Self::with(queue, resource, settings.sampling), Some(export)))
    }

    fn with(
        processor: impl SpanProcessor + 'static,
        resource: opentelemetry_sdk::Resource,
        sampling: Sampling,
    ) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            // Decided here, before there is a span.
            .with_sampler(Sampler::AlwaysOn)
            .build();
        Self(Some(Arc::new(Inner {
            tracer: provider.tracer("chat-node"),
            sampling,
            // A new hasher has random keys.
            random: AtomicU64::new(RandomState::new().hash_one(0)),
        })))
    }

    /// The span of something that a client asks for, if that is traced.
    #[must_use]
    pub fn root(&self, name: &'static str, asked: Option<TraceContext>) -> Option<Active> {
        let inner = self.0.as_deref()?;
        let sampled = match asked {
            Some(asked) if inner.sampling.client_decides => asked.sampled,
            _ => inner.sampling.share.takes(inner.random()),
        };
        sampled.then(|| inner.begin(name, SpanKind::Server, asked, Vec::new()))
    }

    /// The span of something that belongs to these traces: part of the first, linked with the others. `None` if none of them is
    /// recorded.
    #[must_use]
    pub fn part_of(
        &self,
        parents: impl IntoIterator<Item = TraceContext>,
        name: &'static str,
        kind: SpanKind,
    ) -> Option<Active> {
        let inner = self.0.as_deref()?;
        let mut parents = parents.into_iter().filter(|parent| parent.sampled);
        let parent = parents.next()?;
        let links = parents.map(|other| Link::with_context(remote(&other))).collect();
        Some(inner.begin(name, kind, Some(parent), links))
    }
}

impl Inner {
    /// A random number, good enough to choose messages by (SplitMix64).
    fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<TraceContext>, links: Vec<Link>) -> Active {
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(remote(&parent))
        });
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
        let span = self.tracer.build_with_context(builder, &context);
        let of = span.span_context();
        let context = TraceContext {
            trace_id: of.trace_id().to_bytes(),
            span_id: of.span_id().to_bytes(),
            sampled: true,
        };
        // Of the highest level, so that lines of every level that is shown have it.
        let log = tracing::error_span!(parent: None, "trace", trace_id = %of.trace_id(), span_id = %of.span_id());
        Active(Box::new(Recorded { span, context, log }))
    }
}

fn remote(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::default().with_sampled(context.sampled),
        true,
        TraceState::NONE,
    )
}

/// A span that is recorded. It ends when it is dropped.
#[derive(Debug)]
pub struct Active(Box<Recorded>);

#[derive(Debug)]
struct Recorded {
    span: Span,
    context: TraceContext,
    log: tracing::Span,
}

impl Active {
    /// What others need to know to be part of it.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.0.context
    }

    /// Says something about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.span.set_attribute(KeyValue::new(key, value));
    }

    /// Says that something happened now.
    pub fn event(&mut self, name: &'static str, attributes: Vec<KeyValue>) {
        self.0.span.add_event(name, attributes);
    }

    /// It failed; `kind` is one of a few words.
    pub fn fail(&mut self, kind: impl Into<Value>) {
        self.set("error.type", kind);
        self.0.span.set_status(Status::error(""));
    }

    /// Log lines that are written in this have the ids of the trace and of the span.
    #[must_use]
    pub const fn log(&self) -> &tracing::Span {
        &self.0.log
    }
}
