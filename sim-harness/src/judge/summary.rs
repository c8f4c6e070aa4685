//! What a run of the judge comes to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::known::Rule;
use super::log::Log;
use super::program::Program;
use super::{Compared, Verdict, side_by_side};

/// A program on which two devices disagree.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// Its number in the run, if it was generated.
    pub number: Option<u64>,
    /// The program as text.
    pub program: String,
    /// The first difference.
    pub first: String,
    /// Both logs side by side, the first difference marked.
    pub logs: String,
    /// Its steps.
    pub steps: usize,
}

impl Disagreement {
    pub(super) fn of(number: Option<u64>, verdict: &Result<Verdict, String>) -> Disagreement {
        match verdict {
            Ok(verdict) => Disagreement {
                number,
                program: verdict.program.to_string(),
                first: verdict.differences.first().map(ToString::to_string).unwrap_or_default(),
                logs: side_by_side::side_by_side(verdict),
                steps: verdict.program.steps.len(),
            },
            Err(why) => {
                let (program, logs) = (String::new(), String::new());
                Disagreement { number, program, first: why.clone(), logs, steps: 0 }
            }
        }
    }
}

/// How often a rule applied.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The rule.
    pub rule: &'static str,
    /// Why it is accepted.
    pub why: &'static str,
    /// In how many programs.
    pub programs: u64,
}

/// Everything that was judged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Programs.
    pub programs: u64,
    /// Their steps.
    pub steps: u64,
    /// Completions compared.
    pub completions: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Bytes not compared, because they are undefined.
    pub masked_bytes: u64,
    /// Programs that were not judged, because no order of settling makes their outcome defined.
    pub undefined: u64,
    /// Programs that could not be set up, and why the first could not.
    pub refused: (u64, Option<String>),
    /// How many programs showed a disagreement, by its sort.
    pub sorts: BTreeMap<String, u64>,
    /// One disagreement of each sort, made as small as it gets.
    pub disagreements: Vec<Disagreement>,
    /// Disagreements that did not come again.
    pub unsteady: Vec<Disagreement>,
    /// How the reference's works ended, by verb and status.
    pub outcomes: BTreeMap<String, u64>,
    /// The known disagreements.
    pub rules: Vec<Applied>,
}

impl Summary {
    pub(super) fn new(rules: &[Rule]) -> Summary {
        let applied = |rule: &Rule| Applied { rule: rule.name, why: rule.why, programs: 0 };
        Summary { rules: rules.iter().map(applied).collect(), ..Summary::default() }
    }

    /// Whether the devices agree on everything.
    pub fn ok(&self) -> bool {
        self.disagreements.is_empty() && self.refused.0 == 0
    }

    fn count_outcomes(&mut self, program: &Program, log: &Log) {
        for ended in log.rounds.iter().flat_map(|round| round.ends.values()).flatten() {
            let kind = program.post(ended.step).map_or("nothing", |post| post.kind().name());
            *self.outcomes.entry(format!("{kind} {}", ended.status)).or_default() += 1;
        }
    }

    pub(super) fn count(&mut self, verdict: &Result<Verdict, String>) {
        self.programs += 1;
        match verdict {
            Ok(Verdict { program, compared, applied, logs, .. }) => {
                self.steps += program.steps.len() as u64;
                self.count_outcomes(program, &logs[0]);
                let Compared { completions, bytes, masked_bytes } = *compared;
                self.completions += completions;
                self.bytes += bytes;
                self.masked_bytes += masked_bytes;
                for (rule, times) in self.rules.iter_mut().zip(applied) {
                    rule.programs += u64::from(*times > 0);
                }
            }
            Err(why) => {
                self.refused.0 += 1;
                self.refused.1.get_or_insert_with(|| why.clone());
            }
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.number {
            writeln!(f, "# program {number}, made smaller")?;
        }
        writeln!(f, "{}", self.program)?;
        write!(f, "{}", self.logs)
    }
}
