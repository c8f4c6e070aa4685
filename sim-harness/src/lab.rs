//! Labs: where the same case, program or workload meets one device or another.
//!
//! A lab opens devices that can reach each other and lets time pass: virtual time on the simulated network ([`MockLab`]),
//! real time over devices of this machine ([`DeviceLab`]). Whoever uses it knows only [`Backend`] and never which it is.

mod cause;
mod device;
mod mock;
mod real_time;
mod wire;

use std::os::fd::BorrowedFd;

use thiserror::Error;
use wavetank_contract::{Backend, Instant, Wake};
use wavetank_engine::{Driver, RdmaOps};

pub use cause::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault, Skip};
pub use device::{DeviceLab, Opener};
pub use mock::MockLab;
pub use real_time::RealTime;
pub use wire::{Runner, Wire};

/// A device could not be had.
#[derive(Debug, Error)]
#[error("node {node} of the {lab} lab: {why}")]
pub struct LabError {
    /// The lab.
    pub lab: String,
    /// Whose device.
    pub node: u16,
    /// Why not, and what to do.
    pub why: String,
}

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Somebody may have something to say: poll.
    Woken,
    /// The time is up.
    Reached,
}

/// Whoever waits: when it wants to be polled, and what to watch meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Sleeper<'a> {
    /// Its answer to "when next?".
    pub wake: Wake,
    /// What becomes readable.
    pub notifier: Option<BorrowedFd<'a>>,
}

impl<'a> Sleeper<'a> {
    /// A bare device.
    pub fn device(device: &'a impl Backend) -> Sleeper<'a> {
        Sleeper { wake: device.wake(), notifier: device.notifier() }
    }

    /// A driver that was turned, and what that turn answered.
    pub fn driver<C: RdmaOps>(driver: &'a mut Driver<C>, wake: Wake) -> Sleeper<'a> {
        Sleeper { wake, notifier: driver.context().notifier() }
    }

    /// When it has to be polled at the latest. `None`: at once.
    fn until(&self) -> Option<Instant> {
        match self.wake {
            Wake::Now => None,
            Wake::At(at) | Wake::Notified { until: at } => Some(at),
            Wake::Idle => Some(Instant::FAR),
        }
    }
}

/// Somewhere devices can be had.
pub trait Lab {
    /// What it has.
    type Device: Backend;

    /// As reports name it: `mock/rxe`, `verbs/rxe0`, `ucx/tcp`.
    fn name(&self) -> &str;

    /// Opens a device for a node. Every device of a lab reaches every other; nodes only say which side of the wire.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    fn open(&mut self, node: u16) -> Result<Self::Device, LabError>;

    /// The time.
    fn now(&self) -> Instant;

    /// Lets time pass until somebody may have something to say, or until `until`. Never waits past it.
    fn wait(&mut self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited;

    /// Disturbs the wire between nodes.
    ///
    /// # Errors
    /// A lab that cannot says why, and what would help.
    fn inject(&mut self, _cause: Cause) -> Result<(), Skip> {
        Err(Skip(format!("the {} lab has no wire to disturb", self.name())))
    }

    /// Makes whole whatever was disturbed. A lab that goes away does so by itself.
    fn undo(&mut self) {}
}
