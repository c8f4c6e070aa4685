//! Clients that read until they are stopped, and what they see.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wavetank_client::{Code, Options, Wanted};

use crate::comparing::{Way, judge, name};
use crate::dice::Dice;
use crate::library::{Right, Shelf};
use crate::voices::{Got, Voice};
use crate::waiting::pause;

/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What a client gives an engine's answer beyond that, and what a loaded machine may add.
const SLACK: Duration = Duration::from_millis(500 + 2500);

/// Everything that may be asked for, and what is right.
pub(crate) struct Rights(Vec<(Wanted, Right)>);

impl Rights {
    pub(crate) fn of(shelves: &[Shelf]) -> Rights {
        Rights::claimed(shelves, shelves)
    }

    /// Asks for what is on shelves, and takes others' content for right.
    pub(crate) fn claimed(shelves: &[Shelf], right: &[Shelf]) -> Rights {
        let of = |(asked, right): (&Shelf, &Shelf)| {
            let (asked, right) = (*asked, *right);
            asked.ids().into_iter().map(move |id| (asked.wanted(id), right.right(id)))
        };
        Rights(shelves.iter().zip(right).flat_map(of).collect())
    }

    /// Something to ask for, whole or in part. Some needles are wanted more than others.
    pub(crate) fn draw(&self, dice: &mut Dice) -> (Wanted, Right) {
        let among = if dice.below(2) == 0 { self.0.len() } else { self.0.len() / 16 };
        let (mut wanted, mut right) = self.0[dice.below(among as u64) as usize].clone();
        wanted.timeout_ns = LIMIT.as_nanos() as u64;
        if let Right::Bytes(bytes) = &mut right
            && !bytes.is_empty()
            && dice.below(2) == 0
        {
            let from = dice.below(bytes.len() as u64) as usize;
            let len = dice.within(1, (bytes.len() - from) as u64) as usize;
            (wanted.offset, wanted.len) = (from as u64, len as u64);
            *bytes = bytes[from..from + len].to_vec();
        }
        (wanted, right)
    }
}

/// What a client saw.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) stop: AtomicBool,
    good: AtomicU64,
    seen: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<String>>,
    good_ns: Mutex<Vec<u64>>,
    longest_ms: AtomicU64,
}

impl Ledger {
    /// Reads that brought the right bytes.
    pub(crate) fn good(&self) -> u64 {
        self.good.load(Ordering::Acquire)
    }

    /// What must not be.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    pub(crate) fn seen(&self) -> BTreeMap<String, u64> {
        self.seen.lock().unwrap().clone()
    }

    /// The median of good reads in microseconds, and the longest wait of all in milliseconds.
    pub(crate) fn times(&self) -> (u64, u64) {
        let times = crate::latency::Times::new(self.good_ns.lock().unwrap().clone());
        (times.us(500), self.longest_ms.load(Ordering::Acquire))
    }

    fn saw(&self, what: &str) {
        *self.seen.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    /// Judges an answer. Whether the connection is of use still.
    fn judge(&self, got: &Got, wanted: &Wanted, right: &Right) -> bool {
        // What follows from an engine that was killed, stopped or ended. Of memory there is enough for all of them.
        let transient = [Code::PeerGone, Code::TimedOut, Code::ShuttingDown];
        match got {
            Got::Lost(why) => {
                self.saw("lost: connect again");
                !why.contains("lost") && !why.contains("no sense")
            }
            Got::No(code) if transient.contains(code) => {
                self.saw(code.name());
                true
            }
            got => {
                match judge(got, wanted, right, Way::Any) {
                    Err(why) => self.faults.lock().unwrap().push(why),
                    Ok(()) => {
                        self.good.fetch_add(1, Ordering::AcqRel);
                        self.saw(match got {
                            Got::Bytes(_, path) => path.map_or("bytes", name),
                            Got::No(code) => code.name(),
                            Got::Lost(_) => "lost",
                        });
                    }
                }
                true
            }
        }
    }

    fn took(&self, what: &str, time: Duration, limit: Duration) {
        self.longest_ms.fetch_max(time.as_millis() as u64, Ordering::AcqRel);
        if time > limit {
            self.faults.lock().unwrap().push(format!("LATE: {what} took {time:?} and not {limit:?}"));
        }
    }
}

/// Reads until it is told to stop, and connects again whenever that is due.
pub(crate) fn work(voice: &str, socket: &Path, rights: &Rights, ledger: &Ledger, seed: u64) {
    let options = Options { answer: LIMIT, read: LIMIT, ..Options::default() };
    let (mut dice, mut client) = (Dice::new(seed), None);
    while !ledger.stop.load(Ordering::Acquire) {
        let from = Instant::now();
        let Some(connected) = client.as_mut() else {
            match Voice::connect(voice, socket, &options) {
                Ok(connected) => {
                    ledger.saw("connected");
                    client = Some(connected);
                }
                Err(_) => {
                    ledger.saw("not connected");
                    pause(Duration::from_millis(dice.within(5, 50)));
                }
            }
            // A hello, and a ring.
            ledger.took("connecting", from.elapsed(), 2 * LIMIT + SLACK);
            continue;
        };
        let (wanted, right) = rights.draw(&mut dice);
        let (got, ns) = connected.timed(&wanted);
        if voice != "upstream" {
            ledger.took("a read", Duration::from_nanos(ns), LIMIT + SLACK);
        }
        if matches!(got, Got::Bytes(..)) {
            ledger.good_ns.lock().unwrap().push(ns);
        }
        if !ledger.judge(&got, &wanted, &right) || (voice == "upstream" && matches!(got, Got::Lost(_))) {
            client = None;
        }
    }
}

/// Reads several needles at once until this process is killed, and says on stdout what it sees.
#[expect(clippy::print_stdout, reason = "another process reads it")]
pub(crate) fn for_ever(voice: &str, socket: &Path, rights: &Rights, seed: u64) {
    let options = Options { answer: LIMIT, read: LIMIT, ..Options::default() };
    let (mut dice, ledger) = (Dice::new(seed), Ledger::default());
    let mut client = None;
    loop {
        let Some(connected) = client.as_mut() else {
            client = Voice::connect(voice, socket, &options).ok();
            if client.is_none() {
                pause(Duration::from_millis(20));
            }
            continue;
        };
        let all: Vec<_> = (0..8).map(|_| rights.draw(&mut dice)).collect();
        let wanted: Vec<Wanted> = all.iter().map(|(wanted, _)| wanted.clone()).collect();
        let before = ledger.good();
        let mut of_use = true;
        for (got, (wanted, right)) in connected.read_all(&wanted).iter().zip(&all) {
            of_use &=
                ledger.judge(got, wanted, right) && !(voice == "upstream" && matches!(got, Got::Lost(_)));
        }
        let good = ledger.good() - before;
        println!("good {good} others {}", all.len() as u64 - good);
        for fault in ledger.faults() {
            println!("FAULT {fault}");
        }
        if !of_use {
            client = None;
        }
    }
}
