//! The peer port under hostile hands: an answer in no time or a closed connection, bounded memory, nothing repeated.

use chat_client::request;
use chat_protocol::peer_xml::{RemoteFault, XmlLimits, read_response, write_call};
use chat_tests::{PATIENCE, TestNode};
use dxr::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends raw bytes and reads until the node closes the connection.
async fn raw(node: &TestNode, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(node.addresses.xmlrpc).await.expect("accepted");
    // The node may answer and close before it has read everything.
    drop(socket.write_all(bytes).await);
    let mut answer = Vec::new();
    drop(
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .expect("answered or closed in time"),
    );
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) async fn post(node: &TestNode, path: &str, body: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(node, format!("{head}{body}").as_bytes()).await
}

pub(crate) async fn call(node: &TestNode, method: &str, params: &[Value]) -> Result<Value, RemoteFault> {
    let answer = post(node, "/RPC2", &write_call(method, params)).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read_response(body.as_bytes(), XmlLimits::RESPONSE).expect("an XML-RPC answer")
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

#[tokio::test]
async fn the_methods_answer_on_both_paths_and_to_old_callers() {
    let node = TestNode::start().await;
    let heartbeat = write_call("heartbeat", &[]);
    for path in ["/", "/RPC2"] {
        assert!(
            post(&node, path, &heartbeat).await.contains("<string>node1</string>"),
            "{path}"
        );
    }
    let old = format!(
        "POST /RPC2 HTTP/1.0\r\nContent-Length: {}\r\n\r\n{heartbeat}",
        heartbeat.len()
    );
    assert!(raw(&node, old.as_bytes()).await.contains("<string>ok</string>"));
    let Ok(Value::Array(methods)) = call(&node, "system.listMethods", &[]).await else {
        panic!("a list")
    };
    for method in ["heartbeat", "get_hosted_rooms", "chat.exchange", "system.listMethods"] {
        assert!(methods.contains(&text(method)), "{method}");
    }
    let mut client = node.client().await;
    let room = client.create("hall").await;
    let Ok(Value::Array(rooms)) = call(&node, "get_hosted_rooms", &[]).await else {
        panic!("a list")
    };
    let Value::Struct(entry) = &rooms[0] else {
        panic!("a struct")
    };
    assert_eq!((rooms.len(), &entry["room_id"]), (1, &text(&room)));
}

#[tokio::test]
async fn bad_documents_and_parameters_are_faults_that_repeat_nothing() {
    let node = TestNode::start().await;
    let wrap = |inner: &str| {
        format!(
            "<methodCall><methodName>heartbeat</methodName><params><param><value>{inner}</value></param></params></methodCall>"
        )
    };
    for body in [
        "SECRET".to_owned(),
        "<methodCall><methodName>SECRET".to_owned(),
        "<SECRET/>".to_owned(),
        format!("<!DOCTYPE SECRET [<!ENTITY a \"SECRET\">]>{}", wrap("&a;")),
        wrap("&SECRET;"),
        wrap(&format!("SECRET{}", "<array><data><value>".repeat(40_000))),
        wrap(&format!("<array><data>{}</data></array>", "<value/>".repeat(100_000))),
        wrap("<int>SECRET</int>"),
        write_call("SECRET", &[]),
        write_call("heartbeat", &[text("SECRET")]),
        write_call("chat.locate", &[]),
        write_call("chat.locate", &[Value::Integer(7)]),
        write_call("chat.read_range", &[text("r"), text("SECRET"), text("5")]),
        write_call("chat.heads", &[Value::Array(vec![Value::Nil])]),
        write_call(
            "chat.exchange",
            &[text("SECRET"), text("1"), text("1"), text("0"), Value::Array(vec![])],
        ),
    ] {
        let answer = post(&node, "/", &body).await;
        let shown = &body[..body.len().min(100)];
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("faultCode"),
            "{shown} → {answer}"
        );
        assert!(!answer.contains("SECRET"), "{shown} → {answer}");
    }
    assert!(call(&node, "heartbeat", &[]).await.is_ok());
}

#[tokio::test]
async fn what_is_no_call_is_refused_by_status() {
    let node = TestNode::start().await;
    for (request, status) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            "405",
        ),
        (
            "POST /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "404",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "411",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999\r\n\r\n".to_owned(),
            "413",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = raw(&node, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request} → {answer}"
        );
    }
}

#[tokio::test]
async fn whoever_says_nothing_or_stops_half_way_is_dropped_and_others_are_served() {
    let node = TestNode::start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(200);
        config.limits.peer_connections = 3;
    })
    .await;
    let silent = raw(&node, b"");
    let half_a_head = raw(&node, b"POST / HTTP/1.1\r\nHo");
    let half_a_body = raw(
        &node,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<method",
    );
    let (_, _, half_a_body) = tokio::join!(silent, half_a_head, half_a_body);
    assert!(half_a_body.starts_with("HTTP/1.1 408 "), "{half_a_body}");
    assert!(call(&node, "heartbeat", &[]).await.is_ok());
    let mut client = node.client().await;
    assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
}

#[tokio::test]
async fn items_for_another_life_or_from_a_stranger_are_refused() {
    let node = TestNode::start().await;
    let exchange = |sender: &str| vec![text(sender), text("1"), text("1"), text("0"), Value::Array(vec![])];
    let Err(fault) = call(&node, "chat.exchange", &exchange("node2")).await else {
        panic!("refused")
    };
    assert_eq!(fault.text, "another life of the node");
    let Ok(Value::Struct(capabilities)) = call(&node, "chat.capabilities", &[]).await else {
        panic!("a struct")
    };
    let mut to_this_life = exchange("stranger");
    to_this_life[2] = capabilities["incarnation"].clone();
    let Err(fault) = call(&node, "chat.exchange", &to_this_life).await else {
        panic!("refused")
    };
    assert_eq!(fault.text, "invalid parameters");
}
