//! The side that measures.

use serde::{Deserialize, Serialize};
use wavetank_contract::{Instant, OpKind};

use super::super::pair::PairError;
use super::cell::{Cell, Measure};
use super::station::Station;

/// How much of what is measured one reading of the clock may be: operations that take less are timed several at a time.
const SAMPLE_NS: f64 = 500.0;

/// How many turns without news there are between two looks at the clock.
const PATIENT_TURNS: u32 = 64;

/// What came of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The median of single operations, or of a few timed together; one way where they are answered.
    pub median_ns: f64,
    /// All of them together, divided by their number.
    pub mean_ns: f64,
    /// Bytes of all of them, over the same time.
    pub bytes_per_s: f64,
}

/// One side's loop, a turn at a time.
#[derive(Debug)]
pub(super) struct Client<S> {
    pub(super) station: S,
    cell: Cell,
    /// Not posted yet.
    left: u32,
    /// Posted and not over: not answered, or not completed.
    under_way: u32,
    free: Vec<u16>,
    /// Of a ping-pong: the next one is to be posted.
    due: bool,
    number: u8,
    samples: Samples,
    /// When the driver was last told the time.
    now: Instant,
    idle: u32,
}

/// What operations took.
#[derive(Debug)]
struct Samples {
    started: Instant,
    since: Instant,
    /// Operations of one sample, and how many of them are over.
    each: u32,
    over: u32,
    took_ns: Vec<f64>,
}

impl Samples {
    fn start(&mut self, now: Instant, count: u32, each: u32) {
        self.took_ns.clear();
        self.took_ns.reserve(count as usize);
        (self.started, self.since, self.each, self.over) = (now, now, each, 0);
    }

    /// One operation is over. Answers the time when it was looked at.
    #[inline]
    fn tick(&mut self, time: impl Fn() -> Instant) -> Option<Instant> {
        self.over += 1;
        if self.over < self.each {
            return None;
        }
        let now = time();
        self.took_ns.push(now.since_ns(self.since) as f64 / f64::from(self.each));
        (self.since, self.over) = (now, 0);
        Some(now)
    }
}

impl<S: Station> Client<S> {
    pub(super) fn new(station: S, cell: Cell) -> Client<S> {
        let (started, since) = (Instant::ZERO, Instant::ZERO);
        Client {
            station,
            left: 0,
            under_way: 0,
            free: (0..cell.sends()).rev().collect(),
            due: false,
            number: 0,
            samples: Samples { started, since, each: 1, over: 0, took_ns: Vec::new() },
            now: Instant::ZERO,
            idle: 0,
            cell,
        }
    }

    /// Begins a run of operations, timed `each` at a time.
    pub(super) fn begin(&mut self, count: u32, each: u32, time: impl Fn() -> Instant) {
        self.left = count;
        self.due = self.cell.measure.is_ping_pong();
        self.now = time();
        self.samples.start(self.now, count, each);
    }

    /// How many operations to time together, after a warm-up.
    pub(super) fn each(&self, figures: &Figures) -> u32 {
        match self.cell.measure.is_bandwidth() {
            true => 1,
            false => (SAMPLE_NS / figures.mean_ns.max(1.0)).ceil().clamp(1.0, 64.0) as u32,
        }
    }

    /// One turn. The figures, once all is over.
    ///
    /// # Errors
    /// An operation that fails.
    #[inline]
    pub(super) fn step(&mut self, time: impl Fn() -> Instant) -> Result<Option<Figures>, PairError> {
        self.station.spin(self.now)?;
        let news = match self.cell.measure {
            Measure::MessageLatency => self.message(&time)?,
            Measure::WriteLatency => self.write(&time)?,
            _ => self.stream(&time)?,
        };
        if news {
            self.idle = 0;
        } else {
            self.idle += 1;
            if self.idle.is_multiple_of(PATIENT_TURNS) {
                self.now = time();
            }
        }
        let slots = self.free.len() == usize::from(self.cell.sends());
        let over = self.left == 0 && self.under_way == 0;
        // Of a ping-pong the last answer counts, and not what completes behind it.
        if over && (slots || self.cell.measure.is_ping_pong()) {
            Ok(Some(self.figures(time())))
        } else {
            Ok(None)
        }
    }

    /// How long nothing has happened.
    pub(super) fn is_patient(&self) -> bool {
        !self.idle.is_multiple_of(PATIENT_TURNS) || self.idle == 0
    }

    /// When the clock was last looked at.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// SENDs that are answered.
    #[inline]
    fn message(&mut self, time: &impl Fn() -> Instant) -> Result<bool, PairError> {
        let mut news = self.ping()?;
        while let Some(ended) = self.station.take()? {
            news = true;
            if ended.kind != OpKind::Recv {
                self.free.push(ended.slot);
                continue;
            }
            self.pong(time);
            // First the answer, then what takes the one after the next.
            self.ping()?;
            self.station.post(self.now, OpKind::Recv, ended.slot)?;
        }
        Ok(news)
    }

    /// WRITEs that are answered.
    #[inline]
    fn write(&mut self, time: &impl Fn() -> Instant) -> Result<bool, PairError> {
        let mut news = false;
        if self.under_way == 1 && self.station.buffers().arrived() == self.number {
            self.pong(time);
            news = true;
        }
        while let Some(ended) = self.station.take()? {
            self.free.push(ended.slot);
            news = true;
        }
        Ok(self.ping()? || news)
    }

    #[inline]
    fn pong(&mut self, time: &impl Fn() -> Instant) {
        self.under_way -= 1;
        self.due = self.left > 0;
        self.now = self.samples.tick(time).unwrap_or(self.now);
    }

    /// Posts the next of a ping-pong, if it is due and there is memory for it.
    #[inline]
    fn ping(&mut self) -> Result<bool, PairError> {
        if !self.due {
            return Ok(false);
        }
        let Some(slot) = self.free.pop() else { return Ok(false) };
        let kind = self.cell.measure.kind();
        if kind == OpKind::Write {
            self.number = self.number.wrapping_add(1);
            self.station.buffers().number(slot, self.number);
        }
        self.station.post(self.now, kind, slot)?;
        self.station.push(self.now)?;
        (self.left, self.under_way, self.due) = (self.left - 1, self.under_way + 1, false);
        Ok(true)
    }

    /// As many at a time as the window has.
    #[inline]
    fn stream(&mut self, time: &impl Fn() -> Instant) -> Result<bool, PairError> {
        let mut news = false;
        while let Some(ended) = self.station.take()? {
            self.under_way -= 1;
            self.free.push(ended.slot);
            self.now = self.samples.tick(time).unwrap_or(self.now);
            news = true;
        }
        while self.left > 0
            && let Some(slot) = self.free.pop()
        {
            self.station.post(self.now, self.cell.measure.kind(), slot)?;
            (self.left, self.under_way) = (self.left - 1, self.under_way + 1);
            news = true;
        }
        if news {
            self.station.push(self.now)?;
        }
        Ok(news)
    }

    fn figures(&mut self, now: Instant) -> Figures {
        let ways = if self.cell.measure.is_ping_pong() { 2.0 } else { 1.0 };
        let ns = now.since_ns(self.samples.started).max(1) as f64;
        let samples = std::mem::take(&mut self.samples.took_ns);
        // What was not enough for a sample of its own.
        let count = samples.len() as f64 * f64::from(self.samples.each) + f64::from(self.samples.over);
        Figures {
            median_ns: super::super::median(samples) / ways,
            mean_ns: ns / count.max(1.0) / ways,
            bytes_per_s: f64::from(self.cell.bytes) * count * 1e9 / ns,
        }
    }
}
