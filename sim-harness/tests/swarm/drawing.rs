//! What seeds draw.

use wavetank_harness::swarm::draw;

const SEEDS: u64 = 1_000;

#[test]
fn every_drawn_plan_is_well_formed() {
    for seed in 0..SEEDS {
        assert_eq!(draw(seed).check(), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_seed_always_draws_the_same_plan_and_another_seed_another() {
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
