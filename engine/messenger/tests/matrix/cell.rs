//! What one cell of the matrix is: a step, what befalls whom at it, and between whom.

use wavetank_messenger::{Policy, Step};

/// What befalls a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process ends; its kernel closes its lines, and another process begins.
    Killed,
    /// The process ends with its host, and nobody says so; both come back later.
    Vanished,
    /// The process is not run for longer than silence may last.
    Asleep,
    /// The process is not run for a while that nobody minds.
    Dozed,
    /// Neither links nor lines carry anything for a while.
    CutOff,
    /// Lines carry nothing for a while.
    LinesCut,
    /// Links carry nothing for a while.
    LinksCut,
    /// All lines end, as when something between them restarts.
    LinesReset,
}

impl Fault {
    pub(crate) const ALL: [Fault; 8] = [
        Fault::Killed,
        Fault::Vanished,
        Fault::Asleep,
        Fault::Dozed,
        Fault::CutOff,
        Fault::LinesCut,
        Fault::LinksCut,
        Fault::LinesReset,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Fault::Killed => "killed",
            Fault::Vanished => "host vanished",
            Fault::Asleep => "paused long",
            Fault::Dozed => "paused shortly",
            Fault::CutOff => "cut off",
            Fault::LinesCut => "lines cut",
            Fault::LinksCut => "links cut",
            Fault::LinesReset => "lines closed",
        }
    }

    /// The victim's process is another one afterwards.
    pub(crate) const fn ends_a_life(self) -> bool {
        matches!(self, Fault::Killed | Fault::Vanished)
    }

    /// It has a victim: the others befall both sides alike.
    pub(crate) const fn has_victim(self) -> bool {
        matches!(self, Fault::Killed | Fault::Vanished | Fault::Asleep | Fault::Dozed)
    }

    /// How long it lasts, in milliseconds.
    pub(crate) const fn lasts_ms(self) -> u64 {
        match self {
            Fault::Killed => 30,
            Fault::Dozed => 15,
            Fault::LinesReset => 0,
            _ => 120,
        }
    }

    /// How soon whoever has an open connection has to notice. `None`: it does not.
    pub(crate) const fn noticed_ms(self) -> Option<u64> {
        match self {
            Fault::Killed => Some(3),
            Fault::LinesReset => Some(1),
            // The longest silence, and a little.
            Fault::Vanished | Fault::Asleep | Fault::CutOff | Fault::LinksCut => Some(62),
            Fault::Dozed | Fault::LinesCut => None,
        }
    }
}

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pairing {
    Lossy,
    Lossless,
    Peers,
}

impl Pairing {
    pub(crate) const ALL: [Pairing; 3] = [Pairing::Lossy, Pairing::Lossless, Pairing::Peers];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Pairing::Lossy => "lossy",
            Pairing::Lossless => "lossless client and server",
            Pairing::Peers => "lossless peers",
        }
    }

    /// Policies of nodes 0 and 1.
    pub(crate) const fn policies(self) -> [Policy; 2] {
        match self {
            Pairing::Lossy => [Policy::LossyClient, Policy::StatelessServer],
            Pairing::Lossless => [Policy::LosslessClient, Policy::StatefulServer],
            Pairing::Peers => [Policy::LosslessPeer, Policy::LosslessPeer],
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) pairing: Pairing,
    pub(crate) step: Step,
    /// The pass of it, counted from 1.
    pub(crate) nth: u32,
    /// The node that passes the step.
    pub(crate) passer: usize,
    pub(crate) fault: Fault,
    /// Whom it befalls.
    pub(crate) victim: usize,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cell { pairing, step, nth, passer, fault, victim } = self;
        write!(
            f,
            "{}: node {victim} {} at pass {nth} of `{}` by node {passer}",
            pairing.name(),
            fault.name(),
            step.name()
        )
    }
}
