//! Reading a run: strict, line by line. Nothing in it sizes anything but its own length.

use std::path::Path;

use wavetank_contract::{Buggify, Mtu, Site};

use super::fields::{Fields, Wrong, hash};
use super::{CHOICES_MAX, Expected, FILE_BYTES_MAX, HEADER, SWARM_VERSION, SimFile, VERSION};
use crate::check::Check;
use crate::fault::parse_line;
use crate::swarm::choices::{LAST, Loud};
use crate::swarm::defaults::{CONNECTION, ENGINE, NODES, PROFILE, REGION};
use crate::swarm::plan::{ConnectionPlan, EnginePlan, OpPlan, Plan, RegionPlan, SlotRange, VerbPlan};
use crate::swarm::shrink::Case;
use crate::workload::{WorkloadError, quoted};

/// Everything a line may begin with.
const ITEMS: &str = "program, seed, canary, profile, jitter_ns, nodes, region, connection, engine, buggify, op, fault, \
                     choice, checkpoint or expect";

/// Connections, regions, operations and faults are counted in 16 or 32 bits; whatever a plan may have is far less.
const PARTS_MAX: usize = 1 << 20;

impl SimFile {
    /// Reads a run. `path` is only named in errors.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and what was wanted there.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<SimFile, WorkloadError> {
        let wrong = |line, item: &str, why: Wrong| WorkloadError::invalid(path, line, item, why);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(1, "file", format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(wrong(1, "file", "not UTF-8".to_owned()));
        };
        let mut lines = (1u32..).zip(text.lines());
        let first = lines.next().map_or("", |(_, line)| line);
        if first != format!("{HEADER} {VERSION}") {
            let why = format!("found {}; a run begins with \"{HEADER} {VERSION}\"", quoted(first));
            return Err(wrong(1, HEADER, why));
        }
        let mut reader = Reader::new();
        let mut last = 1;
        for (number, line) in lines {
            last = number;
            let item = line.split_ascii_whitespace().next().unwrap_or("").to_owned();
            let known = if ITEMS.contains(item.as_str()) { item.as_str() } else { "line" };
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(wrong(number, "line", "a character in it is not text".to_owned()));
            }
            reader.line(line).map_err(|why| wrong(number, known, why))?;
        }
        reader.end().map_err(|(item, why)| wrong(last, item, why))
    }
}

/// What has been read so far.
struct Reader {
    file: SimFile,
    /// Items that may be there once and were.
    seen: Vec<&'static str>,
}

impl Reader {
    fn new() -> Reader {
        let plan = Plan {
            profile: PROFILE.to_owned(),
            jitter_ns: 0,
            nodes: NODES,
            regions: Vec::new(),
            connections: Vec::new(),
            engine: ENGINE,
            buggify: Default::default(),
            ops: Vec::new(),
            faults: Vec::new(),
        };
        let file = SimFile {
            notes: Vec::new(),
            program: String::new(),
            seed: None,
            canary: false,
            case: Case { plan, loud: Vec::new() },
            checkpoints: Vec::new(),
            expected: Expected::Panics,
        };
        Reader { file, seen: Vec::new() }
    }

    fn once(&mut self, item: &'static str) -> Result<(), Wrong> {
        if self.seen.contains(&item) {
            return Err("it was said before".to_owned());
        }
        self.seen.push(item);
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), Wrong> {
        if let Some(note) = line.strip_prefix('#') {
            self.file.notes.push(note.strip_prefix(' ').unwrap_or(note).replace('\t', " "));
            return Ok(());
        }
        let mut fields = Fields::new(line);
        let Ok(item) = fields.word("") else { return Ok(()) };
        let plan = &mut self.file.case.plan;
        let parts = [plan.regions.len(), plan.connections.len(), plan.ops.len(), plan.faults.len()];
        if parts.into_iter().max() >= Some(PARTS_MAX) {
            return Err(format!("more than {PARTS_MAX} of one kind"));
        }
        match item {
            "region" => plan.regions.push(region(&mut fields)?),
            "connection" => plan.connections.push(connection(&mut fields)?),
            "op" => plan.ops.push(op(&mut fields)?),
            "fault" => {
                plan.faults.push(parse_line(line.trim_start().strip_prefix("fault").unwrap_or_default())?);
                return Ok(());
            }
            "buggify" => {
                let name = fields.word("a name")?;
                let Some(buggify) = Buggify::ALL.into_iter().find(|buggify| buggify.name() == name) else {
                    let names = Buggify::ALL.map(Buggify::name).join(", ");
                    return Err(format!("found {}; wanted one of {names}", quoted(name)));
                };
                if !plan.buggify.insert(buggify) {
                    return Err(format!("{name} was said before"));
                }
            }
            "choice" => self.choice(&mut fields)?,
            "checkpoint" => {
                let number = fields.number("the number of a checkpoint")?;
                fields.exactly("=")?;
                let hash = hash(fields.word("a hash")?)?;
                if number <= self.file.checkpoints.last().map_or(0, |(last, _)| *last) {
                    return Err(format!("found {number}; they rise from 1"));
                }
                self.file.checkpoints.push((number, hash));
            }
            _ => self.single(item, &mut fields)?,
        }
        fields.end()
    }

    /// What is said once.
    fn single(&mut self, item: &str, fields: &mut Fields<'_>) -> Result<(), Wrong> {
        const ONCE: [&str; 8] =
            ["program", "seed", "canary", "profile", "jitter_ns", "nodes", "engine", "expect"];
        let Some(once) = ONCE.into_iter().find(|once| *once == item) else {
            return Err(format!("found {}; a line begins with {ITEMS}", quoted(item)));
        };
        self.once(once)?;
        let plan = &mut self.file.case.plan;
        match item {
            "program" => self.file.program = fields.word("a version")?.to_owned(),
            "seed" => {
                self.file.seed = Some(fields.number("a seed")?);
                // The choices are in the file: another version only means that the seed is no other name for it.
                if fields.word(SWARM_VERSION)? != SWARM_VERSION {
                    self.file.seed = None;
                }
            }
            "canary" => self.file.canary = true,
            "profile" => plan.profile = fields.word("a profile")?.to_owned(),
            "jitter_ns" => plan.jitter_ns = fields.number("jitter_ns")?,
            "nodes" => plan.nodes = fields.number("nodes")?,
            "engine" => {
                plan.engine = EnginePlan {
                    chunk_bytes: fields.keyed_or("chunk_bytes", ENGINE.chunk_bytes)?,
                    window: fields.keyed_or("window", ENGINE.window)?,
                    signal_every: fields.keyed_or("signal_every", ENGINE.signal_every)?,
                }
            }
            _ => self.file.expected = expected(fields)?,
        }
        Ok(())
    }

    fn choice(&mut self, fields: &mut Fields<'_>) -> Result<(), Wrong> {
        if self.file.case.loud.len() == CHOICES_MAX {
            return Err(format!("more than {CHOICES_MAX} choices"));
        }
        let name = fields.word("a site")?;
        let Some(site) = Site::from_name(name) else {
            let names: Vec<&str> = Site::all().map(Site::name).collect();
            return Err(format!("found {}; wanted a site, one of {}", quoted(name), names.join(", ")));
        };
        let nth = fields.number("how many came before it")?;
        fields.exactly("=")?;
        let value = if fields.flag("last") { LAST } else { fields.number("a value")? };
        if value == 0 {
            return Err("0 is what every choice is that is left out; remove the line".to_owned());
        }
        self.file.case.loud.push(Loud { site, nth, value });
        Ok(())
    }

    fn end(self) -> Result<SimFile, (&'static str, Wrong)> {
        for wanted in ["program", "expect"] {
            if !self.seen.contains(&wanted) {
                return Err((wanted, format!("the file ends, and no line begins with {wanted:?}")));
            }
        }
        self.file.case.plan.check().map_err(|why| ("plan", why))?;
        Ok(self.file)
    }
}

fn expected(fields: &mut Fields<'_>) -> Result<Expected, Wrong> {
    match fields.word("passes, fails or panics")? {
        "passes" => Ok(Expected::Passes(hash(fields.word("a hash")?)?)),
        "panics" => Ok(Expected::Panics),
        "fails" => {
            let name = fields.word("a check")?;
            let Some(check) = Check::ALL.into_iter().find(|check| check.name() == name) else {
                let names = Check::ALL.map(Check::name).join(", ");
                return Err(format!("found {}; wanted a check, one of {names}", quoted(name)));
            };
            let op = if fields.flag("op") { Some(fields.number("an operation")?) } else { None };
            Ok(Expected::Fails(check, op))
        }
        found => Err(format!("found {}; wanted passes, fails or panics", quoted(found))),
    }
}

fn region(fields: &mut Fields<'_>) -> Result<RegionPlan, Wrong> {
    Ok(RegionPlan {
        node: fields.number("a node")?,
        slots: fields.keyed_or("slots", REGION.slots)?,
        slot_bytes: fields.keyed_or("slot_bytes", REGION.slot_bytes)?,
        window: fields.flag("window"),
    })
}

fn connection(fields: &mut Fields<'_>) -> Result<ConnectionPlan, Wrong> {
    let nodes = [fields.number("a node")?, fields.number("another node")?];
    let mtu = match fields.keyed("mtu")? {
        None => CONNECTION.mtu,
        Some(bytes) => Mtu::from_bytes(bytes)
            .ok_or_else(|| format!("found {bytes} for mtu; wanted 256, 512, 1024, 2048 or 4096"))?,
    };
    Ok(ConnectionPlan {
        nodes,
        mtu,
        timeout: fields.keyed_or("timeout", CONNECTION.timeout)?,
        retry_cnt: fields.keyed_or("retry_cnt", CONNECTION.retry_cnt)?,
        rnr_retry: fields.keyed_or("rnr_retry", CONNECTION.rnr_retry)?,
        rnr_timer: fields.keyed_or("rnr_timer", CONNECTION.rnr_timer)?,
        send_depth: fields.keyed_or("send_depth", CONNECTION.send_depth)?,
        recv_depth: fields.keyed_or("recv_depth", CONNECTION.recv_depth)?,
        rd_atomic: fields.keyed_or("rd_atomic", CONNECTION.rd_atomic)?,
        in_flight: fields.keyed_or("in_flight", CONNECTION.in_flight)?,
    })
}

fn op(fields: &mut Fields<'_>) -> Result<OpPlan, Wrong> {
    let id = fields.number("its number")?;
    let verb = match fields.word("what it does")? {
        "read" => VerbPlan::Read(range(fields)?),
        "write" => VerbPlan::Write { to: range(fields)?, imm: fields.flag("imm") },
        "send" => VerbPlan::Send { len: len(fields)?, imm: fields.flag("imm") },
        "add" => VerbPlan::Add { region: fields.keyed_or("region", 0)?, slot: fields.keyed_or("slot", 0)? },
        "swap" => VerbPlan::Swap { region: fields.keyed_or("region", 0)?, slot: fields.keyed_or("slot", 0)? },
        "close-session" => VerbPlan::CloseSession,
        found => {
            let verbs = "read, write, send, add, swap or close-session";
            return Err(format!("found {}; wanted {verbs}", quoted(found)));
        }
    };
    Ok(OpPlan {
        id,
        connection: fields.keyed_or("connection", 0)?,
        end: fields.keyed_or("end", 0)?,
        verb,
        deadline_ns: fields.keyed("deadline_ns")?,
        cancel: fields.flag("cancel"),
        session: fields.keyed("session")?,
    })
}

fn range(fields: &mut Fields<'_>) -> Result<SlotRange, Wrong> {
    Ok(SlotRange {
        region: fields.keyed_or("region", 0)?,
        slot: fields.keyed_or("slot", 0)?,
        offset: fields.keyed_or("offset", 0)?,
        len: len(fields)?,
    })
}

fn len(fields: &mut Fields<'_>) -> Result<u32, Wrong> {
    fields.keyed("len")?.ok_or_else(|| "it has no len".to_owned())
}
