//! Queue pair state by event, counted as the network steps.

use wavetank_contract::QpState;
use wavetank_mock::{Opcode, Step, StepKind};

/// Opcodes, in the order of their numbers.
const OPCODES: [Opcode; 21] = [
    Opcode::SendFirst,
    Opcode::SendMiddle,
    Opcode::SendLast,
    Opcode::SendLastImm,
    Opcode::SendOnly,
    Opcode::SendOnlyImm,
    Opcode::WriteFirst,
    Opcode::WriteMiddle,
    Opcode::WriteLast,
    Opcode::WriteLastImm,
    Opcode::WriteOnly,
    Opcode::WriteOnlyImm,
    Opcode::ReadRequest,
    Opcode::ReadResponseFirst,
    Opcode::ReadResponseMiddle,
    Opcode::ReadResponseLast,
    Opcode::ReadResponseOnly,
    Opcode::Acknowledge,
    Opcode::AtomicAcknowledge,
    Opcode::CompareSwap,
    Opcode::FetchAdd,
];

/// Events that are no packet taken.
const OTHERS: [&str; 3] = ["timeout", "receiver waited", "placed late"];

const EVENTS: usize = OPCODES.len() + OTHERS.len();

/// How often each event met a queue pair in each state. What did not get to a queue pair is not among them.
#[derive(Clone, Debug)]
pub struct StepCounts {
    counts: [[u64; EVENTS]; QpState::ALL.len()],
}

impl Default for StepCounts {
    fn default() -> StepCounts {
        StepCounts { counts: [[0; EVENTS]; QpState::ALL.len()] }
    }
}

impl StepCounts {
    /// Counts a step.
    #[inline]
    pub fn count(&mut self, step: &Step) {
        let event = match step.kind {
            StepKind::Delivered(opcode) | StepKind::Unclaimed(opcode) => opcode as usize,
            StepKind::TimedOut => OPCODES.len(),
            StepKind::ReceiverWaited => OPCODES.len() + 1,
            StepKind::Placed => OPCODES.len() + 2,
            _ => return,
        };
        if let Some(state) = step.state
            && let Some(count) = self.counts[state as usize].get_mut(event)
        {
            *count += 1;
        }
    }

    /// Cells that were hit.
    pub fn cells(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        QpState::ALL.into_iter().zip(&self.counts).flat_map(|(state, counts)| {
            let hit = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            hit.map(move |(event, count)| (cell(state, event), *count))
        })
    }
}

/// Every cell.
pub(super) fn all_cells() -> impl Iterator<Item = String> {
    QpState::ALL.into_iter().flat_map(|state| (0..EVENTS).map(move |event| cell(state, event)))
}

fn cell(state: QpState, event: usize) -> String {
    let state = format!("{state:?}").to_uppercase();
    match OPCODES.get(event) {
        Some(opcode) => format!("state {state} x {opcode:?}"),
        None => format!("state {state} x {}", OTHERS[event - OPCODES.len()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::Instant;

    #[test]
    fn a_step_is_counted_where_it_belongs() {
        assert!(OPCODES.iter().enumerate().all(|(number, opcode)| *opcode as usize == number));
        let step = |kind, state| Step {
            at: Instant(0),
            node: 0,
            kind,
            qpn: 0,
            state,
            psn: 0,
            len: 0,
            digest: 0,
            syndrome: 0,
        };
        let mut counts = StepCounts::default();
        counts.count(&step(StepKind::Delivered(Opcode::ReadRequest), Some(QpState::Rts)));
        counts.count(&step(StepKind::TimedOut, Some(QpState::Rts)));
        counts.count(&step(StepKind::Lost(Opcode::ReadRequest), None));
        let cells: Vec<_> = counts.cells().collect();
        assert_eq!(cells, [("state RTS x ReadRequest".to_owned(), 1), ("state RTS x timeout".to_owned(), 1)]);
        assert!(cells.iter().all(|(cell, _)| all_cells().any(|known| known == *cell)));
    }
}
