//! Measuring: what a client sees of an engine, and what the same machine does without one.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use wavetank_client::{ConnectError, Options, Wanted, blocking, seaweed};
use wavetank_contract::{Others, Pages, SharedMemory};
use wavetank_ipc::seaweed::{CompleteRead, Message, StartRead};

/// Bytes of a ping of ours over the socket, header included.
const PING_BYTES: usize = 24;

/// Longest time that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 10_000_000_000;

/// How bytes are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over the socket.
    Socket,
    /// Through a ring.
    Ring,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Round trips.
    pub count: u64,
    /// All of them together, in nanoseconds.
    pub total_ns: u64,
    /// Half were no longer, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were no longer, in nanoseconds.
    pub p99_ns: u64,
}

impl Figures {
    /// Round trips in a second.
    pub fn per_second(&self) -> u64 {
        self.count.saturating_mul(1_000_000_000) / self.total_ns.max(1)
    }
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Times round trips, after a tenth as many that do not count.
fn time(count: u64, mut trip: impl FnMut() -> io::Result<()>) -> io::Result<Figures> {
    for _ in 0..count / 10 {
        trip()?;
    }
    let mut times = histogram()?;
    let start = now_ns();
    let mut last = start;
    for _ in 0..count {
        trip()?;
        let now = now_ns();
        times.saturating_record(now - last);
        last = now;
    }
    Ok(figures(count, last - start, &times))
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(io::Error::other)
}

fn figures(count: u64, total_ns: u64, times: &Histogram<u64>) -> Figures {
    let (p50_ns, p99_ns) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99));
    Figures { count, total_ns, p50_ns, p99_ns }
}

/// The floor of the socket: as many bytes as a ping, there and back between two threads that wait for them. The other one begins
/// with `settle`, which may choose its CPU.
///
/// # Errors
/// The system's.
pub fn echo(count: u64, settle: impl FnOnce() + Send) -> io::Result<Figures> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            settle();
            let mut bytes = [0; PING_BYTES];
            while theirs.read_exact(&mut bytes).is_ok() && theirs.write_all(&bytes).is_ok() {}
        });
        let mut bytes = [0; PING_BYTES];
        let measured = time(count, || {
            ours.write_all(&bytes)?;
            ours.read_exact(&mut bytes)
        });
        drop(ours);
        measured
    })
}

/// The floor of a ring: a word there and another back between two threads that poll, each in a line of its own. The other one
/// begins with `settle`, which may choose its CPU.
///
/// # Errors
/// The system's.
pub fn bare_ring(count: u64, settle: impl FnOnce() + Send) -> io::Result<Figures> {
    let memory = SharedMemory::create("bare", 4096, Others::Write, Pages::Plain).map_err(io::Error::other)?;
    let there = SharedMemory::attach(memory.fd().try_clone_to_owned()?, 4096).map_err(io::Error::other)?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            settle();
            let mut seen = 0;
            while seen != u64::MAX {
                let word = there.word(0).load();
                if word != seen {
                    seen = word;
                    there.word(1024).store(word);
                }
            }
        });
        let mut word = 0;
        let measured = time(count, || {
            word += 1;
            memory.word(0).store(word);
            while memory.word(1024).load() != word {}
            Ok(())
        });
        memory.word(0).store(u64::MAX);
        measured
    })
}

fn options(way: Way, entries: u32) -> Options {
    Options { ring: (way == Way::Ring).then_some(entries), ..Options::default() }
}

/// A client of an engine.
fn client(path: &Path, way: Way) -> io::Result<blocking::Client> {
    blocking::Client::connect(path, &options(way, 256)).map_err(|error: ConnectError| io::Error::other(error))
}

/// Signs of life.
///
/// # Errors
/// The system's; the client's, as text.
pub fn ping(path: &Path, way: Way, count: u64) -> io::Result<Figures> {
    let mut client = client(path, way)?;
    time(count, || {
        let pong = match way {
            Way::Socket => client.ping(),
            Way::Ring => client.ping_ring(),
        };
        pong.map_err(io::Error::other)
    })
}

/// Reads of `len` bytes, with so many under way. Each is lent, looked at where it begins, and given back.
///
/// # Errors
/// The system's; the client's, as text.
pub fn reads(path: &Path, way: Way, under_way: usize, len: u64, count: u64) -> io::Result<Figures> {
    let mut client = client(path, way)?;
    let mut times = histogram()?;
    let mut tickets = VecDeque::new();
    let wanted = |needle: u64| Wanted { volume: 3, needle, cookie: needle as u32, len, ..Wanted::default() };
    let start = now_ns();
    let mut begun = 0;
    for _ in 0..count {
        while tickets.len() < under_way.max(1) && begun < count {
            let ticket = client.start(&wanted(2 + begun % 1000)).map_err(io::Error::other)?;
            tickets.push_back((now_ns(), ticket));
            begun += 1;
        }
        let Some((since, ticket)) = tickets.pop_front() else { break };
        let lent = client.finish(ticket).map_err(io::Error::other)?;
        std::hint::black_box(lent.as_ref().first());
        times.saturating_record(now_ns() - since);
    }
    Ok(figures(count, now_ns() - start, &times))
}

/// Signs of life in the upstream protocol.
///
/// # Errors
/// The system's.
pub fn seaweed_ping(path: &Path, count: u64) -> io::Result<Figures> {
    let mut client = seaweed::Client::connect(path)?;
    time(count, || client.ping().map(drop))
}

/// Reads in the upstream protocol: two round trips each.
///
/// # Errors
/// The system's; `InvalidData` for what is no such reply.
pub fn seaweed_reads(path: &Path, len: u64, count: u64) -> io::Result<Figures> {
    let mut client = seaweed::Client::connect(path)?;
    time(count, || {
        let start = StartRead { volume_id: 3, needle_id: 9, cookie: 9, size: len, ..StartRead::default() };
        let Message::StartReadResponse(started) = client.start_read(start)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let done = CompleteRead {
            session_id: started.session_id.clone(),
            success: true,
            bytes_transferred: started.transfer_size,
            client_crc: Some(started.expected_crc),
            error_message: None,
        };
        match client.complete_read(done)? {
            Message::CompleteReadResponse(completed) if completed.success => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    })
}
