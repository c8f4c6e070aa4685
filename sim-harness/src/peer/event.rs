//! What happens at a memory server, for whoever looks on.

use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client has what it needs.
    Joined {
        /// Whence it came.
        from: SocketAddr,
        /// Its device.
        device: String,
        /// Regions it has.
        regions: usize,
        /// Their bytes.
        bytes: u64,
        /// Endpoints it has.
        endpoints: usize,
    },
    /// A client is gone, and what it had came back.
    Left {
        /// Whence it had come.
        from: SocketAddr,
        /// Why it left without goodbye.
        vanished: Option<String>,
        /// Bytes that clients still have.
        used_bytes: u64,
    },
    /// A client got nothing.
    Refused {
        /// Whence it came.
        from: SocketAddr,
        /// Why.
        why: String,
    },
    /// Something of a client that did not come back.
    Leaked {
        /// Whence it had come.
        from: SocketAddr,
        /// What.
        what: String,
    },
    /// The device has something to say.
    Device {
        /// What.
        what: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Joined { from, device, regions, bytes, endpoints } => write!(
                f,
                "{from} ({device}) joined: {bytes} bytes in {regions} regions, {endpoints} endpoints"
            ),
            Event::Left { from, vanished: None, used_bytes } => {
                write!(f, "{from} took leave; {used_bytes} bytes are in use")
            }
            Event::Left { from, vanished: Some(why), used_bytes } => {
                write!(f, "{from} left without goodbye: {why}; {used_bytes} bytes are in use")
            }
            Event::Refused { from, why } => write!(f, "{from} was refused: {why}"),
            Event::Leaked { from, what } => write!(f, "{from} left something behind: {what}"),
            Event::Device { what } => write!(f, "the device says: {what}"),
        }
    }
}

impl Event {
    /// For machines.
    pub fn to_json(&self) -> Value {
        match self {
            Event::Joined { from, device, regions, bytes, endpoints } => json!({
                "event": "joined", "from": from.to_string(), "device": device, "regions": regions, "bytes": bytes,
                "endpoints": endpoints,
            }),
            Event::Left { from, vanished, used_bytes } => json!({
                "event": "left", "from": from.to_string(), "goodbye": vanished.is_none(), "why": vanished,
                "used_bytes": used_bytes,
            }),
            Event::Refused { from, why } => {
                json!({ "event": "refused", "from": from.to_string(), "why": why })
            }
            Event::Leaked { from, what } => {
                json!({ "event": "leaked", "from": from.to_string(), "what": what })
            }
            Event::Device { what } => json!({ "event": "device", "what": what }),
        }
    }
}

/// What came of a memory server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Clients that had what they needed and took leave.
    pub goodbyes: u64,
    /// Clients that left without goodbye.
    pub vanished: u64,
    /// Clients that got nothing.
    pub refused: u64,
    /// Clients that were there when it ended.
    pub cut_off: u64,
    /// Clients of which something did not come back.
    pub leaked: u64,
}

impl Served {
    /// Whether everything came back.
    pub fn ok(&self) -> bool {
        self.leaked == 0
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({
            "event": "ended", "ok": self.ok(), "goodbyes": self.goodbyes, "vanished": self.vanished,
            "refused": self.refused, "cut_off": self.cut_off, "leaked": self.leaked,
        })
    }
}
