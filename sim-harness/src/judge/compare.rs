//! Where two runs of a program differ in something that is defined.

use std::fmt;

use wavetank_contract::QpState;

use super::log::{Ended, Log, Queue, Refusal, Round};
use super::mask::Mask;
use super::program::{End, Program, RegionId};

/// One thing in which two runs differ. The first of two is always what the reference did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A step was refused by one and not by the other, or for another reason.
    Refusal {
        /// Which step.
        step: usize,
        /// What either said.
        said: [Option<Refusal>; 2],
    },
    /// The `index`th completion of a queue.
    Completion {
        /// In which round.
        round: usize,
        /// At which end.
        end: End,
        /// From which queue.
        queue: Queue,
        /// Which one.
        index: usize,
        /// What either had.
        ended: [Option<Ended>; 2],
    },
    /// An endpoint is in another state.
    State {
        /// After which round.
        round: usize,
        /// Which one.
        end: End,
        /// Its states.
        states: [Option<QpState>; 2],
    },
    /// Memory holds something else.
    Bytes {
        /// After which round.
        round: usize,
        /// Which region.
        region: RegionId,
        /// The first byte.
        offset: u32,
        /// How many differ.
        count: u32,
        /// What the first is.
        first: [u8; 2],
    },
    /// One did not settle.
    Unsettled {
        /// In which round.
        round: usize,
        /// Which, and why.
        why: [Option<String>; 2],
    },
    /// A completion of nothing that was posted.
    Stray {
        /// By which of the two.
        by: usize,
        /// What it was.
        what: String,
    },
}

impl Difference {
    /// Which sort of difference it is: the same fault shows the same sort in many programs.
    pub fn sort(&self, program: &Program) -> String {
        let verb = |step: usize| program.post(step).map_or("a step", |post| post.kind().name());
        match self {
            Difference::Refusal { step, said: [a, b] } => format!("{} refused: {a:?} | {b:?}", verb(*step)),
            Difference::Completion { queue, ended, .. } => {
                let of = |e: &Option<Ended>| {
                    e.map_or("nothing".to_owned(), |e| format!("{} {}", verb(e.step), e.status))
                };
                match ended {
                    [Some(a), Some(b)] if (a.step, a.status) == (b.step, b.status) => {
                        format!("what a completed {} says", verb(a.step))
                    }
                    [a, b] => format!("{queue:?}: {} | {}", of(a), of(b)).to_lowercase(),
                }
            }
            Difference::State { states: [a, b], .. } => format!("state {a:?} | {b:?}"),
            Difference::Bytes { .. } => "bytes".into(),
            Difference::Unsettled { .. } => "unsettled".into(),
            Difference::Stray { .. } => "stray".into(),
        }
    }
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Completions.
    pub completions: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// Bytes not compared, because what they are is undefined.
    pub masked_bytes: u64,
}

impl Compared {
    /// Adds another count.
    pub fn add(&mut self, other: Compared) {
        self.completions += other.completions;
        self.bytes += other.bytes;
        self.masked_bytes += other.masked_bytes;
    }
}

/// Everything in which two runs differ, in the order in which it came about.
pub(crate) fn compare(program: &Program, reference: &Log, other: &Log) -> (Vec<Difference>, Compared) {
    let mask = Mask::of(program, reference, other);
    let (mut found, mut compared) = (Vec::new(), Compared::default());
    let mut from = 0;
    for (round, seen) in reference.rounds.iter().enumerate() {
        let nothing = Round::default();
        let theirs = other.rounds.get(round).unwrap_or(&nothing);
        for step in from..seen.before {
            let said = [reference, other].map(|log| log.refusals.get(&step).copied());
            if !same_refusal(said) {
                found.push(Difference::Refusal { step, said });
            }
        }
        from = seen.before;
        completions(round, seen, theirs, &mut found, &mut compared);
        for end in program.ends() {
            let states = [seen, theirs].map(|r| r.states.get(&end).copied());
            if states[0] != states[1] {
                found.push(Difference::State { round, end, states });
            }
        }
        let why = [seen, theirs].map(|r| r.unsettled.clone());
        if why != [None, None] {
            found.push(Difference::Unsettled { round, why });
        }
        for (id, bytes) in &seen.memory {
            let masked = mask.rounds[round].get(id);
            memory(round, *id, bytes, theirs.memory.get(id), masked, &mut found, &mut compared);
        }
    }
    for (by, log) in [reference, other].into_iter().enumerate() {
        found.extend(log.strays.iter().map(|what| Difference::Stray { by, what: what.clone() }));
    }
    (found, compared)
}

/// A device that cannot say why it refuses agrees with any reason.
fn same_refusal(said: [Option<Refusal>; 2]) -> bool {
    match said {
        [Some(a), Some(b)] => a == b || [a, b].contains(&Refusal::Unexplained),
        [a, b] => a == b,
    }
}

fn completions(
    round: usize,
    seen: &Round,
    theirs: &Round,
    found: &mut Vec<Difference>,
    compared: &mut Compared,
) {
    let mut keys: Vec<(End, Queue)> = seen.ends.keys().chain(theirs.ends.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    for (end, queue) in keys {
        let of = |r: &Round| r.ends.get(&(end, queue)).cloned().unwrap_or_default();
        let (ours, theirs) = (of(seen), of(theirs));
        for index in 0..ours.len().max(theirs.len()) {
            let ended = [ours.get(index).copied(), theirs.get(index).copied()];
            compared.completions += 1;
            if !matches!(ended, [Some(a), Some(b)] if a.agrees(&b)) {
                found.push(Difference::Completion { round, end, queue, index, ended });
            }
        }
    }
}

fn memory(
    round: usize,
    region: RegionId,
    bytes: &[u8],
    theirs: Option<&Vec<u8>>,
    masked: Option<&super::ranges::Ranges>,
    found: &mut Vec<Difference>,
    compared: &mut Compared,
) {
    let len = bytes.len() as u32;
    let gaps = masked.map_or_else(|| vec![(0, len)], |masked| masked.gaps(len));
    let mut differing: Option<(u32, u32, [u8; 2])> = None;
    let mut looked_at = 0;
    for (start, end) in gaps {
        looked_at += u64::from(end - start);
        let ours = &bytes[start as usize..end as usize];
        let other = theirs.and_then(|t| t.get(start as usize..end as usize)).unwrap_or_default();
        if ours == other {
            continue;
        }
        for (i, byte) in ours.iter().enumerate() {
            let other = other.get(i).copied().unwrap_or(!byte);
            if *byte != other {
                let first = differing.get_or_insert((start + i as u32, 0, [*byte, other]));
                first.1 += 1;
            }
        }
    }
    compared.bytes += looked_at;
    compared.masked_bytes += u64::from(len) - looked_at;
    if let Some((offset, count, first)) = differing {
        found.push(Difference::Bytes { round, region, offset, count, first });
    }
}

fn or_nothing<T: fmt::Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Refusal { step, said } => {
                let say = |s: Option<Refusal>| s.map_or("took it".into(), |r| format!("refused: {r:?}"));
                write!(f, "step {step}: {} | {}", say(said[0]), say(said[1]))
            }
            Difference::Completion { end, queue, index, ended: [a, b], .. } => {
                let queue = format!("{queue:?}").to_lowercase();
                write!(
                    f,
                    "{end}, {queue} queue, {index}: {} | {}",
                    or_nothing(a.as_ref()),
                    or_nothing(b.as_ref())
                )
            }
            Difference::State { end, states: [a, b], .. } => {
                let say = |s: &Option<QpState>| s.map_or("closed".into(), |s| format!("{s:?}"));
                write!(f, "{end} is in {} | {}", say(a), say(b))
            }
            Difference::Bytes { region, offset, count, first: [a, b], .. } => {
                write!(f, "{region}+{offset} is {a:#04x} | {b:#04x}, and {} more bytes differ", count - 1)
            }
            Difference::Unsettled { why: [a, b], .. } => {
                let say = |s: &Option<String>| s.as_ref().map_or("settled".into(), Clone::clone);
                write!(f, "{} | {}", say(a), say(b))
            }
            Difference::Stray { by, what } => {
                write!(f, "{} has {what}", ["the reference", "the other"][*by])
            }
        }
    }
}
