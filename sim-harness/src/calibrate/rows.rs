//! Percentiles by kind and size, and how far two of them are from each other.

use std::collections::BTreeMap;

use wavetank_contract::OpKind;

use super::COUNT_MIN;

/// Distinct sizes that get rows of their own; where there are more, sizes are grouped by powers of two.
const SIZES_MAX: usize = 16;

/// How much the 99th percentile counts beside the median.
const P99_WEIGHT: f64 = 0.5;

/// Which sizes belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Exact,
    PowerOfTwo,
}

impl Class {
    /// The classes of a run's operations.
    pub(super) fn all(services: &[(OpKind, u32, u64)]) -> Class {
        let mut sizes: Vec<u32> = services.iter().map(|(_, len, _)| *len).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() > SIZES_MAX { Class::PowerOfTwo } else { Class::Exact }
    }

    fn of(self, len: u32) -> u32 {
        match self {
            Class::Exact => len,
            Class::PowerOfTwo => len.checked_next_power_of_two().unwrap_or(u32::MAX),
        }
    }
}

/// Operations of one kind and size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) bytes: u32,
    count: usize,
    least_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
}

/// Groups by kind and size.
#[derive(Clone, Debug)]
pub(super) struct Percentiles {
    class: Class,
    groups: BTreeMap<(OpKind, u32), Group>,
}

impl Percentiles {
    pub(super) fn of(services: &[(OpKind, u32, u64)], class: Class) -> Percentiles {
        let mut by_group: BTreeMap<(OpKind, u32), Vec<u64>> = BTreeMap::new();
        for (kind, len, ns) in services {
            by_group.entry((*kind, class.of(*len))).or_default().push(*ns);
        }
        let group = |((kind, bytes), mut all): ((OpKind, u32), Vec<u64>)| {
            all.sort_unstable();
            let at = |percent: usize| all.get((all.len() - 1) * percent / 100).copied().unwrap_or(0).max(1);
            let group = Group { bytes, count: all.len(), least_ns: at(0), p50_ns: at(50), p99_ns: at(99) };
            ((kind, bytes), group)
        };
        Percentiles { class, groups: by_group.into_iter().map(group).collect() }
    }

    /// Operations of the commonest kind and size.
    pub(super) fn most(&self) -> usize {
        self.groups.values().map(|group| group.count).max().unwrap_or(0)
    }

    pub(super) fn least_ns(&self) -> u64 {
        self.groups.values().map(|group| group.least_ns).min().unwrap_or(1)
    }

    /// The longest operations.
    pub(super) fn longest(&self) -> Group {
        self.groups.values().max_by_key(|group| group.bytes).copied().unwrap_or_default()
    }
}

/// Operations of one kind and size, on the device and on the mock.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What they were.
    pub kind: OpKind,
    /// Their bytes, or the most of their class.
    pub bytes: u32,
    /// Whether other sizes belong to the row.
    pub grouped: bool,
    /// How many.
    pub count: usize,
    /// Median and 99th percentile on the device, in ns.
    pub device_ns: [u64; 2],
    /// The same on the mock.
    pub mock_ns: [u64; 2],
}

impl Row {
    /// `read/8192`, `read/<=65536`.
    pub fn label(&self) -> String {
        let (kind, sign) = (self.kind.name(), if self.grouped { "<=" } else { "" });
        format!("{kind}/{sign}{}", self.bytes)
    }

    /// Mock over device, for median and 99th percentile.
    pub fn ratios(&self) -> [f64; 2] {
        [0, 1].map(|i| self.mock_ns[i] as f64 / self.device_ns[i].max(1) as f64)
    }
}

/// Every group of which there is enough on both sides.
fn pairs<'p>(
    device: &'p Percentiles,
    mock: &'p Percentiles,
) -> impl Iterator<Item = (OpKind, &'p Group, &'p Group)> {
    let both = device.groups.iter().filter_map(|(key, group)| Some((key.0, group, mock.groups.get(key)?)));
    both.filter(|(_, device, mock)| device.count >= COUNT_MIN && mock.count >= COUNT_MIN)
}

pub(super) fn rows(device: &Percentiles, mock: &Percentiles) -> Vec<Row> {
    let grouped = device.class == Class::PowerOfTwo;
    let row = |(kind, device, mock): (OpKind, &Group, &Group)| Row {
        kind,
        bytes: device.bytes,
        grouped,
        count: device.count,
        device_ns: [device.p50_ns, device.p99_ns],
        mock_ns: [mock.p50_ns, mock.p99_ns],
    };
    pairs(device, mock).map(row).collect()
}

/// The root mean square of the logarithms of all ratios: commoner operations count more, medians more than tails.
pub(super) fn error(device: &Percentiles, mock: &Percentiles) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (_, device, mock) in pairs(device, mock) {
        let weight = libm::sqrt(device.count as f64);
        let off = |device: u64, mock: u64| {
            let log = libm::log(mock as f64 / device as f64);
            log * log
        };
        sum += weight * (off(device.p50_ns, mock.p50_ns) + P99_WEIGHT * off(device.p99_ns, mock.p99_ns));
        weights += weight * (1.0 + P99_WEIGHT);
    }
    if weights > 0.0 { libm::sqrt(sum / weights) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(ns: u64) -> Vec<(OpKind, u32, u64)> {
        (0..100).map(|i| (OpKind::Read, 4096, ns + i)).collect()
    }

    #[test]
    fn equal_runs_have_no_error_and_others_the_factor_between_them() {
        let of = |ns| Percentiles::of(&services(ns), Class::Exact);
        assert_eq!(error(&of(1000), &of(1000)), 0.0);
        let twice: Vec<_> = services(1000).iter().map(|(kind, len, ns)| (*kind, *len, 2 * ns)).collect();
        let off = error(&of(1000), &Percentiles::of(&twice, Class::Exact));
        assert!((off.exp() - 2.0).abs() < 0.01, "{off}");
        let rows = rows(&of(1000), &of(1000));
        assert_eq!((rows[0].device_ns, rows[0].label().as_str()), ([1049, 1098], "read/4096"));
    }

    #[test]
    fn a_kind_of_which_there_is_too_little_says_nothing() {
        let few: Vec<_> = services(5).into_iter().take(COUNT_MIN - 1).collect();
        let few = Percentiles::of(&few, Class::Exact);
        assert_eq!((rows(&few, &few).len(), error(&few, &few)), (0, f64::INFINITY));
    }
}
