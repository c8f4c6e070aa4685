//! Reads volumes whole and by ranges, and compares what comes with what is right.

use std::collections::BTreeMap;

use wavetank_client::{Code, ReadPath, Wanted};

use crate::dice::Dice;
use crate::library::{Right, Shelf};
use crate::voices::{Got, Voice};
use crate::waiting::{PATIENCE, within};

/// Reads that are under way together.
const TOGETHER: usize = 8;

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) reads: u64,
    pub(crate) by_path: BTreeMap<&'static str, u64>,
    pub(crate) refusals: BTreeMap<&'static str, u64>,
}

/// How bytes have to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// As the engine likes.
    Any,
    /// Empty needles cannot be pulled.
    Pull,
    Push,
}

/// What a read of a range of something has to bring.
fn right_of(right: &Right, wanted: &Wanted, way: Way) -> Right {
    let Right::Bytes(bytes) = right else { return right.clone() };
    let (from, whole) = (wanted.offset as usize, bytes.len());
    if from > whole || (from == whole && from > 0) {
        return Right::No(Code::PastEnd);
    }
    if whole == 0 && way == Way::Pull {
        return Right::No(Code::Busy);
    }
    let to = if wanted.len == 0 { whole } else { whole.min(from + wanted.len as usize) };
    Right::Bytes(bytes[from..to].to_vec())
}

/// What is asked of one needle: all of it, ranges, what begins past its end, and all with a wrong cookie.
fn questions(shelf: &Shelf, id: u64, right: &Right, dice: &mut Dice) -> Vec<(Wanted, Right)> {
    let whole = shelf.wanted(id);
    let mut all = vec![(whole.clone(), right.clone())];
    if let Right::Bytes(bytes) = right {
        let len = bytes.len() as u64;
        if len > 0 {
            for _ in 0..2 {
                let offset = dice.below(len);
                let range = Wanted { offset, len: dice.within(1, len + 1), ..whole.clone() };
                all.push((range, right.clone()));
            }
        }
        if dice.below(4) == 0 {
            all.push((Wanted { offset: len + dice.within(1, 9), ..whole.clone() }, right.clone()));
            let cookie = whole.cookie ^ (1 << dice.below(32));
            all.push((Wanted { cookie, ..whole }, Right::No(Code::WrongCookie)));
        }
    }
    all
}

/// Reads every needle of a volume through a client. `claimed` says what is right.
///
/// # Errors
/// The first answer that is not right.
pub(crate) fn compare(
    voice: &mut Voice,
    asked: &Shelf,
    claimed: &Shelf,
    way: Way,
    seed: u64,
) -> Result<Tally, String> {
    let (mut tally, mut dice) = (Tally::default(), Dice::new(seed));
    let mut waiting: Vec<(Wanted, Right)> = Vec::new();
    let ids = asked.ids();
    for (number, id) in ids.iter().enumerate() {
        let right = claimed.right(*id);
        let questions = questions(asked, *id, &right, &mut dice);
        waiting.extend(questions.into_iter().map(|(wanted, right)| {
            let right = right_of(&right, &wanted, way);
            (wanted, right)
        }));
        if waiting.len() >= TOGETHER || number + 1 == ids.len() {
            compare_some(voice, &waiting, way, &mut tally)?;
            waiting.clear();
        }
    }
    Ok(tally)
}

fn compare_some(
    voice: &mut Voice,
    all: &[(Wanted, Right)],
    way: Way,
    tally: &mut Tally,
) -> Result<(), String> {
    let wanted: Vec<Wanted> = all.iter().map(|(wanted, _)| wanted.clone()).collect();
    for (mut got, (wanted, right)) in voice.read_all(&wanted).into_iter().zip(all) {
        // Who wants nothing but to pull waits for others' grants to end, once all segments are full.
        if way == Way::Pull && got == Got::No(Code::Busy) && *right != Right::No(Code::Busy) {
            let other =
                within(PATIENCE, || Some(voice.read(wanted)).filter(|got| *got != Got::No(Code::Busy)));
            got = other.unwrap_or(got);
        }
        judge(&got, wanted, right, way)?;
        tally.reads += 1;
        match got {
            Got::Bytes(bytes, path) => {
                tally.bytes += bytes.len() as u64;
                *tally.by_path.entry(path.map_or("untold", name)).or_default() += 1;
            }
            Got::No(code) => *tally.refusals.entry(code.name()).or_default() += 1,
            Got::Lost(_) => {}
        }
    }
    Ok(())
}

/// Whether an answer is right.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge(got: &Got, wanted: &Wanted, right: &Right, way: Way) -> Result<(), String> {
    match (got, right) {
        (Got::Bytes(bytes, path), Right::Bytes(right)) => {
            if bytes != right {
                let at = bytes.iter().zip(right).position(|(a, b)| a != b);
                let lens = (bytes.len(), right.len());
                return Err(format!("WRONG BYTES for {wanted:?}: lengths {lens:?}, first at {at:?}"));
            }
            let expected = match way {
                Way::Any => None,
                Way::Pull => Some(ReadPath::Pull),
                Way::Push => Some(ReadPath::Push),
            };
            if path.is_some_and(|path| expected.is_some_and(|expected| path != expected)) {
                return Err(format!("it came by {path:?} and not by {expected:?}: {wanted:?}"));
            }
            Ok(())
        }
        (Got::No(code), Right::No(right)) if code == right => Ok(()),
        (Got::Bytes(bytes, path), _) => {
            Err(format!("{} bytes by {path:?}, and {right:?} is right for {wanted:?}", bytes.len()))
        }
        (got, Right::No(code)) => Err(format!("{got:?}, and {code} is right for {wanted:?}")),
        (got, Right::Bytes(bytes)) => {
            Err(format!("{got:?}, and {} bytes are right for {wanted:?}", bytes.len()))
        }
    }
}

/// A path, as metrics call it.
pub(crate) fn name(path: ReadPath) -> &'static str {
    match path {
        ReadPath::Local => "local",
        ReadPath::Pull => "pull",
        ReadPath::Push => "push",
    }
}
