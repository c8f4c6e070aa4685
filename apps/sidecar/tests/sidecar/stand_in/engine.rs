//! An engine without a device: what it reads it has from volume files, and how that ends is somebody's command.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use wavetank_sidecar::{About, EngineBytes, EngineError, EnginePath, EngineReads, Wanted};

use super::shelf::{Absent, Shelf};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It does not run.
    Gone,
    /// It answers nothing.
    Hangs,
    /// The exporting engine is gone.
    PeerGone,
    /// The device is gone.
    DeviceGone,
    /// Nobody exports the volume.
    NotExported,
    /// It found a checksum wrong.
    Damaged,
    /// The bytes are not those that it took the sum of: memory was written meanwhile.
    Torn,
    /// It gives other bytes and sums them: nobody can notice.
    Lies,
    /// It gives fewer than are due.
    Short,
    /// It has as much to do as it can.
    Busy,
    /// It has a fault.
    Fault,
}

/// The stand-in.
#[derive(Debug)]
pub(crate) struct StandInEngine {
    shelf: Arc<Shelf>,
    /// By server, and under "" for all of them.
    wrong: Mutex<BTreeMap<String, Wrong>>,
    pub(crate) path: Mutex<EnginePath>,
    /// Longest read.
    pub(crate) max: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// What it was asked for last.
    pub(crate) asked: Mutex<Vec<Wanted>>,
}

impl StandInEngine {
    pub(crate) fn new(shelf: Arc<Shelf>) -> StandInEngine {
        StandInEngine {
            shelf,
            wrong: Mutex::default(),
            path: Mutex::new(EnginePath::Pull),
            max: AtomicU64::new(4 << 20),
            reads: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    /// From now on this goes wrong, or nothing.
    pub(crate) fn set(&self, wrong: Option<Wrong>) {
        let mut wrongs = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrongs.clear();
        wrongs.extend(wrong.map(|wrong| (String::new(), wrong)));
    }

    /// From now on this goes wrong with that server.
    pub(crate) fn set_for(&self, server: &str, wrong: Wrong) {
        self.wrong.lock().unwrap().insert(server.to_owned(), wrong);
    }

    fn wrong(&self, wanted: &Wanted) -> Option<Wrong> {
        let wrongs = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let server = wanted.server.as_deref().unwrap_or_default();
        wrongs.get(server).or_else(|| wrongs.get("")).copied()
    }

    fn is_gone(&self) -> Result<(), EngineError> {
        let wrongs = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrongs.get("") {
            Some(Wrong::Gone) => Err(EngineError::EngineGone("nobody listens".to_owned())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl EngineReads for StandInEngine {
    async fn read(&self, wanted: &Wanted, _deadline: Instant) -> Result<EngineBytes, EngineError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        {
            let mut asked = self.asked.lock().unwrap();
            if asked.len() < 64 {
                asked.push(wanted.clone());
            }
        }
        let wrong = self.wrong(wanted);
        match wrong {
            Some(Wrong::Gone) => return Err(EngineError::EngineGone("nobody listens".to_owned())),
            Some(Wrong::Hangs) => std::future::pending().await,
            Some(Wrong::PeerGone) => return Err(EngineError::PeerGone),
            Some(Wrong::DeviceGone) => return Err(EngineError::DeviceGone),
            Some(Wrong::NotExported) => return Err(EngineError::NotExported),
            Some(Wrong::Damaged) => return Err(EngineError::Damaged),
            Some(Wrong::Busy) => return Err(EngineError::Busy),
            Some(Wrong::Fault) => return Err(EngineError::Fault("planted".to_owned())),
            Some(Wrong::Torn | Wrong::Lies | Wrong::Short) | None => {}
        }
        let stored = self.shelf.read(wanted.file).map_err(|why| match why {
            Absent::Missing => EngineError::Missing,
            Absent::Deleted => EngineError::Deleted,
            Absent::WrongCookie => EngineError::WrongCookie,
        })?;
        let whole_len = stored.content.len() as u64;
        if wanted.offset > 0 && wanted.offset >= whole_len {
            return Err(EngineError::PastEnd { whole_len });
        }
        let rest = whole_len - wanted.offset;
        let len = if wanted.len == 0 { rest } else { wanted.len.min(rest) };
        let max = self.max.load(Ordering::Relaxed);
        if len > max {
            return Err(EngineError::TooLong { max });
        }
        let mut bytes = stored.content[wanted.offset as usize..(wanted.offset + len) as usize].to_vec();
        let mut crc32c = crc32c::crc32c(&bytes);
        match (wrong, bytes.len()) {
            (Some(Wrong::Torn | Wrong::Lies), 1..) => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                if wrong == Some(Wrong::Lies) {
                    crc32c = crc32c::crc32c(&bytes);
                }
            }
            (Some(Wrong::Short), 1..) => {
                bytes.pop();
                crc32c = crc32c::crc32c(&bytes);
            }
            _ => {}
        }
        let path = *self.path.lock().unwrap();
        Ok(EngineBytes { bytes: Bytes::from(bytes), crc32c, whole_len, path, details: stored.details })
    }

    async fn about(&self, _deadline: Instant) -> Result<About, EngineError> {
        self.is_gone()?;
        Ok(About {
            version: "stand-in".to_owned(),
            backend: "none".to_owned(),
            device_name: "files".to_owned(),
            max_sessions: Some(1000),
            active_sessions: Some(0),
            vendor_id: Some(0x2c9),
            port_gid: Some("fe80::1".to_owned()),
            port_lid: Some(1),
            max_transfer_size: self.max.load(Ordering::Relaxed),
            simulated: true,
            supported_auth: vec!["none".to_owned()],
            ..About::default()
        })
    }

    async fn ping(&self, _deadline: Instant) -> Result<Duration, EngineError> {
        self.is_gone().map(|()| Duration::from_micros(20))
    }
}
