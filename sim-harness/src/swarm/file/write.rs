//! Writing a run: what is as always is left out.

use std::fmt::{self, Display, Formatter};

use super::{Expected, HEADER, SWARM_VERSION, SimFile, VERSION};
use crate::swarm::choices::{LAST, Loud};
use crate::swarm::defaults::{CONNECTION, ENGINE, NODES, PROFILE, REGION};
use crate::swarm::plan::{ConnectionPlan, EnginePlan, OpPlan, Plan, RegionPlan, SlotRange, VerbPlan};

impl Display for SimFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER} {VERSION}")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "# {}", note.replace(char::is_control, "?")))?;
        writeln!(f, "program {}", self.program)?;
        if let Some(seed) = self.seed {
            writeln!(f, "seed {seed} {SWARM_VERSION}")?;
        }
        if self.canary {
            writeln!(f, "canary")?;
        }
        write_plan(f, &self.case.plan)?;
        self.case.loud.iter().try_for_each(|choice| writeln!(f, "choice {choice}"))?;
        for (number, hash) in &self.checkpoints {
            writeln!(f, "checkpoint {number} = {hash:016x}")?;
        }
        writeln!(f, "expect {}", self.expected)
    }
}

impl Display for Loud {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Loud { site, nth, value } = self;
        write!(f, "{} {nth} = ", site.name())?;
        if *value == LAST { f.write_str("last") } else { write!(f, "{value}") }
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Passes(hash) => write!(f, "passes {hash:016x}"),
            Expected::Fails(check, None) => write!(f, "fails {}", check.name()),
            Expected::Fails(check, Some(op)) => write!(f, "fails {} op {op}", check.name()),
            Expected::Panics => f.write_str("panics"),
        }
    }
}

fn write_plan(f: &mut Formatter<'_>, plan: &Plan) -> fmt::Result {
    let Plan { profile, jitter_ns, nodes, regions, connections, engine, buggify, ops, faults } = plan;
    if profile != PROFILE {
        writeln!(f, "profile {profile}")?;
    }
    if *jitter_ns != 0 {
        writeln!(f, "jitter_ns {jitter_ns}")?;
    }
    if *nodes != NODES {
        writeln!(f, "nodes {nodes}")?;
    }
    for RegionPlan { node, slots, slot_bytes, window } in regions {
        write!(f, "region {node}")?;
        differing(f, "slots", *slots, REGION.slots)?;
        differing(f, "slot_bytes", *slot_bytes, REGION.slot_bytes)?;
        flag(f, "window", *window)?;
        writeln!(f)?;
    }
    connections.iter().try_for_each(|connection| write_connection(f, connection))?;
    if *engine != ENGINE {
        let EnginePlan { chunk_bytes, window, signal_every } = engine;
        write!(f, "engine")?;
        differing(f, "chunk_bytes", *chunk_bytes, ENGINE.chunk_bytes)?;
        differing(f, "window", *window, ENGINE.window)?;
        differing(f, "signal_every", *signal_every, ENGINE.signal_every)?;
        writeln!(f)?;
    }
    buggify.iter().try_for_each(|buggify| writeln!(f, "buggify {}", buggify.name()))?;
    ops.iter().try_for_each(|op| write_op(f, op))?;
    faults.iter().try_for_each(|fault| writeln!(f, "fault {fault}"))
}

fn write_connection(f: &mut Formatter<'_>, connection: &ConnectionPlan) -> fmt::Result {
    let usual = CONNECTION;
    let ConnectionPlan {
        nodes: [a, b],
        mtu,
        timeout,
        retry_cnt,
        rnr_retry,
        rnr_timer,
        send_depth,
        recv_depth,
        rd_atomic,
        in_flight,
    } = *connection;
    write!(f, "connection {a} {b}")?;
    differing(f, "mtu", mtu as u32, usual.mtu as u32)?;
    differing(f, "timeout", timeout, usual.timeout)?;
    differing(f, "retry_cnt", retry_cnt, usual.retry_cnt)?;
    differing(f, "rnr_retry", rnr_retry, usual.rnr_retry)?;
    differing(f, "rnr_timer", rnr_timer, usual.rnr_timer)?;
    differing(f, "send_depth", send_depth, usual.send_depth)?;
    differing(f, "recv_depth", recv_depth, usual.recv_depth)?;
    differing(f, "rd_atomic", rd_atomic, usual.rd_atomic)?;
    differing(f, "in_flight", in_flight, usual.in_flight)?;
    writeln!(f)
}

fn write_op(f: &mut Formatter<'_>, op: &OpPlan) -> fmt::Result {
    let OpPlan { id, connection, end, verb, deadline_ns, cancel, session } = op;
    write!(f, "op {id} {}", name(verb))?;
    differing(f, "connection", *connection, 0)?;
    differing(f, "end", *end, 0)?;
    match verb {
        VerbPlan::Read(range) => write_range(f, range)?,
        VerbPlan::Write { to, imm } => {
            write_range(f, to)?;
            flag(f, "imm", *imm)?;
        }
        VerbPlan::Send { len, imm } => {
            write!(f, " len={len}")?;
            flag(f, "imm", *imm)?;
        }
        VerbPlan::Add { region, slot } | VerbPlan::Swap { region, slot } => {
            differing(f, "region", *region, 0)?;
            differing(f, "slot", *slot, 0)?;
        }
        VerbPlan::CloseSession => {}
    }
    if let Some(ns) = deadline_ns {
        write!(f, " deadline_ns={ns}")?;
    }
    flag(f, "cancel", *cancel)?;
    if let Some(session) = session {
        write!(f, " session={session}")?;
    }
    writeln!(f)
}

fn write_range(f: &mut Formatter<'_>, range: &SlotRange) -> fmt::Result {
    let SlotRange { region, slot, offset, len } = *range;
    differing(f, "region", region, 0)?;
    differing(f, "slot", slot, 0)?;
    differing(f, "offset", offset, 0)?;
    write!(f, " len={len}")
}

/// The word for an operation.
const fn name(verb: &VerbPlan) -> &'static str {
    match verb {
        VerbPlan::Read(_) => "read",
        VerbPlan::Write { .. } => "write",
        VerbPlan::Send { .. } => "send",
        VerbPlan::Add { .. } => "add",
        VerbPlan::Swap { .. } => "swap",
        VerbPlan::CloseSession => "close-session",
    }
}

fn differing<T: PartialEq + Display>(f: &mut Formatter<'_>, key: &str, is: T, usual: T) -> fmt::Result {
    if is == usual { Ok(()) } else { write!(f, " {key}={is}") }
}

fn flag(f: &mut Formatter<'_>, key: &str, is: bool) -> fmt::Result {
    if is { write!(f, " {key}") } else { Ok(()) }
}
