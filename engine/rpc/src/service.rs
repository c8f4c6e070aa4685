//! Services: what answers calls, as a dispatcher of a messenger.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease};
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_messenger::{ConnectionId, Data, Dispatcher, Incoming, LocalMessenger, Message, ReplyTo, Way};

use crate::call::Call;

/// A request that came, beside what its front says. Its data counts against the connection's window until this is dropped.
#[derive(Debug)]
pub struct Asked<C: RdmaOps + 'static = RdmaContext> {
    /// Whose messenger it came by.
    pub messenger: LocalMessenger<C>,
    message: Incoming,
    sink_len: Option<u64>,
}

impl<C: RdmaOps + 'static> Asked<C> {
    /// The connection it came on.
    pub fn connection(&self) -> ConnectionId {
        self.message.connection()
    }

    /// When nobody waits for the answer any more.
    pub fn deadline(&self) -> Instant {
        self.message.deadline()
    }

    /// Its data: the lease it is in, where it begins there, and how much there is.
    pub fn data(&self) -> Option<(&Lease, u64, u64)> {
        self.message.data().map(|(lease, at)| (lease, at, self.message.data_len()))
    }

    /// Bytes that the caller has room for.
    pub fn sink_len(&self) -> Option<u64> {
        self.sink_len
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer<R> {
    /// What is answered.
    pub reply: R,
    /// Data beside it, from the messenger's own memory.
    pub data: Option<Data>,
    /// How the data is to travel; `None` lets the messenger choose.
    pub way: Option<Way>,
}

impl<R> Answer<R> {
    /// Without data.
    pub fn of(reply: R) -> Answer<R> {
        Answer { reply, data: None, way: None }
    }
}

/// Answers one sort of call.
///
/// It is polled once as soon as the request is there, within the messenger's turn: what needs no waiting is answered at once,
/// and a task is made only for what does. Calls overlap.
#[async_trait(?Send)]
pub trait Service<K: Call, C: RdmaOps + 'static = RdmaContext>: 'static {
    /// Answers a call.
    async fn serve(self: Rc<Self>, asked: Asked<C>, request: K::Request) -> Answer<K::Reply>;
}

/// Services by the type of their messages: the dispatcher of a server.
pub struct Services<C: RdmaOps + 'static = RdmaContext> {
    table: Vec<(u16, Rc<dyn Serve<C>>)>,
    strangers: Cell<u64>,
}

impl<C: RdmaOps + 'static> fmt::Debug for Services<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<u16> = self.table.iter().map(|(r#type, _)| *r#type).collect();
        f.debug_struct("Services").field("types", &types).field("strangers", &self.strangers).finish()
    }
}

impl<C: RdmaOps + 'static> Default for Services<C> {
    fn default() -> Services<C> {
        Services { table: Vec::new(), strangers: Cell::new(0) }
    }
}

impl<C: RdmaOps + 'static> Services<C> {
    /// None yet: every request is told that it has no reply.
    pub fn new() -> Services<C> {
        Services::default()
    }

    /// With one more. Of two for the same type the first is called.
    #[must_use]
    pub fn with<K: Call>(mut self, service: Rc<impl Service<K, C>>) -> Services<C> {
        self.table.push((K::TYPE, Rc::new(Serving { service, call: std::marker::PhantomData::<K> })));
        self
    }

    /// Messages of types that nobody serves, and messages that are no requests.
    pub fn strangers(&self) -> u64 {
        self.strangers.get()
    }
}

#[async_trait(?Send)]
impl<C: RdmaOps + 'static> Dispatcher<C> for Services<C> {
    fn fast(&self, messenger: &LocalMessenger<C>, message: Incoming) -> Option<Incoming> {
        let service = self.table.iter().find(|(r#type, _)| *r#type == message.r#type());
        match service {
            Some((_, service)) if message.is_request() => service.begin(messenger, message),
            // Dropping a request says that there is no reply.
            _ => self.strangers.set(self.strangers.get() + 1),
        }
        None
    }

    async fn deliver(&self, _messenger: LocalMessenger<C>, _message: Incoming) {}
}

/// A service whose calls have lost their types.
trait Serve<C: RdmaOps + 'static> {
    fn begin(&self, messenger: &LocalMessenger<C>, message: Incoming);
}

struct Serving<K, S> {
    service: Rc<S>,
    call: std::marker::PhantomData<K>,
}

impl<K: Call, S: Service<K, C>, C: RdmaOps + 'static> Serve<C> for Serving<K, S> {
    fn begin(&self, messenger: &LocalMessenger<C>, mut message: Incoming) {
        let Some(reply_to) = message.take_reply_to() else { return };
        let mut front = [0; _];
        let request = match K::decode_request(message.front(&mut front)) {
            Ok(request) => request,
            Err(why) => return answer::<K, C>(messenger, reply_to, Answer::of(K::unread(why))),
        };
        let asked = Asked { messenger: messenger.clone(), message, sink_len: reply_to.sink_len() };
        let mut serving: Pin<Box<dyn Future<Output = _>>> = Rc::clone(&self.service).serve(asked, request);
        // Woken for nothing, it is polled again as soon as it is a task.
        match serving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(said) => answer::<K, C>(messenger, reply_to, said),
            Poll::Pending => {
                let then = messenger.clone();
                messenger.spawn(async move { answer::<K, C>(&then, reply_to, serving.await) });
            }
        }
    }
}

fn answer<K: Call, C: RdmaOps + 'static>(
    messenger: &LocalMessenger<C>,
    to: ReplyTo,
    answer: Answer<K::Reply>,
) {
    let Answer { reply, data, way } = answer;
    let Some(front) = K::encode_reply(&reply) else { return };
    let mut message = Message::new(K::TYPE, &front, Instant::FAR).by(way);
    message.data = data;
    // Where it cannot be sent, dropping `to` has told the caller so, or the caller is gone.
    let _ = messenger.reply(to, message);
}
