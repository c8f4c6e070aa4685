//! What a doctor finds: one line about one thing that has to be right.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or works sometimes, or not as well as it could.
    Warn,
    /// It cannot work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        })
    }
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at; stable, for programs: `memlock`, `port`.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is the case, with names and numbers.
    pub says: String,
    /// The command that shows or mends it. There is one for whatever is wrong.
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, says: says.into(), mend: None }
    }

    /// Something that could be better.
    pub fn warn(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warn, mend: Some(mend.into()), ..Finding::ok(check, says) }
    }

    /// Something that cannot work.
    pub fn fail(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, says, mend) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {}: {}", self.verdict.to_string(), self.check, self.says)?;
        match &self.mend {
            Some(mend) => write!(f, " ({mend})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line() {
        let finding = Finding::warn("memlock", "8 MiB", "ulimit -l unlimited");
        assert_eq!(finding.to_string(), "warn memlock: 8 MiB (ulimit -l unlimited)");
    }
}
