//! Quirks: known deviations of a device, each with a reason and an expiry.
//!
//! A case that fails as its quirk says counts as a quirk. A quirk whose case passes, or whose time is up, fails the run:
//! exceptions are not where bugs go to be forgotten. Only where the device itself leaves it to a race whether it deviates,
//! and the quirk says so, may the case pass as well.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::date::Date;

/// A quirk file that comes along.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// How the names of the labs it is for begin.
    pub lab: &'static str,
    /// Where it lies.
    pub path: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// The quirk files that come along: of soft-RoCE, of soft-iWARP, of UCX.
pub const BUILT_IN: [BuiltIn; 3] = [
    BuiltIn { lab: "verbs/rxe", path: "quirks/rxe.toml", text: include_str!("../../../quirks/rxe.toml") },
    BuiltIn { lab: "verbs/siw", path: "quirks/siw.toml", text: include_str!("../../../quirks/siw.toml") },
    BuiltIn { lab: "ucx/", path: "quirks/ucx.toml", text: include_str!("../../../quirks/ucx.toml") },
];

/// What is seen instead of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Any failure.
    Fail,
    /// A failure whose text contains one of these; ` * ` stands for any one word.
    Texts(Vec<String>),
    /// Nothing: trying it would hang the device.
    Skip,
}

/// One known deviation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirk {
    /// The case.
    pub case: String,
    /// Labs it is about; `*` stands for any ending.
    pub device: String,
    /// What is seen instead.
    pub expect: Expect,
    /// Whether the device deviates now and then only, as a race ends: then a pass is no surprise.
    pub race: bool,
    /// Why.
    pub why: String,
    /// Where the cause is: a file and function, or an address.
    pub upstream: String,
    /// The first day on which it is no excuse any more.
    pub expires: Date,
    /// File and line, for whoever has to look.
    pub place: String,
}

impl Quirk {
    fn is_about(&self, lab: &str) -> bool {
        match self.device.strip_suffix('*') {
            Some(start) => lab.starts_with(start),
            None => lab == self.device,
        }
    }

    /// Whether a failure is the one it speaks of.
    pub(super) fn explains(&self, failure: &str) -> bool {
        match &self.expect {
            Expect::Fail => true,
            Expect::Texts(texts) => texts.iter().any(|text| says(failure, text)),
            Expect::Skip => false,
        }
    }
}

/// Whether a text is in there; ` * ` in it stands for any one word.
fn says(failure: &str, text: &str) -> bool {
    let Some((before, after)) = text.split_once(" * ") else {
        return failure.contains(text);
    };
    failure.match_indices(before).any(|(at, _)| {
        let word = failure[at + before.len()..].strip_prefix(' ');
        word.and_then(|rest| rest.split_once(' ')).is_some_and(|(_, rest)| rest.starts_with(after))
    })
}

/// A quirk file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct QuirkError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What was found, and what would be right.
    pub problem: String,
}

/// The quirks of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks(Vec<Quirk>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    quirk: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    device: Spanned<String>,
    case: Spanned<String>,
    expect: Spanned<Expected>,
    race: Option<Spanned<bool>>,
    why: Spanned<String>,
    upstream: Spanned<String>,
    expires: Spanned<String>,
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "wanted a text, or a list of them")]
enum Expected {
    One(String),
    Several(Vec<String>),
}

/// A file while it is read.
struct Source<'s> {
    path: &'s Path,
    text: &'s str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    fn error(&self, at: usize, problem: impl Into<String>) -> QuirkError {
        QuirkError { path: self.path.to_owned(), line: self.line(at), problem: problem.into() }
    }

    /// A text that says something.
    fn said<'t>(&self, key: &str, value: &'t Spanned<String>) -> Result<&'t str, QuirkError> {
        match value.get_ref().trim() {
            "" => Err(self.error(value.span().start, format!("{key} is empty"))),
            text => Ok(text),
        }
    }
}

impl Quirks {
    /// Reads a quirk file. `known` are the names of all cases.
    ///
    /// # Errors
    /// File and line of the first thing that cannot be.
    pub fn parse(path: &Path, text: &str, known: &[&str]) -> Result<Quirks, QuirkError> {
        let source = Source { path, text };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            source.error(at, error.message().replace('\n', ", "))
        })?;
        let mut quirks: Vec<Quirk> = Vec::new();
        for entry in &file.quirk {
            let quirk = read(&source, entry, known)?;
            if quirks.iter().any(|other| other.case == quirk.case && other.device == quirk.device) {
                let problem = format!("a second quirk of {} for {}", quirk.case, quirk.device);
                return Err(source.error(entry.span().start, problem));
            }
            quirks.push(quirk);
        }
        Ok(Quirks(quirks))
    }

    /// Those of a lab that come along. `known` are the names of all cases.
    ///
    /// # Errors
    /// As of [`Quirks::parse`].
    pub fn built_in(lab: &str, known: &[&str]) -> Result<Quirks, QuirkError> {
        let mut quirks = Quirks::default();
        for file in BUILT_IN.iter().filter(|file| lab.starts_with(file.lab)) {
            quirks.extend(Quirks::parse(Path::new(file.path), file.text, known)?);
        }
        Ok(quirks)
    }

    /// Adds those of another file.
    pub fn extend(&mut self, other: Quirks) {
        self.0.extend(other.0);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Quirk> {
        self.0.iter()
    }

    /// The one for a case on a lab. Files given later count for more.
    pub(super) fn of(&self, lab: &str, case: &str) -> Option<&Quirk> {
        self.0.iter().rev().find(|quirk| quirk.case == case && quirk.is_about(lab))
    }

    /// Those of a lab whose time is up.
    pub(super) fn expired(&self, lab: &str, today: Date) -> impl Iterator<Item = &Quirk> {
        self.0.iter().filter(move |quirk| quirk.is_about(lab) && quirk.expires <= today)
    }
}

fn read(source: &Source<'_>, entry: &Spanned<Entry>, known: &[&str]) -> Result<Quirk, QuirkError> {
    let Entry { device, case, expect, race, why, upstream, expires } = entry.get_ref();
    let name = source.said("case", case)?;
    if !known.contains(&name) {
        let shown: String = name.chars().take(80).collect();
        let problem = format!("there is no case {shown:?}; `wavetank kit --list` names them all");
        return Err(source.error(case.span().start, problem));
    }
    let labs = source.said("device", device)?;
    if labs.strip_suffix('*').unwrap_or(labs).contains('*') {
        let problem = "a * may only end the name of a device: \"verbs/rxe*\"";
        return Err(source.error(device.span().start, problem));
    }
    let expect = expected(source, expect)?;
    if let Some(race) = race.as_ref().filter(|_| expect == Expect::Skip) {
        return Err(source.error(race.span().start, "what is not tried is no race"));
    }
    let expires_on = source.said("expires", expires)?;
    let expires =
        expires_on.parse().map_err(|error| source.error(expires.span().start, format!("{error}")))?;
    Ok(Quirk {
        case: name.to_owned(),
        device: labs.to_owned(),
        expect,
        race: race.as_ref().is_some_and(|race| *race.get_ref()),
        why: source.said("why", why)?.to_owned(),
        upstream: source.said("upstream", upstream)?.to_owned(),
        expires,
        place: format!("{}:{}", source.path.display(), source.line(entry.span().start)),
    })
}

fn expected(source: &Source<'_>, expect: &Spanned<Expected>) -> Result<Expect, QuirkError> {
    let texts = match expect.get_ref() {
        Expected::One(text) if text == "fail" => return Ok(Expect::Fail),
        Expected::One(text) if text == "skip" => return Ok(Expect::Skip),
        Expected::One(text) => std::slice::from_ref(text),
        Expected::Several(texts) => texts,
    };
    // An empty text is in every failure, and no text at all in none.
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(source.error(expect.span().start, "expect is empty"));
    }
    Ok(Expect::Texts(texts.to_vec()))
}
