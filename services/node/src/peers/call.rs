//! One XML-RPC call over HTTP: a deadline, a bound on the answer, and connections that are kept, or never.

use super::auth::seal::{Seal, Sent, Verdict};
use super::auth::{self};
use crate::config::Limits;
use bytes::Bytes;
use chat_protocol::limits::MAX_RESPONSE_BODY;
use chat_protocol::peer_auth::{Refusal, SIGNATURE};
use chat_protocol::peer_xml::{self, RemoteFault, XmlError, XmlLimits};
use chat_protocol::trace_context::{TRACEPARENT, TraceContext};
use dxr::Value;
use http::{HeaderName, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::time::Duration;

/// How long an unused connection is kept; shorter than the time that a server waits for the next request.
const KEEP_IDLE: Duration = Duration::from_secs(5);
/// Unused connections per peer: the link, a heartbeat, a page or two.
const MAX_IDLE: usize = 4;

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The deadline passed. Whether the call was executed is unknown.
    Timeout,
    /// No connection: the call was not executed.
    Unreachable(String),
    /// The connection broke. Whether the call was executed is unknown.
    Broken(String),
    /// The answer was no XML-RPC answer.
    Odd(&'static str),
    /// The answer exceeded a limit or was no XML-RPC.
    Xml(XmlError),
    /// The peer said no.
    Fault(RemoteFault),
    /// The peer does not believe that the call is ours: it was not executed.
    Refused(Refusal),
    /// Nobody knows whether the answer is the peer's.
    Unsigned,
}

impl CallError {
    /// What it is in a trace.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken",
            Self::Odd(_) | Self::Xml(_) => "odd_answer",
            Self::Fault(_) => "fault",
            Self::Refused(_) => "refused",
            Self::Unsigned => "unsigned",
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Broken(why) => write!(f, "connection failed: {why}"),
            Self::Odd(why) => f.write_str(why),
            Self::Xml(why) => write!(f, "{why}"),
            Self::Refused(why) => write!(f, "the peer refused the signature: {}", why.label()),
            Self::Unsigned => f.write_str("the answer is not signed with the key of this node"),
            Self::Fault(fault) => write!(f, "fault {}: {}", fault.code, fault.text),
        }
    }
}

/// Calls peers. Clones share the connections.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    /// One connection per call.
    one_shot: bool,
}

impl Caller {
    /// Keeps connections for the next call.
    pub(super) fn new(limits: &Limits) -> Self {
        let client = builder()
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector(limits));
        Self {
            client,
            one_shot: false,
        }
    }

    /// Makes a connection for each call and leaves none behind: a node of the original serves nobody else while one is
    /// open. A call is written once.
    pub(super) fn one_shot(limits: &Limits) -> Self {
        let client = builder()
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector(limits));
        Self { client, one_shot: true }
    }

    /// Calls `method` at `address`, signed if there is a seal, and says of which trace it is part. Dropping the future gives
    /// the call up; it may have been executed.
    pub(super) async fn call(
        &self,
        address: &Uri,
        seal: Option<&Seal>,
        method: &str,
        params: &[Value],
        deadline: Duration,
        trace: Option<TraceContext>,
    ) -> Result<Value, CallError> {
        let body = Bytes::from(peer_xml::write_call(method, params));
        let exchanged = async {
            match seal {
                None => self.plain(address, body, trace).await,
                Some(seal) => self.sealed(address, seal, body, trace).await,
            }
        };
        let body = tokio::time::timeout(deadline, exchanged)
            .await
            .map_err(|_| CallError::Timeout)??;
        peer_xml::read_response(&body, XmlLimits::RESPONSE)
            .map_err(CallError::Xml)?
            .map_err(CallError::Fault)
    }

    async fn plain(&self, address: &Uri, body: Bytes, trace: Option<TraceContext>) -> Result<Bytes, CallError> {
        let answer = self.exchange(address, None, body, trace).await?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body()),
            http::StatusCode::UNAUTHORIZED => Err(CallError::Refused(Refusal::Unsigned)),
            _ => Err(CallError::Odd("the answer has another status than 200")),
        }
    }

    /// A call that is refused because the peer lives another life, or is called for the first time, was not executed and is
    /// signed anew, once.
    async fn sealed(
        &self,
        address: &Uri,
        seal: &Seal,
        body: Bytes,
        trace: Option<TraceContext>,
    ) -> Result<Bytes, CallError> {
        let hash = auth::hash(&body);
        for _ in 0..2 {
            let sent = seal.sign(address.path(), &hash);
            let sent = sent.ok_or(CallError::Odd("the signature cannot be written"))?;
            let answer = self.exchange(address, Some(&sent), body.clone(), trace).await?;
            match seal.judge(&sent, answer.status(), answer.headers(), answer.body()) {
                Verdict::Believed if answer.status() == http::StatusCode::OK => return Ok(answer.into_body()),
                Verdict::Believed => return Err(CallError::Odd("the answer has another status than 200")),
                Verdict::Refused(why) => return Err(CallError::Refused(why)),
                Verdict::Unsigned => return Err(CallError::Unsigned),
                Verdict::SignAnew => {}
            }
        }
        Err(CallError::Refused(Refusal::Stale))
    }

    async fn exchange(
        &self,
        address: &Uri,
        sent: Option<&Sent>,
        body: Bytes,
        trace: Option<TraceContext>,
    ) -> Result<Response<Bytes>, CallError> {
        let mut request = Request::post(address.clone()).header(header::CONTENT_TYPE, "text/xml");
        if self.one_shot {
            request = request.header(header::CONNECTION, "close");
        }
        if let Some(sent) = sent {
            request = request.header(HeaderName::from_static(SIGNATURE), sent.header.clone());
        }
        if let Some(trace) = trace {
            request = request.header(HeaderName::from_static(TRACEPARENT), trace.to_string());
        }
        let request = request
            .body(Full::new(body))
            .map_err(|_| CallError::Odd("the address is no URL"))?;
        let response = self.client.request(request).await.map_err(|why| {
            if why.is_connect() {
                CallError::Unreachable(why.to_string())
            } else {
                CallError::Broken(why.to_string())
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_BODY).collect().await;
        let body = body
            .map_err(|_| CallError::Odd("the answer is too long or broke off"))?
            .to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    builder
}

fn connector(limits: &Limits) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(limits.peer_connect_timeout));
    connector
}
