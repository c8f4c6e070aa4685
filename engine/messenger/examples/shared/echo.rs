//! A dispatcher that answers every request with what came.

use std::rc::Rc;

use async_trait::async_trait;
use tokio::sync::Notify;
use wavetank_contract::Instant;
use wavetank_messenger::{Cause, ConnectionId, Data, Dispatcher, Incoming, LocalMessenger, Message};

/// Answers at once; nothing has to be awaited.
pub(crate) struct Echo {
    left: Rc<Notify>,
}

impl Echo {
    /// One, and what tells that a client has left.
    pub(crate) fn new() -> (Echo, Rc<Notify>) {
        let left = Rc::new(Notify::new());
        (Echo { left: Rc::clone(&left) }, left)
    }
}

#[async_trait(?Send)]
impl Dispatcher for Echo {
    fn fast(&self, messenger: &LocalMessenger, mut message: Incoming) -> Option<Incoming> {
        let reply_to = message.take_reply_to()?;
        let mut bytes = [0; 1024];
        let reply = Message::new(message.r#type(), message.front(&mut bytes), Instant::FAR);
        // The memory that the data came in goes back as it is; what came in a receive buffer is copied once.
        let len = message.data_len();
        let lease = match (len, message.take_lease()) {
            (0, _) => None,
            (_, Some(lease)) => Some(lease),
            (_, None) => messenger.lease(len).ok().inspect(|lease| {
                let mut block = [0; 4096];
                for at in (0..len).step_by(block.len()) {
                    let part = &mut block[..(len - at).min(4096) as usize];
                    if message.read(at, part) {
                        lease.write(at, part);
                    }
                }
            }),
        };
        if len > 0 && lease.is_none() {
            // No memory now: dropping the request says that there is no reply.
            drop(reply_to);
            return None;
        }
        let reply = match lease {
            Some(lease) => reply.with(Data::first(lease, len)),
            None => reply,
        };
        // A client that is gone needs no answer.
        let _ = messenger.reply(reply_to, reply);
        None
    }

    async fn deliver(&self, _messenger: LocalMessenger, _message: Incoming) {}

    fn reset(&self, _messenger: &LocalMessenger, _connection: ConnectionId, _cause: &Cause) {
        self.left.notify_one();
    }
}
