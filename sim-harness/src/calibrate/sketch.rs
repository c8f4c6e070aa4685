//! A recorded run, made small: the same operations in flight, in regions no larger than needed, because how long an
//! operation takes does not depend on where it goes.

use std::collections::BTreeMap;

use wavetank_contract::OpKind;

use crate::record::{Event, RecordedRun, Submit};
use crate::workload::{NodeId, Region};

/// Places of a region that operations take in turn, so that few of them overlap.
const PLACES: u64 = 64;

/// The first `ops` operations of a run.
pub(super) fn of(run: &RecordedRun, ops: usize) -> RecordedRun {
    let kept = |serial: u64| serial < ops as u64;
    // A region per node for data, and one for cells; operations keep their alignment.
    let mut slots: BTreeMap<(u16, bool), u64> = BTreeMap::new();
    for submit in run.submits().take(ops).filter(|submit| submit.region.is_some()) {
        let slot = slots.entry((submit.to, submit.kind.is_atomic())).or_default();
        *slot = u64::from(submit.len).next_multiple_of(64).max(*slot);
    }
    let names: BTreeMap<(u16, bool), u32> = slots.keys().copied().zip(0..).collect();
    let regions = slots.iter().map(|((node, atomic), slot)| Region {
        name: format!("{}{node}", if *atomic { "cells" } else { "data" }),
        node: NodeId(*node),
        bytes: slot * PLACES,
    });
    let mut serial = 0;
    let event = |event: &Event| match event {
        Event::Submit(submit) => {
            let number = serial;
            serial += 1;
            let key = (submit.to, submit.kind.is_atomic());
            let slot = slots.get(&key).copied().unwrap_or(0);
            let region = submit.region.and_then(|_| names.get(&key).copied());
            let offset = if submit.kind == OpKind::Send { 0 } else { number % PLACES * slot };
            kept(number).then_some(Event::Submit(Submit { region, offset, ..*submit }))
        }
        // Whatever failed, a profile is fitted to what did not; the others only make room.
        Event::Finish { serial, at, len, end } if kept(*serial) => {
            Some(Event::Finish { serial: *serial, at: *at, end: *end, len: *len })
        }
        _ => None,
    };
    let events = run.events.iter().filter_map(event).collect();
    RecordedRun { regions: regions.collect(), events, ..run.clone_head() }
}

impl RecordedRun {
    /// The run without its events.
    fn clone_head(&self) -> RecordedRun {
        RecordedRun {
            backend: self.backend.clone(),
            simulated: self.simulated,
            devices: self.devices.clone(),
            caps: self.caps.clone(),
            workload: self.workload.clone(),
            settings: self.settings.clone(),
            nodes: self.nodes.clone(),
            regions: Vec::new(),
            events: Vec::new(),
            first_line: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;
    use crate::workload::Settings;
    use crate::workload::limits::MAX_MEMORY_BYTES;
    use wavetank_contract::Instant;

    #[test]
    fn a_sketch_has_the_same_operations_in_flight_and_small_regions() {
        let submit = |at| {
            let (kind, region, offset) = (OpKind::Read, Some(0), 9_999_999);
            Event::Submit(Submit {
                at: Instant(at),
                kind,
                from: 0,
                to: 1,
                region,
                offset,
                len: 100,
                connection: 0,
            })
        };
        let finish = |serial| Event::Finish { serial, at: Instant(9), end: End::SUCCESS, len: 100 };
        let run = RecordedRun {
            backend: "verbs".to_owned(),
            simulated: false,
            devices: Vec::new(),
            caps: String::new(),
            workload: "w".to_owned(),
            settings: Settings::default(),
            nodes: Vec::new(),
            regions: vec![Region { name: "r".to_owned(), node: NodeId(1), bytes: MAX_MEMORY_BYTES }],
            events: vec![submit(1), submit(2), finish(1), submit(3), finish(0), finish(2)],
            first_line: 7,
        };
        let sketch = of(&run, 2);
        assert_eq!((sketch.ended_before(), sketch.concurrency()), (vec![0, 0], 2));
        assert_eq!(sketch.regions[0].bytes, 128 * PLACES);
        assert_eq!(of(&run, 9).ended_before(), run.ended_before());
        assert_eq!(of(&run, 9).services(), run.services());
    }
}
