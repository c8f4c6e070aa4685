//! What a job says to who started it.

use std::fmt;

use wavetank_harness::swarm::tally::Tally;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// This seed begins.
    At(u64),
    /// This many more seeds of its share are over, and came to this.
    Tally(u64, Box<Tally>),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::At(seed) => write!(f, "at {seed}"),
            Line::Tally(seeds, tally) => {
                let json = serde_json::to_string(tally).map_err(|_| fmt::Error)?;
                write!(f, "tally {seeds} {json}")
            }
        }
    }
}

impl Line {
    /// Reads one.
    pub(super) fn parse(line: &str) -> Option<Line> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "at" => Some(Line::At(rest.parse().ok()?)),
            "tally" => {
                let (seeds, json) = rest.split_once(' ')?;
                Some(Line::Tally(seeds.parse().ok()?, serde_json::from_str(json).ok()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for line in [Line::At(u64::MAX), Line::Tally(64, Box::default())] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("at the end"), None);
        assert_eq!(Line::parse("tally 3 {}"), None);
    }
}
