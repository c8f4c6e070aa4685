//! Reading faults.

use std::slice::Iter;

use super::super::{Fault, When, words};
use crate::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};
use crate::workload::limits::{MAX_NODES, MAX_REGIONS, MAX_TIME_NS};
use crate::workload::quoted;

type Parsed<T> = Result<T, String>;

const NODE_MAX: u64 = MAX_NODES - 1;
const REGION_MAX: u64 = MAX_REGIONS - 1;
const U32_MAX: u64 = u32::MAX as u64;

/// Words still to be read.
struct Words<'w>(std::iter::Peekable<Iter<'w, &'w str>>);

impl<'w> Words<'w> {
    /// The next word, or what was wanted there.
    fn next(&mut self, wanted: &str) -> Parsed<&'w str> {
        self.0.next().copied().ok_or_else(|| format!("the line ends where {wanted} should be"))
    }

    /// Takes the next word if it is this one.
    fn takes(&mut self, word: &str) -> bool {
        self.0.next_if(|next| **next == word).is_some()
    }

    fn must(&mut self, word: &str) -> Parsed<()> {
        let found = self.next(&format!("{word:?}"))?;
        if found == word { Ok(()) } else { Err(format!("found {}; wanted {word:?}", quoted(found))) }
    }

    /// A number in digits, as it is printed.
    fn number(&mut self, what: &str, min: u64, max: u64) -> Parsed<u64> {
        let found = self.next(what)?;
        let plain =
            found.bytes().all(|byte| byte.is_ascii_digit()) && (found == "0" || !found.starts_with('0'));
        match found.parse() {
            Ok(number) if plain && (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("found {} for {what}; wanted {min} to {max}", quoted(found))),
        }
    }

    fn node(&mut self) -> Parsed<u16> {
        Ok(self.number("a node", 0, NODE_MAX)? as u16)
    }

    fn rarity(&mut self) -> Parsed<u32> {
        self.must("one-in")?;
        Ok(self.number("one-in", 1, U32_MAX)? as u32)
    }
}

/// Reads a fault as it is printed: `at 2000000 for 30000000 link 0 1 lose one-in 100 burst 3`.
///
/// # Errors
/// What was found, and what would be right.
pub fn parse_line(line: &str) -> Result<Fault, String> {
    let split: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut words = Words(split.iter().peekable());
    let when = when(&mut words)?;
    let lasts_ns = match words.takes("for") {
        true => Some(words.number("for", 1, MAX_TIME_NS)?),
        false => None,
    };
    let cause = cause(&mut words)?;
    match words.0.next() {
        None => Ok(Fault { when, cause, lasts_ns }),
        Some(more) => Err(format!("found {} where the line should end", quoted(more))),
    }
}

fn when(words: &mut Words<'_>) -> Parsed<When> {
    match words.next("a time")? {
        "at" => Ok(When::At(words.number("at", 0, MAX_TIME_NS)?)),
        "op" => {
            let op = words.number("op", 0, U32_MAX)? as u32;
            let connection = match words.takes("connection") {
                true => Some(words.number("connection", 0, u16::MAX.into())? as u16),
                false => None,
            };
            Ok(When::Op { connection, op })
        }
        "each-op" => Ok(When::EachOp { one_in: words.number("each-op", 1, U32_MAX)? as u32 }),
        found => Err(format!("found {}; wanted one of at, op, each-op", quoted(found))),
    }
}

fn cause(words: &mut Words<'_>) -> Parsed<Cause> {
    match words.next("a cause")? {
        "link" => Ok(Cause::Link { from: words.node()?, to: words.node()?, fault: link(words)? }),
        "mend" => Ok(Cause::Mend { from: words.node()?, to: words.node()? }),
        "device" => Ok(Cause::Device { node: words.node()?, fault: device(words)? }),
        "host" => Ok(Cause::Host { node: words.node()?, fault: host(words)? }),
        "memory" => {
            let region = words.number("a region", 0, REGION_MAX)? as u16;
            Ok(Cause::Memory { region, fault: memory(words)? })
        }
        found => Err(format!("found {}; wanted one of link, mend, device, host, memory", quoted(found))),
    }
}

fn link(words: &mut Words<'_>) -> Parsed<LinkFault> {
    Ok(match words.next("what happens to the link")? {
        "cut" => LinkFault::Cut,
        "lose" if words.takes("nth") => LinkFault::LoseNth { nth: words.number("nth", 0, u64::MAX)? },
        "lose" => {
            let n = words.rarity()?;
            words.must("burst")?;
            LinkFault::LoseOneIn { n, burst: words.number("burst", 1, U32_MAX)? as u32 }
        }
        "duplicate" => LinkFault::DuplicateOneIn { n: words.rarity()? },
        "reorder" => {
            let n = words.rarity()?;
            words.must("by")?;
            LinkFault::ReorderOneIn { n, by_ns: words.number("by", 1, MAX_TIME_NS)? }
        }
        "delay" => LinkFault::Delay { ns: words.number("delay", 1, MAX_TIME_NS)? },
        "corrupt" => LinkFault::CorruptOneIn { n: words.rarity()? },
        "truncate" => LinkFault::TruncateOneIn { n: words.rarity()? },
        "throttle" => LinkFault::Throttle { percent: words.number("throttle", 1, 99)? as u8 },
        found => {
            let all = "cut, lose, duplicate, reorder, delay, corrupt, truncate, throttle";
            return Err(format!("found {}; wanted one of {all}", quoted(found)));
        }
    })
}

fn device(words: &mut Words<'_>) -> Parsed<DeviceFault> {
    match words.next("what happens to the device")? {
        "fail-registration" => {
            Ok(DeviceFault::FailRegistration { nth: words.number("nth", 0, U32_MAX)? as u32 })
        }
        "pause" => Ok(DeviceFault::Pause { ns: words.number("pause", 1, MAX_TIME_NS)? }),
        "shallow-buffer" => {
            Ok(DeviceFault::ShallowBuffer { bytes: words.number("shallow-buffer", 0, U32_MAX)? as u32 })
        }
        word => words::find(&words::DEVICE, words::device, &words::DEVICE_NUMBERED, word)
            .map_err(|wanted| format!("found {}; {wanted}", quoted(word))),
    }
}

fn host(words: &mut Words<'_>) -> Parsed<HostFault> {
    let word = words.next("what happens to the host")?;
    words::find(&words::HOST, words::host, &[], word)
        .map_err(|wanted| format!("found {}; {wanted}", quoted(word)))
}

fn memory(words: &mut Words<'_>) -> Parsed<MemoryFault> {
    let word = words.next("what happens to the region")?;
    words::find(&words::MEMORY, words::memory, &[], word)
        .map_err(|wanted| format!("found {}; {wanted}", quoted(word)))
}
