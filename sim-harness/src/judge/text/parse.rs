//! Reading programs.

use wavetank_contract::{Access, Mtu, QpState, RnrTimer};

use super::{RIGHTS, TextError};
use crate::judge::program::{
    ConnectionPlan, End, Key, LocalData, NODES, Piece, Place, Post, Program, RegionId, RegionPlan, Step, Verb,
};

/// Longest region, in bytes.
const REGION_BYTES_MAX: u64 = 1 << 20;
/// Most regions, connections and steps.
const REGIONS_MAX: usize = 26;
const CONNECTIONS_MAX: usize = 16;
const STEPS_MAX: usize = 1000;

type Parsed<T> = Result<T, String>;

/// Reads a program. Everything it names exists, and every number is within its limits.
///
/// # Errors
/// The first line that is not right.
pub fn parse(text: &str) -> Result<Program, TextError> {
    let mut program = Program::default();
    for (index, line) in text.lines().enumerate() {
        let line_only = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line_only.split_whitespace().collect();
        if let [verb, rest @ ..] = words.as_slice() {
            read_line(&mut program, verb, rest).map_err(|why| TextError { line: index + 1, why })?;
        }
    }
    Ok(program)
}

fn read_line(program: &mut Program, verb: &str, words: &[&str]) -> Parsed<()> {
    match verb {
        "region" => region(program, words),
        "connection" => connection(program, words),
        _ => {
            let step = step(program, verb, words)?;
            if program.steps.len() == STEPS_MAX {
                return Err(format!("a program has at most {STEPS_MAX} steps"));
            }
            program.steps.push(step);
            Ok(())
        }
    }
}

/// The value of `key=value`, which must be there.
fn value<'a>(words: &[&'a str], key: &str) -> Parsed<&'a str> {
    let of = |word: &&'a str| word.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
    words.iter().find_map(of).ok_or_else(|| format!("{key}= is missing"))
}

fn number(text: &str, max: u64) -> Parsed<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(n) if n <= max => Ok(n),
        _ => Err(format!("{text:?} is not a number up to {max}")),
    }
}

fn keyed(words: &[&str], key: &str, max: u64) -> Parsed<u64> {
    number(value(words, key)?, max).map_err(|why| format!("{key}: {why}"))
}

fn rights(text: &str) -> Parsed<Access> {
    match text {
        "all" => return Ok(Access::ALL),
        "none" => return Ok(Access::default()),
        _ => {}
    }
    let mut has = [false; 4];
    for word in text.split('+') {
        let known = RIGHTS.iter().position(|right| *right == word);
        has[known.ok_or_else(|| {
            format!("{word:?} is no right; rights are all, none, or {RIGHTS:?} joined by +")
        })?] = true;
    }
    let [local_write, remote_read, remote_write, remote_atomic] = has;
    Ok(Access { local_write, remote_read, remote_write, remote_atomic })
}

fn region(program: &mut Program, words: &[&str]) -> Parsed<()> {
    let id = words.first().and_then(|word| letter(word)).ok_or("a region is named by a letter, a to z")?;
    let access = rights(value(words, "rights")?)?;
    if (access.remote_write || access.remote_atomic) && !access.local_write {
        return Err("remote_write and remote_atomic need local_write too".into());
    }
    let len = keyed(words, "len", REGION_BYTES_MAX)? as u32;
    if len == 0 || !len.is_multiple_of(4096) {
        return Err(format!("len={len}: a region is a whole number of pages of 4096 bytes"));
    }
    let (node, pd) = (keyed(words, "node", NODES as u64 - 1)? as usize, keyed(words, "pd", 63)? as u16);
    if program.regions.len() == REGIONS_MAX || program.regions.contains_key(&id) {
        return Err(format!("there is a region {id} already"));
    }
    program.regions.insert(id, RegionPlan { node, pd, len, access });
    Ok(())
}

fn connection(program: &mut Program, words: &[&str]) -> Parsed<()> {
    let id = number(words.first().unwrap_or(&""), CONNECTIONS_MAX as u64 - 1)? as usize;
    let mtu = keyed(words, "mtu", 4096)?;
    let plan = ConnectionPlan {
        pd: [keyed(words, "pd0", 63)? as u16, keyed(words, "pd1", 63)? as u16],
        access: [rights(value(words, "rights0")?)?, rights(value(words, "rights1")?)?],
        mtu: Mtu::from_bytes(mtu)
            .ok_or_else(|| format!("mtu={mtu} is none of 256, 512, 1024, 2048, 4096"))?,
        timeout: keyed(words, "timeout", 14)? as u8,
        retry_cnt: keyed(words, "retry", 6)? as u8,
        rnr_retry: keyed(words, "rnr_retry", 6)? as u8,
        rnr_timer: keyed(words, "rnr_timer", 20)? as u8,
    };
    if plan.timeout == 0 || RnrTimer::new(plan.rnr_timer).is_none() || plan.rnr_timer == 0 {
        return Err(
            "timeout=0 waits for ever and rnr_timer=0 for most of a second: programs have to settle".into()
        );
    }
    if program.connections.insert(id, plan).is_some() {
        return Err(format!("there is a connection {id} already"));
    }
    Ok(())
}

fn letter(word: &str) -> Option<RegionId> {
    let mut chars = word.chars();
    chars.next().filter(|c| c.is_ascii_lowercase() && chars.next().is_none())
}

fn known_region(program: &Program, word: &str) -> Parsed<RegionId> {
    letter(word)
        .filter(|id| program.regions.contains_key(id))
        .ok_or_else(|| format!("{word:?} is no region of this program"))
}

fn end(program: &Program, word: Option<&&str>) -> Parsed<End> {
    let word = word.ok_or("an end such as c0.1 is missing")?;
    let parsed = || {
        let (connection, node) = word.strip_prefix('c')?.split_once('.')?;
        let end = End { connection: connection.parse().ok()?, node: node.parse().ok()? };
        (end.node < NODES && program.connections.contains_key(&end.connection)).then_some(end)
    };
    parsed().ok_or_else(|| format!("{word:?} is no end of a connection of this program, such as c0.1"))
}

fn step(program: &Program, verb: &str, words: &[&str]) -> Parsed<Step> {
    let region = || known_region(program, words.first().unwrap_or(&""));
    Ok(match verb {
        "settle" => Step::Settle,
        "deregister" => Step::Deregister(region()?),
        "register" => Step::Register(region()?),
        "close" => Step::Close(end(program, words.first())?),
        "reconnect" => {
            let id = number(words.first().unwrap_or(&""), CONNECTIONS_MAX as u64)? as usize;
            if !program.connections.contains_key(&id) {
                return Err(format!("there is no connection {id}"));
            }
            Step::Reconnect(id)
        }
        "move" => {
            let to = match words.get(1) {
                Some(&"err") => QpState::Err,
                Some(&"sqd") => QpState::Sqd,
                Some(&"rts") => QpState::Rts,
                Some(&"reset") => QpState::Reset,
                _ => return Err("an end is moved to err, sqd, rts or reset".into()),
            };
            Step::Move(end(program, words.first())?, to)
        }
        _ => Step::Post(post(program, verb, words)?),
    })
}

fn post(program: &Program, verb: &str, words: &[&str]) -> Parsed<Post> {
    let verb = match verb {
        "recv" => Verb::Recv,
        "send" => Verb::Send,
        "write" => Verb::Write,
        "read" => Verb::Read,
        "swap" => {
            Verb::Swap { compare: keyed(words, "compare", u64::MAX)?, swap: keyed(words, "swap", u64::MAX)? }
        }
        "add" => Verb::Add { add: keyed(words, "by", u64::MAX)? },
        _ => return Err(format!("{verb:?} is no step")),
    };
    let end = end(program, words.first())?;
    let mut post = Post {
        end,
        verb,
        data: LocalData::Pieces(Vec::new()),
        remote: None,
        imm: None,
        signalled: true,
        fence: false,
    };
    let mut pieces = Vec::new();
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        if *word == "at" {
            post.remote = Some(place(program, end, rest.next().unwrap_or(&""))?);
        } else if let Some(len) = word.strip_prefix("inline:") {
            post.data = LocalData::Inline(number(len, 1 << 16)? as u32);
        } else if let Some(imm) = word.strip_prefix("imm=") {
            post.imm = Some(number(imm, u32::MAX.into())? as u32);
        } else if *word == "fence" {
            post.fence = true;
        } else if *word == "silent" {
            post.signalled = false;
        } else if !["compare=", "swap=", "by="].iter().any(|key| word.starts_with(key)) {
            pieces.push(piece(program, end, word)?);
        }
    }
    let one_sided = !matches!(verb, Verb::Recv | Verb::Send);
    if one_sided != post.remote.is_some() {
        return Err(
            "write, read, swap and add have a place `at b+64` at the peer, recv and send have none".into()
        );
    }
    if post.imm.is_some() && !matches!(verb, Verb::Send | Verb::Write) {
        return Err("only send and write carry an immediate".into());
    }
    if matches!(post.data, LocalData::Inline(_)) {
        if !pieces.is_empty() || !matches!(verb, Verb::Send | Verb::Write) {
            return Err("inline bytes go with send and write, and without pieces".into());
        }
    } else {
        post.data = LocalData::Pieces(pieces);
    }
    Ok(post)
}

fn piece(program: &Program, end: End, word: &str) -> Parsed<Piece> {
    let parsed = || {
        let (place, len) = word.split_once(':')?;
        let (region, offset) = place.split_once('+')?;
        Some((region, number(offset, 1 << 30).ok()?, number(len, REGION_BYTES_MAX).ok()?))
    };
    let (region, offset, len) = parsed().ok_or_else(|| format!("{word:?} is no piece such as a+0:64"))?;
    let region = known_region(program, region)?;
    if program.regions[&region].node != end.node {
        return Err(format!("{region} is memory of the other node: {end} cannot name it as a piece"));
    }
    Ok(Piece { region, offset: offset as u32, len: len as u32 })
}

fn place(program: &Program, end: End, word: &str) -> Parsed<Place> {
    let (at, key) = match word.split_once('!') {
        None => (word, Key::Latest),
        Some((at, "old")) => (at, Key::Old),
        Some((at, "never")) => (at, Key::Never),
        Some(_) => return Err(format!("{word:?}: a key is !old or !never, or not named")),
    };
    let parsed = || {
        let split = at.find(['+', '-'])?;
        let (region, offset) = at.split_at(split);
        Some((region, offset.parse::<i64>().ok().filter(|o| o.unsigned_abs() <= 1 << 30)?))
    };
    let (region, offset) = parsed().ok_or_else(|| format!("{word:?} is no place such as b+64"))?;
    let region = known_region(program, region)?;
    if program.regions[&region].node == end.node {
        return Err(format!("{region} is memory of the same node: {end} reaches that of its peer"));
    }
    Ok(Place { region, offset, key })
}
