//! Pinned memory, and the leases that keep it in place while a device may touch it.
//!
//! A [`Region`] is never lent as `&[u8]` or `&mut [u8]`: a device may write it at any time, and so may a peer. It is
//! read and written by copying, or looked at through [`Cell`]s. A [`Lease`] is the right to a part of a region; a
//! [`Hold`] keeps that part out of circulation while a work uses it. A part comes back to its pool when its lease and
//! every hold on it are gone, so a cancelled operation can never free memory that a device still writes.
//!
//! This file and [`shared`](crate::shared) are the only ones outside the hardware backends that handle raw memory.
#![allow(unsafe_code)]

use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::{Rc, Weak};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::error::AllocError;
use crate::pages::{self, HUGE_PAGE_BYTES, NoPages, PageKind, Pages, PagesGot};
use crate::work::{MrId, Sge};

/// Page size that regions are aligned to, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Longest region any backend is asked for: 1 TiB. Keeps every offset and sum far from overflow.
pub const REGION_BYTES_MAX: u64 = 1 << 40;

/// A range by aligned words: loose bytes before, words in memory order, loose bytes after.
pub type Words<'a> = (&'a [Cell<u8>], &'a [Cell<u64>], &'a [Cell<u8>]);

/// What memory is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Bytes; rounded up to whole granules.
    pub len_bytes: u64,
    /// Leases start at multiples of this; a power of two.
    pub granule_bytes: u64,
    /// Which pages it is to have, if they can be had.
    pub pages: Pages,
}

impl RegionSpec {
    /// A region of `len_bytes` with leases that start on pages, which are plain.
    pub const fn new(len_bytes: u64) -> RegionSpec {
        RegionSpec { len_bytes, granule_bytes: PAGE_BYTES, pages: Pages::Plain }
    }

    /// Bytes of the region this asks for: whole granules.
    ///
    /// # Errors
    /// [`REGION_BYTES_MAX`], nothing at all, a granule that is none.
    pub fn rounded_bytes(&self) -> Result<u64, AllocError> {
        self.layout().map(|(layout, _)| layout.size() as u64)
    }

    /// The shape of the memory, and how many granules it has.
    fn layout(&self) -> Result<(Layout, u32), AllocError> {
        let RegionSpec { len_bytes, granule_bytes, .. } = *self;
        if len_bytes == 0 {
            return Err(AllocError::Empty);
        }
        let too_large = AllocError::TooLarge { asked_bytes: len_bytes, limit_bytes: REGION_BYTES_MAX };
        if len_bytes > REGION_BYTES_MAX {
            return Err(too_large);
        }
        if !granule_bytes.is_power_of_two() || !(8..=REGION_BYTES_MAX).contains(&granule_bytes) {
            return Err(AllocError::BadGranule(granule_bytes));
        }
        let len = len_bytes.next_multiple_of(granule_bytes.max(8));
        let slots = u32::try_from(len / granule_bytes).map_err(|_| too_large.clone())?;
        let bytes = usize::try_from(len).map_err(|_| too_large.clone())?;
        let layout = Layout::from_size_align(bytes, PAGE_BYTES as usize).map_err(|_| too_large)?;
        Ok((layout, slots))
    }
}

/// Page-aligned memory that stays where it is until the last handle, lease and hold is gone.
#[derive(Clone)]
pub struct Region(Rc<Memory>);

/// A region by name only: its memory goes when the last [`Region`] and the last lease do.
#[derive(Clone)]
pub struct WeakRegion(Weak<Memory>);

impl WeakRegion {
    /// Whether this is the name of that region.
    pub fn names(&self, region: &Region) -> bool {
        std::ptr::eq(self.0.as_ptr(), Rc::as_ptr(&region.0))
    }

    /// Whether two names are of the same memory.
    pub fn same_as(&self, other: &WeakRegion) -> bool {
        self.0.ptr_eq(&other.0)
    }

    /// Handles of the region, and leases and holds of parts of it.
    #[inline]
    pub fn handles(&self) -> usize {
        self.0.strong_count()
    }

    /// Leases whose memory is not back yet.
    pub fn live_leases(&self) -> u32 {
        self.0.upgrade().map_or(0, |memory| memory.live.get())
    }

    /// Whether the memory is still there.
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl fmt::Debug for WeakRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakRegion({})", if self.is_alive() { "alive" } else { "gone" })
    }
}

/// Whom memory comes from, and goes back to.
enum Source {
    /// The system's allocator.
    Allocator,
    /// A mapping of our own, which may begin before the region and end after it.
    Mapping { _mapping: Mapping },
    /// Somebody else; dropping it gives the memory back.
    Owner { _owner: Box<dyn Any> },
}

struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    source: Source,
    pages: PagesGot,
    granule_shift: u32,
    /// See [`Region::origin`].
    origin: u64,
    slots: Box<[Slot]>,
    /// Slots with a lease or a hold.
    live: Cell<u32>,
    /// Slots that came back and that no pool has collected yet. Never grows past the number of slots.
    returned: RefCell<Vec<u32>>,
}

/// One granule at which a lease may start.
#[derive(Default)]
struct Slot {
    /// The lease plus its holds.
    refs: Cell<u32>,
    /// Counts the leases that started here, so that a stale name is recognised.
    generation: Cell<u32>,
}

/// Anonymous memory of this process, unmapped when this is dropped.
struct Mapping {
    start: *mut core::ffi::c_void,
    len: usize,
}

impl Mapping {
    /// Zeroed memory, with huge pages from the pool if `flags` say so.
    fn new(len: usize, flags: MapFlags) -> rustix::io::Result<Mapping> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so that nothing that is mapped already is touched.
        let start = unsafe { mmap_anonymous(core::ptr::null_mut(), len, rights, MapFlags::PRIVATE | flags) }?;
        Ok(Mapping { start, len })
    }

    /// Pages from the pool. They are touched here: where a control group forbids them the kernel says so now, not with
    /// SIGBUS at the first use.
    fn huge(len: usize) -> Result<Mapping, NoPages> {
        let refused = |errno: rustix::io::Errno| NoPages::Pool { errno: errno.raw_os_error() };
        let mapping = Mapping::new(len, MapFlags::HUGETLB | MapFlags::HUGE_2MB).map_err(refused)?;
        // SAFETY: the range is the mapping that was just made; populating changes no byte of it.
        match unsafe { madvise(mapping.start, len, Advice::LinuxPopulateWrite) } {
            // Kernels before 5.14 do not know this.
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(mapping),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Memory of which `len` bytes begin at a multiple of a huge page, with the advice to use such pages there. Answers where.
    fn transparent(len: usize) -> Result<(Mapping, NonNull<u8>), NoPages> {
        if !pages::transparent_allowed() {
            return Err(NoPages::TransparentOff);
        }
        let refused = |errno: rustix::io::Errno| NoPages::Advice { errno: errno.raw_os_error() };
        let huge = HUGE_PAGE_BYTES as usize;
        let mapping = Mapping::new(len + huge, MapFlags::empty()).map_err(refused)?;
        let skip = mapping.start.cast::<u8>().align_offset(huge);
        // SAFETY: the mapping has `huge` bytes more than `len`, and `skip` is less than `huge`.
        let start = unsafe { mapping.start.cast::<u8>().add(skip) };
        // SAFETY: the range lies in the mapping that was just made; advice changes no byte of it.
        unsafe { madvise(start.cast(), len, Advice::LinuxHugepage) }.map_err(refused)?;
        let base = NonNull::new(start).ok_or(NoPages::Advice { errno: 0 })?;
        Ok((mapping, base))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is what mmap(2) gave us, and whoever has this has no use for it any more. It cannot fail for a
        // range that is mapped, and nothing could be done if it did.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

impl Region {
    /// Zeroed memory from the system, with the pages that were asked for or with worse ones: [`pages`](Region::pages) says.
    ///
    /// # Errors
    /// Limits first ([`REGION_BYTES_MAX`]), then the system's own.
    pub fn allocate(spec: &RegionSpec) -> Result<Region, AllocError> {
        let (layout, slots) = spec.layout()?;
        let mut got = PagesGot::plain(layout.size() as u64);
        got.asked = spec.pages;
        if spec.pages == Pages::Huge {
            // The tail of the last page is nobody's; a region is at most 1 TiB, so this does not overflow.
            let len = layout.size().next_multiple_of(HUGE_PAGE_BYTES as usize);
            if layout.size() < HUGE_PAGE_BYTES as usize || layout.align() > HUGE_PAGE_BYTES as usize {
                got.no_huge = Some(NoPages::TooShort);
                got.no_transparent = Some(NoPages::TooShort);
            } else {
                match Mapping::huge(len) {
                    Ok(mapping) => {
                        if let Some(base) = NonNull::new(mapping.start.cast()) {
                            got.kind = PageKind::Huge;
                            return Ok(Region::new(
                                base,
                                layout,
                                slots,
                                spec,
                                Source::Mapping { _mapping: mapping },
                                got,
                            ));
                        }
                    }
                    Err(why) => got.no_huge = Some(why),
                }
                match Mapping::transparent(len) {
                    Ok((mapping, base)) => {
                        got.kind = PageKind::Transparent;
                        return Ok(Region::new(
                            base,
                            layout,
                            slots,
                            spec,
                            Source::Mapping { _mapping: mapping },
                            got,
                        ));
                    }
                    Err(why) => got.no_transparent = Some(why),
                }
            }
        }
        // SAFETY: `layout` has a non-zero size (`RegionSpec::layout`).
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })
            .ok_or(AllocError::OutOfMemory(layout.size() as u64))?;
        Ok(Region::new(base, layout, slots, spec, Source::Allocator, got))
    }

    /// A region of memory that somebody else allocated, of at least [`RegionSpec::rounded_bytes`] of `spec`: what a backend
    /// must have of its own library. It is zeroed here, and `owner` is dropped with its last handle, lease and hold.
    ///
    /// # Errors
    /// Limits, as [`allocate`](Region::allocate).
    ///
    /// # Safety
    /// `base` points to that many bytes, aligned to [`PAGE_BYTES`], readable and writable until `owner` is dropped, and nothing
    /// else in this process has a reference into them.
    pub unsafe fn adopt(
        base: NonNull<u8>,
        spec: &RegionSpec,
        owner: Box<dyn Any>,
    ) -> Result<Region, AllocError> {
        let (layout, slots) = spec.layout()?;
        // SAFETY: the caller vouches for `layout.size()` writable bytes.
        unsafe { base.as_ptr().write_bytes(0, layout.size()) };
        let mut got = PagesGot::plain(layout.size() as u64);
        got.asked = spec.pages;
        if spec.pages == Pages::Huge {
            got.no_huge = Some(NoPages::Library);
            got.no_transparent = Some(NoPages::Library);
        }
        Ok(Region::new(base, layout, slots, spec, Source::Owner { _owner: owner }, got))
    }

    /// The same for memory whose bytes are wanted as they are, with the pages that its owner says it has.
    ///
    /// # Errors
    /// Limits, as [`allocate`](Region::allocate).
    ///
    /// # Safety
    /// As [`adopt`](Region::adopt); and the bytes are initialised.
    pub(crate) unsafe fn over(
        base: NonNull<u8>,
        spec: &RegionSpec,
        pages: PagesGot,
        owner: Box<dyn Any>,
    ) -> Result<Region, AllocError> {
        let (layout, slots) = spec.layout()?;
        Ok(Region::new(base, layout, slots, spec, Source::Owner { _owner: owner }, pages))
    }

    /// A region of the memory of a lease, whole and as it is. It returns when the last handle of the new region is gone.
    ///
    /// # Errors
    /// [`AllocError::BadGranule`] where the granule is no power of two, or the lease not a whole number of granules on a page.
    pub fn within(lease: Lease, granule_bytes: u64) -> Result<Region, AllocError> {
        let outer = lease.region();
        let (base, len_bytes) = (outer.at(lease.offset(), lease.len() as usize), lease.len());
        let spec = RegionSpec { len_bytes, granule_bytes, pages: outer.pages().asked };
        let (layout, slots) = spec.layout()?;
        if layout.size() as u64 != len_bytes || base.align_offset(PAGE_BYTES as usize) != 0 {
            return Err(AllocError::BadGranule(granule_bytes));
        }
        let base = NonNull::new(base).ok_or(AllocError::Empty)?;
        let pages = PagesGot { len_bytes, ..*outer.pages() };
        let origin = outer.0.origin + lease.offset();
        let region =
            Region::new(base, layout, slots, &spec, Source::Owner { _owner: Box::new(lease) }, pages);
        Ok(region.with_origin(origin))
    }

    /// Only before there is a second handle.
    fn with_origin(mut self, origin: u64) -> Region {
        if let Some(memory) = Rc::get_mut(&mut self.0) {
            memory.origin = origin;
        }
        self
    }

    /// Where it begins in the outermost region it is part of; 0 if that is itself. In shared memory this is where other processes
    /// find it.
    pub fn origin(&self) -> u64 {
        self.0.origin
    }

    fn new(
        base: NonNull<u8>,
        layout: Layout,
        slots: u32,
        spec: &RegionSpec,
        source: Source,
        pages: PagesGot,
    ) -> Region {
        Region(Rc::new(Memory {
            base,
            layout,
            source,
            pages,
            granule_shift: spec.granule_bytes.trailing_zeros(),
            origin: 0,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            live: Cell::new(0),
            returned: RefCell::new(Vec::new()),
        }))
    }

    /// Bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        self.0.layout.size() as u64
    }

    /// Never: a region has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Which pages it has, and why not better ones.
    pub fn pages(&self) -> &PagesGot {
        &self.0.pages
    }

    /// Leases start at multiples of this.
    pub fn granule_bytes(&self) -> u64 {
        1 << self.0.granule_shift
    }

    /// Leases whose memory is not back yet: held by users, or by works that have not completed.
    pub fn live_leases(&self) -> u32 {
        self.0.live.get()
    }

    /// Handles of this region, this one included, and leases and holds of parts of it. Whoever knows how many a backend keeps
    /// can tell when nobody else has one.
    pub fn handles(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// A name for this memory that does not keep it.
    pub fn downgrade(&self) -> WeakRegion {
        WeakRegion(Rc::downgrade(&self.0))
    }

    /// Whether two handles name the same memory.
    pub fn same_as(&self, other: &Region) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Whether `len` bytes at `offset` are all inside.
    #[inline]
    pub fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len())
    }

    /// The start of `len` bytes at `offset`.
    ///
    /// # Panics
    /// When they are not all inside: callers check what comes from a peer or a file first.
    #[inline]
    fn at(&self, offset: u64, len: usize) -> *mut u8 {
        assert!(
            self.contains(offset, len as u64),
            "{len} bytes at {offset} of a region of {} bytes",
            self.len()
        );
        // SAFETY: the range was just checked to lie inside the one allocation that `base` points to.
        unsafe { self.0.base.as_ptr().add(offset as usize) }
    }

    /// Copies bytes out. Panics when the range is not inside, as slices do.
    #[inline]
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: `from` covers `to.len()` bytes; `to` is a unique borrow of other memory, because no reference
        // to a region's bytes is ever handed out, only Cells and copies.
        unsafe { core::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes in. Panics when the range is not inside, as slices do.
    #[inline]
    pub fn write(&self, offset: u64, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: `to` covers `from.len()` bytes; `from` cannot be part of a region (see `read`); a region is
        // `!Sync`, so nothing else in this process touches the bytes meanwhile.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// Makes every byte 0, so that nobody learns what was there.
    pub fn zero(&self) {
        // SAFETY: the range is the whole allocation; no reference to its bytes exists but for cells, which allow this.
        unsafe { self.0.base.as_ptr().write_bytes(0, self.0.layout.size()) }
    }

    /// A look at the bytes, as cells: they may change between two looks.
    #[inline]
    pub fn cells(&self, offset: u64, len: usize) -> &[Cell<u8>] {
        let start = self.at(offset, len);
        // SAFETY: in bounds, initialised (zeroed at birth), alive as long as `self`; `Cell<u8>` has the layout of
        // `u8` and allows the aliasing that other cells and copies of the same bytes make.
        unsafe { core::slice::from_raw_parts(start.cast::<Cell<u8>>(), len) }
    }

    /// The same look by aligned 64-bit words.
    #[inline]
    pub fn words(&self, offset: u64, len: usize) -> Words<'_> {
        // SAFETY: any eight initialised bytes are a valid `u64`, and cells may alias cells.
        unsafe { self.cells(offset, len).align_to::<Cell<u64>>() }
    }

    /// An aligned 64-bit word.
    ///
    /// # Panics
    /// When `offset` is not a multiple of 8, or not inside.
    pub fn word(&self, offset: u64) -> &Cell<u64> {
        let (before, words, _) = self.words(offset, 8);
        assert!(before.is_empty(), "a word at offset {offset}, which is not a multiple of 8");
        &words[0]
    }

    /// Where the memory is, for a device that is told raw addresses.
    pub fn base(&self) -> NonNull<u8> {
        self.0.base
    }

    /// Leases `len` bytes from `offset` on.
    ///
    /// Whether leases overlap is the business of the pool that cuts the region; this only refuses two leases that
    /// start at the same granule. `None` when the place is taken, misaligned or outside.
    pub fn lease(&self, offset: u64, len: u64) -> Option<Lease> {
        if len == 0 || !self.contains(offset, len) || offset & (self.granule_bytes() - 1) != 0 {
            return None;
        }
        let slot_index = (offset >> self.0.granule_shift) as u32;
        let slot = &self.0.slots[slot_index as usize];
        if slot.refs.get() != 0 {
            return None;
        }
        slot.refs.set(1);
        self.0.live.set(self.0.live.get() + 1);
        Some(Lease { len, hold: Hold { region: self.clone(), slot: slot_index } })
    }

    /// Hands the offsets of returned leases to the pool, most recent last.
    pub fn collect_returned(&self, mut each: impl FnMut(u64)) {
        let mut returned = self.0.returned.borrow_mut();
        for slot in returned.drain(..) {
            each(u64::from(slot) << self.0.granule_shift);
        }
    }

    /// Makes sure that returning `count` leases allocates nothing.
    pub fn reserve_returns(&self, count: usize) {
        self.0.returned.borrow_mut().reserve(count);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes, {} leases live)", self.len(), self.live_leases())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // A mapping unmaps itself, and an owner sees to its own.
        if matches!(self.source, Source::Allocator) {
            // SAFETY: `base` came from `alloc_zeroed(layout)`; leases and holds keep an `Rc` of us, so none is left.
            unsafe { dealloc(self.base.as_ptr(), self.layout) }
        }
    }
}

/// Keeps a leased part out of circulation. Gives no access to its bytes.
pub struct Hold {
    region: Region,
    slot: u32,
}

impl Hold {
    fn slot(&self) -> &Slot {
        &self.region.0.slots[self.slot as usize]
    }

    fn again(&self) -> Hold {
        let slot = self.slot();
        slot.refs.set(slot.refs.get() + 1);
        Hold { region: self.region.clone(), slot: self.slot }
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        let slot = self.slot();
        let refs = slot.refs.get() - 1;
        slot.refs.set(refs);
        if refs == 0 {
            slot.generation.set(slot.generation.get().wrapping_add(1));
            let memory = &self.region.0;
            memory.live.set(memory.live.get() - 1);
            memory.returned.borrow_mut().push(self.slot);
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold(slot {}, {} refs)", self.slot, self.slot().refs.get())
    }
}

/// The right to part of a region. Not `Clone`: while a work has it, the user does not.
#[derive(Debug)]
pub struct Lease {
    len: u64,
    hold: Hold,
}

impl Lease {
    /// The region it is part of.
    pub fn region(&self) -> &Region {
        &self.hold.region
    }

    /// Where it starts in its region, in bytes.
    #[inline]
    pub fn offset(&self) -> u64 {
        u64::from(self.hold.slot) << self.hold.region.0.granule_shift
    }

    /// Bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: a lease has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Distinguishes this lease from earlier ones of the same place.
    pub fn generation(&self) -> u32 {
        self.hold.slot().generation.get()
    }

    /// A hold for a work that uses this lease.
    pub fn hold(&self) -> Hold {
        self.hold.again()
    }

    /// The piece of local memory a work names: `len` bytes at `offset` *of the lease*. `None` if not all inside.
    #[inline]
    pub fn piece(&self, mr: MrId, offset: u64, len: u32) -> Option<Sge> {
        let end = offset.checked_add(u64::from(len))?;
        (end <= self.len).then(|| Sge { mr, len, offset: self.offset() + offset })
    }

    /// Copies bytes out of the lease. Panics when the range is not inside, as slices do.
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        self.check(offset, to.len());
        self.region().read(self.offset() + offset, to);
    }

    /// Copies bytes into the lease. Panics when the range is not inside, as slices do.
    pub fn write(&self, offset: u64, from: &[u8]) {
        self.check(offset, from.len());
        self.region().write(self.offset() + offset, from);
    }

    /// Reads bytes of a file straight into the lease, without a copy: `len` bytes at `file_offset`, to `offset` of the lease.
    /// After an error part of them may be there. Panics when the range is not inside, as slices do.
    ///
    /// # Errors
    /// The system's (`pread(2)`), and `UnexpectedEof` where the file ends before.
    pub fn read_from(
        &self,
        file: BorrowedFd<'_>,
        file_offset: u64,
        offset: u64,
        len: usize,
    ) -> io::Result<()> {
        self.transfer(file_offset, offset, len, io::ErrorKind::UnexpectedEof, |to, len, at| {
            // SAFETY: `transfer` gives `len` bytes inside the lease, which is borrowed during the call. The kernel writes
            // them as a device would: by address, while no reference to them exists but cells of this very thread.
            unsafe { libc::pread(file.as_raw_fd(), to.cast(), len, at) }
        })
    }

    /// Writes bytes of the lease straight to a file, without a copy: `len` bytes at `offset` of the lease, to `file_offset`.
    /// After an error part of them may be there. Bytes that a device changes meanwhile are written as of before or after.
    /// Panics when the range is not inside, as slices do.
    ///
    /// # Errors
    /// The system's (`pwrite(2)`), and `WriteZero` where nothing more is taken.
    pub fn write_to(
        &self,
        file: BorrowedFd<'_>,
        file_offset: u64,
        offset: u64,
        len: usize,
    ) -> io::Result<()> {
        self.transfer(file_offset, offset, len, io::ErrorKind::WriteZero, |from, len, at| {
            // SAFETY: `transfer` gives `len` initialised bytes inside the lease, which is borrowed during the call. The
            // kernel only reads them, by address; that a device may write them meanwhile makes no reference untrue.
            unsafe { libc::pwrite(file.as_raw_fd(), from.cast_const().cast(), len, at) }
        })
    }

    /// Repeats a call that may do less than it is asked, or be interrupted, until all is done.
    fn transfer(
        &self,
        file_offset: u64,
        offset: u64,
        len: usize,
        nothing: io::ErrorKind,
        mut call: impl FnMut(*mut u8, usize, libc::off_t) -> isize,
    ) -> io::Result<()> {
        self.check(offset, len);
        let mut done = 0;
        while done < len {
            let rest = len - done;
            let at = file_offset.checked_add(done as u64).and_then(|at| libc::off_t::try_from(at).ok());
            let at = at.ok_or(io::ErrorKind::InvalidInput)?;
            let memory = self.region().at(self.offset() + offset + done as u64, rest);
            match call(memory, rest, at) {
                0 => return Err(nothing.into()),
                taken if taken > 0 => done += (taken as usize).min(rest),
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }

    #[inline]
    fn check(&self, offset: u64, len: usize) {
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} of a lease of {} bytes", self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(bytes: u64) -> Region {
        Region::allocate(&RegionSpec::new(bytes)).expect("small region")
    }

    #[test]
    fn limits_are_checked_before_anything_is_allocated() {
        let ask = |len_bytes, granule_bytes| {
            let spec = RegionSpec { len_bytes, granule_bytes, pages: Pages::Plain };
            Region::allocate(&spec).map(|r| r.len())
        };
        assert_eq!(ask(0, 4096), Err(AllocError::Empty));
        assert!(matches!(ask(1 << 63, 4096), Err(AllocError::TooLarge { .. })));
        assert!(matches!(ask(u64::MAX, 4096), Err(AllocError::TooLarge { .. })));
        assert_eq!(ask(4096, 12), Err(AllocError::BadGranule(12)));
        assert_eq!(ask(5000, 4096), Ok(8192));
    }

    #[test]
    fn whatever_pages_are_had_the_memory_is_zeroed_used_and_counted_alike() {
        for len_bytes in [5000, HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 1] {
            let spec = RegionSpec { pages: Pages::Huge, ..RegionSpec::new(len_bytes) };
            let region = Region::allocate(&spec).expect("memory");
            assert_eq!(region.len(), spec.rounded_bytes().expect("small"), "no byte more than asked for");
            let got = *region.pages();
            assert_eq!((got.asked, got.len_bytes), (Pages::Huge, region.len()));
            // What a machine has differs; that each worse kind has its reasons does not.
            match got.kind {
                PageKind::Huge => assert_eq!((got.no_huge, got.no_transparent), (None, None)),
                PageKind::Transparent => assert!(got.no_huge.is_some() && got.no_transparent.is_none()),
                PageKind::Plain => assert!(got.no_huge.is_some() && got.no_transparent.is_some()),
            }
            if got.kind != PageKind::Plain {
                assert_eq!(region.base().as_ptr() as u64 % HUGE_PAGE_BYTES, 0);
            }
            let last = region.len() - 1;
            assert_eq!((region.cells(0, 1)[0].get(), region.cells(last, 1)[0].get()), (0, 0));
            region.write(last, &[7]);
            let lease = region.lease(0, 100).expect("free");
            drop(region);
            lease.write(0, &[8]);
            lease.region().zero();
            assert_eq!(lease.region().cells(last, 1)[0].get(), 0);
            assert_eq!(lease.region().cells(0, 1)[0].get(), 0);
        }
        assert_eq!(region(4096).pages().kind, PageKind::Plain);
    }

    #[test]
    fn bytes_written_are_bytes_read_by_copy_cell_and_word() {
        let r = region(8192);
        r.write(4093, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let mut back = [0; 12];
        r.read(4093, &mut back);
        assert_eq!(back, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let (head, words, tail) = r.words(4093, 12);
        assert_eq!((head.len(), words.len(), tail.len()), (3, 1, 1));
        assert_eq!(words[0].get().to_ne_bytes(), [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(r.cells(4104, 1)[0].get(), 12);
    }

    #[test]
    fn memory_of_another_is_zeroed_used_and_given_back_with_its_last_lease() {
        struct Owner(NonNull<u8>, Layout, Rc<Cell<bool>>);
        impl Drop for Owner {
            fn drop(&mut self) {
                self.2.set(true);
                // SAFETY: it came from `alloc` with this layout, below.
                unsafe { dealloc(self.0.as_ptr(), self.1) }
            }
        }
        let layout = Layout::from_size_align(8192, 4096).expect("a layout");
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { std::alloc::alloc(layout) }).expect("memory");
        let gone = Rc::new(Cell::new(false));
        let spec = RegionSpec::new(5000);
        assert_eq!(spec.rounded_bytes(), Ok(8192));
        // SAFETY: 8192 bytes of our own, freed by the owner.
        let adopted = unsafe { Region::adopt(base, &spec, Box::new(Owner(base, layout, gone.clone()))) };
        let region = adopted.expect("a region");
        assert!(region.cells(0, 8192).iter().all(|byte| byte.get() == 0));
        let lease = region.lease(4096, 100).expect("free");
        drop(region);
        lease.write(0, b"still here");
        assert!(!gone.get());
        drop(lease);
        assert!(gone.get());
    }

    #[test]
    #[should_panic(expected = "of a region of 4096 bytes")]
    fn a_read_past_the_end_is_stopped() {
        region(4096).read(u64::MAX, &mut [0; 2]);
    }

    #[test]
    #[should_panic(expected = "of a lease of 100 bytes")]
    fn a_read_past_a_lease_is_stopped_inside_its_region() {
        let r = region(4096);
        r.lease(0, 100).expect("free").read(99, &mut [0; 2]);
    }

    #[test]
    fn a_place_comes_back_only_when_lease_and_holds_are_gone() {
        let r = region(8192);
        let lease = r.lease(4096, 4096).expect("free");
        assert!(r.lease(4096, 1).is_none(), "the place is taken");
        let generation = lease.generation();
        let hold = lease.hold();
        drop(lease);
        assert_eq!(r.live_leases(), 1, "a work still uses it");
        assert!(r.lease(4096, 1).is_none());
        drop(hold);
        assert_eq!(r.live_leases(), 0);
        let mut back = Vec::new();
        r.collect_returned(|offset| back.push(offset));
        assert_eq!(back, [4096]);
        assert_eq!(r.lease(4096, 1).expect("free again").generation(), generation + 1);
    }

    #[test]
    fn a_file_is_read_and_written_at_its_place_and_no_byte_beside_it() {
        use std::os::fd::AsFd;
        let file = tempfile::tempfile().expect("a file");
        let r = region(16384);
        let lease = r.lease(4096, 8192).expect("free");
        lease.write(100, b"straight from the lease");
        lease.write_to(file.as_fd(), 7, 100, 23).expect("written");
        assert_eq!(file.metadata().expect("a file").len(), 30);
        lease.write(4000, &[0xee; 32]);
        lease.read_from(file.as_fd(), 7, 4004, 23).expect("read");
        let mut back = [0; 32];
        lease.read(4000, &mut back);
        assert_eq!(&back, b"\xee\xee\xee\xeestraight from the lease\xee\xee\xee\xee\xee");
        let short = lease.read_from(file.as_fd(), 20, 0, 23).expect_err("the file ends");
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        let far = lease.write_to(file.as_fd(), u64::MAX, 0, 23).expect_err("no such offset");
        assert_eq!(far.kind(), io::ErrorKind::InvalidInput);
        let (reader, _writer) = io::pipe().expect("a pipe");
        assert!(lease.read_from(reader.as_fd(), 0, 0, 23).is_err(), "a pipe has no offsets");
    }

    #[test]
    #[should_panic(expected = "of a lease of 100 bytes")]
    fn a_file_is_not_read_past_a_lease() {
        use std::os::fd::AsFd;
        let file = tempfile::tempfile().expect("a file");
        let lease = region(4096).lease(0, 100).expect("free");
        let _ = lease.read_from(file.as_fd(), 0, 99, 2);
    }

    #[test]
    fn pieces_past_the_lease_do_not_exist() {
        let r = region(4096);
        let lease = r.lease(0, 100).expect("free");
        assert!(lease.piece(MrId(0), 90, 10).is_some());
        assert!(lease.piece(MrId(0), 90, 11).is_none());
        assert!(lease.piece(MrId(0), u64::MAX, 1).is_none());
    }
}
