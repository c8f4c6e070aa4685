//! Inputs: files of a corpus, damaged a few times.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;

/// Damages of one input, at most.
const DAMAGES_MAX: usize = 8;

/// Bytes of an input, at most: what is longer is no longer worth its time.
const BYTES_MAX: usize = 1 << 16;

/// What often stands where a parser errs.
const TOKENS: [&str; 18] = [
    "",
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "4294967295",
    "18446744073709551615",
    "18446744073709551616",
    "1e309",
    "nan",
    "\"",
    "[[",
    "\n",
    " ",
    "=",
    "\u{0}",
    "\u{2028}",
];

/// Something done to an input.
#[derive(Clone, Debug)]
enum Damage {
    /// A byte is another one.
    Byte(Index, u8),
    /// A word is this token.
    Word(Index, usize),
    /// A word of it is put in another one's place.
    Swap(Index, Index),
    /// A line is gone.
    Gone(Index),
    /// A line is there again, somewhere else.
    Again(Index, Index),
    /// It ends here.
    Cut(Index),
}

/// An input; shown as text where it is text.
#[derive(Clone)]
pub(crate) struct Input(pub(crate) Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// Damaged seeds, and now and then any bytes at all.
pub(crate) fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let damages = prop::collection::vec(damage(), 0..=DAMAGES_MAX);
    let damaged = (any::<Index>(), damages).prop_map(move |(seed, damages)| {
        let mut bytes = seed.get(&seeds).clone();
        for damage in &damages {
            apply(&mut bytes, damage);
            bytes.truncate(BYTES_MAX);
        }
        Input(bytes)
    });
    prop_oneof![15 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Input)]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<Index>(), 0..TOKENS.len()).prop_map(|(at, token)| Damage::Word(at, token)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Swap(from, to)),
        any::<Index>().prop_map(Damage::Gone),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Again(from, to)),
        any::<Index>().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Byte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Word(at, token) => {
            let word = part(bytes, at, |byte| byte.is_ascii_whitespace());
            bytes.splice(word, TOKENS[*token].bytes());
        }
        Damage::Swap(from, to) => {
            let word = bytes[part(bytes, from, |byte| byte.is_ascii_whitespace())].to_vec();
            let place = part(bytes, to, |byte| byte.is_ascii_whitespace());
            bytes.splice(place, word);
        }
        Damage::Gone(at) => {
            let line = part(bytes, at, |byte| *byte == b'\n');
            bytes.drain(line);
        }
        Damage::Again(from, to) => {
            let mut line = bytes[part(bytes, from, |byte| *byte == b'\n')].to_vec();
            line.push(b'\n');
            let place = part(bytes, to, |byte| *byte == b'\n').start;
            bytes.splice(place..place, line);
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

/// The word or line that a byte is in.
fn part(bytes: &[u8], at: &Index, ends: impl Fn(&u8) -> bool) -> std::ops::Range<usize> {
    let at = at.index(bytes.len());
    let start = bytes[..at].iter().rposition(&ends).map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(&ends).map_or(bytes.len(), |end| at + end);
    start..end.max(start)
}
