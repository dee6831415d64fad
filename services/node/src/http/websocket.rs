//! From an HTTP request to a WebSocket: any path upgrades, anything else is told so (426).

use super::doors::OfAddress;
use super::strict::Strict;
use super::{ClientPort, one_host};
use crate::session::intake::Intake;
use crate::session::io::SessionIo;
use crate::session::outbound::Outbound;
use crate::session::{Session, actor};
use chat_protocol::limits::MAX_INBOUND_FRAME;
use http::{Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::Filter;
use warp::filters::BoxedFilter;

/// Bytes read at once from an idle connection; what a long message needs more is allocated while it arrives.
const READ_BUFFER: usize = 4 << 10;

/// The filter tree of the client port, for one connection, which was accepted at `since`.
pub(super) fn filter(port: ClientPort, of_address: Arc<OfAddress>, since: Instant) -> BoxedFilter<(Response<String>,)> {
    let upgrade = warp::get()
        .and(warp::header::exact_ignore_case("upgrade", "websocket"))
        .and(warp::header::exact("sec-websocket-version", "13"))
        .and(warp::header::<String>("sec-websocket-key"))
        .and(one_host())
        .and(warp::ext::get::<OnUpgrade>())
        .map(move |key: String, upgrade: OnUpgrade| {
            let (port, of_address) = (port.clone(), Arc::clone(&of_address));
            tokio::spawn(async move {
                run(upgrade, port, since).await;
                drop(of_address);
            });
            switching_protocols(&key)
        });
    let other = warp::any().map(|| {
        let mut response = Response::new("This port speaks WebSocket only.\n".to_owned());
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade, close"));
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    });
    upgrade.or(other).unify().boxed()
}

fn switching_protocols(key: &str) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    let accept = derive_accept_key(key.as_bytes());
    // Base64, so always a valid header value.
    if let Ok(accept) = header::HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Serves a connection from its upgrade to its end.
async fn run(upgrade: OnUpgrade, port: ClientPort, since: Instant) {
    let metrics = port.rooms.metrics();
    let Ok(upgraded) = upgrade.await else {
        metrics.clients.refused.invalid.inc();
        return;
    };
    // The accept loop serves nothing but TCP, so this is what is inside.
    let Ok(parts) = upgraded.downcast::<TokioIo<Strict<TcpStream>>>() else {
        metrics.clients.refused.invalid.inc();
        return;
    };
    // What came behind the head; a copy, so that hyper's buffer does not live as long as the connection.
    let early = parts.read_buf.to_vec();
    drop(parts.read_buf);
    let outbound = Outbound::new(
        Arc::new(parts.io.into_inner().into_inner()),
        port.limits.outbound_bytes,
        Arc::clone(&metrics.clients.sent),
    );
    let intake = Intake::new(Arc::clone(&port.inbound));
    if !intake.received(early.len()) {
        metrics.clients.refused.connections.inc();
        return;
    }
    let session = Arc::new(Session::new(port.registry.next_id(), outbound, intake));
    if !port.registry.add(&session) {
        metrics.clients.refused.connections.inc();
        return;
    }
    metrics.clients.open.inc();
    metrics.clients.opened.inc();
    metrics.clients.handshake_seconds.observe(since.elapsed().as_secs_f64());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_INBOUND_FRAME))
        .max_frame_size(Some(MAX_INBOUND_FRAME));
    let io = SessionIo(Arc::clone(&session));
    let socket = WebSocketStream::from_partially_read(io, early, Role::Server, Some(config)).await;
    actor::run(
        Arc::clone(&session),
        port.rooms.clone(),
        Arc::clone(&port.limits),
        socket,
    )
    .await;
    port.registry.remove(session.id);
    port.rooms.metrics().clients.open.dec();
}
