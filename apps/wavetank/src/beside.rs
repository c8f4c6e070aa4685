//! Figures of ours beside those of a yardstick: rounds in turn, medians of rounds, a ratio.

use crate::figures::duration;

/// What rounds brought: ns, or bytes per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) ours: Vec<f64>,
    pub(crate) theirs: Vec<f64>,
}

impl Beside {
    /// Ours and theirs.
    pub(crate) fn medians(&self) -> (Option<f64>, Option<f64>) {
        (median(&self.ours), median(&self.theirs))
    }

    /// Ours by theirs.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (ours, theirs) = self.medians();
        Some(ours? / theirs?)
    }
}

/// The one in the middle. None of none.
pub(crate) fn median(rounds: &[f64]) -> Option<f64> {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied()
}

/// A figure as people read it: bytes per second, or ns.
pub(crate) fn shown(figure: Option<f64>, is_bandwidth: bool) -> String {
    match figure {
        None => "n/a".to_owned(),
        Some(figure) if is_bandwidth => format!("{:.1} MB/s", figure / 1e6),
        Some(ns) => duration(ns as u64),
    }
}

/// A ratio as people read it.
pub(crate) fn shown_ratio(ratio: Option<f64>) -> String {
    ratio.map_or("n/a".to_owned(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_nothing_has_none() {
        let beside = Beside { ours: vec![9.0, 1.0, 2.0], theirs: vec![4.0] };
        assert_eq!((beside.medians(), beside.ratio()), ((Some(2.0), Some(4.0)), Some(0.5)));
        assert_eq!(Beside { theirs: vec![], ..beside }.ratio(), None);
        assert_eq!(shown_ratio(None), "n/a");
    }
}
