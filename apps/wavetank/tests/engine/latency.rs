//! How long reads take, one after the other: shown, and held against a ceiling that no sleep fits below.

use wavetank_client::{Code, Options};

use crate::daemon::Daemon;
use crate::library::Shelf;
use crate::voices::{Got, VOICES, Voice};
use crate::waiting::show;

/// Times of reads, in nanoseconds, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn new(mut all: Vec<u64>) -> Times {
        all.sort_unstable();
        Times(all)
    }

    /// The time below which so many of a thousand are, in microseconds.
    pub(crate) fn us(&self, of_1000: usize) -> u64 {
        let at = (self.0.len() * of_1000 / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0, |ns| ns / 1000)
    }
}

/// What 95 of 100 reads stay below, in microseconds, on a loaded machine too. Where a wake-up is lost it is the 100 ms of the next sweep.
const MOST_US_MAX: u64 = 60_000;

/// Reads that are timed, for each kind of client.
const READS: usize = 400;

/// Reads a few needles again and again, and shows how long it took. Answers the slowest median, in microseconds.
pub(crate) fn measure(what: &str, daemon: &Daemon, shelf: &Shelf) -> u64 {
    let mut slowest = 0;
    for name in VOICES {
        let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
        let ids: Vec<u64> = shelf.ids().into_iter().take(20).collect();
        let mut times = Vec::new();
        for at in 0..READS {
            let (got, ns) = voice.timed(&shelf.wanted(ids[at % ids.len()]));
            match got {
                Got::Bytes(..) => times.push(ns),
                Got::No(Code::Deleted | Code::Busy) => {}
                other => panic!("{other:?}"),
            }
        }
        let times = Times::new(times);
        let [half, most, all] = [500, 990, 1000].map(|of| times.us(of));
        show(&format!("latency, {what}, {name}: median {half} us, 99 of 100 {most} us, longest {all} us\n"));
        assert!(times.us(950) < MOST_US_MAX, "{what}, {name}: {} us", times.us(950));
        slowest = slowest.max(half);
    }
    slowest
}
