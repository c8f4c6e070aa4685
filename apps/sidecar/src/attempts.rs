//! What was tried for one read, and how long it took: for the answer's headers, and for whoever looks why.

use std::time::Duration;

/// Attempts that are told one by one; how many there were is always told.
const TOLD_MAX: usize = 8;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `rdma HOST:PORT`, `http HOST:PORT`, or `rdma` where the engine chose by itself.
    pub path: String,
    /// `ok`, or what it ended with.
    pub outcome: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    list: Vec<Attempt>,
    /// How long the look-up of the volume took.
    pub lookup: Duration,
}

impl Attempts {
    /// One more.
    pub fn add(&mut self, path: &str, outcome: &'static str, took: Duration) {
        self.list.push(Attempt { path: path.to_owned(), outcome, took });
    }

    /// Those of a part of the same read.
    pub fn join(&mut self, other: Attempts) {
        self.list.extend(other.list);
        self.lookup += other.lookup;
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Why it was not read through the engine: what the first attempt to ended with.
    pub fn reason(&self) -> Option<&'static str> {
        let failed = |attempt: &&Attempt| attempt.path.starts_with("rdma") && attempt.outcome != "ok";
        self.list.iter().find(failed).map(|attempt| attempt.outcome)
    }

    /// In one line.
    pub fn told(&self) -> String {
        let told = self.list.iter().take(TOLD_MAX);
        let mut text: Vec<_> = told.map(|attempt| format!("{}={}", attempt.path, attempt.outcome)).collect();
        if self.list.len() > TOLD_MAX {
            text.push(format!("and {} more", self.list.len() - TOLD_MAX));
        }
        text.join(", ")
    }

    /// As `Server-Timing` has it.
    pub fn timing(&self, total: Duration) -> String {
        let of = |kind: &str| {
            self.list.iter().filter(|a| a.path.starts_with(kind)).map(|a| a.took).sum::<Duration>()
        };
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "lookup;dur={:.3}, rdma;dur={:.3}, http;dur={:.3}, total;dur={:.3}",
            ms(self.lookup),
            ms(of("rdma")),
            ms(of("http")),
            ms(total)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_a_line() {
        let mut attempts = Attempts::default();
        attempts.add("rdma a:80", "peer-gone", Duration::from_micros(1500));
        attempts.add("http a:80", "ok", Duration::from_millis(2));
        assert_eq!(attempts.told(), "rdma a:80=peer-gone, http a:80=ok");
        assert_eq!((attempts.reason(), attempts.count()), (Some("peer-gone"), 2));
        let timing = attempts.timing(Duration::from_millis(4));
        assert_eq!(timing, "lookup;dur=0.000, rdma;dur=1.500, http;dur=2.000, total;dur=4.000");
        (0..9).for_each(|_| attempts.add("rdma", "ok", Duration::ZERO));
        assert!(attempts.told().ends_with(", and 3 more"));
    }
}
