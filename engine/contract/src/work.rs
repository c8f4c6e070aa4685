//! Works: what is posted to an endpoint.

use crate::key::RemoteAddr;

/// The poster's name for a work; comes back with its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A registered region of one backend. Never reused while the backend lives, so a stale one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MrId(pub u32);

/// A memory window of one backend. Never reused while the backend lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u32);

/// One piece of local memory: `len` bytes at `offset` of a registered region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sge {
    /// The registration that covers it.
    pub mr: MrId,
    /// Bytes.
    pub len: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
}

/// What the device is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Take one incoming message into the local pieces.
    Recv,
    /// Send a message that meets a receive of the peer.
    Send {
        /// Delivered with the peer's completion.
        imm: Option<u32>,
    },
    /// Place the local pieces in the peer's memory.
    Write {
        /// Where.
        remote: RemoteAddr,
        /// With an immediate the peer spends a receive and learns of the write.
        imm: Option<u32>,
    },
    /// Fetch from the peer's memory into the local pieces.
    Read {
        /// From where.
        remote: RemoteAddr,
    },
    /// Replace 8 bytes at the peer if they equal `compare`; the former value lands in the local piece.
    CompareSwap {
        /// 8-byte aligned.
        remote: RemoteAddr,
        /// Expected value.
        compare: u64,
        /// New value.
        swap: u64,
    },
    /// Add to 8 bytes at the peer, wrapping; the former value lands in the local piece.
    FetchAdd {
        /// 8-byte aligned.
        remote: RemoteAddr,
        /// Addend.
        add: u64,
    },
}

/// The kind of a work, without its arguments: what completions, traces and tables speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // see `Op`
pub enum OpKind {
    Recv,
    Send,
    Write,
    WriteImm,
    Read,
    CompareSwap,
    FetchAdd,
}

impl OpKind {
    /// Every kind.
    pub const ALL: [OpKind; 7] = [
        OpKind::Recv,
        OpKind::Send,
        OpKind::Write,
        OpKind::WriteImm,
        OpKind::Read,
        OpKind::CompareSwap,
        OpKind::FetchAdd,
    ];

    /// The name used in workloads, tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            OpKind::Recv => "recv",
            OpKind::Send => "send",
            OpKind::Write => "write",
            OpKind::WriteImm => "write_imm",
            OpKind::Read => "read",
            OpKind::CompareSwap => "compare_swap",
            OpKind::FetchAdd => "fetch_add",
        }
    }

    /// Whether the peer answers with data, so that the work counts against `max_rd_atomic`.
    pub const fn is_read_or_atomic(self) -> bool {
        matches!(self, OpKind::Read | OpKind::CompareSwap | OpKind::FetchAdd)
    }

    /// Whether the work works on 8 bytes of the peer as a unit.
    pub const fn is_atomic(self) -> bool {
        matches!(self, OpKind::CompareSwap | OpKind::FetchAdd)
    }

    /// Whether the device writes the local pieces (rather than reads them).
    pub const fn fills_local(self) -> bool {
        self.is_read_or_atomic() || matches!(self, OpKind::Recv)
    }
}

impl Op {
    /// Its kind.
    pub const fn kind(&self) -> OpKind {
        match self {
            Op::Recv => OpKind::Recv,
            Op::Send { .. } => OpKind::Send,
            Op::Write { imm: None, .. } => OpKind::Write,
            Op::Write { imm: Some(_), .. } => OpKind::WriteImm,
            Op::Read { .. } => OpKind::Read,
            Op::CompareSwap { .. } => OpKind::CompareSwap,
            Op::FetchAdd { .. } => OpKind::FetchAdd,
        }
    }

    /// The immediate it carries.
    pub const fn imm(&self) -> Option<u32> {
        match self {
            Op::Send { imm } | Op::Write { imm, .. } => *imm,
            _ => None,
        }
    }

    /// The place at the peer it names.
    pub const fn remote(&self) -> Option<RemoteAddr> {
        match self {
            Op::Write { remote, .. }
            | Op::Read { remote }
            | Op::CompareSwap { remote, .. }
            | Op::FetchAdd { remote, .. } => Some(*remote),
            Op::Recv | Op::Send { .. } => None,
        }
    }
}

/// The local side of a work.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Pieces of registered memory, used until the work completes.
    Pieces(&'a [Sge]),
    /// Bytes copied when posted (SEND and WRITE only); the caller's buffer is free at once.
    Inline(&'a [u8]),
}

impl Data<'_> {
    /// Total bytes. Saturates; every backend refuses what is longer than its longest message.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Data::Pieces(sges) => sges.iter().fold(0u64, |sum, s| sum.saturating_add(u64::from(s.len))),
            Data::Inline(bytes) => bytes.len() as u64,
        }
    }
}

/// One work as it is posted.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The poster's name for it.
    pub id: WorkId,
    /// What to do.
    pub op: Op,
    /// With which memory.
    pub data: Data<'a>,
    /// Whether success is reported. Failure always is (IBA 10.7.3.1). Receives are always reported.
    pub signalled: bool,
    /// Wait for every earlier READ and atomic of this endpoint before starting.
    pub fence: bool,
}
