//! A TOML file as tables and values that know their line and their key.
//!
//! The tree is walked by hand and not through serde: an error about a *meaning* (a size past its region, a node
//! nobody declared) then has the same file, line and key as an error about a type, and an integer past 2^64 is
//! still the text that was written.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{WorkloadError, quote};
use super::limits::{MAX_TIME_NS, MAX_TOML_BYTES};
use super::units::{Bytes, BytesPerSecond, Nanos, PerSecond, UnitError};

type Result<T> = std::result::Result<T, WorkloadError>;

/// The text of a TOML file of bounded size. `what` it is, and what to say when it is no text, are for errors.
pub(crate) fn text<'t>(path: &Path, bytes: &'t [u8], what: &str, not_text: &str) -> Result<&'t str> {
    if bytes.len() as u64 > MAX_TOML_BYTES {
        let problem = format!("{what} is at most {}", Bytes(MAX_TOML_BYTES));
        return Err(WorkloadError::invalid(path, 1, "syntax", problem));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() as u32 + 1;
        WorkloadError::invalid(path, line, "syntax", not_text)
    })
}

/// The text of one file, and where its lines begin.
#[derive(Debug)]
pub(crate) struct Document<'d> {
    path: &'d Path,
    text: &'d str,
    newlines: Vec<usize>,
}

impl<'d> Document<'d> {
    pub(crate) fn new(path: &'d Path, text: &'d str) -> Document<'d> {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        Document { path, text, newlines }
    }

    /// Parses the syntax; what it means is read afterwards, through [`Document::top`].
    pub(crate) fn tree(&self) -> Result<Spanned<DeTable<'d>>> {
        DeTable::parse(self.text).map_err(|e| {
            let at = e.span().map_or(self.text.len(), |span| span.start);
            self.error(at, "syntax", e.message().replace('\n', ", "))
        })
    }

    /// The table that holds the whole file.
    pub(crate) fn top<'t>(&'t self, tree: &'t Spanned<DeTable<'t>>, known: &[&str]) -> Result<Table<'t>> {
        Table { document: self, key: String::new(), start: 0, entries: tree.get_ref() }.knowing(known)
    }

    fn line(&self, at: usize) -> u32 {
        let before = self.newlines.partition_point(|newline| *newline < at);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    fn error(&self, at: usize, key: &str, problem: impl Display) -> WorkloadError {
        WorkloadError::invalid(self.path, self.line(at), key, problem)
    }
}

/// A table, and the key that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Table<'t> {
    document: &'t Document<'t>,
    key: String,
    start: usize,
    entries: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    /// Refuses every key but the `known` ones, the first in the file first.
    fn knowing(self, known: &[&str]) -> Result<Table<'t>> {
        let strange = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match strange.min_by_key(|key| key.span().start) {
            None => Ok(self),
            Some(key) => {
                let path = self.child(&key.get_ref().escape_debug().to_string());
                let problem = format!("unknown key; known here: {}", known.join(", "));
                Err(self.document.error(key.span().start, &path, problem))
            }
        }
    }

    fn child(&self, key: &str) -> String {
        if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) }
    }

    /// The value of `key`, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'t>> {
        let value = self.entries.get(key)?;
        let (document, start) = (self.document, value.span().start);
        Some(Value { document, key: self.child(key), start, value: value.get_ref() })
    }

    /// The value of `key`, or an error that says what it is `for`.
    pub(crate) fn need(&self, key: &str, wanted: &str) -> Result<Value<'t>> {
        self.get(key).ok_or_else(|| self.missing(key, wanted))
    }

    /// The tables of `[[key]]`; none when there are none.
    pub(crate) fn tables(&self, key: &str, known: &[&str]) -> Result<Vec<Table<'t>>> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let items = value.items().map_err(|_| value.error(format!("write it as [[{}]]", value.key)))?;
        items.iter().map(|item| item.table(known)).collect()
    }

    /// A duration: `key = "20us"`, or `key_ns = 20000`.
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Value<'t>>> {
        match (self.get(key), self.get(&format!("{key}_ns"))) {
            (Some(_), Some(ns)) => Err(ns.error(format!("{key} already says it; keep one of the two"))),
            (text, ns) => Ok(text.or(ns)),
        }
    }

    /// An error about this table as a whole.
    pub(crate) fn error(&self, problem: impl Display) -> WorkloadError {
        self.document.error(self.start, &self.key, problem)
    }

    /// An error about a key this table does not have.
    pub(crate) fn missing(&self, key: &str, wanted: &str) -> WorkloadError {
        self.document.error(self.start, &self.child(key), format!("missing; {wanted}"))
    }

    pub(crate) fn line(&self) -> u32 {
        self.document.line(self.start)
    }
}

/// A value, and the key that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Value<'t> {
    document: &'t Document<'t>,
    key: String,
    start: usize,
    value: &'t DeValue<'t>,
}

impl<'t> Value<'t> {
    /// An error about this value.
    pub(crate) fn error(&self, problem: impl Display) -> WorkloadError {
        self.document.error(self.start, &self.key, problem)
    }

    pub(crate) fn line(&self) -> u32 {
        self.document.line(self.start)
    }

    fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => quote(text),
            DeValue::Integer(integer) => quote(&integer.to_string()).replace('"', ""),
            DeValue::Float(float) => quote(float.as_str()).replace('"', ""),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    fn unlike(&self, wanted: impl Display) -> WorkloadError {
        self.error(format!("found {}; wanted {wanted}", self.found()))
    }

    pub(crate) fn text(&self) -> Result<&'t str> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.unlike("a string")),
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(crate) fn flag(&self) -> Result<bool> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.unlike("true or false")),
        }
    }

    /// An integer of 64 bits without sign.
    pub(crate) fn integer(&self) -> Result<u64> {
        let DeValue::Integer(integer) = self.value else {
            return Err(self.unlike("an integer"));
        };
        if integer.as_str().starts_with('-') {
            return Err(self.error(format!("{} is negative", self.found())));
        }
        u64::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| self.error(format!("{} is past 2^64 - 1", self.found())))
    }

    /// An integer in `range`.
    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let number = self.integer()?;
        if range.contains(&number) {
            return Ok(number);
        }
        Err(self.unlike(format!("{} to {}", range.start(), range.end())))
    }

    /// A finite number, whole or not, in `range`.
    pub(crate) fn ratio(&self, range: RangeInclusive<f64>) -> Result<f64> {
        let text = match self.value {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => return Err(self.unlike("a number")),
        };
        // NaN is in no range, and infinity not in a finite one.
        match text.parse() {
            Ok(ratio) if range.contains(&ratio) => Ok(ratio),
            _ => Err(self.unlike(format!("{} to {}", range.start(), range.end()))),
        }
    }

    /// A size: integer bytes, or a string with a unit.
    pub(crate) fn bytes(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let bytes = if self.is_text() { self.quantity::<Bytes>()?.0 } else { self.integer()? };
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        Err(self.unlike(format!("{} to {}", Bytes(*range.start()), Bytes(*range.end()))))
    }

    /// A duration above 0 in ns: a string with a unit, or integer nanoseconds under a key that says `_ns`.
    pub(crate) fn nanos(&self) -> Result<u64> {
        self.nanos_from(1)
    }

    /// A time since the start in ns, written like a duration; it may be 0.
    pub(crate) fn time(&self) -> Result<u64> {
        self.nanos_from(0)
    }

    fn nanos_from(&self, least: u64) -> Result<u64> {
        let ns = if self.key.ends_with("_ns") { self.integer()? } else { self.quantity::<Nanos>()?.0 };
        if (least..=MAX_TIME_NS).contains(&ns) {
            return Ok(ns);
        }
        Err(self.unlike(format!("{} to {}", Nanos(least), Nanos(MAX_TIME_NS))))
    }

    /// Arrivals per second: an integer, or a string with a unit.
    pub(crate) fn rate(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let rate = if self.is_text() { self.quantity::<PerSecond>()?.0 } else { self.integer()? };
        if range.contains(&rate) {
            return Ok(rate);
        }
        Err(self.unlike(format!("{} to {}", PerSecond(*range.start()), PerSecond(*range.end()))))
    }

    /// Bytes per second above 0: a string with a unit.
    pub(crate) fn throughput(&self) -> Result<u64> {
        match self.quantity::<BytesPerSecond>()?.0 {
            0 => Err(self.error("0 holds for every run; leave it out, or give a throughput above 0")),
            rate => Ok(rate),
        }
    }

    fn quantity<T: FromStr<Err = UnitError>>(&self) -> Result<T> {
        let text = self.text()?;
        text.parse().map_err(|e| self.error(format!("{} is {e}", quote(text))))
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.unlike(format!("one of {}", words.join(", "))))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Result<Vec<Value<'t>>> {
        let DeValue::Array(array) = self.value else {
            return Err(self.unlike("a list"));
        };
        let item = |(index, item): (usize, &'t Spanned<DeValue<'t>>)| Value {
            document: self.document,
            key: format!("{}[{index}]", self.key),
            start: item.span().start,
            value: item.get_ref(),
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    /// The two items of a pair.
    pub(crate) fn pair(&self, wanted: &str) -> Result<[Value<'t>; 2]> {
        let items = self.items().map_err(|_| self.unlike(wanted))?;
        let count = items.len();
        items.try_into().map_err(|_| self.error(format!("found a list of {count}; wanted {wanted}")))
    }

    /// A table with none but the `known` keys.
    pub(crate) fn table(&self, known: &[&str]) -> Result<Table<'t>> {
        match self.value {
            DeValue::Table(entries) => {
                Table { document: self.document, key: self.key.clone(), start: self.start, entries }
                    .knowing(known)
            }
            _ => Err(self.unlike("a table")),
        }
    }
}
