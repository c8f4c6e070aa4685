//! What `tc-netem(8)` does to one direction, where its packets leave.

use crate::lab::LinkFault;

/// What counts as all of the bandwidth of a cable between software devices, which has no rate of its own: 1 Gbit/s.
const WHOLE_MBIT: u32 = 1000;

/// Packets that may wait: more than any window of RDMA between two devices.
const LIMIT: &str = "100000";

/// What is done to a direction. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Netem {
    /// One packet in `n` begins a burst of losses.
    loss: Option<(u32, u32)>,
    duplicate_one_in: u32,
    reorder: Option<(u32, u64)>,
    delay_ns: u64,
    corrupt_one_in: u32,
    percent: u8,
    /// What was ever asked for has to be taken back in words: `change` leaves alone what is not named (sch_netem.c,
    /// netem_change).
    named: Named,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Named {
    reorder: bool,
    corrupt: bool,
    rate: bool,
}

/// One in `n`, in percent with six decimals, in integers.
fn percent(n: u32) -> String {
    let millionths = 100_000_000 / u64::from(n.max(1));
    format!("{}.{:06}%", millionths / 1_000_000, millionths % 1_000_000)
}

/// All but one in `n`.
fn percent_but(n: u32) -> String {
    let millionths = 100_000_000 - 100_000_000 / u64::from(n.max(1));
    format!("{}.{:06}%", millionths / 1_000_000, millionths % 1_000_000)
}

impl Netem {
    /// Whether this is done here and not where packets arrive.
    pub(super) fn does(fault: LinkFault) -> bool {
        match fault {
            LinkFault::LoseOneIn { burst, .. } => burst > 1,
            LinkFault::Cut | LinkFault::LoseNth { .. } | LinkFault::TruncateOneIn { .. } => false,
            LinkFault::DuplicateOneIn { .. }
            | LinkFault::ReorderOneIn { .. }
            | LinkFault::Delay { .. }
            | LinkFault::CorruptOneIn { .. }
            | LinkFault::Throttle { .. } => true,
        }
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn add(&mut self, fault: LinkFault) -> Result<(), String> {
        match fault {
            LinkFault::LoseOneIn { n, burst } => self.loss = Some((n, burst)),
            LinkFault::DuplicateOneIn { n } => self.duplicate_one_in = n,
            LinkFault::ReorderOneIn { n, by_ns } => self.reorder = Some((n, by_ns)),
            LinkFault::Delay { ns } => self.delay_ns = ns,
            LinkFault::CorruptOneIn { n } => self.corrupt_one_in = n,
            LinkFault::Throttle { percent } => self.percent = percent,
            LinkFault::Cut | LinkFault::LoseNth { .. } | LinkFault::TruncateOneIn { .. } => {}
        }
        if self.reorder.is_some() && self.delay_ns > 0 {
            return Err(
                "tc-netem(8) reorders by delaying some packets, and cannot delay all of them as well"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Nothing is done any more.
    pub(super) fn clear(&mut self) {
        *self = Netem { named: self.named, ..Netem::default() };
    }

    /// The words behind `netem`.
    pub(super) fn words(&mut self) -> Vec<String> {
        let mut words = vec!["limit".to_owned(), LIMIT.to_owned()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        let delay_ns = self.reorder.map_or(self.delay_ns, |(_, by_ns)| by_ns);
        add(&["delay", &format!("{}us", delay_ns.div_ceil(1000))]);
        match self.loss {
            // Gilbert and Elliott: how likely a burst begins, and how likely it ends with each packet.
            Some((n, burst)) => add(&["loss", "gemodel", &percent(n), &percent(burst)]),
            None => add(&["loss", "0%"]),
        }
        let one_in = |n: u32| if n == 0 { "0%".to_owned() } else { percent(n) };
        add(&["duplicate", &one_in(self.duplicate_one_in)]);
        self.named.reorder |= self.reorder.is_some();
        if self.named.reorder {
            // The share that is not delayed overtakes the one that is.
            add(&["reorder", &self.reorder.map_or("0%".to_owned(), |(n, _)| percent_but(n))]);
        }
        self.named.corrupt |= self.corrupt_one_in > 0;
        if self.named.corrupt {
            add(&["corrupt", &one_in(self.corrupt_one_in)]);
        }
        self.named.rate |= self.percent > 0;
        if self.named.rate {
            add(&["rate", &format!("{}mbit", WHOLE_MBIT * u32::from(self.percent) / 100)]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_words_and_is_taken_back_in_words() {
        let table = [
            (
                LinkFault::LoseOneIn { n: 300, burst: 4 },
                "delay 0us loss gemodel 0.333333% 25.000000% duplicate 0%",
                "",
            ),
            (LinkFault::DuplicateOneIn { n: 10 }, "delay 0us loss 0% duplicate 10.000000%", ""),
            (
                LinkFault::ReorderOneIn { n: 50, by_ns: 10_500 },
                "delay 11us loss 0% duplicate 0% reorder 98.000000%",
                " reorder 0%",
            ),
            (LinkFault::Delay { ns: 5_000_000 }, "delay 5000us loss 0% duplicate 0%", ""),
            (
                LinkFault::CorruptOneIn { n: 50 },
                "delay 0us loss 0% duplicate 0% corrupt 2.000000%",
                " corrupt 0%",
            ),
            (
                LinkFault::Throttle { percent: 25 },
                "delay 0us loss 0% duplicate 0% rate 250mbit",
                " rate 0mbit",
            ),
        ];
        for (fault, words, back) in table {
            assert!(Netem::does(fault), "{fault:?}");
            let mut netem = Netem::default();
            netem.add(fault).expect("alone it can be done");
            assert_eq!(netem.words().join(" "), format!("limit 100000 {words}"));
            netem.clear();
            assert_eq!(netem.words().join(" "), format!("limit 100000 delay 0us loss 0% duplicate 0%{back}"));
        }
    }

    #[test]
    fn faults_of_one_direction_add_up_where_netem_can() {
        let mut netem = Netem::default();
        netem.add(LinkFault::DuplicateOneIn { n: 4 }).expect("it can be done");
        netem.add(LinkFault::Delay { ns: 7_000 }).expect("together too");
        assert_eq!(netem.words().join(" "), "limit 100000 delay 7us loss 0% duplicate 25.000000%");
        let why = netem.add(LinkFault::ReorderOneIn { n: 4, by_ns: 9 }).expect_err("not with a delay");
        assert!(why.contains("cannot delay all of them"), "{why}");
    }
}
