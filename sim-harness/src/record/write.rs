//! A recorded run as text.

use std::io::{self, Write};

use wavetank_contract::{Caps, Instant};

use super::{Event, RecordedRun, Submit, VERSION};
use crate::workload::Settings;

impl RecordedRun {
    /// Writes the run.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "wavetank-sim {VERSION}")?;
        writeln!(out, "backend {}", plain(&self.backend))?;
        writeln!(out, "simulated {}", if self.simulated { "yes" } else { "no" })?;
        for device in &self.devices {
            writeln!(out, "device {}", plain(device))?;
        }
        writeln!(out, "caps {}", plain(&self.caps))?;
        writeln!(out, "workload {}", plain(&self.workload))?;
        let Settings {
            seed,
            profile,
            mtu,
            queue_pairs,
            chunk_bytes,
            window,
            deadline_ns,
            signal_every,
            patience: _,
        } = &self.settings;
        writeln!(out, "seed {seed}")?;
        writeln!(
            out,
            "profile {} {} {} {} {} {}",
            profile.name,
            profile.base_ns,
            profile.packet_ns,
            profile.byte_ps,
            profile.jitter_ns,
            profile.jitter_shape
        )?;
        writeln!(out, "mtu {mtu}\nqueue_pairs {queue_pairs}\nchunk {chunk_bytes}\nwindow {window}")?;
        writeln!(out, "signal_every {signal_every}")?;
        match deadline_ns {
            Some(ns) => writeln!(out, "deadline {ns}")?,
            None => writeln!(out, "deadline none")?,
        }
        for node in &self.nodes {
            writeln!(out, "node {}", plain(&node.name))?;
        }
        for region in &self.regions {
            writeln!(out, "region {} {} {}", region.node.0, region.bytes, plain(&region.name))?;
        }
        writeln!(out, "events")?;
        let mut serial = 0u64;
        for event in &self.events {
            write_event(out, event, &mut serial)?;
        }
        writeln!(out, "end {}", self.events.len())
    }
}

fn write_event(out: &mut impl Write, event: &Event, serial: &mut u64) -> io::Result<()> {
    let or_dash = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    match event {
        Event::Submit(Submit { at: Instant(at), kind, from, to, region, offset, len, connection }) => {
            let (kind, region) = (kind.name(), or_dash(*region));
            writeln!(out, "submit {serial} {at} {kind} {from} {to} {region} {offset} {len} {connection}")?;
            *serial += 1;
            Ok(())
        }
        Event::Finish { serial, at: Instant(at), end, len } => {
            writeln!(out, "finish {serial} {at} {} {len}", end.name())
        }
        Event::Receive { connection, at: Instant(at), kind, end, len, imm } => {
            let (kind, imm) = (kind.name(), or_dash(*imm));
            writeln!(out, "receive {connection} {at} {kind} {} {len} {imm}", end.name())
        }
        Event::Async { node, at: Instant(at), what } => writeln!(out, "event {node} {at} {}", plain(what)),
    }
}

/// A name that stays on its line.
fn plain(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if name.trim() == name && !name.is_empty() { name } else { format!("?{}", name.trim()) }
}

/// What a device promises, on one line.
pub(super) fn caps_line(caps: &Caps) -> String {
    let numbers = [
        ("queue_depth_max", u64::from(caps.queue_depth_max)),
        ("cq_depth_max", caps.cq_depth_max.into()),
        ("endpoint_max", caps.endpoint_max.into()),
        ("region_max", caps.region_max.into()),
        ("region_bytes_max", caps.region_bytes_max),
        ("message_bytes_max", caps.message_bytes_max.into()),
        ("sge_max", caps.sge_max.into()),
        ("inline_bytes_max", caps.inline_bytes_max.into()),
        ("rd_atomic_max", caps.rd_atomic_max.into()),
        ("immediate", caps.immediate.into()),
        ("atomics", caps.atomics.into()),
        ("data_in_order", caps.data_in_order.into()),
    ];
    numbers.map(|(name, value)| format!("{name}={value}")).join(" ")
}
