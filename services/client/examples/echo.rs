//! A bot that repeats what it hears, once, whatever happens to its node:
//! `cargo run -p chat-client --example echo -- hall ws://127.0.0.1:8081 ws://127.0.0.1:8082`

// A command speaks on its standard error.
#![allow(clippy::print_stderr)]

use chat_client::{AskError, ResumingClient, ResumingOptions, SessionEvent};

#[tokio::main]
async fn main() -> Result<(), AskError> {
    let mut args = std::env::args().skip(1);
    let name = args.next().expect("the name of a room");
    let (client, mut events, _task) = ResumingClient::start(ResumingOptions {
        persistent: true,
        ..ResumingOptions::new(args.collect(), "echo")
    });
    let room = client.room_named(&name).await?;
    client.join(&room, 0).await;
    while let Some(event) = events.recv().await {
        let message = match event {
            SessionEvent::Message(message) if message.username != "echo" => message,
            _ => continue,
        };
        // The id of what is answered makes the answer happen once, even if this process is started again.
        let (client, room) = (client.clone(), room.clone());
        tokio::spawn(async move {
            let answer = format!("{} said: {}", message.username, message.content);
            if let Err(why) = client.send(&room, &message.message_id, &answer).await {
                eprintln!("no answer to {}: {why}", message.message_id);
            }
        });
    }
    Ok(())
}
