//! Frames: what is under way without a work of ours. Answers, acknowledgements, hellos, and data that is being fetched. Each stays
//! where it is until UCX is done with it, and is used again afterwards.

use crate::sys::{Span, Ticket, Worker};
use crate::token;
use crate::wire::LONG_BYTES;

/// Pieces of one work, at most.
pub(crate) const SGE_MAX: usize = 4;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Free,
    /// A message without user memory.
    Control,
    /// An answer to READ, sent from memory of ours. By endpoint.
    Reply(u32),
    /// Data of request `seq` that is being fetched into memory of ours.
    Fill {
        ep: u32,
        seq: u32,
        receive: Option<u32>,
    },
    /// The answer to our READ in a slot of the send queue.
    Data {
        ep: u32,
        slot: u32,
    },
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) ticket: Ticket,
    pub(crate) header: [u8; LONG_BYTES],
    pub(crate) header_len: usize,
    pub(crate) spans: [Span; SGE_MAX],
    pub(crate) span_count: usize,
    /// Registrations in use.
    pub(crate) mrs: [u32; SGE_MAX],
    pub(crate) mr_count: usize,
    /// What a hello says.
    pub(crate) body: Vec<u8>,
    /// Where in memory it reads or writes, in this side's terms.
    pub(crate) range: (u64, u64),
    pub(crate) uses: Use,
}

impl Frame {
    pub(crate) fn header(&self) -> &[u8] {
        &self.header[..self.header_len]
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans[..self.span_count]
    }

    pub(crate) fn mrs(&self) -> impl Iterator<Item = u32> + use<> {
        self.mrs.into_iter().take(self.mr_count)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    // Boxed: UCX holds addresses of what is inside.
    #[expect(clippy::vec_box, reason = "UCX holds addresses of what is inside")]
    frames: Vec<Box<Frame>>,
    free: Vec<u32>,
}

impl Frames {
    /// One that nobody uses.
    #[inline]
    pub(crate) fn take(&mut self, worker: &Worker, uses: Use) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.frames.len() as u32;
            self.frames.push(Box::new(Frame {
                ticket: worker.ticket(token::frame(index)),
                header: [0; LONG_BYTES],
                header_len: 0,
                spans: [Span::NONE; SGE_MAX],
                span_count: 0,
                mrs: [0; SGE_MAX],
                mr_count: 0,
                body: Vec::new(),
                range: (0, 0),
                uses: Use::Free,
            }));
            index
        });
        let frame = &mut self.frames[index as usize];
        (frame.uses, frame.span_count, frame.mr_count, frame.range) = (uses, 0, 0, (0, 0));
        index
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Frame> {
        self.frames.get(index as usize).map(Box::as_ref)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Frame> {
        self.frames.get_mut(index as usize).map(Box::as_mut)
    }

    /// It is not used any more.
    #[inline]
    pub(crate) fn give_back(&mut self, index: u32) {
        if let Some(frame) = self.frames.get_mut(index as usize)
            && frame.uses != Use::Free
        {
            frame.uses = Use::Free;
            self.free.push(index);
        }
    }
}
