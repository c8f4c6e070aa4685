//! Reading a recorded run: strict, line by line, and nothing is taken at its word that sizes anything.

mod event;
mod lines;

use std::io::BufRead;
use std::path::Path;

use wavetank_mock::Profile;

use self::event::Events;
use self::lines::{Line, Lines};
use super::{RecordedRun, VERSION};
use crate::workload::limits::{
    MAX_JITTER_SHAPE, MAX_MEMORY_BYTES, MAX_NODES, MAX_OP_BYTES, MAX_PROFILE_BYTE_PS, MAX_PROFILE_NS,
    MAX_QUEUE_PAIRS, MAX_REGIONS, MAX_SIGNAL_EVERY, MAX_TIME_NS, MAX_WINDOW, MIN_CHUNK_BYTES,
};
use crate::workload::{Node, NodeId, Region, Settings, WorkloadError};

type Result<T> = std::result::Result<T, WorkloadError>;

impl RecordedRun {
    /// Reads a run. `path` is only named in errors.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and what was wanted there.
    pub fn parse(path: &Path, input: impl BufRead) -> Result<RecordedRun> {
        let mut lines = Lines::new(path, input);
        let version = lines.need("wavetank-sim", "a recorded run begins with it and a version")?;
        if version.rest != VERSION {
            let found = version.quoted();
            return Err(version.invalid(format!("version {found}; this build reads version {VERSION}")));
        }
        let backend = lines.text("backend")?;
        let simulated = lines.need("simulated", "yes or no")?;
        let simulated = match simulated.rest.as_str() {
            "yes" => true,
            "no" => false,
            _ => return Err(simulated.invalid(format!("found {}; wanted yes or no", simulated.quoted()))),
        };
        let mut devices = Vec::new();
        while let Some(device) = lines.take_if("device")? {
            if devices.len() as u64 == MAX_NODES {
                return Err(device.invalid(format!("more than {MAX_NODES} devices")));
            }
            devices.push(device.rest);
        }
        let caps = lines.text("caps")?;
        let workload = lines.text("workload")?;
        let settings = settings(&mut lines)?;
        let nodes = nodes(&mut lines)?;
        if devices.len() != nodes.len() {
            let problem = format!("{} devices are named for {} nodes", devices.len(), nodes.len());
            return Err(lines.here("node", problem));
        }
        let regions = regions(&mut lines, nodes.len() as u64)?;
        let start = lines.need("events", "operations and how they ended follow it")?;
        let first_line = start.number.saturating_add(1);
        let events = Events::new(&nodes, &regions).read(&mut lines)?;
        Ok(RecordedRun {
            backend,
            simulated,
            devices,
            caps,
            workload,
            settings,
            nodes,
            regions,
            events,
            first_line,
        })
    }
}

fn settings<R: BufRead>(lines: &mut Lines<'_, R>) -> Result<Settings> {
    let seed = lines.number("seed", 0..=u64::MAX)?;
    let profile = profile(&lines.need("profile", "a name and five numbers")?)?;
    let mtu = lines.need("mtu", "256, 512, 1024, 2048 or 4096")?;
    let mtu = match mtu.number(&mtu.rest, 256..=4096)? {
        bytes @ (256 | 512 | 1024 | 2048 | 4096) => bytes as u32,
        bytes => return Err(mtu.invalid(format!("found {bytes}; wanted 256, 512, 1024, 2048 or 4096"))),
    };
    let queue_pairs = lines.number("queue_pairs", 1..=MAX_QUEUE_PAIRS)? as u32;
    let chunk_bytes = lines.number("chunk", MIN_CHUNK_BYTES..=MAX_OP_BYTES)? as u32;
    let window = lines.number("window", 1..=MAX_WINDOW)? as u32;
    let signal_every = lines.number("signal_every", 1..=MAX_SIGNAL_EVERY)? as u32;
    let deadline = lines.need("deadline", "nanoseconds, or none")?;
    let deadline_ns = match deadline.rest.as_str() {
        "none" => None,
        ns => Some(deadline.number(ns, 1..=MAX_TIME_NS)?),
    };
    let patience = Settings::default().patience;
    Ok(Settings { seed, profile, mtu, queue_pairs, chunk_bytes, window, deadline_ns, signal_every, patience })
}

fn profile(line: &Line) -> Result<Profile> {
    let [name, base, packet, byte, jitter, shape] = line.fields()?;
    Ok(Profile {
        name: crate::workload::named_profile(name).map_or_else(|| name.to_owned().into(), |known| known.name),
        base_ns: line.number(base, 0..=MAX_PROFILE_NS)?,
        packet_ns: line.number(packet, 0..=MAX_PROFILE_NS)?,
        byte_ps: line.number(byte, 0..=MAX_PROFILE_BYTE_PS)?,
        jitter_ns: line.number(jitter, 0..=MAX_PROFILE_NS)?,
        jitter_shape: line.number(shape, 1..=MAX_JITTER_SHAPE)? as u32,
    })
}

fn nodes<R: BufRead>(lines: &mut Lines<'_, R>) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    while let Some(node) = lines.take_if("node")? {
        if nodes.len() as u64 == MAX_NODES {
            return Err(node.invalid(format!("more than {MAX_NODES} nodes")));
        }
        nodes.push(Node { name: node.rest });
    }
    if nodes.len() < 2 {
        return Err(lines.here("node", format!("found {} nodes; a run has at least two", nodes.len())));
    }
    Ok(nodes)
}

fn regions<R: BufRead>(lines: &mut Lines<'_, R>, nodes: u64) -> Result<Vec<Region>> {
    let mut regions: Vec<Region> = Vec::new();
    let mut total = 0;
    while let Some(line) = lines.take_if("region")? {
        let mut parts = line.rest.splitn(3, ' ');
        let (Some(node), Some(bytes), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(line.invalid("wanted a node, bytes and a name"));
        };
        let node = NodeId(line.number(node, 0..=nodes - 1)? as u16);
        let bytes = line.number(bytes, 1..=MAX_MEMORY_BYTES)?;
        total += bytes;
        if total > MAX_MEMORY_BYTES || regions.len() as u64 == MAX_REGIONS {
            let problem = format!("more than {MAX_REGIONS} regions or {MAX_MEMORY_BYTES} bytes of them");
            return Err(line.invalid(problem));
        }
        regions.push(Region { name: name.to_owned(), node, bytes });
    }
    Ok(regions)
}
