//! What peers may do wrong, or whoever reaches their port.

use super::wire;
use super::{Attack, Count};
use chat_protocol::limits::{MAX_HEADS, MAX_REQUEST_BODY};
use std::io;
use std::sync::LazyLock;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

fn port(attack: &Attack) -> io::Result<&str> {
    attack.peers.as_deref().ok_or_else(|| io::Error::other("no peer port"))
}

/// Connects and waits.
pub(super) async fn silent(attack: &Attack, count: &Count) -> io::Result<()> {
    let mut stream = wire::connect(attack, port(attack)?, None, count).await?;
    wire::until_ended(&mut stream).await
}

/// A body that is never finished.
pub(super) async fn slow_body(attack: &Attack, count: &Count) -> io::Result<()> {
    let port = port(attack)?;
    let mut stream = wire::connect(attack, port, None, count).await?;
    let begin = wire::post(port, MAX_REQUEST_BODY, "<methodCall>");
    stream.write_all(begin.as_bytes()).await?;
    loop {
        stream.write_all(b" ").await?;
        count.acted();
        sleep(attack.pace).await;
    }
}

/// One bomb after the other, each answered.
pub(super) async fn xml_bomb(attack: &Attack, count: &Count) -> io::Result<()> {
    let port = port(attack)?;
    let mut stream = wire::connect(attack, port, None, count).await?;
    // Made once: the time of making them would be taken from the node, if it runs on the same machine.
    static BOMBS: LazyLock<Vec<String>> = LazyLock::new(bombs);
    for bomb in BOMBS.iter().cycle() {
        stream.write_all(wire::post(port, bomb.len(), "").as_bytes()).await?;
        stream.write_all(bomb.as_bytes()).await?;
        count.acted();
        wire::skip_answer(&mut stream).await?;
        count.answered();
        sleep(attack.pace).await;
    }
    Ok(())
}

/// Calls with the longest answer, which are never read.
pub(super) async fn greedy(attack: &Attack, count: &Count) -> io::Result<()> {
    let port = port(attack)?;
    let mut stream = wire::connect(attack, port, Some(4_096), count).await?;
    let body = "<methodCall><methodName>get_hosted_rooms</methodName></methodCall>";
    let call = wire::post(port, body.len(), body);
    loop {
        stream.write_all(call.as_bytes()).await?;
        count.acted();
        sleep(attack.pace / 10).await;
    }
}

/// Calls that ask for as much as one call may, each answered.
pub(super) async fn long_calls(attack: &Attack, count: &Count) -> io::Result<()> {
    let port = port(attack)?;
    let mut stream = wire::connect(attack, port, None, count).await?;
    let rooms = "<value>no-such-room</value>".repeat(MAX_HEADS);
    let body = call("chat.heads", &format!("<array><data>{rooms}</data></array>"));
    let call = wire::post(port, body.len(), &body);
    loop {
        stream.write_all(call.as_bytes()).await?;
        count.acted();
        wire::skip_answer(&mut stream).await?;
        count.answered();
        sleep(attack.pace).await;
    }
}

fn call(method: &str, value: &str) -> String {
    format!(
        "<methodCall><methodName>{method}</methodName><params><param><value>{value}</value></param></params></methodCall>"
    )
}

/// Documents whose trees, entities or comparisons would cost much more than their bytes.
fn bombs() -> Vec<String> {
    let most = |part: &str| part.repeat((MAX_REQUEST_BODY - 1_000) / part.len());
    let mut laughs = "<!DOCTYPE lolz [<!ENTITY lol \"lol\">".to_owned();
    for n in 1..10 {
        laughs += &format!("<!ENTITY lol{n} \"{}\">", format!("&lol{};", n - 1).repeat(10));
    }
    let attributes: String = (0..80_000).map(|n| format!(" a{n}=''")).collect();
    vec![
        format!("{laughs}]>{}", call("heartbeat", "&lol9;")),
        call(
            "heartbeat",
            &format!("<array><data>{}</data></array>", most("<value/>")),
        ),
        call("heartbeat", &most("<array><data><value>")),
        call(
            "heartbeat",
            &format!(
                "<array><data>{}</data></array>",
                "<value><struct><member><name/><value/></member></struct></value>".repeat(9_000)
            ),
        ),
        call("heartbeat", &most("&amp;")),
        call("heartbeat", &format!("<int{attributes}>7</int>")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::peer_xml::{XmlLimits, read_call};

    #[test]
    fn bombs_are_as_large_as_a_body_may_be_and_some_are_even_well_formed() {
        let bombs = bombs();
        assert!(bombs.iter().all(|bomb| bomb.len() <= MAX_REQUEST_BODY));
        let read = |bomb: &String| read_call(bomb.as_bytes(), XmlLimits::REQUEST).is_ok();
        assert_eq!(bombs.iter().filter(|bomb| read(bomb)).count(), 2);
    }
}
