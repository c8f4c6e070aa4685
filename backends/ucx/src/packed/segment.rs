//! Segments of shared memory by the names UCX gives them (`src/uct/sm/mm/posix/mm_posix.c`): whose file it is, and which.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The process that a segment has to be of.
pub(crate) type Owner = u32;

/// Flags of a name: a link of /proc, in /dev/shm, of huge pages, of another namespace than the first.
const BY_PROC: u64 = 1 << 63;
const HUGE: u64 = 1 << 61;
const FLAGS: u64 = 0xf << 60;
const ID_BITS: u32 = 30;

/// A file of huge pages has blocks of that size or more.
const HUGE_PAGE_BYTES: u64 = 1 << 20;

/// A name, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    flags: u64,
    pid: u32,
    fd: u32,
}

impl Segment {
    pub(super) fn read(name: u64) -> Segment {
        let id = |shift: u32| ((name & !FLAGS) >> shift) as u32 & ((1 << ID_BITS) - 1);
        Segment { flags: name & FLAGS, pid: id(0), fd: id(ID_BITS) }
    }

    /// A name like ours, of the right process, of a file with that many bytes or more.
    pub(super) fn is_like(self, ours: Segment, owner: Option<Owner>, bytes: u64) -> bool {
        let same = self.flags & !HUGE == ours.flags & !HUGE;
        let by_proc = self.flags & BY_PROC != 0;
        same && (!by_proc || owner.is_none_or(|owner| owner == self.pid && self.holds(bytes)))
    }

    /// Whether there is such a file, that long, and of pages as large as its name says: UCX maps and unmaps whole ones.
    fn holds(self, bytes: u64) -> bool {
        let huge = self.flags & HUGE != 0;
        let fits = |file: &Metadata| file.len() >= bytes && (file.blksize() >= HUGE_PAGE_BYTES) == huge;
        self.file().is_some_and(|file| fits(&file))
    }

    /// The file. `None`: there is none, or it is something else.
    fn file(self) -> Option<Metadata> {
        let found = std::fs::metadata(format!("/proc/{}/fd/{}", self.pid, self.fd)).ok()?;
        found.is_file().then_some(found)
    }
}

/// Whether an interface of shared memory is where a peer's may be. Its place is a segment's name, and perhaps its namespace.
pub(super) fn place(ours: &[u8], theirs: &[u8], owner: Option<Owner>) -> bool {
    let (Some((our_name, our_rest)), Some((name, rest))) =
        (ours.split_first_chunk::<8>(), theirs.split_first_chunk::<8>())
    else {
        return ours == theirs;
    };
    let own = Segment::read(u64::from_le_bytes(*our_name));
    let named = Segment::read(u64::from_le_bytes(*name));
    // Its queues are as long as ours, or the mapping would end in the middle of one.
    let bytes = if owner.is_some() { own.file().map_or(0, |file| file.len()) } else { 0 };
    our_rest == rest && named.is_like(own, owner, bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn name(pid: u32, fd: i32) -> Segment {
        Segment::read(0xc << 60 | u64::from(pid) | u64::from(fd.unsigned_abs()) << ID_BITS)
    }

    #[test]
    fn a_segment_is_a_file_of_its_owner_and_as_long_as_it_says() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(4096).expect("longer");
        let (me, device) = (std::process::id(), std::fs::File::open("/dev/zero").expect("a device"));
        let whole = name(me, file.as_raw_fd());
        assert!(whole.is_like(name(1, 1), Some(me), 4096));
        assert!(!whole.is_like(name(1, 1), Some(me), 4097), "it is shorter");
        let huge = Segment { flags: whole.flags | HUGE, ..whole };
        assert!(!huge.is_like(name(1, 1), Some(me), 1), "its pages are small");
        assert!(!whole.is_like(name(1, 1), Some(me + 1), 1), "it is another's");
        assert!(
            !whole.is_like(Segment { flags: 4 << 60, ..whole }, Some(me), 1),
            "it is named in another way"
        );
        assert!(!name(me, 9999).is_like(name(1, 1), Some(me), 1), "there is none");
        assert!(!name(me, device.as_raw_fd()).is_like(name(1, 1), Some(me), 1), "it is a device");
    }
}
