//! Answers to forwarded messages that were written but may not have arrived.
//!
//! An original node that loses its connection before the answer calls again, with the same words, and a user who says the
//! same twice looks just like that. What tells them apart is how the connection of the first answer ends: whoever has the
//! answer closes it in good order, and does so at once.

use super::super::lock;
use chat_protocol::original_call::Forwarded;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a repeat waits for the connection of the first answer to end. One that is still open then is in good order.
const PATIENCE: Duration = Duration::from_millis(250);

/// The answers on open connections, at most one per connection.
#[derive(Debug, Default)]
pub(in crate::peers) struct Replies {
    open: Mutex<HashMap<Forwarded, usize>>,
    closed: Notify,
}

impl Replies {
    /// An answer is being written.
    pub(in crate::peers) fn written(&self, to: &Forwarded) {
        *lock(&self.open).entry(to.clone()).or_default() += 1;
    }

    /// Its connection ended.
    pub(in crate::peers) fn ended(&self, to: &Forwarded) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(to) {
            *count -= 1;
            if *count == 0 {
                open.remove(to);
            }
        }
        drop(open);
        self.closed.notify_waiters();
    }

    /// Waits until no answer to the same words is on an open connection. False if one still is, which then must have
    /// arrived. Cancel safe.
    pub(in crate::peers) async fn settled(&self, to: &Forwarded) -> bool {
        let settled = async {
            loop {
                let closed = self.closed.notified();
                if !lock(&self.open).contains_key(to) {
                    return;
                }
                closed.await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.is_ok()
    }
}
