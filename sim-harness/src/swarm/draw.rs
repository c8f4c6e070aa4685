//! Drawing plans: the first draws of a seed say which verbs and faults exist at all, then how much of each. A run without
//! READs finds what READs would have hidden (Groce et al., Swarm Testing, ISSTA 2012).

mod faults;
mod ops;

use wavetank_contract::{Buggify, Mtu};

use super::plan::{ConnectionPlan, EnginePlan, Plan, RegionPlan};
use crate::dice::Dice;

/// Keeps seeds of plans and seeds of their choices apart.
const SALT: u64 = 0x5377_6172_6d20_7631;

/// The plan of a seed.
pub fn draw(seed: u64) -> Plan {
    let mut dice = Dice::new(seed ^ SALT);
    let features = Features::draw(&mut dice);
    let mut plan = topology(&mut dice);
    plan.ops = ops::draw(&mut dice, &features, &mut plan);
    plan.faults = faults::draw(&mut dice, &features, &plan);
    plan
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Read,
    Write,
    WriteImm,
    Send,
    SendImm,
    Add,
    Swap,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cut,
    LoseNth,
    Lose,
    Duplicate,
    Reorder,
    Delay,
    Corrupt,
    Truncate,
    Throttle,
    PortDown,
    Remove,
    ChangeGid,
    LoseNotification,
    FailRegistration,
    PlaceOutOfOrder,
    ShuffleCompletions,
    PausePort,
    ShallowBuffer,
    MarkCongestion,
    PauseHost,
    Crash,
    ClientDeath,
    Deregister,
    RollKey,
    RevokeWindow,
    ChangeSource,
}

impl Kind {
    const ALL: [Kind; 26] = [
        Kind::Cut,
        Kind::LoseNth,
        Kind::Lose,
        Kind::Duplicate,
        Kind::Reorder,
        Kind::Delay,
        Kind::Corrupt,
        Kind::Truncate,
        Kind::Throttle,
        Kind::PortDown,
        Kind::Remove,
        Kind::ChangeGid,
        Kind::LoseNotification,
        Kind::FailRegistration,
        Kind::PlaceOutOfOrder,
        Kind::ShuffleCompletions,
        Kind::PausePort,
        Kind::ShallowBuffer,
        Kind::MarkCongestion,
        Kind::PauseHost,
        Kind::Crash,
        Kind::ClientDeath,
        Kind::Deregister,
        Kind::RollKey,
        Kind::RevokeWindow,
        Kind::ChangeSource,
    ];
}

/// What exists at all in a run.
#[derive(Debug)]
struct Features {
    verbs: Vec<Verb>,
    faults: Vec<Kind>,
    cancels: bool,
    deadlines: bool,
    sessions: bool,
}

impl Features {
    fn draw(dice: &mut Dice) -> Features {
        let verbs =
            [Verb::Read, Verb::Write, Verb::WriteImm, Verb::Send, Verb::SendImm, Verb::Add, Verb::Swap];
        let verbs = dice.some_of(&verbs);
        // Some runs have nothing to blame: there everything has to succeed.
        let faults = if dice.once_in(8) { Vec::new() } else { dice.some_of(&Kind::ALL) };
        let (cancels, deadlines, sessions) = (dice.coin(), dice.coin(), dice.coin());
        Features { verbs, faults, cancels, deadlines, sessions }
    }
}

fn topology(dice: &mut Dice) -> Plan {
    let (profile, slow) = dice.pick(&[("ideal", 0), ("cx6", 0), ("cx6", 0), ("rxe", 3)]);
    let jitter_ns = if dice.coin() { 0 } else { dice.scaled(50, 20_000) };
    let nodes = dice.within(2, 5) as u16;
    let connections = (0..dice.within(1, 6)).map(|_| connection(dice, nodes, slow)).collect::<Vec<_>>();
    let regions = (0..dice.within(1, 4))
        .map(|_| {
            // At an end of a connection, or nobody would ever use it.
            let connection: &ConnectionPlan = &connections[dice.below(connections.len() as u64) as usize];
            let slot_bytes = dice.pick(&[64, 256, 1_024, 4_096, 4_096, 16_384]);
            RegionPlan {
                node: connection.nodes[usize::from(dice.coin())],
                slots: dice.within(1, 8) as u16,
                slot_bytes,
                window: dice.once_in(3),
            }
        })
        .collect();
    let engine = EnginePlan {
        chunk_bytes: dice.pick(&[256, 1_000, 1_024, 4_096, 65_536]),
        window: dice.pick(&[1, 2, 4, 8]),
        signal_every: dice.pick(&[1, 1, 2, 8, 32]),
    };
    let buggify = if dice.coin() {
        Buggify::ALL.into_iter().filter(|_| dice.once_in(4)).collect()
    } else {
        Default::default()
    };
    Plan {
        profile: profile.to_owned(),
        jitter_ns,
        nodes,
        regions,
        connections,
        engine,
        buggify,
        ops: Vec::new(),
        faults: Vec::new(),
    }
}

fn connection(dice: &mut Dice, nodes: u16, slow: u8) -> ConnectionPlan {
    let from = dice.within(0, u64::from(nodes) - 1) as u16;
    let other = dice.within(1, u64::from(nodes) - 1) as u16;
    // Two that give up hardly ever, and one that never does.
    let patient = dice.once_in(16);
    ConnectionPlan {
        nodes: [from, (from + other) % nodes],
        mtu: dice.pick(&[Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096]),
        timeout: if patient && dice.once_in(4) { 0 } else { dice.within(8, 11) as u8 + slow },
        retry_cnt: if patient && dice.coin() { 7 } else { dice.within(0, 6) as u8 },
        rnr_retry: if patient && dice.coin() { 7 } else { dice.within(0, 6) as u8 },
        rnr_timer: dice.within(3, 14) as u8,
        send_depth: dice.scaled(1, 64) as u16,
        recv_depth: dice.scaled(1, 32) as u16,
        rd_atomic: dice.scaled(1, 16) as u8,
        in_flight: dice.scaled(1, 16) as u16,
    }
}
