//! Registrations that fail, and who survives it.

use wavetank_contract::error::RegisterError;
use wavetank_contract::{Access, PdId, RegionSpec};
use wavetank_engine::RdmaOps;
use wavetank_engine::memory::Arena;
use wavetank_mock::Mark;

use crate::lab::{CHUNK, KIB, Plan, lab};

#[test]
fn a_registration_that_fails_costs_nobody_else_anything_and_may_be_tried_again() {
    let mut lab = lab(Plan::default());
    lab.fabric.fail_registration(0, 1);
    let before = lab.read(0, 0, 3 * CHUNK);
    let stats = lab.nodes[0].arena.stats();
    let spec = RegionSpec::new(64 * KIB);
    let register = |lab: &crate::lab::Lab| {
        lab.on(0, |d| {
            let region = d.context().allocate(&spec).unwrap();
            let mr = d.context().register(&region, PdId::default(), Access::LOCAL);
            (region, mr)
        })
    };
    assert!(register(&lab).1.is_ok());
    assert_eq!(lab.fabric.passed(Mark::RegistrationFailed), 0);
    let (region, failed) = register(&lab);
    let Err(RegisterError::System(error)) = failed else { panic!("{failed:?}") };
    assert!(error.errno == 12 && error.to_string().contains("ulimit -l"), "{error}");
    assert_eq!((lab.fabric.passed(Mark::RegistrationFailed), region.live_leases()), (1, 0));
    // The arena that was there goes on as if nothing had been, and so do transfers that use it.
    assert_eq!(lab.nodes[0].arena.stats(), stats);
    lab.submit(0, before);
    lab.run();
    let end = lab.the_finished(0);
    lab.assert_brought(0, &end, 0, 3 * CHUNK);
    // Trying once more is enough, and the region that failed makes an arena like any other.
    let mr = lab.on(0, |d| d.context().register(&region, PdId::default(), Access::LOCAL)).unwrap();
    let mut arena = Arena::new(region, mr).unwrap();
    assert!(arena.acquire(64 * KIB).is_ok());
    drop(end);
    lab.assert_quiet();
}
