//! Sleeping on a device: one descriptor that becomes readable when any of its own does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use wavetank_contract::error::SystemError;

use crate::error::system;

/// An epoll instance over the descriptors of one device.
#[derive(Debug)]
pub(crate) struct Notifier(OwnedFd);

impl Notifier {
    pub(crate) fn new() -> Result<Notifier, SystemError> {
        let made = epoll::create(epoll::CreateFlags::CLOEXEC);
        made.map(Notifier).map_err(|e| system("epoll_create1(2)", e.raw_os_error(), ""))
    }

    /// Watches one more. Level-triggered: whatever was not read yet keeps the notifier readable.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>) -> Result<(), SystemError> {
        let added = epoll::add(&self.0, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN);
        added.map_err(|e| system("epoll_ctl(2)", e.raw_os_error(), ""))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
