//! What happens to a link, a node or a region.

use crate::fault::words;
use crate::lab::{Cause, DeviceFault, LinkFault, MemoryFault};
use crate::workload::WorkloadError;
use crate::workload::document::{Table, Value};

type Result<T> = std::result::Result<T, WorkloadError>;

const ANY: u64 = u32::MAX as u64;

/// What may happen to a link.
pub(super) const LINK_KEYS: [&str; 11] = [
    "cut",
    "lose_nth",
    "lose",
    "duplicate",
    "reorder",
    "delay",
    "delay_ns",
    "corrupt",
    "truncate",
    "throttle",
    "mend",
];

/// The one thing that happens to a link, in each of these directions.
pub(super) fn link(table: &Table<'_>, directions: &[(u16, u16)]) -> Result<Vec<Cause>> {
    let given: Vec<(&str, Value<'_>)> =
        LINK_KEYS.into_iter().filter_map(|key| Some((key, table.get(key)?))).collect();
    let (key, value) = match &given[..] {
        [(key, value)] => (*key, value),
        [(first, _), (_, second), ..] => {
            return Err(second.error(format!("{first} says what already; give each a [[fault]] of its own")));
        }
        [] => {
            let all = "cut, lose_nth, lose, duplicate, reorder, delay, corrupt, truncate, throttle, mend";
            return Err(table.error(format!("does not say what happens to the link; give one of {all}")));
        }
    };
    if key == "mend" {
        must_be_true(value)?;
        return Ok(directions.iter().map(|&(from, to)| Cause::Mend { from, to }).collect());
    }
    let fault = match key {
        "cut" => {
            must_be_true(value)?;
            LinkFault::Cut
        }
        "lose_nth" => LinkFault::LoseNth { nth: value.integer()? },
        "lose" => {
            let inner = value.table(&["one_in", "burst"])?;
            let burst = inner.get("burst").map(|burst| burst.number(1..=ANY)).transpose()?;
            LinkFault::LoseOneIn { n: one_in(&inner)?, burst: burst.unwrap_or(1) as u32 }
        }
        "duplicate" => LinkFault::DuplicateOneIn { n: one_in(&value.table(&["one_in"])?)? },
        "reorder" => {
            let inner = value.table(&["one_in", "by", "by_ns"])?;
            let Some(by) = inner.duration("by")? else {
                return Err(inner.missing("by", "how much later they arrive, as in by = \"20us\""));
            };
            LinkFault::ReorderOneIn { n: one_in(&inner)?, by_ns: by.nanos()? }
        }
        "corrupt" => LinkFault::CorruptOneIn { n: one_in(&value.table(&["one_in"])?)? },
        "truncate" => LinkFault::TruncateOneIn { n: one_in(&value.table(&["one_in"])?)? },
        "throttle" => LinkFault::Throttle { percent: value.number(1..=99)? as u8 },
        _ => LinkFault::Delay { ns: value.nanos()? },
    };
    Ok(directions.iter().map(|&(from, to)| Cause::Link { from, to, fault }).collect())
}

fn one_in(table: &Table<'_>) -> Result<u32> {
    let value = table.need("one_in", "how rare it is: one_in = 100 is one packet in a hundred")?;
    Ok(value.number(1..=ANY)? as u32)
}

fn must_be_true(value: &Value<'_>) -> Result<()> {
    if value.flag()? { Ok(()) } else { Err(value.error("is true or left out")) }
}

/// What happens to the device or the host of a node, and the keys that go with it.
pub(super) fn node(table: &Table<'_>, node: u16) -> Result<(&'static [&'static str], Vec<Cause>)> {
    match (table.get("device"), table.get("host")) {
        (Some(value), None) => {
            let (keys, fault) = device(table, &value)?;
            Ok((keys, vec![Cause::Device { node, fault }]))
        }
        (None, Some(value)) => {
            let fault = word(&value, &words::HOST, words::host, &[])?;
            Ok((&["node", "host"], vec![Cause::Host { node, fault }]))
        }
        (Some(_), Some(host)) => {
            Err(host.error("device says what already; give each a [[fault]] of its own"))
        }
        (None, None) => {
            let problem =
                "does not say what happens to the node; give device = \"port-down\" or host = \"pause\"";
            Err(table.error(problem))
        }
    }
}

fn device(table: &Table<'_>, value: &Value<'_>) -> Result<(&'static [&'static str], DeviceFault)> {
    match value.text()? {
        "fail-registration" => {
            let nth = table.get("nth").map(|nth| nth.number(0..=ANY)).transpose()?.unwrap_or(0) as u32;
            Ok((&["node", "device", "nth"], DeviceFault::FailRegistration { nth }))
        }
        // Its length is given like that of others.
        "pause" => Ok((&["node", "device"], DeviceFault::Pause { ns: 0 })),
        "shallow-buffer" => {
            let bytes = table.need("bytes", "the size of the buffer, as in bytes = \"64KiB\"")?;
            let bytes = bytes.bytes(0..=ANY)? as u32;
            Ok((&["node", "device", "bytes"], DeviceFault::ShallowBuffer { bytes }))
        }
        _ => {
            let fault = word(value, &words::DEVICE, words::device, &words::DEVICE_NUMBERED)?;
            Ok((&["node", "device"], fault))
        }
    }
}

/// What happens to a region.
pub(super) fn memory(table: &Table<'_>) -> Result<MemoryFault> {
    let value = table.need("memory", "what happens to the region, as in memory = \"roll-key\"")?;
    word(&value, &words::MEMORY, words::memory, &[])
}

fn word<T: Copy>(value: &Value<'_>, all: &[T], name: fn(T) -> &'static str, also: &[&str]) -> Result<T> {
    let text = value.text()?;
    words::find(all, name, also, text)
        .map_err(|wanted| value.error(format!("found {}; {wanted}", crate::workload::quoted(text))))
}
