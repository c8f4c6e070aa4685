//! Programs as text: one line a region, a connection or a step; what is printed can be read back.

mod parse;

use std::fmt;

use thiserror::Error;
use wavetank_contract::Access;

use super::program::{
    ConnectionPlan, Key, LocalData, Place, Post, Program, RegionId, RegionPlan, Step, Verb,
};

pub use parse::parse;

/// A program that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct TextError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// Rights as the text spells them.
const RIGHTS: [&str; 4] = ["local_write", "remote_read", "remote_write", "remote_atomic"];

struct Rights(Access);

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = self.0;
        let has = [a.local_write, a.remote_read, a.remote_write, a.remote_atomic];
        match has {
            [true, true, true, true] => f.write_str("all"),
            [false, false, false, false] => f.write_str("none"),
            _ => {
                let names: Vec<&str> =
                    RIGHTS.iter().zip(has).filter(|(_, has)| *has).map(|(n, _)| *n).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, region) in &self.regions {
            writeln!(f, "{}", region_line(*id, region))?;
        }
        for (id, connection) in &self.connections {
            writeln!(f, "{}", connection_line(*id, connection))?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

fn region_line(id: RegionId, r: &RegionPlan) -> String {
    format!("region {id} node={} pd={} len={} rights={}", r.node, r.pd, r.len, Rights(r.access))
}

fn connection_line(id: usize, c: &ConnectionPlan) -> String {
    let ends: Vec<String> =
        (0..c.pd.len()).map(|n| format!("pd{n}={} rights{n}={}", c.pd[n], Rights(c.access[n]))).collect();
    format!(
        "connection {id} {} mtu={} timeout={} retry={} rnr_retry={} rnr_timer={}",
        ends.join(" "),
        c.mtu.bytes(),
        c.timeout,
        c.retry_cnt,
        c.rnr_retry,
        c.rnr_timer
    )
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Post(post) => write!(f, "{post}"),
            Step::Settle => f.write_str("settle"),
            Step::Deregister(region) => write!(f, "deregister {region}"),
            Step::Register(region) => write!(f, "register {region}"),
            Step::Move(end, to) => write!(f, "move {end} {}", format!("{to:?}").to_lowercase()),
            Step::Close(end) => write!(f, "close {end}"),
            Step::Reconnect(connection) => write!(f, "reconnect {connection}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.key {
            Key::Latest => "",
            Key::Old => "!old",
            Key::Never => "!never",
        };
        write!(f, "{}{:+}{key}", self.region, self.offset)
    }
}

impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Recv => "recv",
            Verb::Send => "send",
            Verb::Write => "write",
            Verb::Read => "read",
            Verb::Swap { .. } => "swap",
            Verb::Add { .. } => "add",
        };
        write!(f, "{verb} {}", self.end)?;
        match &self.data {
            LocalData::Inline(len) => write!(f, " inline:{len}")?,
            LocalData::Pieces(pieces) => {
                pieces.iter().try_for_each(|p| write!(f, " {}+{}:{}", p.region, p.offset, p.len))?;
            }
        }
        if let Some(remote) = &self.remote {
            write!(f, " at {remote}")?;
        }
        match self.verb {
            Verb::Swap { compare, swap } => write!(f, " compare={compare:#x} swap={swap:#x}")?,
            Verb::Add { add } => write!(f, " by={add:#x}")?,
            _ => {}
        }
        if let Some(imm) = self.imm {
            write!(f, " imm={imm:#x}")?;
        }
        f.write_str(if self.fence { " fence" } else { "" })?;
        f.write_str(if self.signalled { "" } else { " silent" })
    }
}
