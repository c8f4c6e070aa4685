//! Sixteen bytes an id, sorted, with a directory on top; a seventeenth only where an offset passes 32 GiB.

use std::collections::TryReserveError;

use super::directory::{BLOCK_ROWS, Directory};
use super::slot::Slot;

/// What is kept of one id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) id: u64,
    /// The low 32 bits of the offset's units.
    units: u32,
    size: i32,
}

/// Rows in order of id, each id once.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Bits 32 to 39 of the units, row by row; empty as long as all of them are zero.
    high: Vec<u8>,
    directory: Directory,
    live: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many rows are no tombstones.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn last_id(&self) -> Option<u64> {
        self.rows.last().map(|row| row.id)
    }

    pub(super) fn slot(&self, at: usize) -> Option<Slot> {
        let row = self.rows.get(at)?;
        let high = self.high.get(at).copied().unwrap_or(0);
        Some(Slot { id: row.id, units: u64::from(high) << 32 | u64::from(row.units), size: row.size })
    }

    pub(super) fn find(&self, id: u64) -> Option<Slot> {
        let (start, hint) = self.directory.block(id)?;
        let block = &self.rows[start..self.rows.len().min(start + BLOCK_ROWS)];
        let mut at = hint.min(block.len().checked_sub(1)?);
        while block[at].id < id && at + 1 < block.len() {
            at += 1;
        }
        while block[at].id > id && at > 0 {
            at -= 1;
        }
        if block[at].id == id { self.slot(start + at) } else { None }
    }

    /// Adds a row behind all others, whose ids are smaller. Rows are found only after [`Self::settle`].
    pub(super) fn push(&mut self, slot: Slot) -> Result<(), TryReserveError> {
        self.rows.try_reserve(1)?;
        let at = self.rows.len();
        self.rows.push(Row::default());
        if !self.high.is_empty() {
            self.high.try_reserve(1)?;
            self.high.push(0);
        }
        self.set(at, slot)?;
        self.live += usize::from(slot.is_live());
        Ok(())
    }

    /// Takes up slots in order of id, each id once; they replace rows of the same id. In place, from the back, so that
    /// no second table is needed. Rows are found only after [`Self::settle`].
    pub(super) fn merge(
        &mut self,
        slots: impl DoubleEndedIterator<Item = Slot> + ExactSizeIterator,
    ) -> Result<(), TryReserveError> {
        let mut unread = self.rows.len();
        let mut gap_end = unread + slots.len();
        self.rows.try_reserve_exact(slots.len())?;
        self.rows.resize(gap_end, Row::default());
        if !self.high.is_empty() {
            self.high.try_reserve_exact(slots.len())?;
            self.high.resize(gap_end, 0);
        }
        for slot in slots.rev() {
            while unread > 0 && self.rows[unread - 1].id > slot.id {
                unread -= 1;
                gap_end -= 1;
                self.rows[gap_end] = self.rows[unread];
                if !self.high.is_empty() {
                    self.high[gap_end] = self.high[unread];
                }
            }
            if unread > 0 && self.rows[unread - 1].id == slot.id {
                unread -= 1;
                self.live -= usize::from(self.rows[unread].size >= 0);
            }
            gap_end -= 1;
            self.set(gap_end, slot)?;
            self.live += usize::from(slot.is_live());
        }
        self.rows.drain(unread..gap_end);
        if !self.high.is_empty() {
            self.high.drain(unread..gap_end);
        }
        Ok(())
    }

    /// Makes every row findable, and gives back memory that no row needs.
    pub(super) fn settle(&mut self) {
        self.rows.shrink_to_fit();
        self.high.shrink_to_fit();
        self.directory = Directory::of(&self.rows);
    }

    fn set(&mut self, at: usize, slot: Slot) -> Result<(), TryReserveError> {
        self.rows[at] = Row { id: slot.id, units: slot.units as u32, size: slot.size };
        let high = (slot.units >> 32) as u8;
        if high != 0 && self.high.is_empty() {
            self.high.try_reserve_exact(self.rows.len())?;
            self.high.resize(self.rows.len(), 0);
        }
        if let Some(byte) = self.high.get_mut(at) {
            *byte = high;
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.high.capacity() + self.directory.memory_bytes()
    }
}
