//! The socket's place in the file system: made with its rights, never taken from a live engine, removed at the end.
//!
//! The socket is bound under a name of its own, gets its mode before that (Linux makes a socket's file with the mode of its
//! descriptor) and its group after, listens, and only then moves to its place, where nothing may be: nobody ever finds one there that
//! is half made, and of two engines that start together one gets the place.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, RenameFlags, Stat, chmod, chown, fchmod, renameat_with, statat, unlink,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use thiserror::Error;

/// Connections that wait to be accepted. The system has a limit of its own, too.
const BACKLOG: i32 = 128;

/// Times that the place is looked at again when something else changes it meanwhile.
const ATTEMPTS: u32 = 8;

/// Where the socket is to be, and who may open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorConfig {
    /// Its path.
    pub path: PathBuf,
    /// Its mode; opening takes the right to write.
    pub mode: u32,
    /// Its group, if not this process's.
    pub gid: Option<u32>,
}

impl Default for DoorConfig {
    /// Upstream's place, for this user only.
    fn default() -> DoorConfig {
        DoorConfig { path: wavetank_ipc::SOCKET_PATH.into(), mode: 0o600, gid: None }
    }
}

/// Why there is no socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DoorError {
    /// Something else is there.
    #[error("{path} is there and is no socket: it stays; remove it, or choose another path")]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// Somebody listens there.
    #[error("somebody listens at {path}: stop that engine, or choose another path")]
    Live {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{call} for the socket {path}: {source}")]
    System {
        /// The system call.
        call: &'static str,
        /// Where.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Others kept changing the place.
    #[error("{path} changed {ATTEMPTS} times while it was looked at: is another engine starting there?")]
    Contended {
        /// Where.
        path: PathBuf,
    },
}

/// A socket that listens. Dropped, it is removed, if it is still there.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Door {
    /// Opens one.
    ///
    /// # Errors
    /// See [`DoorError`].
    pub fn open(config: &DoorConfig) -> Result<(Door, UnixListener), DoorError> {
        let path = &config.path;
        let system = |call| move |errno: Errno| system(call, path, errno);
        // Before anything is made: what is there may be none of ours.
        inspect(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(system("socket"))?;
        let draft = Draft(beside(path, &format!("{}-{}", std::process::id(), fd.as_raw_fd())));
        let address = SocketAddrUnix::new(&draft.0).map_err(system("the address"))?;
        let mode = Mode::from_raw_mode(config.mode & 0o777);
        fchmod(&fd, mode).map_err(system("fchmod"))?;
        match unlink(&draft.0) {
            // Left by a process with our number that was killed just here.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(system("unlink")(errno)),
        }
        bind(&fd, &address).map_err(system("bind"))?;
        // Whatever the mask of this process took from it.
        chmod(&draft.0, mode).map_err(system("chmod"))?;
        if let Some(gid) = config.gid {
            chown(&draft.0, None, Some(Gid::from_raw(gid))).map_err(system("chown"))?;
        }
        listen(&fd, BACKLOG).map_err(system("listen"))?;
        let stat = statat(CWD, &draft.0, AtFlags::SYMLINK_NOFOLLOW).map_err(system("stat"))?;
        for _ in 0..ATTEMPTS {
            match renameat_with(CWD, &draft.0, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok((Door { path: path.clone(), identity: identity(&stat) }, fd.into())),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(system("rename")(errno)),
            }
            if let Some(dead) = inspect(path)? {
                remove(path, dead).map_err(system("rename"))?;
            }
        }
        Err(DoorError::Contended { path: path.clone() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Somebody may have replaced it meanwhile; what is left behind otherwise is found dead by the next engine.
        let _ = remove(&self.path, self.identity);
    }
}

/// A name that is removed, unless the socket moved away from it.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = unlink(&self.0);
    }
}

fn system(call: &'static str, path: &Path, errno: Errno) -> DoorError {
    DoorError::System { call, path: path.to_owned(), source: errno.into() }
}

/// Another name in the same folder.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// What is at the place: nothing, or the socket of an engine that is dead.
fn inspect(path: &Path) -> Result<Option<(u64, u64)>, DoorError> {
    let system = |call| move |errno: Errno| system(call, path, errno);
    let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(system("stat")(errno)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(DoorError::NotASocket { path: path.to_owned() });
    }
    let address = SocketAddrUnix::new(path).map_err(system("the address"))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(system("socket"))?;
    match connect(&probe, &address) {
        Err(Errno::CONNREFUSED) => Ok(Some(identity(&stat))),
        Err(Errno::NOENT) => Ok(None),
        // Somebody is there, even if nobody has time for us.
        Ok(()) | Err(Errno::AGAIN) => Err(DoorError::Live { path: path.to_owned() }),
        Err(errno) => Err(system("connect")(errno)),
    }
}

/// Removes that very socket: it is moved away first and looked at again, since another may have come in its place.
fn remove(path: &Path, identity_of: (u64, u64)) -> Result<(), Errno> {
    let aside = beside(path, &format!("{}-old", std::process::id()));
    match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let stat = statat(CWD, &aside, AtFlags::SYMLINK_NOFOLLOW)?;
    if identity(&stat) == identity_of {
        return unlink(&aside);
    }
    renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE)
}
