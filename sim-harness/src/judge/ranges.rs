//! Sets of bytes.

/// Disjoint ranges in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Adds the bytes from `start` up to `end`.
    pub(crate) fn add(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        let (mut from, mut to) = (start, end);
        self.0.retain(|&(a, b)| {
            let apart = b < start || a > end;
            if !apart {
                (from, to) = (from.min(a), to.max(b));
            }
            apart
        });
        let at = self.0.partition_point(|&(a, _)| a < from);
        self.0.insert(at, (from, to));
    }

    /// Takes the bytes from `start` up to `end` out.
    pub(crate) fn remove(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        let old = std::mem::take(&mut self.0);
        for (a, b) in old {
            self.add(a, b.min(start));
            self.add(a.max(end), b);
        }
    }

    /// Whether any byte from `start` up to `end` is in it.
    pub(crate) fn touches(&self, start: u32, end: u32) -> bool {
        start < end && self.0.iter().any(|&(a, b)| a < end && start < b)
    }

    /// What is not in it, up to `len`.
    pub(crate) fn gaps(&self, len: u32) -> Vec<(u32, u32)> {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut from = 0;
        for &(a, b) in &self.0 {
            if from < a.min(len) {
                gaps.push((from, a.min(len)));
            }
            from = from.max(b);
        }
        if from < len {
            gaps.push((from, len));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_split_and_leave_gaps() {
        let mut r = Ranges::default();
        r.add(10, 20);
        r.add(30, 40);
        r.add(5, 5);
        assert!(r.touches(19, 25) && !r.touches(20, 30));
        r.add(18, 30);
        assert_eq!(r.gaps(50), [(0, 10), (40, 50)]);
        r.remove(15, 35);
        assert_eq!(r.gaps(38), [(0, 10), (15, 35)]);
        assert_eq!(Ranges::default().gaps(3), [(0, 3)]);
    }
}
