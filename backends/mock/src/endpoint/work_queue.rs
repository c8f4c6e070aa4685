//! Work queues: rings of posted works, each with its marks.

use wavetank_contract::{Caps, Data, MrId, Op, Sge, Status, Work, WorkId};

/// A posted send-side work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendWqe {
    pub(crate) id: WorkId,
    pub(crate) op: Op,
    pub(crate) len: u32,
    /// Local memory; none when the bytes were posted inline.
    pieces: Pieces,
    pub(crate) inline: bool,
    pub(crate) signalled: bool,
    pub(crate) fence: bool,
    /// PSNs have been assigned.
    pub(crate) numbered: bool,
    /// The device could not read or write local memory for it; reported when its turn to complete comes.
    pub(crate) failed: Option<Status>,
    pub(crate) first_psn: u32,
    /// PSNs it takes.
    pub(crate) psns: u32,
    /// Request packets sent in this attempt.
    pub(crate) sent: u32,
}

impl SendWqe {
    /// Request packets it takes: a READ or atomic asks with one.
    pub(crate) fn requests(&self) -> u32 {
        if self.op.kind().is_read_or_atomic() { 1 } else { self.psns }
    }
}

/// The pieces of a work. Nearly every work has one, kept with the work; more are kept in the queue's [`Spill`].
#[derive(Clone, Copy, Debug)]
struct Pieces {
    first: Sge,
    count: u8,
}

impl Pieces {
    const NONE: Pieces = Pieces { first: Sge { mr: MrId(0), len: 0, offset: 0 }, count: 0 };
}

/// Room beside a ring for what few works need. Taken with the first work that needs it, for the whole ring, so that a
/// queue that never does stays small and in the cache.
#[derive(Debug)]
struct Spill<T> {
    each: usize,
    room: Vec<T>,
}

impl<T: Copy> Spill<T> {
    fn new(each: u32) -> Spill<T> {
        Spill { each: each as usize, room: Vec::new() }
    }

    fn put(&mut self, index: usize, ring: usize, blank: T, items: &[T]) {
        if self.room.is_empty() {
            self.room.resize(ring * self.each, blank);
        }
        self.room[index * self.each..][..items.len()].copy_from_slice(items);
    }

    fn get(&self, index: usize, len: usize) -> &[T] {
        &self.room[index * self.each..][..len]
    }
}

impl Spill<Sge> {
    #[inline]
    fn store(&mut self, index: usize, ring: usize, sges: &[Sge]) -> Pieces {
        if sges.len() > 1 {
            self.put(index, ring, Pieces::NONE.first, sges);
        }
        Pieces { first: sges.first().copied().unwrap_or(Pieces::NONE.first), count: sges.len() as u8 }
    }

    #[inline]
    fn load<'a>(&'a self, index: usize, pieces: &'a Pieces) -> &'a [Sge] {
        match pieces.count {
            0 => &[],
            1 => std::slice::from_ref(&pieces.first),
            count => self.get(index, usize::from(count)),
        }
    }
}

/// The send queue: a ring with four marks, `freed <= acked <= cursor <= posted`.
#[derive(Debug)]
pub(crate) struct SendQueue {
    wqes: Box<[SendWqe]>,
    pieces: Spill<Sge>,
    inline: Spill<u8>,
    pub(super) depth: u32,
    pub(crate) posted: u64,
    /// The work whose packets are sent next.
    pub(crate) cursor: u64,
    /// The oldest work that is not complete.
    pub(crate) acked: u64,
    /// Slots up to here are free: their completion, or a later one, was polled.
    pub(crate) freed: u64,
}

impl SendQueue {
    pub(super) fn new(depth: u32, caps: &Caps) -> SendQueue {
        let blank = SendWqe {
            id: WorkId(0),
            op: Op::Recv,
            len: 0,
            pieces: Pieces::NONE,
            inline: false,
            signalled: false,
            fence: false,
            numbered: false,
            failed: None,
            first_psn: 0,
            psns: 0,
            sent: 0,
        };
        SendQueue {
            wqes: vec![blank; depth.next_power_of_two() as usize].into(),
            pieces: Spill::new(caps.sge_max),
            inline: Spill::new(caps.inline_bytes_max),
            depth,
            posted: 0,
            cursor: 0,
            acked: 0,
            freed: 0,
        }
    }

    #[inline]
    fn index(&self, seq: u64) -> usize {
        (seq as usize) & (self.wqes.len() - 1)
    }

    #[inline]
    pub(crate) fn wqe(&self, seq: u64) -> &SendWqe {
        &self.wqes[self.index(seq)]
    }

    #[inline]
    pub(crate) fn wqe_mut(&mut self, seq: u64) -> &mut SendWqe {
        let index = self.index(seq);
        &mut self.wqes[index]
    }

    #[inline]
    pub(crate) fn sges(&self, seq: u64) -> &[Sge] {
        let index = self.index(seq);
        self.pieces.load(index, &self.wqes[index].pieces)
    }

    pub(crate) fn inline(&self, seq: u64) -> &[u8] {
        let index = self.index(seq);
        self.inline.get(index, self.wqes[index].len as usize)
    }

    #[inline]
    pub(super) fn post(&mut self, work: &Work<'_>, len: u32) {
        let (index, ring) = (self.index(self.posted), self.wqes.len());
        let (mut pieces, mut inline) = (Pieces::NONE, false);
        match work.data {
            Data::Pieces(sges) => pieces = self.pieces.store(index, ring, sges),
            Data::Inline(bytes) => {
                self.inline.put(index, ring, 0, bytes);
                inline = true;
            }
        }
        self.wqes[index] = SendWqe {
            id: work.id,
            op: work.op,
            len,
            pieces,
            inline,
            signalled: work.signalled,
            fence: work.fence,
            numbered: false,
            failed: None,
            first_psn: 0,
            psns: 0,
            sent: 0,
        };
        self.posted += 1;
    }
}

/// A posted receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvWqe {
    pub(crate) id: WorkId,
    pub(crate) len: u32,
    pieces: Pieces,
}

/// The receive queue: a ring with three marks, `freed <= taken <= posted`.
#[derive(Debug)]
pub(crate) struct RecvQueue {
    wqes: Box<[RecvWqe]>,
    pieces: Spill<Sge>,
    pub(crate) depth: u32,
    pub(super) posted: u64,
    pub(super) taken: u64,
    pub(crate) freed: u64,
}

impl RecvQueue {
    pub(crate) fn new(depth: u32, caps: &Caps) -> RecvQueue {
        let blank = RecvWqe { id: WorkId(0), len: 0, pieces: Pieces::NONE };
        RecvQueue {
            wqes: vec![blank; depth.max(1).next_power_of_two() as usize].into(),
            pieces: Spill::new(caps.sge_max),
            depth,
            posted: 0,
            taken: 0,
            freed: 0,
        }
    }

    fn index(&self, seq: u64) -> usize {
        (seq as usize) & (self.wqes.len() - 1)
    }

    /// The name of a receive.
    pub(super) fn id(&self, seq: u64) -> WorkId {
        self.wqes[self.index(seq)].id
    }

    /// The receive that the next message takes, if one is posted.
    pub(crate) fn head(&self) -> Option<(RecvWqe, &[Sge])> {
        (self.taken < self.posted).then(|| {
            let index = self.index(self.taken);
            let wqe = &self.wqes[index];
            (*wqe, self.pieces.load(index, &wqe.pieces))
        })
    }

    /// Receives that no message has taken.
    pub(crate) fn left(&self) -> u64 {
        self.posted - self.taken
    }

    /// Whether every slot is in use.
    pub(crate) fn is_full(&self) -> bool {
        self.posted - self.freed >= u64::from(self.depth)
    }

    /// Hands the oldest receive to another queue.
    pub(crate) fn take(&mut self) -> Option<(WorkId, u32, &[Sge])> {
        let index = self.index(self.taken);
        (self.taken < self.posted).then(|| {
            self.taken += 1;
            let wqe = &self.wqes[index];
            (wqe.id, wqe.len, self.pieces.load(index, &wqe.pieces))
        })
    }

    pub(crate) fn post(&mut self, id: WorkId, sges: &[Sge], len: u32) {
        let (index, ring) = (self.index(self.posted), self.wqes.len());
        let pieces = self.pieces.store(index, ring, sges);
        self.wqes[index] = RecvWqe { id, len, pieces };
        self.posted += 1;
    }
}
