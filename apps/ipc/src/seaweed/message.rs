//! The messages, and MessagePack to and from them.

use rmp_serde::Deserializer;
use rmp_serde::encode::Serializer;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How deep values may be nested: a message has 4 levels, and what nobody knows is passed over.
const DEPTH_MAX: usize = 32;

/// Everything that is said in either direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
#[expect(missing_docs, reason = "each is what its type says")]
pub enum Message {
    Ping(Ping),
    Pong(Pong),
    GetCapabilities(GetCapabilities),
    GetCapabilitiesResponse(Box<Capabilities>),
    StartRead(StartRead),
    StartReadResponse(Box<StartReadResponse>),
    CompleteRead(CompleteRead),
    CompleteReadResponse(CompleteReadResponse),
    Error(ErrorReply),
}

/// Asks for a sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// The client's Unix time, in nanoseconds.
    pub timestamp_ns: u64,
    /// Whatever the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The time that the client said.
    pub client_timestamp_ns: u64,
    /// The engine's Unix time, in nanoseconds.
    pub server_timestamp_ns: u64,
    /// How much later that is, or 0.
    pub server_rtt_ns: u64,
}

/// Asks what the engine can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCapabilities {
    /// Whatever the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// What the engine can do. The last two are not upstream's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The device's name.
    pub device_name: String,
    /// Its vendor; 0 where it has none.
    pub vendor_id: u32,
    /// Longest range that one read may have.
    pub max_transfer_size: u64,
    /// Sessions at a time.
    pub max_sessions: u64,
    /// Sessions now.
    pub active_sessions: u64,
    /// GID of the port, as text; empty where it has none.
    pub port_gid: String,
    /// LID of the port; 0 where it has none.
    pub port_lid: u16,
    /// How clients prove who they are.
    pub supported_auth: Vec<String>,
    /// The engine's version.
    pub version: String,
    /// Whether the device is one.
    pub real_rdma: bool,
    /// Whether the device is simulated.
    #[serde(default)]
    pub simulated: bool,
    /// Name of the backend.
    #[serde(default)]
    pub backend: String,
}

/// Asks for a range of a needle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRead {
    /// The volume's number.
    pub volume_id: u32,
    /// The needle's number.
    pub needle_id: u64,
    /// Its cookie.
    pub cookie: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is to the end.
    pub size: u64,
    /// Of no use to us: bytes are lent in shared memory.
    pub remote_addr: u64,
    /// As `remote_addr`.
    pub remote_key: u32,
    /// How long the session may live; 0 is what the engine gives by itself.
    pub timeout_secs: u64,
    /// Of no use to us: the system says who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
    /// `HOST:PORT` of the volume's server: a hint. Not upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// The range was read. What follows `expires_at_ns` is not upstream's: it tells a willing client where the bytes lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReadResponse {
    /// Names the session: a UUID of version 4.
    pub session_id: String,
    /// Where the bytes lie in the shared arena.
    pub local_addr: u64,
    /// The low half of `generation`.
    pub local_key: u32,
    /// Bytes.
    pub transfer_size: u64,
    /// CRC32-C of the bytes.
    pub expected_crc: u32,
    /// When the session ends by itself, in Unix nanoseconds.
    pub expires_at_ns: u64,
    /// The arena as a file that this user's processes may open to read.
    #[serde(default)]
    pub shm_path: String,
    /// First byte in it.
    #[serde(default)]
    pub shm_offset: u64,
    /// Bytes.
    #[serde(default)]
    pub shm_length: u64,
    /// Distinguishes this loan from others of the same place.
    #[serde(default)]
    pub generation: u64,
    /// Whether the device is simulated.
    #[serde(default)]
    pub simulated: bool,
    /// Length of the whole needle.
    #[serde(default)]
    pub whole_length: u64,
}

/// Ends a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteRead {
    /// Which.
    pub session_id: String,
    /// Whether the client has what it wanted.
    pub success: bool,
    /// Bytes that it has.
    pub bytes_transferred: u64,
    /// CRC32-C of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crc: Option<u32>,
    /// Why it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// The session is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteReadResponse {
    /// Whether count and checksum were right.
    pub success: bool,
    /// CRC32-C of what was lent.
    pub server_crc: Option<u32>,
    /// What was wrong, or that nothing was.
    pub message: Option<String>,
}

/// Something else than what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Which error: stable.
    pub code: String,
    /// What was wrong and what would be right.
    pub message: String,
    /// Its class.
    #[serde(default)]
    pub category: String,
    /// Whether asking again may help.
    #[serde(default)]
    pub recoverable: bool,
}

/// A body that is no message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not one.
    #[error("the request cannot be understood: {0}; see the table of messages in docs/ipc.md")]
    Undecodable(String),
    /// One, and more.
    #[error("{0} bytes follow the message; a frame holds one MessagePack value")]
    Trailing(usize),
}

/// Reads a body.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(body: &[u8]) -> Result<Message, DecodeError> {
    let mut from = Deserializer::new(body);
    from.set_max_depth(DEPTH_MAX);
    let message = Message::deserialize(&mut from).map_err(|error| {
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(200));
        DecodeError::Undecodable(text)
    })?;
    match from.get_ref() {
        [] => Ok(message),
        rest => Err(DecodeError::Trailing(rest.len())),
    }
}

/// Writes a body: maps with names.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let done = message.serialize(&mut Serializer::new(&mut body).with_struct_map());
    debug_assert!(done.is_ok(), "a vector takes everything, and every type has a form: {done:?}");
    body
}
