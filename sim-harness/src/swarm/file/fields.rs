//! The words of a line: some by their place, the others by their name.

use crate::workload::quoted;

/// What is wrong with a line.
pub(super) type Wrong = String;

/// Words that were not read yet.
#[derive(Debug)]
pub(super) struct Fields<'l> {
    left: Vec<&'l str>,
}

impl<'l> Fields<'l> {
    pub(super) fn new(line: &'l str) -> Fields<'l> {
        Fields { left: line.split_ascii_whitespace().collect() }
    }

    /// The next word.
    pub(super) fn word(&mut self, wanted: &str) -> Result<&'l str, Wrong> {
        if self.left.is_empty() {
            Err(format!("it ends where {wanted} should follow"))
        } else {
            Ok(self.left.remove(0))
        }
    }

    /// The next word, a number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, wanted: &str) -> Result<T, Wrong> {
        number(self.word(wanted)?, wanted)
    }

    /// The next word, which can only be this one.
    pub(super) fn exactly(&mut self, word: &str) -> Result<(), Wrong> {
        let found = self.word(&format!("{word:?}"))?;
        if found == word { Ok(()) } else { Err(format!("found {}; wanted {word:?}", quoted(found))) }
    }

    /// `key=number` anywhere among the words.
    pub(super) fn keyed<T: TryFrom<u64>>(&mut self, key: &str) -> Result<Option<T>, Wrong> {
        let value = |word: &&'l str| word.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
        let Some(at) = self.left.iter().position(|word| value(word).is_some()) else { return Ok(None) };
        let word = self.left.remove(at);
        number(value(&word).unwrap_or_default(), key).map(Some)
    }

    /// `key=number`, or what it is otherwise.
    pub(super) fn keyed_or<T: TryFrom<u64>>(&mut self, key: &str, usual: T) -> Result<T, Wrong> {
        Ok(self.keyed(key)?.unwrap_or(usual))
    }

    /// A word that stands there or does not.
    pub(super) fn flag(&mut self, word: &str) -> bool {
        let at = self.left.iter().position(|found| *found == word);
        at.map(|at| self.left.remove(at)).is_some()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Wrong> {
        match self.left.first() {
            None => Ok(()),
            Some(word) => {
                Err(format!("found {}, which means nothing here, or was said before", quoted(word)))
            }
        }
    }
}

/// A decimal number as it is written, without sign or leading zeros.
fn number<T: TryFrom<u64>>(found: &str, wanted: &str) -> Result<T, Wrong> {
    let plain = found.bytes().all(|byte| byte.is_ascii_digit()) && (found == "0" || !found.starts_with('0'));
    let parsed = found.parse::<u64>().ok().filter(|_| plain).and_then(|number| T::try_from(number).ok());
    let max = u64::MAX >> (64 - 8 * size_of::<T>().clamp(1, 8));
    parsed.ok_or_else(|| format!("found {} for {wanted}; wanted 0 to {max}", quoted(found)))
}

/// A hash as it is written.
pub(super) fn hash(found: &str) -> Result<u64, Wrong> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let parsed =
        u64::from_str_radix(found, 16).ok().filter(|_| found.len() == 16 && found.bytes().all(digit));
    parsed.ok_or_else(|| format!("found {}; wanted a hash of 16 hexadecimal digits", quoted(found)))
}
