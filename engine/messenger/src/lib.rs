//! Messages between peers over RDMA.
//!
//! A [`Messenger`] has connections over one device, and everything that stands between raw SENDs and a storage protocol: flow
//! control by messages and bytes, data by eager copy or rendezvous, delivery policies, reconnecting, deadlines, keepalive.
//!
//! * [`messenger`]: the machine. It is turned, like the driver it owns; it knows neither sockets nor clocks.
//! * [`policy`]: what a connection promises when it breaks.
//! * [`message`]: one-way messages, requests and replies, and messages whose sender waits until they are let go of.
//! * [`local`], [`dispatcher`]: futures and callbacks over the machine, for the tasks of one thread.
//! * [`way`]: how data travels, and why.
//! * [`mod@line`]: the streams over which two messengers find each other; somebody else owns the sockets.
//! * `tcp`: lines over TCP, with the feature `tokio`; [`within`]: lines within one process.
//! * [`frame`], [`hello`]: what is on the wire.
//! * [`step`]: the protocol's steps, as breakpoints for tests.

pub mod config;
pub mod connection;
mod credit;
pub mod dispatcher;
pub mod error;
pub mod event;
pub mod frame;
pub mod hello;
pub mod line;
pub mod local;
pub mod message;
pub mod messenger;
pub mod policy;
pub mod step;
#[cfg(feature = "tokio")]
pub mod tcp;
pub mod way;
pub mod within;

pub use config::{BadConfig, MessengerConfig, Thresholds};
pub use connection::{ConnectionId, ConnectionStats};
pub use credit::{CREDITS_MIN, Flow};
pub use dispatcher::{Deaf, Dispatcher};
pub use error::{BindError, ConnectRefused, PullError, PullReason, SendError, SendReason};
pub use event::{Cause, DropReason, Event, NoReply, RequestError, RequestId, Violation};
pub use line::{LineAsk, LineId};
pub use local::{Connecting, LocalMessenger, Pulling, Releasing, Requesting, Sleeping};
pub use message::{Data, Incoming, Kind, Message, ReplyTo};
pub use messenger::{
    BytesInUse, Ends, Interceptor, Messenger, MessengerStats, Outstanding, Reached, SharedReceives,
};
pub use policy::Policy;
pub use step::{Go, Step};
#[cfg(feature = "tokio")]
pub use tcp::{ALONE_NS, Bell, Beside, TcpCarrier, TcpConfig};
pub use way::{Chosen, Way, Why};
pub use within::{Reach, Within};
