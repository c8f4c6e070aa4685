//! Runs that a seed draws: clients of both protocols and of rings, that err, cancel, hold, sleep and die, while a writer appends,
//! overwrites, deletes and vacuums, links and exporters fail, and the daemon itself ends and begins anew. No client is told
//! anything that is not so, none waits for ever, and nothing stays behind.

use crate::lie::Lie;
use crate::seen::Told;
use crate::world::run;

/// How many seeds, and the first of them, unless the environment says otherwise.
const SEEDS: u64 = 200;
const FIRST: u64 = 0;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Everything that has to happen in some run.
const HAPPENS: &[&str] = &[
    "fault: blackout",
    "fault: loss",
    "fault: damage",
    "fault: reordering",
    "fault: pause",
    "fault: lines cut",
    "fault: exporter restarted",
    "fault: daemon restarted",
    "fault: daemon drained",
    "fault: daemon's device gone",
    "write: put",
    "write: delete",
    "write: vacuum",
    "client: connected",
    "client: died",
    "client: deaf for a while",
    "client: half a frame",
    "client: too long a frame",
    "client: second hello",
    "client: ended",
    "client: ended as it should be",
    "client: loan looked at again",
    "path: Local",
    "path: Pull",
    "path: Push",
    "read: found",
    "read: NEEDLE_NOT_FOUND",
    "read: NEEDLE_DELETED",
    "read: NEEDLE_EXPIRED",
    "read: WRONG_COOKIE",
    "read: PAST_END",
    "read: TOO_LONG",
    "read: DAMAGED",
    "read: NOT_EXPORTED",
    "read: PEER_GONE",
    "read: DEVICE_GONE",
    "read: TIMED_OUT",
    "read: BUSY",
    "read: SHUTTING_DOWN",
    "read: CANCELLED",
    "native: pong",
    "native: capabilities",
    "native: named",
    "native: ring",
    "native: second ring",
    "native: id that was in use",
    "native: refused MALFORMED",
    "native: refused WRONG_NAME",
    "native: ended for UNKNOWN_VERSION",
    "native: ended for TOO_LONG",
    "native: ended for MALFORMED",
    "ring: found",
    "ring: refused",
    "ring: pong",
    "ring: full",
    "ring: the client was woken",
    "ring: refused UNSUPPORTED_MESSAGE",
    "ring: refused WRONG_NAME",
    "seaweed: found",
    "seaweed: completed",
    "seaweed: completed with what is wrong",
    "seaweed: session was over",
    "seaweed: SessionNotFound",
    "seaweed: PermissionDenied",
    "seaweed: TooManySessions",
    "seaweed: pong",
    "seaweed: capabilities",
    "seaweed: refused MALFORMED",
    "healed: as it is",
    "empty",
];

#[test]
fn no_client_is_told_what_is_not_so_none_waits_for_ever_and_nothing_stays_behind() {
    let told = Told::default();
    let only = number("DAEMON_SWARM_SEED");
    let first = only.or(number("DAEMON_SWARM_FIRST")).unwrap_or(FIRST);
    let seeds = if only.is_some() { 1 } else { number("DAEMON_SWARM_SEEDS").unwrap_or(SEEDS) };
    for seed in first..first + seeds {
        let (wrong, _) = run(seed, Lie::Nothing, &told);
        assert!(
            wrong.is_empty(),
            "seed {seed}: {wrong:#?}\nagain: DAEMON_SWARM_SEED={seed} cargo test -p wavetank-daemon --test sim no_client"
        );
    }
    if seeds >= SEEDS {
        let never: Vec<_> = HAPPENS.iter().filter(|what| told.count(what) == 0).collect();
        assert!(never.is_empty(), "never: {never:?}\n{told:#?}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let told = Told::default();
    for seed in [3, 44, 171] {
        let first = run(seed, Lie::Nothing, &told);
        assert_eq!(run(seed, Lie::Nothing, &told), first, "seed {seed}");
        assert_ne!(run(seed + 1000, Lie::Nothing, &told).1, first.1, "another seed");
    }
}

/// The same in debug and release, and on every machine. Whoever changes what a run does changes it.
#[test]
fn a_known_seed_comes_to_a_known_sum() {
    assert_eq!(run(7, Lie::Nothing, &Told::default()), (Vec::new(), 3_388_575_330));
}

#[test]
fn every_lie_is_found_out_and_named() {
    let told = Told::default();
    for lie in Lie::ALL {
        let named =
            |seed: &u64| run(*seed, lie, &told).0.iter().any(|wrong| wrong.contains(lie.is_told_as()));
        assert!((0..40).any(|seed| named(&seed)), "{lie:?} is never told as {:?}", lie.is_told_as());
    }
}
