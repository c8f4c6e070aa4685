//! The engine behind its Unix socket: what it lends is written to clients from where it lies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use wavetank_client::seaweed::{self, Capabilities, Message};
use wavetank_client::{Client, Code, Options, ReadError, ReadPath};

use crate::config::EngineSocket;
use crate::engine::{About, Details, EngineBytes, EngineError, EnginePath, EngineReads, Wanted};
use crate::pool::{Dial, Pool};

/// Reads at once on one connection: two mounts' worth, and half of what the engine allows. Others wait for their turn.
const READS_EACH: usize = 128;

/// Connects to the engine's socket.
#[derive(Clone, Debug)]
pub struct Socket {
    path: PathBuf,
}

/// An engine behind a socket, which may not be there yet.
pub fn engine(socket: &EngineSocket) -> Pool {
    Pool::new(Socket { path: socket.path.clone() }, socket.connections, READS_EACH)
}

#[async_trait]
impl Dial for Socket {
    async fn dial(&self) -> Result<Arc<dyn EngineReads>, EngineError> {
        let options = Options { name: "sidecar".to_owned(), ..Options::default() };
        let client = Client::connect(&self.path, &options).await;
        client.map_or_else(
            |why| Err(EngineError::EngineGone(why.to_string())),
            |client| Ok(Arc::new(Line { client, path: self.path.clone() }) as _),
        )
    }
}

/// A connection.
#[derive(Debug)]
struct Line {
    client: Client,
    path: PathBuf,
}

/// What the engine says in SeaweedFS's protocol alone: its sessions and its port. Nothing if it does not say in time.
async fn port_and_sessions(path: PathBuf, deadline: Instant) -> Option<Capabilities> {
    let asked = spawn_blocking(move || seaweed::Client::connect(path)?.capabilities());
    match timeout_at(deadline, asked).await {
        Ok(Ok(Ok(Message::GetCapabilitiesResponse(told)))) => Some(*told),
        _ => None,
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[async_trait]
impl EngineReads for Line {
    async fn read(&self, wanted: &Wanted, deadline: Instant) -> Result<EngineBytes, EngineError> {
        let left_ns = u64::try_from(left(deadline).as_nanos()).unwrap_or(u64::MAX);
        let read = self.client.read(wavetank_client::Wanted {
            volume: wanted.file.volume,
            needle: wanted.file.needle,
            cookie: wanted.file.cookie,
            offset: wanted.offset,
            len: wanted.len,
            server: wanted.server.clone(),
            // 0 would be as long as the engine likes.
            timeout_ns: left_ns.max(1),
        });
        let lent = read.await.map_err(refusal)?;
        let found = lent.found();
        let details = &found.details;
        Ok(EngineBytes {
            crc32c: found.crc32c,
            whole_len: found.whole_len,
            path: match found.path {
                ReadPath::Local => EnginePath::Local,
                ReadPath::Pull => EnginePath::Pull,
                ReadPath::Push => EnginePath::Push,
            },
            details: Details {
                flags: details.flags,
                last_modified_s: details.last_modified_s,
                etag: details.etag,
                mime: details.mime.as_deref().map(str::to_owned),
                name: details.name.as_deref().map(str::to_owned),
            },
            // The loan ends when the last byte is in the socket.
            bytes: Bytes::from_owner(lent),
        })
    }

    async fn about(&self, deadline: Instant) -> Result<About, EngineError> {
        let told = self.client.capabilities().await.map_err(refusal)?;
        let more = port_and_sessions(self.path.clone(), deadline).await;
        let more = more.as_ref();
        Ok(About {
            version: told.engine,
            real_rdma: !told.simulated && told.backend != "mock",
            backend: told.backend,
            device_name: told.device,
            max_sessions: more.map(|more| more.max_sessions),
            active_sessions: more.map(|more| more.active_sessions),
            // To the engine 0 and nothing are what it does not know.
            vendor_id: more.map(|more| more.vendor_id).filter(|id| *id != 0),
            port_gid: more.map(|more| more.port_gid.clone()).filter(|gid| !gid.is_empty()),
            port_lid: more.map(|more| more.port_lid).filter(|lid| *lid != 0),
            max_transfer_size: told.transfer_bytes_max,
            simulated: told.simulated,
            supported_auth: more.map_or_else(Vec::new, |more| more.supported_auth.clone()),
        })
    }

    async fn ping(&self, _deadline: Instant) -> Result<Duration, EngineError> {
        let begun = Instant::now();
        self.client.ping().await.map_err(refusal)?;
        Ok(begun.elapsed())
    }

    fn is_lost(&self) -> bool {
        self.client.is_lost()
    }
}

/// What the client says, as the sidecar tells reasons apart.
fn refusal(why: ReadError) -> EngineError {
    let refusal = match why {
        ReadError::Refused(refusal) => refusal,
        ReadError::TimedOut { .. } => return EngineError::TimedOut,
        why => return EngineError::EngineGone(why.to_string()),
    };
    match refusal.code {
        Code::Missing => EngineError::Missing,
        Code::Deleted => EngineError::Deleted,
        Code::Expired => EngineError::Expired,
        Code::WrongCookie => EngineError::WrongCookie,
        Code::PastEnd => EngineError::PastEnd { whole_len: refusal.detail },
        Code::TooLong => EngineError::TooLong { max: refusal.detail },
        Code::Damaged => EngineError::Damaged,
        Code::NotExported => EngineError::NotExported,
        Code::PeerGone => EngineError::PeerGone,
        Code::DeviceGone => EngineError::DeviceGone,
        Code::TimedOut => EngineError::TimedOut,
        Code::Busy => EngineError::Busy,
        Code::ShuttingDown => EngineError::EngineGone(refusal.to_string()),
        _ => EngineError::Fault(refusal.to_string()),
    }
}
