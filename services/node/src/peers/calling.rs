//! One call to a peer: over the right connections, within its time, counted, and in a trace if what it carries is in one.

use super::call::{CallError, Caller};
use super::{Dialect, Link, Peers};
use crate::telemetry::metrics::PeerMetrics;
use crate::telemetry::traces::SpanKind;
use chat_protocol::ids::NodeId;
use chat_protocol::trace_context::TraceContext;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

impl Peers {
    /// Only between nodes of ours are connections kept.
    pub(super) fn caller(&self, node: &NodeId) -> &Caller {
        if self.dialect(node) == Dialect::Ours {
            &self.0.caller
        } else {
            &self.0.one_shot
        }
    }

    pub(super) async fn call(
        &self,
        link: &Link,
        method: &'static str,
        params: &[dxr::Value],
    ) -> Result<dxr::Value, CallError> {
        self.call_within(link, method, params, None).await
    }

    /// A call that is part of the first of these traces, and linked with the others.
    pub(super) async fn call_for(
        &self,
        link: &Link,
        method: &'static str,
        params: &[dxr::Value],
        parents: impl IntoIterator<Item = TraceContext>,
    ) -> Result<dxr::Value, CallError> {
        let Some(mut span) = self.0.traces.part_of(parents, method, SpanKind::Client) else {
            return self.call(link, method, params).await;
        };
        let address = link.address();
        span.set("rpc.system.name", "xmlrpc");
        span.set("rpc.method", method);
        span.set("server.address", address.host().unwrap_or_default().to_owned());
        span.set("server.port", i64::from(address.port_u16().unwrap_or(80)));
        let call = self.call_within(link, method, params, Some(span.context()));
        let result = call.instrument(span.log().clone()).await;
        if let Err(why) = &result {
            if let CallError::Fault(fault) = why {
                span.set("rpc.response.status_code", fault.code.to_string());
            }
            span.fail(why.kind());
        }
        result
    }

    async fn call_within(
        &self,
        link: &Link,
        method: &'static str,
        params: &[dxr::Value],
        trace: Option<TraceContext>,
    ) -> Result<dxr::Value, CallError> {
        let since = Instant::now();
        let result = self
            .caller(link.node())
            .call(
                &link.address(),
                link.seal(),
                method,
                params,
                self.0.limits.peer_call_timeout,
                trace,
            )
            .await;
        count(link.metrics(), method, &result, since.elapsed());
        result
    }
}

pub(super) fn count(
    metrics: &PeerMetrics,
    method: &'static str,
    result: &Result<dxr::Value, CallError>,
    took: Duration,
) {
    let metrics = metrics.calls(method);
    metrics.seconds.observe(took.as_secs_f64());
    match result {
        Ok(_) => metrics.ok.inc(),
        Err(CallError::Timeout) => metrics.timeout.inc(),
        Err(CallError::Fault(_)) => metrics.fault.inc(),
        Err(CallError::Refused(_) | CallError::Unsigned) => metrics.unbelieved.inc(),
        Err(_) => metrics.error.inc(),
    }
}
