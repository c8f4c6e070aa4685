//! Swarm runs over messengers: seeds that once found something hold, and a seed means one run.

use wavetank_harness::messenger::{draw, run};
use wavetank_harness::swarm::choices::SwarmChoices;

/// Each found a bug of the messenger that is mended since.
const FOUND: [u64; 24] = [
    10, 33, 47, 54, 98, 162, 191, 259, 263, 297, 354, 381, 931, 1_695, 2_050, 2_760, 3_036, 3_550, 3_611,
    4_421, 11_709, 11_910, 272, 534,
];

#[test]
fn seeds_that_found_a_bug_hold_now() {
    for seed in FOUND {
        let verdict = run(&draw(seed), SwarmChoices::seeded(seed));
        assert_eq!(verdict.failure, None, "seed {seed}");
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 1..20 {
        let hash = || run(&draw(seed), SwarmChoices::seeded(seed)).trace_hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
