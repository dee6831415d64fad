//! A client of the extended dialect that looks at every frame.

use crate::{Client, PATIENCE, TestNode};
use serde_json::{Value, json};

/// A connection that said `hello`.
pub struct Extended {
    /// The connection.
    pub client: Client,
    /// The answer to `hello`.
    pub welcome: Value,
}

impl Extended {
    /// A new session of `user`.
    pub async fn new(node: &TestNode, user: &str) -> Self {
        Self::hello(node, json!({"protocol": 2, "user": user})).await
    }

    /// A session of `user` that comes back with the token of an earlier one.
    pub async fn resume(node: &TestNode, user: &str, token: &str) -> Self {
        Self::hello(node, json!({"protocol": 2, "user": user, "resume": token})).await
    }

    async fn hello(node: &TestNode, data: Value) -> Self {
        let mut client = node.client().await;
        let welcome = client.ask(&json!({"type": "hello", "data": data}).to_string()).await;
        Self { client, welcome }
    }

    /// What lets the session come back.
    ///
    /// # Panics
    /// If it was not welcomed.
    #[must_use]
    pub fn token(&self) -> String {
        let token = self.welcome["data"]["resume"].as_str();
        token.expect("a welcome has a token").to_owned()
    }

    /// Sends a request with an id.
    pub async fn say(&mut self, id: impl Into<Value>, kind: &str, data: Value) {
        let request = json!({"type": kind, "id": id.into(), "data": data});
        self.client.say(&request.to_string()).await;
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        self.client.next().await
    }

    /// Sends a request and gives its answer; what comes before it is added to `before`.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn ask_with(&mut self, kind: &str, data: Value, before: &mut Vec<Value>) -> Value {
        self.say("q", kind, data).await;
        let answered = async {
            loop {
                let frame = self.next().await;
                if frame["re"] == "q" {
                    return frame;
                }
                before.push(frame);
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer comes")
    }

    /// As [`Self::ask_with`], if nothing comes before the answer.
    ///
    /// # Panics
    /// If something does.
    pub async fn ask(&mut self, kind: &str, data: Value) -> Value {
        let mut before = Vec::new();
        let answer = self.ask_with(kind, data, &mut before).await;
        assert_eq!(before, Vec::<Value>::new(), "before {answer}");
        answer
    }

    /// Joins a room, with `from` if there is one, and gives the data of the answer.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn join(&mut self, room: &str, from: Option<(u64, u64)>) -> Value {
        let mut data = json!({"room_id": room});
        if let Some((generation, seq)) = from {
            data["from"] = json!({"gen": generation, "seq": seq});
        }
        let joined = self.ask("join_room", data).await;
        assert_eq!(joined["type"], "join_room_success", "{joined}");
        joined["data"].clone()
    }

    /// Sends a message under an id and gives the answer, after its message if it is a new one.
    pub async fn send(&mut self, room: &str, content: &str, id: &str) -> Value {
        let data = json!({"room_id": room, "content": content, "client_msg_id": id});
        let mut before = Vec::new();
        let answer = self.ask_with("send_message", data, &mut before).await;
        if answer["type"] == "message_sent" && answer["data"]["duplicate"] == false {
            let last = before.last().expect("the message comes before its confirmation");
            assert_eq!(last["data"]["sequence_number"], answer["data"]["sequence_number"]);
        }
        answer
    }

    /// The numbers and contents of the next messages; anything else is a failure.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn messages(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while found.len() < count {
            let frame = self.next().await;
            assert_eq!(frame["type"], "new_message", "{frame}");
            let data = &frame["data"];
            found.push((
                data["sequence_number"].as_u64().unwrap_or_default(),
                data["content"].as_str().unwrap_or_default().to_owned(),
            ));
        }
        found
    }
}
