//! What runs do.

use wavetank_contract::Seeded;
use wavetank_harness::swarm::{draw, run};

#[test]
fn fifty_seeds_run_clean_and_twice_alike() {
    for seed in 0..50 {
        let plan = draw(seed);
        let first = run(&plan, Seeded::new(seed));
        assert_eq!(first.failure, None, "seed {seed}");
        let second = run(&plan, Seeded::new(seed));
        assert_eq!((first.trace_hash, first.ended), (second.trace_hash, second.ended), "seed {seed}");
    }
}
