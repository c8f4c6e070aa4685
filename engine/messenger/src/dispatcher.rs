//! What an application does with what comes.

use async_trait::async_trait;
use wavetank_engine::{RdmaContext, RdmaOps};

use crate::connection::ConnectionId;
use crate::event::{Cause, DropReason};
use crate::local::LocalMessenger;
use crate::message::Incoming;

/// Told of messages and connections. On the messenger's thread: what takes long is awaited, or done elsewhere.
///
/// Every method but [`deliver`](Self::deliver) has a default that does nothing.
#[async_trait(?Send)]
pub trait Dispatcher<C: RdmaOps + 'static = RdmaContext>: 'static {
    /// Gets every message first, for what needs no waiting: a task is made only for what comes back.
    fn fast(&self, _messenger: &LocalMessenger<C>, message: Incoming) -> Option<Incoming> {
        Some(message)
    }

    /// A request, a one-way message, or one whose sender waits until it is dropped. Calls run side by side, begun in the order in
    /// which messages came; a message counts against its connection's window until it is dropped.
    async fn deliver(&self, messenger: LocalMessenger<C>, message: Incoming);

    /// A peer has connected.
    fn accepted(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId, _peer: u64) {}

    /// A connection of ours is there, or there again.
    fn established(
        &self,
        _messenger: &LocalMessenger<C>,
        _connection: ConnectionId,
        _peer: u64,
        _resumed: bool,
    ) {
    }

    /// A connection broke, and is being made again.
    fn reconnecting(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId, _cause: &Cause) {}

    /// A connection is gone.
    fn reset(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId, _cause: &Cause) {}

    /// The peer of a connection knows nothing of us any more.
    fn remote_reset(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId) {}

    /// The peer of a connection that was being made does not want us.
    fn refused(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId, _cause: &Cause) {}

    /// A peer that wanted to connect did not become one.
    fn rejected(&self, _messenger: &LocalMessenger<C>, _cause: &Cause) {}

    /// A one-way message was not sent.
    fn dropped(&self, _messenger: &LocalMessenger<C>, _connection: ConnectionId, _why: DropReason) {}
}

/// Wants nothing: for who only asks. Requests that come are answered as unanswered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deaf;

#[async_trait(?Send)]
impl<C: RdmaOps + 'static> Dispatcher<C> for Deaf {
    fn fast(&self, _messenger: &LocalMessenger<C>, _message: Incoming) -> Option<Incoming> {
        None
    }

    async fn deliver(&self, _messenger: LocalMessenger<C>, _message: Incoming) {}
}
