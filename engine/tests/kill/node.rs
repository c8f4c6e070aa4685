//! A driver on a UCX device, as survivor and victim have it.

use std::error::Error;
use std::os::fd::AsFd as _;

use wavetank_contract::{
    Access, CqId, EndpointAddress, EndpointSpec, EpId, Instant, Lease, MrId, Op, PdId, QpState, Region,
    RegionSpec, Wake,
};
use wavetank_engine::session::{SessionKey, SessionSpec};
use wavetank_engine::{
    Driver, DriverConfig, Finished, Port, PortConfig, RdmaContext, RdmaOps as _, TransferSpec,
};
use wavetank_ucx::{UcxConfig, UcxDevice};

use crate::clock::{MS, now, readable};

pub(crate) type Try<T> = Result<T, Box<dyn Error>>;

/// For whatever has to happen, on a machine as busy as it may be.
pub(crate) const LIMIT_NS: u64 = 10_000 * MS;

/// After this long, connecting has failed.
const CONNECT_NS: u64 = 2_000 * MS;

/// Over what, and how: `tcp eager`.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) transport: String,
    pub(crate) protocol: String,
}

/// How long an endpoint waits for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Half a second.
    Short,
    /// Ten seconds.
    Long,
    Endless,
}

impl Patience {
    fn timeout(self) -> (u8, u8) {
        match self {
            Patience::Short => (15, 3),
            Patience::Long => (19, 4),
            Patience::Endless => (0, 0),
        }
    }
}

/// Memory, registered.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) region: Region,
    pub(crate) mr: MrId,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) driver: Driver,
    pub(crate) cq: CqId,
    pub(crate) finished: Vec<Finished>,
    next_tag: u64,
}

impl Node {
    pub(crate) fn open(device: &Device) -> Try<Node> {
        let mut config: UcxConfig = device.transport.parse()?;
        config.protocol = device.protocol.parse()?;
        config.connect_timeout_ns = CONNECT_NS;
        let mut context: RdmaContext = Port::new(UcxDevice::open(&config)?, PortConfig::default()).into();
        let cq = context.open_cq(1 << 13)?;
        let driver = Driver::new(context, DriverConfig::default());
        Ok(Node { driver, cq, finished: Vec::new(), next_tag: 0 })
    }

    pub(crate) fn endpoint(&mut self, patience: Patience, depth: u32) -> Try<EpId> {
        let (timeout, retry_cnt) = patience.timeout();
        let base = EndpointSpec::new(self.cq);
        let (send_depth, recv_depth) = (depth, depth);
        // A message waits for its receive for ever: what ends it is the peer's end.
        let spec = EndpointSpec { timeout, retry_cnt, rnr_retry: 7, send_depth, recv_depth, ..base };
        Ok(self.driver.context().open(&spec)?)
    }

    /// A session that owns an endpoint.
    pub(crate) fn session(&mut self, ep: EpId) -> Try<SessionKey> {
        let spec = SessionSpec { ep: Some(ep), ..SessionSpec::new(0, SessionSpec::FOREVER_NS) };
        Ok(self.driver.create_session(now(), spec)?)
    }

    pub(crate) fn address(&mut self, ep: EpId) -> Try<EndpointAddress> {
        Ok(self.driver.context().address(ep).ok_or("an open endpoint has no address")?)
    }

    pub(crate) fn state(&mut self, ep: EpId) -> Option<QpState> {
        self.driver.context().state(ep)
    }

    /// Memory that peers reach. `allocated`: what the device is at its best with, or any.
    pub(crate) fn memory(&mut self, allocated: bool, bytes: u64, access: Access) -> Try<Memory> {
        let spec = RegionSpec::new(bytes);
        let context = self.driver.context();
        let region = if allocated { context.allocate(&spec)? } else { Region::allocate(&spec)? };
        let mr = context.register(&region, PdId::default(), access)?;
        Ok(Memory { region, mr })
    }

    /// Begins a transfer. Its tag.
    pub(crate) fn submit(
        &mut self,
        (ep, session): (EpId, Option<SessionKey>),
        op: Op,
        (lease, mr): (Lease, MrId),
        deadline: Instant,
    ) -> Try<u64> {
        let (tag, len) = (self.next_tag, lease.len());
        self.next_tag += 1;
        let spec = TransferSpec { ep, op, lease, mr, len, deadline, session, tag };
        self.driver.submit(now(), spec)?;
        Ok(tag)
    }

    /// Turns once, and takes what has ended.
    pub(crate) fn turn(&mut self) -> Wake {
        let wake = self.driver.turn(now());
        while let Some(finished) = self.driver.take_finished() {
            self.finished.push(finished);
        }
        wake
    }

    /// Turns until it is so, or for so long. Whether it is so.
    pub(crate) fn run(&mut self, ns: u64, mut is_so: impl FnMut(&mut Node) -> bool) -> bool {
        let until = now() + ns;
        let mut turns = 0;
        loop {
            let wake = self.turn();
            if is_so(self) {
                return true;
            }
            let left = until.since_ns(now());
            if left == 0 {
                return false;
            }
            turns += 1;
            // A while of spinning, which whoever wants to be quick does, then as the device wants it.
            if turns > 500 && wake != Wake::Now {
                let notifier = self.driver.context().notifier();
                let fds: Vec<_> = notifier.iter().map(|fd| fd.as_fd()).collect();
                // Not so long that a missed call is never seen: nothing else tells of it.
                readable(&fds, left.min(20 * MS));
            }
        }
    }

    /// Waits for the end of a transfer.
    pub(crate) fn end_of(&mut self, tag: u64) -> Try<Finished> {
        let ended = |node: &mut Node| node.finished.iter().position(|finished| finished.tag == tag);
        if !self.run(LIMIT_NS, |node| ended(node).is_some()) {
            return Err(format!("transfer {tag} has not ended in {LIMIT_NS} ns").into());
        }
        let at = ended(self).ok_or("ended, and not there")?;
        Ok(self.finished.swap_remove(at))
    }
}

/// Bytes as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// And back.
pub(crate) fn unhex(text: &str) -> Try<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|n| n as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or("no hexadecimal digits")?;
    Ok(digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect())
}
