//! The side that answers.

use wavetank_contract::{Instant, OpKind};

use super::super::pair::PairError;
use super::cell::{Cell, Measure};
use super::station::Station;

/// The other side's loop, a turn at a time.
#[derive(Debug)]
pub(super) struct Server<S> {
    pub(super) station: S,
    cell: Cell,
    free: Vec<u16>,
    /// Answers that are due.
    due: u32,
    number: u8,
}

impl<S: Station> Server<S> {
    pub(super) fn new(station: S, cell: Cell) -> Server<S> {
        Server { station, cell, free: (0..cell.sends()).rev().collect(), due: 0, number: 0 }
    }

    /// One turn. Whether anything happened.
    #[inline]
    pub(super) fn step(&mut self, now: Instant) -> Result<bool, PairError> {
        self.station.spin(now)?;
        let mut news = false;
        if self.cell.measure == Measure::WriteLatency
            && self.station.buffers().arrived() == self.number.wrapping_add(1)
        {
            self.number = self.number.wrapping_add(1);
            self.due += 1;
        }
        news |= self.answer(now)?;
        while let Some(ended) = self.station.take()? {
            news = true;
            if ended.kind != OpKind::Recv {
                self.free.push(ended.slot);
                continue;
            }
            if self.cell.measure == Measure::MessageLatency {
                self.due += 1;
                self.answer(now)?;
            }
            self.station.post(now, OpKind::Recv, ended.slot)?;
        }
        Ok(news)
    }

    #[inline]
    fn answer(&mut self, now: Instant) -> Result<bool, PairError> {
        let mut news = false;
        while self.due > 0
            && let Some(slot) = self.free.pop()
        {
            self.due -= 1;
            let kind = self.cell.measure.kind();
            if kind == OpKind::Write {
                self.station.buffers().number(slot, self.number);
            }
            self.station.post(now, kind, slot)?;
            self.station.push(now)?;
            news = true;
        }
        Ok(news)
    }
}
