//! The clock, and the watch over processes of this machine: a peer that dies is told by the kernel, whatever the transport says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use wavetank_contract::EpId;
use wavetank_contract::error::SystemError;

/// The monotonic clock, in nanoseconds.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // It starts at boot: neither part is negative, and 2^64 ns are 584 years.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A counter that becomes readable when it is written to. Nonblocking.
pub(crate) fn event_counter() -> Result<OwnedFd, SystemError> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| SystemError {
        call: "eventfd(2)",
        errno: e.raw_os_error(),
        advice: "",
    })
}

/// An epoll instance.
pub(crate) fn epoll_instance() -> Result<OwnedFd, SystemError> {
    epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| SystemError {
        call: "epoll_create1(2)",
        errno: e.raw_os_error(),
        advice: "",
    })
}

/// Watches one more descriptor.
pub(crate) fn watch_fd(epoll: &OwnedFd, fd: BorrowedFd<'_>) -> Result<(), SystemError> {
    epoll::add(epoll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(|e| SystemError {
        call: "epoll_ctl(2)",
        errno: e.raw_os_error(),
        advice: "",
    })
}

/// Sleeps until a descriptor is readable, or for so long.
pub(crate) fn sleep(fd: BorrowedFd<'_>, ns: Option<u64>) {
    let timeout =
        ns.map(|ns| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 });
    // A failed or interrupted wait is a wake-up too: whoever waits looks and comes again.
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout.as_ref());
}

fn ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Whether there is a process of that number. One that cannot be asked about lives.
pub(crate) fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(pidfd)) => !ended(&pidfd),
        Some(Err(rustix::io::Errno::SRCH)) | None => false,
        Some(Err(_)) => true,
    }
}

/// A process that endpoints are connected to.
#[derive(Debug)]
struct Watched {
    pid: u32,
    /// Readable once it is dead (pidfd_open(2)). `None`: it was dead already, or the kernel has no such thing.
    pidfd: Option<OwnedFd>,
    dead: bool,
    eps: Vec<EpId>,
}

/// Processes watched over.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: OwnedFd,
    watched: Vec<Watched>,
}

impl Watch {
    pub(crate) fn new() -> Result<Watch, SystemError> {
        Ok(Watch { epoll: epoll_instance()?, watched: Vec::new() })
    }

    /// Becomes readable when one of them dies.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// An endpoint is connected to a process.
    pub(crate) fn add(&mut self, pid: u32, ep: EpId) {
        if let Some(watched) = self.watched.iter_mut().find(|watched| watched.pid == pid && !watched.dead) {
            watched.eps.push(ep);
            return;
        }
        let opened =
            i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let (pidfd, dead) = match opened {
            Some(Ok(pidfd)) => (Some(pidfd), false),
            Some(Err(rustix::io::Errno::SRCH)) => (None, true),
            // Not for us to know; the transport, patience and the control words are left.
            _ => (None, false),
        };
        if let Some(pidfd) = &pidfd {
            let _ = watch_fd(&self.epoll, pidfd.as_fd());
        }
        self.watched.push(Watched { pid, pidfd, dead, eps: vec![ep] });
    }

    /// An endpoint is not connected any more.
    pub(crate) fn forget(&mut self, ep: EpId) {
        for watched in &mut self.watched {
            watched.eps.retain(|other| *other != ep);
        }
        self.watched.retain(|watched| !watched.eps.is_empty());
    }

    /// Endpoints whose processes died since the last look.
    pub(crate) fn dead(&mut self) -> Vec<EpId> {
        let mut dead = Vec::new();
        for watched in &mut self.watched {
            if watched.pidfd.as_ref().is_some_and(ended) {
                watched.dead = true;
                watched.pidfd = None;
            }
            if watched.dead {
                dead.append(&mut watched.eps);
            }
        }
        self.watched.retain(|watched| !watched.eps.is_empty());
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_dies_is_told_once_and_to_each_of_its_endpoints() {
        let mut watch = Watch::new().expect("a watch");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        for ep in 0..3 {
            watch.add(child.id(), EpId(ep));
        }
        watch.forget(EpId(1));
        assert!(watch.dead().is_empty());
        child.kill().expect("it dies");
        sleep(watch.fd(), Some(5_000_000_000));
        child.wait().expect("it is dead");
        assert_eq!(watch.dead(), [EpId(0), EpId(2)]);
        assert!(watch.dead().is_empty());
        assert!(!lives(child.id()) && lives(std::process::id()) && !lives(0));
        watch.add(child.id(), EpId(7));
        assert_eq!(watch.dead(), [EpId(7)], "a process that is dead already");
    }
}
