//! The client's end of the socket: bytes with and without descriptors.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, recvmsg, socket_with,
};

use crate::error::ConnectError;
use crate::time::Deadline;

/// Descriptors that one message of the engine has at most.
const FDS_MAX: usize = 4;

/// A connection that never waits inside a call.
pub(crate) fn dial(path: &Path, deadline: Deadline) -> Result<OwnedFd, ConnectError> {
    let failed = |errno: Errno| ConnectError::NoEngine { path: path.to_owned(), source: errno.into() };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    loop {
        match connect(&fd, &address) {
            Ok(()) => return Ok(fd),
            // As many wait as may: there is nothing to poll for (connect(2), EAGAIN).
            Err(Errno::AGAIN) => {
                let Some(rest) = deadline.rest() else {
                    return Err(ConnectError::TimedOut { path: path.to_owned() });
                };
                let nap = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                let short = rest.tv_sec == 0 && rest.tv_nsec < nap.tv_nsec;
                let _ = poll(&mut [], Some(if short { &rest } else { &nap }));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// What a look at the socket brought.
pub(crate) enum Heard {
    Bytes(usize),
    Nothing,
    /// The connection is over.
    End(String),
}

/// Hears what is there, and keeps the descriptors that came with it.
pub(crate) fn hear(socket: impl AsFd, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Heard {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
        Ok(came) => {
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = message {
                    fds.extend(came);
                }
            }
            // Nobody sends more than the few that are asked for.
            fds.truncate(FDS_MAX);
            if came.bytes == 0 { Heard::End("the engine closed it".into()) } else { Heard::Bytes(came.bytes) }
        }
        Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
        Err(errno) => Heard::End(errno.to_string()),
    }
}

/// Waits until there is something to do. `false`: not in time.
pub(crate) fn wait(fd: impl AsFd, flags: PollFlags, deadline: Deadline) -> bool {
    loop {
        let Some(rest) = deadline.rest() else { return false };
        match poll(&mut [PollFd::new(&fd, flags)], Some(&rest)) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            _ => return true,
        }
    }
}
