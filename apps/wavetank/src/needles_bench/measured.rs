//! The client: one loop for engines and for HTTP, with the clock stopped while bytes are compared.

use std::collections::VecDeque;

use wavetank_client::blocking::{Client, Ticket};
use wavetank_client::{Lent, ReadPath, Wanted};

use crate::bench_volume::{COOKIE, Known, VOLUME};
use crate::beside::median;
use crate::clock::Clock;

/// Bytes that are held at a time until they are compared.
const BATCH_BYTES: usize = 32 << 20;
/// Reads of a batch, for each in flight.
const BATCH_WINDOWS: usize = 4;

/// What is read.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) needles: &'a [Known],
    pub(super) count: u32,
    pub(super) window: u16,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Half of the reads took no longer.
    pub(super) median_ns: f64,
    pub(super) bytes_per_s: f64,
    pub(super) per_s: f64,
    /// What the client's core spent on a read.
    pub(super) client_ns: f64,
    /// What all others spent on it; whoever measures fills that in.
    pub(super) servers_ns: f64,
}

/// Whoever has needles.
pub(super) trait Fetch {
    /// A read that was begun.
    type Begun;
    /// Bytes, until they are given back.
    type Bytes;

    /// Begins a read.
    fn begin(&mut self, needle: &Known) -> Result<Self::Begun, String>;
    /// Waits for the read that was begun first.
    fn end(&mut self, begun: Self::Begun) -> Result<Self::Bytes, String>;
    /// The bytes.
    fn look<'a>(&self, bytes: &'a Self::Bytes) -> &'a [u8];
    /// Gives them back.
    fn give_back(&mut self, bytes: Self::Bytes);
}

/// Reads, and compares every byte.
pub(super) fn measure<F: Fetch>(fetch: &mut F, load: &Load<'_>) -> Result<Figures, String> {
    let len = load.needles.first().map_or(1, |needle| needle.bytes.len());
    let window = usize::from(load.window);
    let batch = match window {
        1 => 1,
        _ => (BATCH_BYTES / len).clamp(window, window * BATCH_WINDOWS),
    };
    // Where a needle is first read, it is found; where it is read again, it is granted.
    for _ in 0..2 {
        for needle in load.needles {
            let begun = fetch.begin(needle)?;
            let bytes = fetch.end(begun)?;
            compare(fetch.look(&bytes), needle)?;
            fetch.give_back(bytes);
        }
    }
    let mut needles = load.needles.iter().cycle().take(load.count as usize).peekable();
    let (mut wall_ns, mut core_ns, mut bytes) = (0, 0, 0);
    let mut each_ns = Vec::with_capacity(load.count as usize);
    let (mut under_way, mut held) = (VecDeque::new(), Vec::with_capacity(batch));
    while needles.peek().is_some() {
        let (clock, mut begun) = (Clock::start(), 0);
        loop {
            while begun < batch
                && under_way.len() < window
                && let Some(needle) = needles.next()
            {
                under_way.push_back((needle, clock.wall_ns(), fetch.begin(needle)?));
                begun += 1;
            }
            let Some((needle, since_ns, first)) = under_way.pop_front() else { break };
            held.push((needle, fetch.end(first)?));
            each_ns.push((clock.wall_ns() - since_ns) as f64);
        }
        (wall_ns, core_ns) = (wall_ns + clock.wall_ns(), core_ns + clock.core_ns());
        for (needle, got) in &held {
            compare(fetch.look(got), needle)?;
            bytes += needle.bytes.len();
        }
        let clock = Clock::start();
        held.drain(..).for_each(|(_, got)| fetch.give_back(got));
        (wall_ns, core_ns) = (wall_ns + clock.wall_ns(), core_ns + clock.core_ns());
    }
    let (count, wall_s) = (f64::from(load.count.max(1)), wall_ns.max(1) as f64 / 1e9);
    Ok(Figures {
        median_ns: median(&each_ns).unwrap_or_default(),
        bytes_per_s: bytes as f64 / wall_s,
        per_s: count / wall_s,
        client_ns: core_ns as f64 / count,
        servers_ns: 0.0,
    })
}

fn compare(got: &[u8], needle: &Known) -> Result<(), String> {
    if got == needle.bytes {
        return Ok(());
    }
    let at = got.iter().zip(&needle.bytes).position(|(got, wanted)| got != wanted);
    Err(match at {
        Some(at) if got.len() == needle.bytes.len() => {
            format!("needle {}: byte {at} is not that of the file", needle.id)
        }
        _ => format!("needle {}: {} bytes came, not {}", needle.id, got.len(), needle.bytes.len()),
    })
}

/// An engine, asked by a thread.
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) path: ReadPath,
}

impl Fetch for Asked {
    type Begun = Ticket;
    type Bytes = Lent;

    fn begin(&mut self, needle: &Known) -> Result<Ticket, String> {
        let len = needle.bytes.len() as u64;
        let wanted = Wanted { volume: VOLUME, needle: needle.id, cookie: COOKIE, len, ..Wanted::default() };
        self.client.start(&wanted).map_err(|why| why.to_string())
    }

    fn end(&mut self, begun: Ticket) -> Result<Lent, String> {
        let lent = self.client.finish(begun).map_err(|why| why.to_string())?;
        match lent.found().path {
            path if path == self.path => Ok(lent),
            other => Err(format!("it came by {other:?}, and {:?} was to be measured", self.path)),
        }
    }

    fn look<'a>(&self, bytes: &'a Lent) -> &'a [u8] {
        bytes.as_ref()
    }

    fn give_back(&mut self, bytes: Lent) {
        drop(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers from memory, and gets one of its answers wrong.
    struct Memory {
        wrong_at: Option<usize>,
        answers: usize,
        held: usize,
    }

    impl Fetch for Memory {
        type Begun = Vec<u8>;
        type Bytes = Vec<u8>;

        fn begin(&mut self, needle: &Known) -> Result<Vec<u8>, String> {
            Ok(needle.bytes.clone())
        }

        fn end(&mut self, mut begun: Vec<u8>) -> Result<Vec<u8>, String> {
            if self.wrong_at == Some(self.answers) {
                begun[3] ^= 1;
            }
            self.answers += 1;
            self.held += 1;
            Ok(begun)
        }

        fn look<'a>(&self, bytes: &'a Vec<u8>) -> &'a [u8] {
            bytes
        }

        fn give_back(&mut self, _: Vec<u8>) {
            self.held -= 1;
        }
    }

    #[test]
    fn every_byte_of_every_read_is_compared() {
        let needles: Vec<Known> = (1..=3).map(|id| Known { id, bytes: vec![id as u8; 8] }).collect();
        for window in [1, 4] {
            let load = Load { needles: &needles, count: 50, window };
            let mut memory = Memory { wrong_at: None, answers: 0, held: 0 };
            let figures = measure(&mut memory, &load).expect("all is right");
            assert!(figures.per_s > 0.0 && figures.bytes_per_s > 0.0);
            assert_eq!((memory.answers, memory.held), (6 + 50, 0));
            for wrong_at in [0, 6, 55] {
                let mut memory = Memory { wrong_at: Some(wrong_at), answers: 0, held: 0 };
                let why = measure(&mut memory, &load).expect_err("one is wrong");
                assert!(why.ends_with("byte 3 is not that of the file"), "{why}");
            }
        }
    }
}
