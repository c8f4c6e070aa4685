//! Which generations of data may legally be seen where.
//!
//! A WRITE that has completed is what later READs must see. A WRITE in flight may or may not have landed: whoever reads
//! meanwhile may see either, and where two WRITEs in flight overlap, either may have come last.

use std::collections::BTreeMap;
use std::ops::Range;

/// Parts of a range, in order, each with the generations that may be found there.
pub type Pieces = Vec<(Range<u64>, Vec<u32>)>;

/// A read under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTicket {
    /// Nothing can change under it: exactly this generation is legal.
    Settled(u32),
    /// See the active reads.
    Watched(u64),
}

/// The versions of one region's bytes.
#[derive(Debug)]
pub struct Versions {
    len: u64,
    written: bool,
    generations: u32,
    /// What is there, by start; spans touch and cover everything. Usually one generation each.
    spans: BTreeMap<u64, Span>,
    writes: Vec<ActiveWrite>,
    reads: Vec<ActiveRead>,
    next_read: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    end: u64,
    legal: Vec<u32>,
}

#[derive(Debug)]
struct ActiveWrite {
    generation: u32,
    range: Range<u64>,
    /// Overlapping writes that were in flight at the same time.
    rivals: Vec<u32>,
}

#[derive(Debug)]
struct ActiveRead {
    id: u64,
    range: Range<u64>,
    /// What was there when it began.
    seen: Vec<(Range<u64>, Vec<u32>)>,
    /// Overlapping writes in flight at some time since.
    rivals: Vec<(Range<u64>, u32)>,
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Cuts a range wherever another one begins or ends in it.
fn cut<'a>(range: &Range<u64>, others: impl Iterator<Item = &'a Range<u64>>) -> Vec<Range<u64>> {
    let mut borders: Vec<u64> = vec![range.start, range.end];
    borders.extend(others.flat_map(|other| [other.start, other.end]).filter(|border| range.contains(border)));
    borders.sort_unstable();
    borders.dedup();
    borders.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

impl Versions {
    /// All of generation 0. `written`: whether the workload ever writes here; if not, nothing needs watching.
    pub fn new(len: u64, written: bool) -> Versions {
        let spans = BTreeMap::from([(0, Span { end: len, legal: vec![0] })]);
        Versions { len, written, generations: 1, spans, writes: Vec::new(), reads: Vec::new(), next_read: 0 }
    }

    /// Generations handed out so far, 0 included.
    pub fn generations(&self) -> u32 {
        self.generations
    }

    /// A write begins. Answers the generation to write.
    pub fn begin_write(&mut self, range: Range<u64>) -> u32 {
        let generation = self.generations;
        self.generations += 1;
        let mut rivals = Vec::new();
        for other in self.writes.iter_mut().filter(|other| overlap(&other.range, &range)) {
            other.rivals.push(generation);
            rivals.push(other.generation);
        }
        for read in self.reads.iter_mut().filter(|read| overlap(&read.range, &range)) {
            read.rivals.push((range.clone(), generation));
        }
        self.writes.push(ActiveWrite { generation, range, rivals });
        generation
    }

    /// A write completed: its bytes are in place. Answers pieces of its range, in order, each with the generations that
    /// may now be found there: its own, that of any rival that came last of those that are done, and that of any that
    /// is still in flight.
    pub fn end_write(&mut self, generation: u32) -> Option<Pieces> {
        let index = self.writes.iter().position(|write| write.generation == generation)?;
        let ActiveWrite { range, rivals, .. } = self.writes.swap_remove(index);
        let in_flight: Vec<_> = self.writes.iter().filter(|write| overlap(&write.range, &range)).collect();
        let mut pieces: Pieces = Vec::new();
        for (span, before) in self.legal_in(&range) {
            for piece in cut(&span, in_flight.iter().map(|write| &write.range)) {
                let mut legal = vec![generation];
                legal.extend(before.iter().filter(|former| rivals.contains(former)));
                for write in in_flight.iter().filter(|write| overlap(&write.range, &piece)) {
                    if !legal.contains(&write.generation) {
                        legal.push(write.generation);
                    }
                }
                match pieces.last_mut() {
                    // Nothing tells it from its neighbour any more.
                    Some((last, same)) if *same == legal => last.end = piece.end,
                    _ => pieces.push((piece, legal)),
                }
            }
        }
        for (piece, legal) in &pieces {
            self.replace(piece, legal);
        }
        Some(pieces)
    }

    /// A write failed, and can land no more: its connection is gone. Its bytes are there or not, each for itself, until
    /// another write covers them.
    pub fn give_up_write(&mut self, generation: u32) {
        let Some(index) = self.writes.iter().position(|write| write.generation == generation) else { return };
        let ActiveWrite { range, .. } = self.writes.swap_remove(index);
        for (piece, mut legal) in self.legal_in(&range) {
            if !legal.contains(&generation) {
                legal.push(generation);
                self.replace(&piece, &legal);
            }
        }
    }

    /// A read begins.
    pub fn begin_read(&mut self, range: Range<u64>) -> ReadTicket {
        if !self.written {
            return ReadTicket::Settled(0);
        }
        let id = self.next_read;
        self.next_read += 1;
        let seen = self.legal_in(&range);
        let rivals = self
            .writes
            .iter()
            .filter(|write| overlap(&write.range, &range))
            .map(|write| (write.range.clone(), write.generation))
            .collect();
        self.reads.push(ActiveRead { id, range, seen, rivals });
        ReadTicket::Watched(id)
    }

    /// A read ended. Answers pieces of its range, in order, each with the generations that may be found there.
    pub fn end_read(&mut self, id: u64) -> Option<Pieces> {
        let index = self.reads.iter().position(|read| read.id == id)?;
        let ActiveRead { seen, rivals, .. } = self.reads.swap_remove(index);
        if rivals.is_empty() {
            return Some(seen);
        }
        // A rival counts only where it wrote.
        let mut pieces = Vec::new();
        for (span, seen) in seen {
            for piece in cut(&span, rivals.iter().map(|(range, _)| range)) {
                let mut legal = seen.clone();
                legal.extend(
                    rivals.iter().filter(|(r, _)| overlap(r, &piece)).map(|(_, generation)| *generation),
                );
                pieces.push((piece, legal));
            }
        }
        Some(pieces)
    }

    /// What may be found everywhere, for the sweep at the end.
    pub fn all(&self) -> Vec<(Range<u64>, Vec<u32>)> {
        self.legal_in(&(0..self.len))
    }

    fn legal_in(&self, range: &Range<u64>) -> Vec<(Range<u64>, Vec<u32>)> {
        let first = self.spans.range(..=range.start).next_back().map_or(0, |(start, _)| *start);
        self.spans
            .range(first..range.end)
            .map(|(start, span)| (*start.max(&range.start)..span.end.min(range.end), span.legal.clone()))
            .filter(|(piece, _)| !piece.is_empty())
            .collect()
    }

    fn replace(&mut self, range: &Range<u64>, legal: &[u32]) {
        self.cut(range.start);
        self.cut(range.end);
        let covered: Vec<u64> = self.spans.range(range.clone()).map(|(start, _)| *start).collect();
        for start in covered {
            self.spans.remove(&start);
        }
        self.spans.insert(range.start, Span { end: range.end, legal: legal.to_vec() });
    }

    fn cut(&mut self, at: u64) {
        if let Some((_, span)) = self.spans.range_mut(..at).next_back()
            && span.end > at
        {
            let right = Span { end: span.end, legal: span.legal.clone() };
            span.end = at;
            self.spans.insert(at, right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(ticket: ReadTicket) -> u64 {
        match ticket {
            ReadTicket::Watched(id) => id,
            ReadTicket::Settled(_) => panic!("a written region is watched"),
        }
    }

    #[test]
    fn a_read_after_a_write_sees_the_write_and_nothing_older() {
        let mut v = Versions::new(100, true);
        let generation = v.begin_write(10..20);
        v.end_write(generation);
        let id = watched(v.begin_read(5..25));
        assert_eq!(v.end_read(id), Some(vec![(5..10, vec![0]), (10..20, vec![1]), (20..25, vec![0])]));
    }

    #[test]
    fn a_read_during_a_write_may_see_either_but_only_where_it_writes() {
        let mut v = Versions::new(100, true);
        let before = watched(v.begin_read(0..40));
        let generation = v.begin_write(10..20);
        let during = watched(v.begin_read(0..40));
        v.end_write(generation);
        let expected = Some(vec![(0..10, vec![0]), (10..20, vec![0, 1]), (20..40, vec![0])]);
        assert_eq!(v.end_read(before), expected);
        assert_eq!(v.end_read(during), expected);
    }

    #[test]
    fn of_two_overlapping_writes_in_flight_either_may_be_last() {
        let mut v = Versions::new(100, true);
        let (a, b) = (v.begin_write(0..50), v.begin_write(40..60));
        assert_eq!(v.end_write(b), Some(vec![(40..50, vec![2, 1]), (50..60, vec![2])]));
        assert_eq!(v.end_write(a), Some(vec![(0..40, vec![1]), (40..50, vec![1, 2])]));
        assert_eq!(v.all(), [(0..40, vec![1]), (40..50, vec![1, 2]), (50..60, vec![2]), (60..100, vec![0])]);
        let c = v.begin_write(30..70);
        v.end_write(c);
        assert_eq!(v.all(), [(0..30, vec![1]), (30..70, vec![3]), (70..100, vec![0])]);
    }

    #[test]
    fn a_write_that_was_overwritten_is_gone_though_an_older_one_is_still_in_flight() {
        let mut v = Versions::new(100, true);
        let (a, b) = (v.begin_write(0..10), v.begin_write(0..10));
        v.end_write(a);
        let c = v.begin_write(0..10);
        assert_eq!(v.end_write(c), Some(vec![(0..10, vec![3, 2])]), "b may come last, a cannot");
        assert_eq!(v.end_write(b), Some(vec![(0..10, vec![2, 3])]));
    }

    #[test]
    fn a_write_that_failed_is_there_or_not_until_a_later_one_covers_it() {
        let mut v = Versions::new(100, true);
        let failed = v.begin_write(10..30);
        let rival = v.begin_write(0..12);
        v.end_write(rival);
        v.give_up_write(failed);
        assert_eq!(
            v.all(),
            [(0..10, vec![2]), (10..12, vec![2, 1]), (12..30, vec![0, 1]), (30..100, vec![0])]
        );
        let id = watched(v.begin_read(20..40));
        assert_eq!(v.end_read(id), Some(vec![(20..30, vec![0, 1]), (30..40, vec![0])]));
        let covers = v.begin_write(15..100);
        v.end_write(covers);
        assert_eq!(v.all()[2..], [(12..15, vec![0, 1]), (15..100, vec![3])], "what covers it ends the doubt");
        v.give_up_write(failed);
        assert_eq!(v.all()[2..], [(12..15, vec![0, 1]), (15..100, vec![3])], "once");
    }

    #[test]
    fn nothing_is_watched_where_nothing_is_written() {
        assert_eq!(Versions::new(100, false).begin_read(0..10), ReadTicket::Settled(0));
    }

    #[test]
    fn random_writes_keep_the_spans_whole() {
        use wavetank_contract::{Choices, Seeded, Site};
        let mut choices = Seeded::new(1);
        let mut v = Versions::new(1000, true);
        let mut model = vec![0u32; 1000];
        for _ in 0..500 {
            let start = choices.choose(Site::WorkloadPlace, 990);
            let end = start + 1 + choices.choose(Site::WorkloadSize, 10);
            let generation = v.begin_write(start..end);
            v.end_write(generation);
            model[start as usize..end as usize].fill(generation);
            let all = v.all();
            assert_eq!(all.first().map(|(r, _)| r.start), Some(0));
            assert!(all.windows(2).all(|w| w[0].0.end == w[1].0.start));
            for (range, legal) in all {
                assert!(range.clone().all(|i| legal == [model[i as usize]]), "{range:?}");
            }
        }
    }
}
