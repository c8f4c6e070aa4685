//! Drawing plans: the first draws say which sorts of messages, ways and faults exist at all, then how much of each.

use wavetank_contract::Buggify;
use wavetank_engine::BackendKind;
use wavetank_messenger::config::FRAME_BYTES_MIN;
use wavetank_messenger::{MessengerConfig, Policy, Thresholds, Way};

use super::plan::{
    ConnectionPlan, FRONT_BYTES_MIN, Happens, Incident, Letter, Load, NodePlan, OpPlan, Place, Plan, Reply,
    Sort, What,
};
use crate::dice::Dice;
use crate::fault::{Fault, When};
use crate::lab::{Cause, DeviceFault, HostFault, LinkFault};

/// Keeps seeds of plans and seeds of their choices apart.
const SALT: u64 = 0x4d65_7373_656e_6765;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// The plan of a seed.
pub fn draw(seed: u64) -> Plan {
    let mut dice = Dice::new(seed ^ SALT);
    let mut plan = topology(&mut dice);
    let features = Features::draw(&mut dice);
    plan.ops = ops(&mut dice, &features, &plan);
    if !features.faults.is_empty() {
        for _ in 0..dice.within(1, 8) {
            let kind = dice.pick(&features.faults);
            fault(&mut dice, &mut plan, kind);
        }
    }
    differ(&mut dice, &mut plan);
    plan
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
    PowerLoss,
    LinesCut,
    LinesSilent,
    LinesReset,
    KillEndpoint,
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
        Kind::PowerLoss,
        Kind::LinesCut,
        Kind::LinesSilent,
        Kind::LinesReset,
        Kind::KillEndpoint,
    ];
}

/// Sorts of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OneWay,
    Held,
    Request,
}

/// What exists at all in a run.
#[derive(Debug)]
struct Features {
    shapes: Vec<Shape>,
    places: Vec<Place>,
    ways: Vec<Option<Way>>,
    faults: Vec<Kind>,
    deadlines: bool,
    cancels: bool,
    sinks: bool,
    keeps: bool,
    closes: bool,
    silences: bool,
    /// Longest data.
    len_max: u64,
}

impl Features {
    fn draw(dice: &mut Dice) -> Features {
        let ways = [None, None, Some(Way::Eager), Some(Way::Read), Some(Way::Write), Some(Way::Sink)];
        Features {
            shapes: dice.some_of(&[Shape::OneWay, Shape::Held, Shape::Request]),
            places: dice.some_of(&[Place::Pool, Place::Exposed, Place::Own]),
            ways: dice.some_of(&ways),
            // Some runs have nothing to blame.
            faults: if dice.once_in(8) { Vec::new() } else { dice.some_of(&Kind::ALL) },
            deadlines: dice.coin(),
            cancels: dice.coin(),
            sinks: dice.coin(),
            keeps: dice.coin(),
            closes: dice.once_in(3),
            silences: dice.once_in(3),
            len_max: dice.pick(&[600, 10_000, 60_000, 300_000]),
        }
    }
}

fn topology(dice: &mut Dice) -> Plan {
    let profile = dice.pick(&["ideal", "cx6", "cx6", "rxe"]);
    let jitter_ns = if dice.coin() { 0 } else { dice.scaled(50, 20_000) };
    let count = dice.within(2, 4) as u16;
    let len_max = dice.scaled(2_000, 300_000);
    let times = times(dice);
    let nodes: Vec<NodePlan> = (0..count)
        .map(|index| {
            let accepts = [Policy::LosslessPeer, Policy::StatefulServer, Policy::StatelessServer];
            let accepts = if dice.once_in(24) { None } else { Some(dice.pick(&accepts)) };
            NodePlan { config: config(dice, &times, u64::from(index) + 1, len_max), accepts }
        })
        .collect();
    let mut connections: Vec<ConnectionPlan> = Vec::new();
    for _ in 0..dice.within(1, 4) {
        let from = dice.within(0, u64::from(count) - 1) as u16;
        let to = (from + dice.within(1, u64::from(count) - 1) as u16) % count;
        connections.extend(connection(dice, &nodes, from, to, &connections));
    }
    let buggify = match dice.coin() {
        true => Buggify::ALL.into_iter().filter(|_| dice.once_in(4)).collect(),
        false => Default::default(),
    };
    let line_ns = dice.scaled(US, 300 * US);
    Plan {
        profile: profile.to_owned(),
        jitter_ns,
        line_ns,
        line_jitter_ns: if dice.coin() { 0 } else { dice.scaled(US, MS) },
        nodes,
        connections,
        chunk_bytes: dice.pick(&[1_000, 4_096, 65_536, 256 << 10]),
        window: dice.pick(&[1, 2, 8]),
        signal_every: dice.pick(&[1, 1, 2, 8, 32]),
        buggify,
        stepped: dice.once_in(4),
        ops: Vec::new(),
        faults: Vec::new(),
        incidents: Vec::new(),
        heal_ns: dice.scaled(5 * MS, 60 * MS),
    }
}

/// Times that all nodes have in common, more or less.
struct Times {
    keepalive_ns: u64,
    connect_ns: u64,
    backoff_ns: u64,
    give_up_ns: u64,
}

fn times(dice: &mut Dice) -> Times {
    Times {
        keepalive_ns: dice.scaled(300 * US, 4 * MS),
        // A handshake is seven messages of a line, the slowest of which take a millisecond and a third.
        connect_ns: dice.scaled(10 * MS, 20 * MS),
        backoff_ns: dice.scaled(100 * US, 2 * MS),
        give_up_ns: if dice.coin() { dice.scaled(10 * MS, 60 * MS) } else { 400 * MS },
    }
}

fn config(dice: &mut Dice, times: &Times, name: u64, len_max: u64) -> MessengerConfig {
    let frame_bytes = dice.pick(&[FRAME_BYTES_MIN, 2_048, 4_096, 8_192]);
    let credits = dice.pick(&[4, 4, 5, 8, 16]);
    let window = credits * dice.pick(&[1, 2, 4]) as u32;
    let message_bytes_max = if dice.once_in(4) { len_max / 2 } else { len_max };
    let tight = dice.once_in(3);
    let landing_bytes_max = message_bytes_max * if tight { 1 } else { 8 };
    let room = message_bytes_max.next_power_of_two().max(16 << 10);
    let pool_bytes = room * dice.pick(&[2, 4, 16]);
    let receives = u64::from(credits) * u64::from(frame_bytes.next_power_of_two());
    let thresholds = Thresholds {
        eager_bytes_max: dice.pick(&[0, 100, 4_096, 4_096, 1 << 20]),
        prefer_write: dice.once_in(4),
    };
    MessengerConfig {
        frame_bytes,
        credits,
        window,
        message_bytes_max,
        landing_bytes_max,
        queue_messages_max: dice.pick(&[2, 8, 64, 4_096]),
        requests_max: dice.pick(&[1, 8, 64, 4_096]),
        connections_max: if dice.once_in(16) { 2 } else { 64 },
        pool_bytes: pool_bytes.max(u64::from(frame_bytes) * 8),
        landing_pool_bytes: room * dice.pick(&[1, 2, 8]),
        receive_bytes: receives * dice.pick(&[4, 8, 32]),
        exposed_bytes_max: room * dice.pick(&[8, 16, 64]),
        thresholds,
        connect_ns: times.connect_ns * dice.within(2, 3) / 2,
        keepalive_ns: times.keepalive_ns,
        silence_ns: times.keepalive_ns * dice.within(3, 8) + 2 * MS,
        // Undisturbed, the largest data in the smallest chunks takes a third of that.
        transfer_ns: dice.scaled(20 * MS, 60 * MS),
        ack_delay_ns: if dice.coin() { 0 } else { dice.scaled(US, MS) },
        backoff_ns: times.backoff_ns,
        give_up_ns: times.give_up_ns,
        ..MessengerConfig::new(name, BackendKind::Mock)
    }
}

/// Sides that measure time by themselves: who gives signs of life as seldom as its own patience allows may have a peer with much
/// less. Drawn last, so that the runs of all other seeds stay what they were.
fn differ(dice: &mut Dice, plan: &mut Plan) {
    if !dice.once_in(3) {
        return;
    }
    for node in &mut plan.nodes {
        let config = &mut node.config;
        if dice.coin() {
            config.silence_ns *= dice.within(2, 10);
        }
        if dice.coin() {
            config.keepalive_ns = config.silence_ns - 1;
        }
        if dice.coin() {
            // The largest data takes longer, and gets on meanwhile.
            config.transfer_ns = dice.scaled(2 * MS, 20 * MS);
        }
    }
}

fn connection(
    dice: &mut Dice,
    nodes: &[NodePlan],
    from: u16,
    to: u16,
    others: &[ConnectionPlan],
) -> Option<ConnectionPlan> {
    let there = others.iter().any(|other| {
        other.nodes == [from, to] || other.nodes == [to, from] && other.policy == Policy::LosslessPeer
    });
    if there {
        return None;
    }
    let policy = match nodes[usize::from(to)].accepts {
        // Now and then somebody who is not wanted.
        _ if dice.once_in(24) => {
            dice.pick(&[Policy::LossyClient, Policy::LosslessClient, Policy::LosslessPeer])
        }
        Some(Policy::LosslessPeer) => Policy::LosslessPeer,
        Some(Policy::StatefulServer) => Policy::LosslessClient,
        _ => Policy::LossyClient,
    };
    let peers = policy == Policy::LosslessPeer;
    if peers && others.iter().any(|other| other.nodes == [to, from]) {
        return None;
    }
    // The other of two equals may call as well, at the same time even, if this one would have it.
    let both = peers && nodes[usize::from(from)].accepts == Some(Policy::LosslessPeer) && dice.coin();
    let first = dice.scaled(US, 3 * MS);
    let second = if dice.coin() { first } else { dice.scaled(US, 6 * MS) };
    Some(ConnectionPlan {
        nodes: [from, to],
        policy,
        dials_ns: [Some(first), both.then_some(second)],
        redial_ns: (!dice.once_in(4)).then(|| dice.scaled(10 * US, 3 * MS)),
    })
}

fn ops(dice: &mut Dice, features: &Features, plan: &Plan) -> Vec<OpPlan> {
    let busy_ns = plan.heal_ns * 3 / 4;
    let mut ops: Vec<OpPlan> = Vec::new();
    if plan.connections.is_empty() {
        return ops;
    }
    let both = dice.coin();
    let bursts = dice.within(2, 12);
    for _ in 0..bursts {
        let connection = dice.within(0, plan.connections.len() as u64 - 1) as u16;
        let end = u8::from(both && dice.coin());
        let at_ns = dice.within(0, busy_ns);
        for _ in 0..dice.scaled(1, 12) {
            let what = match features.closes && dice.once_in(20) {
                true => What::Close,
                false => What::Send(letter(dice, features)),
            };
            let at_ns = at_ns + dice.pick(&[0, 0, 0, 1_000, 50_000]);
            ops.push(OpPlan { id: ops.len() as u32, connection, end, at_ns, what });
        }
    }
    ops
}

fn letter(dice: &mut Dice, features: &Features) -> Letter {
    let keep_ns = if features.keeps && dice.coin() { dice.scaled(US, 10 * MS) } else { 0 };
    let load = load(dice, features);
    let sort = match dice.pick(&features.shapes) {
        Shape::OneWay => Sort::OneWay,
        Shape::Held => Sort::Held,
        Shape::Request => {
            let after = if dice.coin() { 0 } else { dice.scaled(US, 8 * MS) };
            Sort::Request {
                sink: (features.sinks && dice.coin()).then(|| dice.scaled(1, features.len_max) as u32),
                cancel_ns: (features.cancels && dice.once_in(4)).then(|| dice.scaled(1, 4 * MS)),
                reply: match dice.within(0, 9) {
                    0 if features.silences => Reply::Never,
                    1 => Reply::Drops(after),
                    _ => Reply::After(after, self::load(dice, features)),
                },
            }
        }
    };
    let deadline_ns = (features.deadlines && dice.coin()).then(|| dice.scaled(10 * US, 20 * MS));
    Letter { sort, load, deadline_ns, keep_ns }
}

fn load(dice: &mut Dice, features: &Features) -> Load {
    let len = match dice.within(0, 5) {
        0 => 0,
        1 => dice.within(1, 512),
        2 => dice.pick(&[512, 513, 1_000, 4_096]),
        _ => dice.scaled(1, features.len_max),
    };
    Load {
        front_len: FRONT_BYTES_MIN + if dice.coin() { 0 } else { dice.within(0, 1_000) as u16 },
        len: len as u32,
        place: dice.pick(&features.places),
        way: dice.pick(&features.ways),
    }
}

fn fault(dice: &mut Dice, plan: &mut Plan, kind: Kind) {
    let count = plan.nodes.len() as u64;
    let from = dice.within(0, count - 1) as u16;
    let to = (from + dice.within(1, count - 1) as u16) % count as u16;
    // Mostly where something goes on.
    let (from, to) = match plan.connections.len() as u64 {
        0 => (from, to),
        len => {
            let [a, b] = plan.connections[dice.within(0, len - 1) as usize].nodes;
            if dice.coin() { (a, b) } else { (b, a) }
        }
    };
    let node = from;
    let at_ns = dice.within(0, plan.heal_ns);
    let lasts_ns = (!dice.once_in(8)).then(|| dice.scaled(10 * US, plan.heal_ns));
    let link = |fault| Cause::Link { from, to, fault };
    let device = |fault| Cause::Device { node, fault };
    let lasts = lasts_ns.unwrap_or(plan.heal_ns);
    let mut happens = |what| plan.incidents.push(Incident { at_ns, what });
    let cause = match kind {
        Kind::Cut => link(LinkFault::Cut),
        Kind::LoseNth => link(LinkFault::LoseNth { nth: dice.scaled(1, 200) - 1 }),
        Kind::Lose => {
            link(LinkFault::LoseOneIn { n: dice.scaled(2, 500) as u32, burst: dice.scaled(1, 8) as u32 })
        }
        Kind::Duplicate => link(LinkFault::DuplicateOneIn { n: dice.scaled(1, 100) as u32 }),
        Kind::Reorder => {
            link(LinkFault::ReorderOneIn { n: dice.scaled(2, 100) as u32, by_ns: dice.scaled(100, 100_000) })
        }
        Kind::Delay => link(LinkFault::Delay { ns: dice.scaled(100, 5 * MS) }),
        Kind::Corrupt => link(LinkFault::CorruptOneIn { n: dice.scaled(2, 500) as u32 }),
        Kind::Truncate => link(LinkFault::TruncateOneIn { n: dice.scaled(2, 500) as u32 }),
        Kind::Throttle => link(LinkFault::Throttle { percent: dice.within(1, 99) as u8 }),
        Kind::PortDown => device(DeviceFault::PortDown),
        Kind::Remove => device(DeviceFault::Remove),
        Kind::ChangeGid => device(DeviceFault::ChangeGid),
        Kind::LoseNotification => device(DeviceFault::LoseNotification),
        Kind::FailRegistration => device(DeviceFault::FailRegistration { nth: dice.within(0, 3) as u32 }),
        Kind::PlaceOutOfOrder => device(DeviceFault::PlaceOutOfOrder),
        Kind::ShuffleCompletions => device(DeviceFault::ShuffleCompletions),
        Kind::PausePort => device(DeviceFault::Pause { ns: dice.scaled(US, 10 * MS) }),
        Kind::ShallowBuffer => {
            device(DeviceFault::ShallowBuffer { bytes: dice.scaled(4_096, 65_536) as u32 })
        }
        Kind::MarkCongestion => device(DeviceFault::MarkCongestion),
        Kind::PauseHost => Cause::Host { node, fault: HostFault::Pause },
        Kind::Crash if dice.once_in(4) => {
            Cause::Host { node, fault: HostFault::Restart { same: dice.coin() } }
        }
        Kind::Crash => Cause::Host { node, fault: HostFault::Crash },
        Kind::PowerLoss => return happens(Happens::PowerLost { node, ns: lasts }),
        Kind::LinesCut => return happens(Happens::LinesCut { nodes: [from, to], ns: lasts }),
        Kind::LinesSilent => return happens(Happens::LinesSilent { nodes: [from, to] }),
        Kind::LinesReset => return happens(Happens::LinesReset { nodes: [from, to] }),
        Kind::KillEndpoint => {
            return happens(Happens::EndpointKilled { node, nth: dice.within(0, 3) as u32 });
        }
    };
    plan.faults.push(Fault { when: When::At(at_ns), cause, lasts_ns });
}
