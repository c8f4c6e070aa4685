//! Drawing faults: kinds that exist in this run, at times within its expected length.

use super::{Dice, Features, Kind};
use crate::fault::{Fault, When};
use crate::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};
use crate::swarm::plan::Plan;

/// The most faults of a run.
const FAULTS_MAX: u64 = 8;

/// The faults of a plan.
pub(super) fn draw(dice: &mut Dice, features: &Features, plan: &Plan) -> Vec<Fault> {
    if features.faults.is_empty() {
        return Vec::new();
    }
    let length_ns = expected_ns(plan);
    (0..dice.within(1, FAULTS_MAX))
        .filter_map(|_| {
            let kind = dice.pick(&features.faults);
            let cause = cause(dice, plan, kind)?;
            let when = when(dice, plan, length_ns);
            // One in eight lasts until everything is healed.
            let lasts_ns = (!dice.once_in(8)).then(|| dice.scaled(1_000, 4 * length_ns.max(1_000)));
            Some(Fault { when, cause, lasts_ns })
        })
        .collect()
}

/// About how long the plan takes when nothing goes wrong, in ns.
fn expected_ns(plan: &Plan) -> u64 {
    let round_trip = if plan.profile == "rxe" { 25_000 } else { 3_000 } + 2 * plan.jitter_ns;
    let parallel: u64 = plan.connections.iter().map(|connection| u64::from(connection.in_flight)).sum();
    round_trip * (plan.ops.len() as u64 / parallel.max(1) + 2)
}

fn when(dice: &mut Dice, plan: &Plan, length_ns: u64) -> When {
    match dice.within(0, 3) {
        0 => {
            let connection = dice.coin().then(|| dice.within(0, plan.connections.len() as u64 - 1) as u16);
            let ops = plan.ops.iter().filter(|op| connection.is_none_or(|of| of == op.connection)).count();
            When::Op { connection, op: dice.within(0, (ops as u64).max(1) - 1) as u32 }
        }
        1 => When::EachOp { one_in: dice.scaled(16, 256) as u32 },
        _ => When::At(dice.within(0, length_ns)),
    }
}

fn cause(dice: &mut Dice, plan: &Plan, kind: Kind) -> Option<Cause> {
    let connection = plan.connections[dice.within(0, plan.connections.len() as u64 - 1) as usize];
    let way = usize::from(dice.coin());
    let (from, to) = (connection.nodes[way], connection.nodes[1 - way]);
    let node = from;
    let link = |fault| Cause::Link { from, to, fault };
    let device = |fault| Cause::Device { node, fault };
    let region = dice.within(0, plan.regions.len().max(1) as u64 - 1) as u16;
    let timeout_ns = 4_096u64 << connection.timeout;
    Some(match kind {
        Kind::Cut => link(LinkFault::Cut),
        Kind::LoseNth => link(LinkFault::LoseNth { nth: dice.scaled(1, 200) - 1 }),
        Kind::Lose => {
            link(LinkFault::LoseOneIn { n: dice.scaled(2, 500) as u32, burst: dice.scaled(1, 8) as u32 })
        }
        Kind::Duplicate => link(LinkFault::DuplicateOneIn { n: dice.scaled(1, 100) as u32 }),
        Kind::Reorder => {
            link(LinkFault::ReorderOneIn { n: dice.scaled(2, 100) as u32, by_ns: dice.scaled(100, 100_000) })
        }
        // Up to a little more than anybody waits.
        Kind::Delay => link(LinkFault::Delay { ns: dice.scaled(100, 2 * timeout_ns) }),
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
        Kind::PausePort => device(DeviceFault::Pause { ns: dice.scaled(1_000, 2 * timeout_ns) }),
        Kind::ShallowBuffer => device(DeviceFault::ShallowBuffer { bytes: dice.scaled(256, 65_536) as u32 }),
        Kind::MarkCongestion => device(DeviceFault::MarkCongestion),
        Kind::PauseHost => Cause::Host { node, fault: HostFault::Pause },
        Kind::Crash if dice.once_in(4) => {
            Cause::Host { node, fault: HostFault::Restart { same: dice.coin() } }
        }
        Kind::Crash => Cause::Host { node, fault: HostFault::Crash },
        Kind::ClientDeath => Cause::Host { node, fault: HostFault::ClientDeath },
        Kind::Deregister => Cause::Memory { region, fault: MemoryFault::Deregister },
        Kind::RollKey => Cause::Memory { region, fault: MemoryFault::RollKey },
        Kind::RevokeWindow => {
            let windows = (0..).zip(&plan.regions).filter(|(_, region)| region.window);
            let windows: Vec<u16> = windows.map(|(index, _)| index).collect();
            if windows.is_empty() {
                return None;
            }
            Cause::Memory { region: dice.pick(&windows), fault: MemoryFault::RevokeWindow }
        }
        Kind::ChangeSource => Cause::Memory { region, fault: MemoryFault::ChangeSource },
    })
}
