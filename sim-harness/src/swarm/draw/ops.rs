//! Drawing operations: each end of each connection uses slots that are its own to write, and reads everybody's.

use std::collections::BTreeMap;

use super::{Dice, Features, Verb};
use crate::swarm::plan::{ADDS_MAX, OpPlan, Plan, SlotRange, VerbPlan};

/// Sessions per end.
const SESSIONS: u64 = 2;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// One end writes it.
    Data {
        writer: (u16, u8),
    },
    Adds,
    Swaps,
}

/// The operations of a plan.
pub(super) fn draw(dice: &mut Dice, features: &Features, plan: &mut Plan) -> Vec<OpPlan> {
    let slots = slots(dice, features, plan);
    let weights: Vec<(Verb, u64)> = features.verbs.iter().map(|verb| (*verb, dice.scaled(1, 16))).collect();
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let message_max = dice.scaled(16, 8_192);
    let count = dice.scaled(20, 300);
    let (cancel_one_in, deadline_one_in) = (dice.scaled(4, 64), dice.scaled(2, 32));
    let session_one_in = dice.within(1, 4);
    let mut adds: BTreeMap<(u16, u16), usize> = BTreeMap::new();
    let mut ops = Vec::new();
    for _ in 0..count {
        let connection = dice.within(0, plan.connections.len() as u64 - 1) as u16;
        let end = u8::from(dice.coin());
        let mut drawn = dice.within(1, total);
        let Some((verb, _)) = weights.iter().find(|(_, weight)| {
            let found = drawn <= *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        }) else {
            continue;
        };
        let target = Target {
            connection,
            end,
            peer: plan.connections[usize::from(connection)].nodes[usize::from(1 - end)],
        };
        let Some(verb) = draw_verb(dice, plan, &slots, &mut adds, target, *verb, message_max) else {
            continue;
        };
        let session = if features.sessions && dice.once_in(session_one_in) {
            Some(number(connection, end, dice))
        } else {
            None
        };
        let id = ops.len() as u32;
        ops.push(OpPlan {
            id,
            connection,
            end,
            verb,
            deadline_ns: (features.deadlines && dice.once_in(deadline_one_in))
                .then(|| dice.scaled(2_000, 2_000_000)),
            cancel: features.cancels && dice.once_in(cancel_one_in),
            session,
        });
        if session.is_some() && dice.once_in(24) {
            let (id, verb) = (ops.len() as u32, VerbPlan::CloseSession);
            ops.push(OpPlan { id, connection, end, verb, deadline_ns: None, cancel: false, session });
        }
    }
    ops
}

/// A session of one end.
fn number(connection: u16, end: u8, dice: &mut Dice) -> u16 {
    (2 * connection + u16::from(end)) * SESSIONS as u16 + dice.within(0, SESSIONS - 1) as u16
}

/// Whose operation it is, and at whose memory.
#[derive(Clone, Copy)]
struct Target {
    connection: u16,
    end: u8,
    peer: u16,
}

type Slots = BTreeMap<(u16, u16), Use>;

/// Gives each slot its use and its writer.
fn slots(dice: &mut Dice, features: &Features, plan: &Plan) -> Slots {
    let has = |verb| features.verbs.contains(&verb);
    let mut slots = BTreeMap::new();
    for (region, regional) in (0..).zip(&plan.regions) {
        let writers: Vec<(u16, u8)> = (0..)
            .zip(&plan.connections)
            .flat_map(|(index, connection)| {
                [(index, 0u8, connection.nodes[1]), (index, 1, connection.nodes[0])]
            })
            .filter(|(_, _, peer)| *peer == regional.node)
            .map(|(index, end, _)| (index, end))
            .collect();
        for slot in 0..regional.slots {
            let data = Use::Data { writer: dice.pick(&writers) };
            let mut uses = vec![data, data];
            uses.extend(has(Verb::Add).then_some(Use::Adds));
            uses.extend(has(Verb::Swap).then_some(Use::Swaps));
            slots.insert((region, slot), dice.pick(&uses));
        }
    }
    slots
}

fn draw_verb(
    dice: &mut Dice,
    plan: &Plan,
    slots: &Slots,
    adds: &mut BTreeMap<(u16, u16), usize>,
    target: Target,
    verb: Verb,
    message_max: u64,
) -> Option<VerbPlan> {
    let mine = (target.connection, target.end);
    let fits = |(place, used): (&(u16, u16), &Use)| {
        let here = plan.regions[usize::from(place.0)].node == target.peer;
        let usable = match verb {
            Verb::Read => matches!(used, Use::Data { .. }),
            Verb::Write | Verb::WriteImm => *used == Use::Data { writer: mine },
            Verb::Add => *used == Use::Adds && adds.get(place).is_none_or(|count| *count < ADDS_MAX),
            Verb::Swap => *used == Use::Swaps,
            Verb::Send | Verb::SendImm => false,
        };
        (here && usable).then_some(*place)
    };
    let range = |dice: &mut Dice, (region, slot): (u16, u16), unit: u64| {
        let bytes = u64::from(plan.regions[usize::from(region)].slot_bytes);
        let len = if dice.once_in(3) { bytes } else { dice.scaled(unit, bytes) / unit * unit };
        let offset = 8 * dice.within(0, (bytes - len) / 8);
        SlotRange { region, slot, offset: offset as u32, len: len as u32 }
    };
    if let Verb::Send | Verb::SendImm = verb {
        let imm = verb == Verb::SendImm;
        let len = if imm { dice.scaled(1, message_max) - 1 } else { dice.scaled(8, message_max) };
        return Some(VerbPlan::Send { len: len as u32, imm });
    }
    let places: Vec<(u16, u16)> = slots.iter().filter_map(fits).collect();
    if places.is_empty() {
        return None;
    }
    let place = dice.pick(&places);
    let (region, slot) = place;
    Some(match verb {
        Verb::Read => VerbPlan::Read(range(dice, place, 1)),
        Verb::Write => VerbPlan::Write { to: range(dice, place, 8), imm: false },
        Verb::WriteImm => VerbPlan::Write { to: range(dice, place, 8), imm: true },
        Verb::Add => {
            *adds.entry(place).or_default() += 1;
            VerbPlan::Add { region, slot }
        }
        Verb::Swap | Verb::Send | Verb::SendImm => VerbPlan::Swap { region, slot },
    })
}
