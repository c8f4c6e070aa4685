//! Memory that other processes map too: what an engine shares with its clients, without a copy and without RDMA.
//!
//! It is a memory file (`memfd_create(2)`) that travels as a descriptor and is sealed before it does: nobody can shrink it under
//! a mapping, which would be SIGBUS here, and where the others only read, nobody else can write it
//! (`F_SEAL_FUTURE_WRITE`, Linux 5.1). What stands in it is somebody else's word all the same: whoever reads indices from it
//! checks them.
//!
//! Words are loaded and stored as atomics. Bytes are copied, or lent where only the other side writes: that it leaves alone what
//! it has lent out is a matter of protocol, as it is with a device, and a process of the same user could write any memory
//! of ours without asking.
#![allow(unsafe_code)]

use core::fmt;
use core::ptr::NonNull;
use std::any::Any;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use thiserror::Error;

use crate::error::AllocError;
use crate::pages::{HUGE_PAGE_BYTES, NoPages, PageKind, Pages, PagesGot, transparent_shared_allowed};
use crate::region::{PAGE_BYTES, REGION_BYTES_MAX, Region, RegionSpec};

/// What those may do with shared memory who get its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Map it to read.
    Read,
    /// Map it to read and write.
    Write,
}

/// Why there is no shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SharedError {
    /// Nothing, or more than any region may have.
    #[error("shared memory of {asked_bytes} bytes cannot be; it has 1 to {limit_bytes} bytes")]
    Length {
        /// Bytes asked for, or found.
        asked_bytes: u64,
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// The system refused.
    #[error(
        "{call} of {len_bytes} bytes of shared memory: {errno}; Linux 5.1 or later is needed, and room in memory"
    )]
    System {
        /// The system call.
        call: &'static str,
        /// Bytes asked for.
        len_bytes: u64,
        /// Its answer.
        errno: Errno,
    },
    /// It could be cut short while it is mapped.
    #[error(
        "the descriptor is not of sealed memory: it lacks F_SEAL_SHRINK; only memory that cannot shrink is mapped"
    )]
    NotSealed,
    /// It has a region already.
    #[error("this shared memory has its region already")]
    Taken,
    /// A region of it cannot be.
    #[error(transparent)]
    Region(#[from] AllocError),
}

/// A mapping of a memory file. Clones are handles of the same one.
#[derive(Clone)]
pub struct SharedMemory(Arc<Mapped>);

struct Mapped {
    fd: OwnedFd,
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    pages: PagesGot,
    /// Whether it has been made a region.
    taken: AtomicBool,
}

// SAFETY: the mapping stays where it is until the last handle is gone. Threads, like other processes, meet in it by atomics
// and by copies through raw pointers whose order those atomics give; no reference to bytes is made but in `bytes`, of
// memory that this process cannot write.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range is what mmap(2) gave us, and the last handle is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights = if self.is_writable() { "read and write" } else { "read" };
        write!(f, "SharedMemory({} bytes, to {rights})", self.len())
    }
}

impl SharedMemory {
    /// Zeroed memory of whole pages, of which the system takes only what is touched, unless pages are huge.
    ///
    /// # Errors
    /// [`SharedError::Length`] first, then the system's own.
    pub fn create(
        name: &str,
        len_bytes: u64,
        others: Others,
        pages: Pages,
    ) -> Result<SharedMemory, SharedError> {
        if len_bytes == 0 || len_bytes > REGION_BYTES_MAX {
            return Err(SharedError::Length { asked_bytes: len_bytes, limit_bytes: REGION_BYTES_MAX });
        }
        let mut got = PagesGot::plain(len_bytes.next_multiple_of(PAGE_BYTES));
        got.asked = pages;
        if pages == Pages::Huge {
            match SharedMemory::huge(name, len_bytes.next_multiple_of(HUGE_PAGE_BYTES), others, &got) {
                Ok(memory) => return Ok(memory),
                Err(SharedError::System { errno, .. }) => {
                    got.no_huge = Some(NoPages::Pool { errno: errno.raw_os_error() });
                }
                Err(other) => return Err(other),
            }
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let len = got.len_bytes;
        let fd = memfd_create(name, flags).map_err(|errno| system("memfd_create", len, errno))?;
        ftruncate(&fd, len).map_err(|errno| system("ftruncate", len, errno))?;
        let mut mapped = Mapped::new(fd, len, true, got)?;
        if pages == Pages::Huge {
            mapped.advise();
        }
        SharedMemory::seal(mapped, others)
    }

    /// Pages of the pool, touched here: where a control group forbids them the kernel says so now, not with SIGBUS later.
    fn huge(name: &str, len: u64, others: Others, got: &PagesGot) -> Result<SharedMemory, SharedError> {
        let flags =
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let fd = memfd_create(name, flags).map_err(|errno| system("memfd_create", len, errno))?;
        ftruncate(&fd, len).map_err(|errno| system("ftruncate", len, errno))?;
        let got = PagesGot { len_bytes: len, kind: PageKind::Huge, ..*got };
        let mapped = Mapped::new(fd, len, true, got)?;
        // SAFETY: the range is the mapping that was just made; populating changes no byte of it.
        match unsafe { madvise(mapped.base.as_ptr().cast(), mapped.len, Advice::LinuxPopulateWrite) } {
            // Kernels before 5.14 do not know this.
            Ok(()) | Err(Errno::INVAL) => SharedMemory::seal(mapped, others),
            Err(errno) => Err(system("madvise", len, errno)),
        }
    }

    /// What is mapped to be written now stays so; what others may do from here on is sealed.
    fn seal(mapped: Mapped, others: Others) -> Result<SharedMemory, SharedError> {
        let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        if others == Others::Read {
            seals |= SealFlags::FUTURE_WRITE;
        }
        fcntl_add_seals(&mapped.fd, seals)
            .map_err(|errno| system("fcntl(F_ADD_SEALS)", mapped.len as u64, errno))?;
        Ok(SharedMemory(Arc::new(mapped)))
    }

    /// Maps memory that another process made: to be written, unless it is sealed against that.
    ///
    /// # Errors
    /// [`SharedError::NotSealed`] for what could shrink, [`SharedError::Length`] for what is longer than the caller has a use for.
    pub fn attach(fd: OwnedFd, len_bytes_max: u64) -> Result<SharedMemory, SharedError> {
        let seals = fcntl_get_seals(&fd).map_err(|_| SharedError::NotSealed)?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(SharedError::NotSealed);
        }
        let stat = fstat(&fd).map_err(|errno| system("fstat", 0, errno))?;
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        let limit_bytes = len_bytes_max.min(REGION_BYTES_MAX);
        if len == 0 || len > limit_bytes {
            return Err(SharedError::Length { asked_bytes: len, limit_bytes });
        }
        let writable = !seals.intersects(SealFlags::FUTURE_WRITE | SealFlags::WRITE);
        Ok(SharedMemory(Arc::new(Mapped::new(fd, len, writable, PagesGot::plain(len))?)))
    }

    /// The descriptor, to be handed to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.0.len as u64
    }

    /// Never: there is at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether this side may write it.
    pub fn is_writable(&self) -> bool {
        self.0.writable
    }

    /// Which pages it has, and why not better ones.
    pub fn pages(&self) -> &PagesGot {
        &self.0.pages
    }

    /// All of it as a region, for an arena: once. Parts of that are regions of their own ([`Region::within`]), and
    /// [`Region::origin`] says where others find them.
    ///
    /// # Errors
    /// [`SharedError::Taken`]; the limits of regions.
    pub fn region(&self, granule_bytes: u64) -> Result<Region, SharedError> {
        if !self.0.writable || self.0.taken.swap(true, Ordering::Relaxed) {
            return Err(SharedError::Taken);
        }
        let spec = RegionSpec { len_bytes: self.len(), granule_bytes, pages: self.0.pages.asked };
        if spec.rounded_bytes()? != self.len() {
            return Err(AllocError::BadGranule(granule_bytes).into());
        }
        let owner: Box<dyn Any> = Box::new(self.clone());
        // SAFETY: the mapping is writable, page-aligned, of exactly that length, initialised (zeroed by the kernel), and stays
        // until `owner` is dropped. `bytes` lends none of it, since it is writable, and words are atomics.
        Ok(unsafe { Region::over(self.0.base, &spec, self.0.pages, owner) }?)
    }

    /// An aligned word.
    ///
    /// # Panics
    /// When it is not aligned, or not inside: callers check what comes from another process first.
    #[inline]
    pub fn word(&self, offset: u64) -> Word<'_> {
        assert!(offset.is_multiple_of(8), "a word at offset {offset}, which is not a multiple of 8");
        let at = self.at(offset, 8).cast::<AtomicU64>();
        // SAFETY: inside the mapping, aligned to 8, initialised, alive as long as `self`; others change it as an atomic does.
        Word { word: unsafe { &*at }, writable: self.0.writable }
    }

    /// An aligned half word.
    ///
    /// # Panics
    /// As [`word`](SharedMemory::word), at multiples of 4; and when this side may not write, which every use of one is for.
    #[inline]
    pub fn half(&self, offset: u64) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "half a word at offset {offset}, which is not a multiple of 4");
        assert!(self.0.writable, "half a word of memory that this side only reads");
        let at = self.at(offset, 4).cast::<AtomicU32>();
        // SAFETY: inside the mapping, aligned to 4, initialised, writable, alive as long as `self`.
        unsafe { &*at }
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When the range is not inside, as slices do.
    #[inline]
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: `from` covers `to.len()` bytes; `to` is a unique borrow of other memory.
        unsafe { core::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// When the range is not inside, as slices do; when this side may not write.
    #[inline]
    pub fn write(&self, offset: u64, from: &[u8]) {
        assert!(self.0.writable, "a write to memory that this side only reads");
        let to = self.at(offset, from.len());
        // SAFETY: `to` covers `from.len()` writable bytes; `from` cannot be part of this mapping, of which `bytes` lends nothing.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// Bytes as they are, of memory that only the other side writes. `None`: not inside, or this side writes too.
    ///
    /// They are stable only as long as the other side keeps its word not to touch what it has lent.
    #[inline]
    pub fn bytes(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len());
        if self.0.writable || !inside {
            return None;
        }
        // SAFETY: inside the mapping, initialised, alive as long as `self`; this process cannot write it. Another process
        // can, which the module's text is about.
        Some(unsafe { core::slice::from_raw_parts(self.at(offset, len as usize), len as usize) })
    }

    #[inline]
    fn at(&self, offset: u64, len: usize) -> *mut u8 {
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.len());
        assert!(inside, "{len} bytes at {offset} of {} shared bytes", self.len());
        // SAFETY: the range was just checked to lie inside the mapping.
        unsafe { self.0.base.as_ptr().add(offset as usize) }
    }
}

/// A word of shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    word: &'a AtomicU64,
    writable: bool,
}

impl Word<'_> {
    /// Its value, and with it whatever was written before it was stored (acquire).
    #[inline]
    pub fn load(self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Stores a value, after whatever was written before (release).
    ///
    /// # Panics
    /// When this side may not write.
    #[inline]
    pub fn store(self, value: u64) {
        assert!(self.writable, "a store to memory that this side only reads");
        self.word.store(value, Ordering::Release);
    }
}

impl Mapped {
    fn new(fd: OwnedFd, len: u64, writable: bool, pages: PagesGot) -> Result<Mapped, SharedError> {
        let bytes = usize::try_from(len)
            .map_err(|_| SharedError::Length { asked_bytes: len, limit_bytes: usize::MAX as u64 })?;
        let rights = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: no address is asked for, so that nothing that is mapped already is touched.
        let start = unsafe { mmap(core::ptr::null_mut(), bytes, rights, MapFlags::SHARED, &fd, 0) }
            .map_err(|errno| system("mmap", len, errno))?;
        let base = NonNull::new(start.cast()).ok_or_else(|| system("mmap", len, Errno::NOMEM))?;
        Ok(Mapped { fd, base, len: bytes, writable, pages, taken: AtomicBool::new(false) })
    }

    /// Asks for transparent huge pages.
    fn advise(&mut self) {
        if !transparent_shared_allowed() {
            self.pages.no_transparent = Some(NoPages::TransparentOff);
            return;
        }
        // SAFETY: the range is the mapping that was just made; advice changes no byte of it.
        match unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxHugepage) } {
            Ok(()) => self.pages.kind = PageKind::Transparent,
            Err(errno) => self.pages.no_transparent = Some(NoPages::Advice { errno: errno.raw_os_error() }),
        }
    }
}

fn system(call: &'static str, len_bytes: u64, errno: Errno) -> SharedError {
    SharedError::System { call, len_bytes, errno }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn made(others: Others) -> SharedMemory {
        SharedMemory::create("wavetank-test", 3 * PAGE_BYTES, others, Pages::Plain).unwrap()
    }

    fn attached(memory: &SharedMemory) -> SharedMemory {
        SharedMemory::attach(memory.fd().try_clone_to_owned().unwrap(), 1 << 20).unwrap()
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let here = made(Others::Write);
        let there = attached(&here);
        here.write(100, b"planks");
        here.word(8).store(7);
        let mut bytes = [0; 6];
        there.read(100, &mut bytes);
        assert_eq!((&bytes, there.word(8).load()), (b"planks", 7));
        there.half(4096).store(9, Ordering::Relaxed);
        assert_eq!(here.half(4096).load(Ordering::Relaxed), 9);
        assert!(there.bytes(0, 8).is_none(), "what this side may write is not lent");
    }

    #[test]
    fn who_may_only_read_cannot_write() {
        let here = made(Others::Read);
        let there = attached(&here);
        assert!(!there.is_writable());
        here.write(0, b"keel");
        assert_eq!(there.bytes(0, 4), Some(&b"keel"[..]));
        assert_eq!(there.bytes(3 * PAGE_BYTES - 4, 5), None);
        assert_eq!(there.bytes(u64::MAX, 2), None);
        let fd = there.fd().try_clone_to_owned().unwrap();
        assert_eq!(rustix::io::write(&fd, b"x"), Err(Errno::PERM));
        assert_eq!(ftruncate(&fd, 0), Err(Errno::PERM));
    }

    #[test]
    fn memory_that_could_shrink_is_not_mapped() {
        let fd = memfd_create("loose", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, 4096).unwrap();
        assert_eq!(SharedMemory::attach(fd, 1 << 20).unwrap_err(), SharedError::NotSealed);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(SharedMemory::attach(file.into(), 1 << 20).unwrap_err(), SharedError::NotSealed);
    }

    #[test]
    fn lengths_are_checked_first() {
        let create = |len| SharedMemory::create("x", len, Others::Read, Pages::Plain).unwrap_err();
        assert!(matches!(create(0), SharedError::Length { asked_bytes: 0, .. }));
        assert!(matches!(create(u64::MAX), SharedError::Length { .. }));
        let here = made(Others::Read);
        let long = SharedMemory::attach(here.fd().try_clone_to_owned().unwrap(), PAGE_BYTES).unwrap_err();
        assert_eq!(long, SharedError::Length { asked_bytes: 3 * PAGE_BYTES, limit_bytes: PAGE_BYTES });
    }

    #[test]
    fn a_region_within_a_region_knows_where_others_find_it() {
        let here = made(Others::Read);
        let there = attached(&here);
        let whole = here.region(PAGE_BYTES).unwrap();
        assert_eq!(here.region(PAGE_BYTES).unwrap_err(), SharedError::Taken);
        let part = Region::within(whole.lease(PAGE_BYTES, PAGE_BYTES).unwrap(), 64).unwrap();
        assert_eq!((part.origin(), part.len()), (PAGE_BYTES, PAGE_BYTES));
        let lease = part.lease(128, 10).unwrap();
        lease.write(0, b"0123456789");
        let at = part.origin() + lease.offset();
        assert_eq!(there.bytes(at, 10), Some(&b"0123456789"[..]));
        drop((part, whole.clone()));
        assert_eq!(whole.live_leases(), 1, "a lease keeps its region, and that its place");
        drop(lease);
        assert_eq!(whole.live_leases(), 0);
        let odd = Region::within(whole.lease(0, 100).unwrap(), 64).unwrap_err();
        assert_eq!(odd, AllocError::BadGranule(64));
    }

    #[test]
    fn huge_pages_or_a_word_about_why_not() {
        let memory = SharedMemory::create("wavetank-test", 1, Others::Read, Pages::Huge).unwrap();
        let pages = memory.pages();
        assert!(pages.kind == PageKind::Huge || pages.no_huge.is_some(), "{pages:?}");
        assert!(memory.len() >= PAGE_BYTES);
    }
}
