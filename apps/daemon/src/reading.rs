//! Reads for clients: the exchange behind the seam, and what it costs.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease, SharedMemory};
use wavetank_engine::memory::Arena;
use wavetank_engine::{RdmaContext, RdmaOps};
use wavetank_exchange::{self as exchange, Absence, Mode, Part, Path, Reader};
use wavetank_ipc::{Details, ReadPath};
use wavetank_rpc::crc32c_of;

use crate::meters::Meters;
use crate::reads::{About, Found, NotRead, Reads, Wanted};

/// Bytes that are copied at a time where a needle came in parts.
const BLOCK_BYTES: usize = 1 << 16;

/// The compressed flag of a needle.
const COMPRESSED: u8 = 0x01;

/// Reads needles for clients.
pub struct Reading<C: RdmaOps + 'static = RdmaContext> {
    reader: Reader<C>,
    arena: SharedMemory,
    /// Part of the arena that is nobody's: for what came in parts.
    scratch: Rc<RefCell<Arena>>,
    about: About,
    mode: Cell<Mode>,
    meters: Meters,
    clock: Box<dyn Fn() -> Instant>,
    draining: Cell<bool>,
    under_way: Cell<u64>,
}

impl<C: RdmaOps + 'static> fmt::Debug for Reading<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({} under way)", self.under_way.get())
    }
}

impl<C: RdmaOps + 'static> Reading<C> {
    /// Reads through a reader, into an arena of which `scratch` is the part that no connection exposes.
    pub fn new(
        reader: Reader<C>,
        arena: SharedMemory,
        scratch: Rc<RefCell<Arena>>,
        about: About,
        mode: Mode,
        meters: Meters,
        clock: impl Fn() -> Instant + 'static,
    ) -> Reading<C> {
        let clock = Box::new(clock);
        let (draining, under_way) = (Cell::new(false), Cell::new(0));
        Reading { reader, arena, scratch, about, mode: Cell::new(mode), meters, clock, draining, under_way }
    }

    /// The reader.
    pub fn reader(&self) -> &Reader<C> {
        &self.reader
    }

    /// Reads by another way from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.set(mode);
    }

    /// Begins nothing any more.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Whether it begins nothing any more.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Reads that are under way.
    pub fn under_way(&self) -> u64 {
        self.under_way.get()
    }

    async fn find(&self, wanted: Wanted) -> Result<Found, NotRead> {
        if self.draining.get() {
            return Err(NotRead::ShuttingDown);
        }
        let limit = self.about.transfer_bytes_max;
        if wanted.len > limit {
            return Err(NotRead::TooLong { limit });
        }
        let asked = exchange::Wanted {
            volume: wanted.volume,
            id: wanted.needle,
            cookie: wanted.cookie,
            offset: wanted.offset,
            len: (wanted.len > 0).then_some(wanted.len),
            mode: self.mode.get(),
            server: wanted.server,
            deadline: wanted.deadline,
        };
        let found = self.reader.read(&asked).await.map_err(|why| self.not_read(why))?;
        // To the end may be longer than anybody may ask for: where this engine has the volume, nobody looked at that.
        if found.len() > limit {
            return Err(NotRead::TooLong { limit });
        }
        let exchange::Found { parts, about, path, why, peer } = found;
        tracing::debug!(
            volume = asked.volume,
            needle = asked.id,
            offset = asked.offset,
            ?path,
            %why,
            peer = peer.as_deref().unwrap_or("this engine"),
            "read"
        );
        let path = match path {
            Path::Local => ReadPath::Local,
            Path::Pulled => ReadPath::Pull,
            Path::Pushed => ReadPath::Push,
        };
        let details = Details {
            flags: about.flags.0 & !COMPRESSED,
            last_modified_s: about.last_modified_s,
            etag: Some(about.checksum),
            mime: text(about.mime),
            name: text(about.name),
        };
        let part = self.whole(parts)?;
        let (lease, at, len, crc32c) = match part {
            Some(Part { lease, at, len, crc32c }) => (Some(lease), at, len, crc32c),
            None => (None, 0, 0, 0),
        };
        Ok(Found { lease, at, len, whole_len: about.whole_bytes, crc32c, path, details })
    }

    /// One part, whatever it came in.
    fn whole(&self, mut parts: Vec<Part>) -> Result<Option<Part>, NotRead> {
        if parts.len() <= 1 {
            return Ok(parts.pop());
        }
        let len: u64 = parts.iter().map(|part| part.len).sum();
        let lease = self.scratch.borrow_mut().acquire(len).map_err(|_| NotRead::Busy)?;
        let mut to = 0;
        for part in &parts {
            copy(part, &lease, to);
            to += part.len;
        }
        let crc32c = crc32c_of(&lease, 0, len);
        Ok(Some(Part { lease, at: 0, len, crc32c }))
    }

    fn not_read(&self, why: exchange::NotRead) -> NotRead {
        match why {
            exchange::NotRead::Absent(absence) => match absence {
                Absence::NotExported => NotRead::NotExported,
                Absence::Missing => NotRead::Missing,
                Absence::Deleted => NotRead::Deleted,
                Absence::Expired => NotRead::Expired,
                Absence::WrongCookie => NotRead::WrongCookie,
                // How long it is the exporter does not say with that.
                Absence::OutOfRange => NotRead::PastEnd { whole_len: 0 },
                Absence::Damaged => NotRead::Damaged,
                Absence::TooLong => NotRead::TooLong { limit: self.about.transfer_bytes_max },
                other if other.is_transient() => NotRead::Busy,
                other => NotRead::Internal(other.to_string()),
            },
            exchange::NotRead::NotExported { .. } => NotRead::NotExported,
            exchange::NotRead::PeerGone { .. } | exchange::NotRead::NotAdmitted { .. } => NotRead::PeerGone,
            exchange::NotRead::DeviceGone => NotRead::DeviceGone,
            exchange::NotRead::TimedOut(_) => NotRead::TimedOut,
            exchange::NotRead::NoMemory(_) | exchange::NotRead::NotPulled(_) => NotRead::Busy,
            exchange::NotRead::Corrupt(_) => NotRead::Damaged,
            other => NotRead::Internal(other.to_string()),
        }
    }
}

fn text(bytes: Option<Box<[u8]>>) -> Option<Box<str>> {
    let bytes = bytes.filter(|bytes| bytes.len() <= wavetank_ipc::TEXT_BYTES_MAX)?;
    String::from_utf8(bytes.into_vec()).ok().map(String::into_boxed_str)
}

fn copy(part: &Part, to: &Lease, mut at: u64) {
    let mut block = [0; BLOCK_BYTES];
    let mut done = 0;
    while done < part.len {
        let now = &mut block[..(part.len - done).min(BLOCK_BYTES as u64) as usize];
        part.lease.read(part.at + done, now);
        to.write(at, now);
        done += now.len() as u64;
        at += now.len() as u64;
    }
}

/// Counts a read for as long as it is under way.
struct UnderWay<'a>(&'a Cell<u64>);

impl<'a> UnderWay<'a> {
    fn new(count: &'a Cell<u64>) -> UnderWay<'a> {
        count.set(count.get() + 1);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[async_trait(?Send)]
impl<C: RdmaOps + 'static> Reads for Reading<C> {
    async fn read(&self, wanted: Wanted) -> Result<Found, NotRead> {
        let _under_way = UnderWay::new(&self.under_way);
        let began = (self.clock)();
        let outcome = self.find(wanted).await;
        match &outcome {
            Ok(found) => {
                let path = match found.path {
                    ReadPath::Local => "local",
                    ReadPath::Pull => "pull",
                    ReadPath::Push => "push",
                };
                self.meters.read(path, found.len, (self.clock)().since_ns(began));
            }
            Err(why) => {
                tracing::debug!(%why, "not read");
                self.meters.failed(why.code().name());
            }
        }
        outcome
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    fn arena(&self) -> &SharedMemory {
        &self.arena
    }
}
