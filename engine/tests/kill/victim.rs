//! The process that is killed or stopped. It does what lines on its standard input say, answers each with a line, and ends with its
//! parent.
//!
//! | line | what it does | answer after `ok` |
//! |---|---|---|
//! | `ping` | nothing | |
//! | `open PATIENCE DEPTH` | opens an endpoint | its number, its address |
//! | `connect EP ADDRESS [SIGNAL]` | connects it; and sends itself a signal at once | |
//! | `ready EP` | waits until it is connected | |
//! | `share KIND BYTES SEED` | registers memory and fills it | its number, its key |
//! | `check SHARE SEED FROM LEN` | compares memory with a pattern | |
//! | `receive EP COUNT BYTES` | posts receives | |
//! | `flood EP OP COUNT BYTES [KEY]` | asks for so many; answers when the first is done | |
//! | `hammer EP OP BYTES KEY` | the same with one, again and again, for ever; answers when the first is done | |
//! | `close EP [SIGNAL]` | closes it; and sends itself a signal at once | |
//! | `leave` | closes its device, and ends | |

use std::io::{Read as _, Write as _, stdin, stdout};
use std::os::fd::AsFd as _;
use std::str::SplitWhitespace;

use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use wavetank_contract::{Access, EndpointAddress, EpId, Instant, Op, QpState, RemoteKey, Wake};
use wavetank_engine::RdmaOps as _;
use wavetank_engine::memory::Arena;

use crate::clock::{MS, now, readable};
use crate::node::{Device, LIMIT_NS, Memory, Node, Patience, Try, hex, unhex};
use crate::pattern;

struct Victim {
    node: Node,
    shares: Vec<Memory>,
    arenas: Vec<Arena>,
    /// What is begun again as soon as it is done.
    hammer: Option<(EpId, Op, u64)>,
}

pub(crate) fn run(device: &Device) -> Try<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut victim =
        Victim { node: Node::open(device)?, shares: Vec::new(), arenas: Vec::new(), hammer: None };
    let (mut stdin, mut waiting) = (stdin().lock(), Vec::new());
    loop {
        let wake = victim.node.turn();
        let done = !std::mem::take(&mut victim.node.finished).is_empty();
        if let Some((ep, op, bytes)) = victim.hammer.filter(|_| done) {
            victim.begin(ep, op, bytes)?;
        }
        let idle = if wake == Wake::Now { 0 } else { 100 * MS };
        let notifier = victim.node.driver.context().notifier();
        let fds: Vec<_> = notifier.iter().map(|fd| fd.as_fd()).collect();
        if !readable(&[stdin.as_fd()], 0) {
            let both: Vec<_> = fds.iter().copied().chain([stdin.as_fd()]).collect();
            readable(&both, idle);
            continue;
        }
        let mut bytes = [0; 1 << 14];
        let count = stdin.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        waiting.extend_from_slice(&bytes[..count]);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            if line == b"leave\n" {
                drop(victim);
                return Ok(stdout().write_all(b"ok \n")?);
            }
            let answer = match victim.obey(str::from_utf8(&line)?.split_whitespace()) {
                Ok(answer) => format!("ok {answer}\n"),
                Err(why) => format!("err {why}\n").replace('\n', " ") + "\n",
            };
            stdout().write_all(answer.as_bytes())?;
            stdout().flush()?;
        }
    }
}

/// The word after those that were read.
fn word<'a>(words: &mut SplitWhitespace<'a>) -> Try<&'a str> {
    Ok(words.next().ok_or("a word is missing")?)
}

fn number(words: &mut SplitWhitespace<'_>) -> Try<u64> {
    Ok(word(words)?.parse()?)
}

fn endpoint(words: &mut SplitWhitespace<'_>) -> Try<EpId> {
    Ok(EpId(word(words)?.parse()?))
}

/// Sends this process a signal, if there is one to send.
fn signal(words: &mut SplitWhitespace<'_>) -> Try<()> {
    match words.next() {
        Some("kill") => kill_process(getpid(), Signal::KILL)?,
        Some("stop") => kill_process(getpid(), Signal::STOP)?,
        _ => {}
    }
    Ok(())
}

impl Victim {
    fn obey(&mut self, mut words: SplitWhitespace<'_>) -> Try<String> {
        let words = &mut words;
        match word(words)? {
            "ping" => {}
            "open" => {
                let patience = match word(words)? {
                    "short" => Patience::Short,
                    "long" => Patience::Long,
                    _ => Patience::Endless,
                };
                let ep = self.node.endpoint(patience, word(words)?.parse()?)?;
                return Ok(format!("{} {}", ep.0, hex(self.node.address(ep)?.as_bytes())));
            }
            "connect" => {
                let (ep, address) = (endpoint(words)?, unhex(word(words)?)?);
                let address = EndpointAddress::from_bytes(&address).ok_or("a long address")?;
                self.node.driver.context().connect(ep, &address)?;
                signal(words)?;
            }
            "ready" => {
                let ep = endpoint(words)?;
                if !self.node.run(LIMIT_NS, |node| node.state(ep) == Some(QpState::Rts)) {
                    return Err(format!("not connected, but {:?}", self.node.state(ep)).into());
                }
            }
            "share" => {
                let (allocated, bytes) = (word(words)? == "alloc", number(words)?);
                let memory = self.node.memory(allocated, bytes, Access::ALL)?;
                pattern::fill(&memory.region, 0, bytes, number(words)?, 0);
                let key = self.node.driver.context().export(memory.mr)?;
                self.shares.push(memory);
                return Ok(format!("{} {}", self.shares.len() - 1, hex(key.as_bytes())));
            }
            "check" => {
                let (share, seed) = (number(words)?, number(words)?);
                let (from, len) = (number(words)?, number(words)?);
                let share = self.shares.get(share as usize).ok_or("no such share")?;
                pattern::check(&share.region, from, len, seed, from)?;
            }
            "receive" => {
                let (ep, count, bytes) = (endpoint(words)?, number(words)?, number(words)?);
                self.transfers(ep, Op::Recv, count, bytes, 0)?;
            }
            "flood" => {
                let (ep, op) = (endpoint(words)?, word(words)?);
                let (count, bytes) = (number(words)?, number(words)?);
                let mut remote = None;
                if let Some(key) = words.next() {
                    let key = RemoteKey::from_bytes(&unhex(key)?).ok_or("a long key")?;
                    let region = self.node.driver.context().import(ep, &key)?;
                    remote = Some(region.at(0, bytes * count).ok_or("a short region")?);
                }
                let op = match (op, remote) {
                    ("read", Some(remote)) => Op::Read { remote },
                    ("write", Some(remote)) => Op::Write { remote, imm: None },
                    _ => Op::Send { imm: None },
                };
                self.transfers(ep, op, count, bytes, 77)?;
                if !self.node.run(LIMIT_NS, |node| !node.finished.is_empty()) {
                    return Err("none of them is done".into());
                }
                if let Some(Err(error)) = self.node.finished.first().map(|finished| &finished.result) {
                    return Err(format!("the first of them failed: {error}").into());
                }
            }
            "hammer" => {
                let (ep, op, bytes) = (endpoint(words)?, word(words)?, number(words)?);
                let key = RemoteKey::from_bytes(&unhex(word(words)?)?).ok_or("a long key")?;
                let remote =
                    self.node.driver.context().import(ep, &key)?.at(0, bytes).ok_or("a short region")?;
                let op = if op == "read" { Op::Read { remote } } else { Op::Write { remote, imm: None } };
                self.transfers(ep, op, 1, bytes, 77)?;
                self.hammer = Some((ep, op, bytes));
            }
            "close" => {
                let ep = endpoint(words)?;
                self.node.driver.context().close(ep);
                signal(words)?;
            }
            other => return Err(format!("what is {other:?}?").into()),
        }
        Ok(String::new())
    }

    /// Begins a transfer with the memory that was used last.
    fn begin(&mut self, ep: EpId, op: Op, bytes: u64) -> Try<()> {
        let arena = self.arenas.last_mut().ok_or("no memory")?;
        let lease = (arena.acquire(bytes)?, arena.mr());
        self.node.submit((ep, None), op, lease, Instant::FAR)?;
        Ok(())
    }

    /// Begins transfers with memory of their own, each at its own place of the peer's memory.
    fn transfers(&mut self, ep: EpId, op: Op, count: u64, bytes: u64, seed: u64) -> Try<()> {
        let memory = self.node.memory(true, count * bytes.next_power_of_two().max(4096), Access::LOCAL)?;
        if seed != 0 {
            pattern::fill(&memory.region, 0, memory.region.len(), seed, 0);
        }
        let mut arena = Arena::new(memory.region, memory.mr)?;
        for n in 0..count {
            let lease = (arena.acquire(bytes)?, arena.mr());
            self.node.submit((ep, None), moved(op, n * bytes), lease, Instant::FAR)?;
        }
        self.arenas.push(arena);
        self.node.driver.push(now());
        Ok(())
    }
}

/// The same, so much further into the peer's memory.
pub(crate) fn moved(op: Op, by: u64) -> Op {
    match op {
        Op::Read { mut remote } => {
            remote.addr += by;
            Op::Read { remote }
        }
        Op::Write { mut remote, imm } => {
            remote.addr += by;
            Op::Write { remote, imm }
        }
        other => other,
    }
}
