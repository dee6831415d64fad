//! A bot that repeats what it hears, once, whatever happens to its node:
//! `cargo run -p chat-client --example echo -- ROOM ws://127.0.0.1:8081 ws://127.0.0.1:8082`

// A command speaks on its standard error.
#![allow(clippy::print_stderr)]

use chat_client::{ConnectOptions, ResumingClient, ResumingOptions, SessionEvent};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let room = args.next().expect("the id of a room");
    let (client, mut events, _task) = ResumingClient::start(ResumingOptions {
        addresses: args.collect(),
        user: "echo".into(),
        client: "echo example".into(),
        connect: ConnectOptions::default(),
        persistent: true,
    });
    client.join(&room, 0).await;
    while let Some(event) = events.recv().await {
        let SessionEvent::Message(message) = event else {
            continue;
        };
        if message.username == "echo" {
            continue;
        }
        // The id of what is answered makes the answer happen once, even if this process is started again.
        let (client, room) = (client.clone(), room.clone());
        tokio::spawn(async move {
            let answer = format!("{} said: {}", message.username, message.content);
            if let Err(why) = client.send(&room, &message.message_id, &answer).await {
                eprintln!("no answer to {}: {why}", message.message_id);
            }
        });
    }
}
