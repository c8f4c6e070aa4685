//! Whose CPU is needed to reach memory, and whose life.

use wavetank_contract::Op;
use wavetank_engine::RdmaOps as _;

use super::{quiet, reached};
use crate::cell::{Ending, From};
use crate::clock::MS;
use crate::judge::{Expected, summary, word};
use crate::lab::import;
use crate::node::{Patience, Try};
use crate::pattern::{self, PAGE};
use crate::scene::{BYTES, OURS, Scene};

/// A stopped peer's memory is read and written, or only once it goes on, as `Caps::one_sided` has promised.
pub(super) fn one_sided(scene: &mut Scene<'_>, from: From) -> Try<String> {
    let reached = reached(scene, from);
    let promised = scene.node().driver.context().caps().one_sided;
    if from == From::Alloc && !promised || promised != (scene.lab.device.transport == "shm") {
        return Err(format!("one_sided is {promised}").into());
    }
    let link = scene.connect_with(Patience::Endless, 128)?;
    let share = scene.share(&link, from)?;
    let at = |offset| share.remote.at(offset, BYTES).ok_or("a short region");
    scene.signal()?;
    scene.begin(&link, Op::Write { remote: at(0)?, imm: None }, BYTES, 0)?;
    scene.begin(&link, Op::Read { remote: at(0)? }, BYTES, BYTES)?;
    scene.begin(&link, Op::Read { remote: at(BYTES)? }, BYTES, 0)?;
    if !reached {
        quiet(scene, 300 * MS)?;
        scene.peer.go_on()?;
    }
    let ends = scene.ends()?;
    scene.judge(Expected::Done, &ends)?;
    for (finished, (seed, of)) in ends[1..].iter().zip([(OURS, 0), (share.seed, BYTES)]) {
        let lease = finished.lease.as_ref().ok_or("the device keeps the lease")?;
        pattern::check(lease.region(), lease.offset(), BYTES, seed, of)?;
    }
    Ok(format!("{}, {}", summary(&ends), if reached { "while it was stopped" } else { "once it went on" }))
}

/// Connections that ask at once. More would say no more: the first failure of each ends it.
const LINKS: usize = 200;

/// Operations on each.
const EACH: u64 = 8;

/// Nothing is served from a dead peer's memory, however quickly it is asked for; from a stopped one's everything is.
pub(super) fn served(scene: &mut Scene<'_>) -> Try<String> {
    let answer = scene.peer.ask(&format!("share alloc {BYTES} {OURS}"))?;
    let (_, key) = answer.split_once(' ').ok_or("no key")?;
    let mut links = Vec::new();
    for _ in 0..LINKS {
        let link = scene.connect_with(Patience::Endless, 2 * EACH as u32)?;
        let remote = import(scene.node(), &link, key)?;
        links.push((link, remote));
    }
    // Each was used before: its key is unpacked, and nothing else than death is in its way.
    for (link, remote) in &links {
        scene.begin(link, Op::Read { remote: remote.at(0, PAGE).ok_or("a short region")? }, PAGE, 0)?;
    }
    let ends = scene.ends()?;
    scene.judge(Expected::Done, &ends)?;
    drop(ends);
    scene.signal()?;
    // Nobody polls in between: what the device knows of the death it has to find out by itself.
    for n in 0..EACH {
        for (link, remote) in &links {
            let remote = remote.at(n * PAGE, PAGE).ok_or("a short region")?;
            let op = if n % 2 == 0 { Op::Read { remote } } else { Op::Write { remote, imm: None } };
            scene.begin(link, op, PAGE, 1000 * PAGE)?;
        }
        if n == 0 {
            scene.node().driver.push(crate::clock::now());
        }
    }
    let ends = scene.ends()?;
    let done = ends.iter().filter(|finished| finished.result.is_ok()).count();
    let tries = ends.len();
    match scene.cell.ending {
        Ending::Kill => {
            for (link, _) in &links {
                let mut of_link: Vec<_> = ends.iter().filter(|finished| finished.ep == link.ep).collect();
                let first = of_link.remove(0);
                if word(first) != "RETRY_EXC_ERR" || of_link.iter().any(|f| word(f) != "WR_FLUSH_ERR") {
                    return Err(
                        format!("{done} of {tries} were served by a dead peer: {}", word(first)).into()
                    );
                }
            }
            Ok(format!("none of {tries} on {LINKS} connections"))
        }
        _ if done == tries => Ok(format!("all of {tries} on {LINKS} connections")),
        _ => Err(format!("{done} of {tries}: {}", summary(&ends)).into()),
    }
}
