//! Works that own what they need, so that a case can say them in a line.

use wavetank_contract::{Data, Op, OpKind, RemoteAddr, Sge, Work, WorkId};

/// One work. Its number is the case's own; each is used once by each side.
#[derive(Clone, Debug)]
pub(super) struct W {
    pub(super) id: u64,
    pub(super) op: Op,
    pub(super) pieces: Vec<Sge>,
    pub(super) inline: Option<Vec<u8>>,
    pub(super) signalled: bool,
    pub(super) fence: bool,
}

impl W {
    pub(super) fn new(id: u64, op: Op, pieces: &[Sge]) -> W {
        W { id, op, pieces: pieces.to_vec(), inline: None, signalled: true, fence: false }
    }

    pub(super) fn silent(self) -> W {
        W { signalled: false, ..self }
    }

    pub(super) fn fenced(self) -> W {
        W { fence: true, ..self }
    }

    pub(super) fn inline(self, bytes: &[u8]) -> W {
        W { inline: Some(bytes.to_vec()), ..self }
    }

    /// Anything but a SEND or WRITE stays as it is.
    pub(super) fn imm(mut self, value: u32) -> W {
        if let Op::Send { imm } | Op::Write { imm, .. } = &mut self.op {
            *imm = Some(value);
        }
        self
    }

    pub(super) fn kind(&self) -> OpKind {
        self.op.kind()
    }

    pub(super) fn as_work(&self) -> Work<'_> {
        let data = match &self.inline {
            Some(bytes) => Data::Inline(bytes),
            None => Data::Pieces(&self.pieces),
        };
        Work { id: WorkId(self.id), op: self.op, data, signalled: self.signalled, fence: self.fence }
    }
}

pub(super) fn recv(id: u64, pieces: &[Sge]) -> W {
    W::new(id, Op::Recv, pieces)
}

pub(super) fn send(id: u64, pieces: &[Sge]) -> W {
    W::new(id, Op::Send { imm: None }, pieces)
}

pub(super) fn write(id: u64, pieces: &[Sge], remote: RemoteAddr) -> W {
    W::new(id, Op::Write { remote, imm: None }, pieces)
}

pub(super) fn read(id: u64, pieces: &[Sge], remote: RemoteAddr) -> W {
    W::new(id, Op::Read { remote }, pieces)
}

pub(super) fn swap(id: u64, piece: Sge, remote: RemoteAddr, compare: u64, swap: u64) -> W {
    W::new(id, Op::CompareSwap { remote, compare, swap }, &[piece])
}

pub(super) fn add(id: u64, piece: Sge, remote: RemoteAddr, add: u64) -> W {
    W::new(id, Op::FetchAdd { remote, add }, &[piece])
}
