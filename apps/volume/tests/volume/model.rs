//! The index, held against a map that does the same in the plainest way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wavetank_volume::{Index, IndexEntry, IndexReadError, NeedleId, OffsetWidth};

/// An entry as it stands on disk.
fn line(width: OffsetWidth, id: u64, units: u64, size: i32) -> Vec<u8> {
    let [_, _, _, high, low @ ..] = units.to_be_bytes();
    let mut line = [&id.to_be_bytes()[..], &low].concat();
    if width == OffsetWidth::Five {
        line.push(high);
    }
    line.extend(size.to_be_bytes());
    line
}

/// What is known of each id: its place, or that it was deleted.
type Model = BTreeMap<u64, Option<(u64, u32)>>;

fn tell(model: &mut Model, id: u64, units: u64, size: i32) {
    let live = u32::try_from(size).ok().filter(|_| units != 0).map(|size| (units * 8, size));
    model.insert(id, live);
}

fn check(index: &Index, model: &Model, probes: &[u64]) -> Result<(), TestCaseError> {
    let near = |id: u64| [id.wrapping_sub(1), id, id.wrapping_add(1)];
    for id in model.keys().chain(probes).copied().flat_map(near) {
        let expected = model.get(&id).copied();
        let found = index.get(NeedleId(id)).map(|entry| (entry.offset_bytes, entry.size_bytes));
        prop_assert_eq!(found, expected.flatten(), "{}", id);
        prop_assert_eq!(index.is_deleted(NeedleId(id)), expected == Some(None), "{}", id);
    }
    let live: Vec<IndexEntry> = index.live().collect();
    let expected = model.iter().filter_map(|(&id, &place)| {
        place.map(|(offset_bytes, size_bytes)| IndexEntry { id: NeedleId(id), offset_bytes, size_bytes })
    });
    prop_assert_eq!(index.live().len(), live.len());
    prop_assert!(live.into_iter().eq(expected));
    Ok(())
}

/// Ids as they come: in order, scattered, at the ends, in clusters; often the same ones again.
fn id() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..300,
        2 => any::<u64>(),
        1 => (0_u64..64).prop_map(|bit| 1 << bit),
        1 => (0_u64..40).prop_map(|back| u64::MAX - back),
    ]
}

fn entries() -> impl Strategy<Value = Vec<(u64, u64, i32)>> {
    prop::collection::vec((id(), 0_u64..1 << 40, prop_oneof![3 => 0..i32::MAX, 1 => i32::MIN..0]), 0..700)
}

proptest! {
    #[test]
    fn an_index_says_what_a_map_says_however_it_grew(
        entries in entries(),
        sorted: bool,
        five: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        probes in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let mut entries = entries;
        if sorted {
            entries.sort_by_key(|(id, ..)| *id);
        }
        let width = if five { OffsetWidth::Five } else { OffsetWidth::Four };
        let mask = if five { u64::MAX } else { u64::from(u32::MAX) };
        let mut model = Model::new();
        let mut log = Vec::new();
        for (id, units, size) in &entries {
            tell(&mut model, *id, *units & mask, *size);
            log.extend(line(width, *id, *units & mask, *size));
        }
        let whole = Index::parse(&log, width);
        check(&whole, &model, &probes)?;

        let entry_len = width.entry_len_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len() + 1) * entry_len).collect();
        at.sort_unstable();
        let first = at.first().copied().unwrap_or(log.len());
        let mut grown = Index::parse(&log[..first], width);
        for part in at.windows(2) {
            grown.append(&log[part[0]..part[1]], usize::MAX).unwrap();
        }
        grown.append(&log[at.last().copied().unwrap_or(log.len())..], usize::MAX).unwrap();
        check(&grown, &model, &probes)?;
        prop_assert_eq!(&grown, &whole);
        prop_assert_eq!(grown.counts().entries, entries.len() as u64);
    }
}

/// Long enough for several merges of what was appended, and for several runs while loading.
#[test]
fn a_long_log_out_of_order_is_folded_and_followed_like_a_short_one() {
    let width = OffsetWidth::Five;
    let scattered = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mut model = Model::new();
    let mut log = Vec::new();
    for n in 0..1_500_000_u64 {
        let (id, units, size) = (scattered(n % 900_000), n << 13, if n % 11 == 0 { -1 } else { n as i32 });
        tell(&mut model, id, units, size);
        log.extend(line(width, id, units, size));
    }
    let whole = Index::parse(&log, width);
    let start = log.len() / 17 / 2 * 17;
    let mut grown = Index::parse(&log[..start], width);
    for part in log[start..].chunks(17 * 1000) {
        grown.append(part, usize::MAX).unwrap();
    }
    assert!(grown == whole);
    let model_live = model.iter().filter_map(|(id, place)| Some((*id, (*place)?)));
    let live = |entry: IndexEntry| (entry.id.0, (entry.offset_bytes, entry.size_bytes));
    assert!(whole.live().map(live).eq(model_live));
    assert!((0..1000).all(|n| whole.get(NeedleId(scattered(n))).is_some() == model[&scattered(n)].is_some()));
}

#[test]
fn a_needle_costs_less_than_twenty_bytes_however_its_id_is_spread() {
    let ids: [fn(u64) -> u64; 3] = [|n| n, |n| n * 1000, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)];
    for (width, id) in [OffsetWidth::Four, OffsetWidth::Five].into_iter().flat_map(|w| ids.map(|id| (w, id)))
    {
        let count = 300_000;
        let high = if width == OffsetWidth::Five { 1 << 33 } else { 1 };
        let log: Vec<u8> = (0..count).flat_map(|n| line(width, id(n), high + n, 9)).collect();
        let mut index = Index::parse(&log, width);
        let each = |index: &Index| index.memory_bytes() as f64 / index.live().len() as f64;
        assert!(each(&index) < 18.0, "{}", each(&index));
        let more: Vec<u8> = (0..5000).flat_map(|n| line(width, (1 << 62) + n, high + n, 9)).collect();
        index.append(&more, usize::MAX).unwrap();
        assert!(each(&index) < 20.0, "{}", each(&index));
    }
}

#[test]
fn an_index_ends_where_it_was_told_to() {
    let width = OffsetWidth::Four;
    let log: Vec<u8> = (0..100).flat_map(|n| line(width, n % 50, 1, 9)).collect();
    assert!(Index::read(&log[..], width, 50).is_ok(), "fifty ids, each twice");
    let error = Index::read(&log[..], width, 49).unwrap_err();
    assert!(matches!(error, IndexReadError::TooMany { needles_max: 49 }), "{error:?}");
    let mut index = Index::empty(width);
    assert!(index.append(&log, 50).is_err() || index.live().len() == 50);
    let error = Index::empty(width).append(&log, 49).unwrap_err();
    assert!(error.to_string().contains("more than 49 needles"), "{error}");
}

/// Found by the model: two samples as far apart as can be left nothing of an id to look at.
#[test]
fn ids_at_both_ends_of_the_range_are_found() {
    let width = OffsetWidth::Four;
    for far in [u64::MAX, u64::MAX / 2 + 1, u64::MAX - 70] {
        let log: Vec<u8> = (0..64).chain(far..=far).flat_map(|id| line(width, id, 1, 9)).collect();
        let index = Index::parse(&log, width);
        assert!((0..64).chain(far..=far).all(|id| index.get(NeedleId(id)).is_some()));
        assert!([64, far - 1, far / 2].into_iter().all(|id| index.get(NeedleId(id)).is_none()));
    }
}
