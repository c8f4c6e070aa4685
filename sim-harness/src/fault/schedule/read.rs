//! Reading the tables of a schedule: when, where, for how long.

use std::path::Path;

use super::what::{self, LINK_KEYS};
use super::{MAX_FAULTS, Names, Schedule};
use crate::fault::{Fault, When, words};
use crate::lab::{Cause, DeviceFault};
use crate::workload::document::{Table, Value};
use crate::workload::{Patience, WorkloadError, listed, quoted};

type Result<T> = std::result::Result<T, WorkloadError>;

const WHEN_KEYS: [&str; 4] = ["at", "at_ns", "op", "one_in"];

const KEYS: &[&str] = &[
    "at",
    "at_ns",
    "op",
    "connection",
    "one_in",
    "between",
    "from",
    "to",
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
    "node",
    "device",
    "nth",
    "bytes",
    "host",
    "region",
    "memory",
    "for",
    "for_ns",
];

pub(super) fn schedule(path: &Path, top: &Table<'_>, names: &Names) -> Result<Schedule> {
    let mut schedule = Schedule { path: path.to_owned(), patience: patience(top)?, ..Schedule::default() };
    for table in top.tables("fault", KEYS)? {
        let (when, causes) = (when(&table)?, causes(&table, names)?);
        if let (When::EachOp { one_in: 2.. }, [_, _, ..], Some(between)) =
            (when, causes.as_slice(), table.get("between"))
        {
            let problem = "chance would be drawn for each direction by itself; give from and to instead";
            return Err(between.error(problem));
        }
        let lasts = table.duration("for")?;
        for cause in causes {
            let (cause, lasts_ns) = lasting(cause, lasts.as_ref(), &table)?;
            schedule.faults.push(Fault { when, cause, lasts_ns });
            schedule.lines.push(table.line());
        }
        if schedule.faults.len() > MAX_FAULTS {
            let problem = format!("more than {MAX_FAULTS} faults (one between two nodes counts twice)");
            return Err(table.error(problem));
        }
    }
    if schedule.faults.is_empty() {
        return Err(top.missing("fault", "say what goes wrong with [[fault]]"));
    }
    Ok(schedule)
}

fn patience(top: &Table<'_>) -> Result<Patience> {
    let mut patience = Patience::DISTURBED;
    let Some(value) = top.get("connection") else { return Ok(patience) };
    let table = value.table(&["timeout", "retry_cnt"])?;
    if let Some(value) = table.get("timeout") {
        patience.timeout = value.number(1..=31)? as u8;
    }
    if let Some(value) = table.get("retry_cnt") {
        patience.retry_cnt = value.number(0..=6)? as u8;
    }
    Ok(patience)
}

fn when(table: &Table<'_>) -> Result<When> {
    let given: Vec<&str> = WHEN_KEYS.into_iter().filter(|key| table.get(key).is_some()).collect();
    if let [_, second, ..] = given[..] {
        let both = table.need(second, "")?;
        return Err(both.error(format!("{} says when already; keep one of the two", given[0])));
    }
    let connection = table.get("connection");
    if let Some(value) = table.get("op") {
        let op = value.number(0..=u32::MAX.into())? as u32;
        let connection = connection.map(|value| value.number(0..=u16::MAX.into())).transpose()?;
        return Ok(When::Op { connection: connection.map(|number| number as u16), op });
    }
    if let Some(connection) = connection {
        return Err(connection.error("counts its operations; say which one with op, as in op = 17"));
    }
    if let Some(value) = table.duration("at")? {
        return Ok(When::At(value.time()?));
    }
    if let Some(value) = table.get("one_in") {
        return Ok(When::EachOp { one_in: value.number(1..=u32::MAX.into())? as u32 });
    }
    Err(table.error("does not say when; give at = \"2ms\", op = 17 or one_in = 1000"))
}

/// What happens, and where: one cause, or one for each direction.
fn causes(table: &Table<'_>, names: &Names) -> Result<Vec<Cause>> {
    let places = ["between", "from", "node", "region"];
    let given: Vec<&str> = places.into_iter().filter(|key| table.get(key).is_some()).collect();
    if let [_, second, ..] = given[..] {
        let both = table.need(second, "")?;
        return Err(both.error(format!("{} says where already; keep one of the two", given[0])));
    }
    let (also, causes): (&[&str], _) = match given.first() {
        Some(&"between") => {
            let value = table.need("between", "")?;
            let [a, b] = value.pair("two nodes, as in between = [\"client\", \"storage\"]")?;
            let (a, b) = two_nodes(&a, &b, names)?;
            (&["between"], what::link(table, &[(a, b), (b, a)])?)
        }
        Some(&"from") => {
            let from = table.need("from", "")?;
            let to = table.need("to", "name the node at the other end of that direction")?;
            (&["from", "to"], what::link(table, &[two_nodes(&from, &to, names)?])?)
        }
        Some(&"node") => {
            let node = node(&table.need("node", "")?, names)?;
            what::node(table, node)?
        }
        Some(_) => {
            let value = table.need("region", "")?;
            let region = u16::try_from(index(&value, "region", &names.regions)?)
                .map_err(|_| value.error("is past region 65535, and faults reach no further"))?;
            (&["region", "memory"], vec![Cause::Memory { region, fault: what::memory(table)? }])
        }
        None => {
            let problem = "does not say where; give between = [\"a\", \"b\"], from and to, node or region";
            return Err(table.error(problem));
        }
    };
    refuse_others(table, also)?;
    Ok(causes)
}

/// Refuses keys that belong to another place.
fn refuse_others(table: &Table<'_>, here: &[&str]) -> Result<()> {
    let link = here.contains(&"between") || here.contains(&"to");
    for key in ["to", "node", "device", "nth", "bytes", "host", "region", "memory"] {
        if let Some(value) = table.get(key).filter(|_| !here.contains(&key)) {
            return Err(value.error(format!("does not go with {}", here.join(" and "))));
        }
    }
    match LINK_KEYS.into_iter().filter(|_| !link).find_map(|key| table.get(key)) {
        Some(value) => Err(value.error("happens to links; give between = [\"a\", \"b\"], or from and to")),
        None => Ok(()),
    }
}

fn node(value: &Value<'_>, names: &Names) -> Result<u16> {
    // A workload has at most 256.
    Ok(index(value, "node", &names.nodes)? as u16)
}

fn two_nodes(first: &Value<'_>, second: &Value<'_>, names: &Names) -> Result<(u16, u16)> {
    match (node(first, names)?, node(second, names)?) {
        (a, b) if a == b => Err(second.error("is the same node twice; a link has two ends")),
        nodes => Ok(nodes),
    }
}

fn index(value: &Value<'_>, what: &str, names: &[String]) -> Result<usize> {
    let name = value.text()?;
    names.iter().position(|known| known == name).ok_or_else(|| {
        let known = listed(names.iter().map(String::as_str));
        value.error(format!("there is no {what} {}; there is {known}", quoted(name)))
    })
}

/// A cause, and for how long. A pause of a port has its length in itself.
fn lasting(cause: Cause, lasts: Option<&Value<'_>>, table: &Table<'_>) -> Result<(Cause, Option<u64>)> {
    let ns = lasts.map(Value::nanos).transpose()?;
    if let Cause::Device { node, fault: DeviceFault::Pause { .. } } = cause {
        let Some(ns) = ns else {
            return Err(table.missing("for", "a port is paused for a time, as in for = \"1ms\""));
        };
        return Ok((Cause::Device { node, fault: DeviceFault::Pause { ns } }, None));
    }
    match lasts {
        Some(value) if cause.undone_by().is_none() => {
            Err(value.error(format!("{} is not undone by time; leave it out", words::short(cause))))
        }
        _ => Ok((cause, ns)),
    }
}
