//! The checks themselves: each is given what it must find.

use wavetank_contract::{Instant, Op};
use wavetank_engine::RdmaOps as _;

use crate::cell::From;
use crate::judge::{Expected, judge};
use crate::node::{Patience, Try};
use crate::pattern;
use crate::scene::{BYTES, COUNT, Scene, is_whole};

/// A check that has to fail, and what it has to say.
fn finds(checked: Try<impl Sized>, what: &str) -> Try<()> {
    match checked {
        Ok(_) => Err(format!("nobody noticed {what:?}").into()),
        Err(why) if why.to_string().contains(what) => Ok(()),
        Err(why) => Err(format!("instead of {what:?} somebody noticed {why}").into()),
    }
}

pub(super) fn find(scene: &mut Scene<'_>) -> Try<String> {
    let link = scene.connect_with(Patience::Endless, 128)?;
    let whole = |scene: &mut Scene<'_>| is_whole(&mut scene.lab.node, &mut scene.arena, 2);
    whole(scene)?;
    // A lease that is out.
    let lease = scene.arena.acquire(64)?;
    finds(whole(scene), " 1 leases")?;
    drop(lease);
    // A session that is left.
    finds(is_whole(&mut scene.lab.node, &mut scene.arena, 1), "2 sessions of 1")?;
    // A transfer that waits, with its work and its lease.
    let lease = (scene.arena.acquire(64)?, scene.arena.mr());
    let tag = scene.node().submit((link.ep, Some(link.session)), Op::Recv, lease, Instant::FAR)?;
    scene.node().turn();
    finds(whole(scene), "1 transfers, 1 works, 1 leases")?;
    // Bytes that arrive from outside in memory that is looked after.
    let key = scene.export(From::Heap)?;
    let region = scene.exported[0].region.clone();
    pattern::fill(&region, 0, region.len(), 9, 0);
    let unchanged = || pattern::check(&region, 0, region.len(), 9, 0);
    unchanged()?;
    scene.peer.tell(&format!("flood {} write {COUNT} {BYTES} {key}", link.theirs))?;
    while !scene.peer.has_answered()? {
        scene.node().turn();
    }
    finds(unchanged().map_err(Into::into), "is not of pattern 9")?;
    // Ends that are taken for others.
    scene.begin(&link, Op::Send { imm: None }, 64, 0)?;
    scene.peer.ask(&format!("receive {} 1 64", link.theirs))?;
    let done = scene.ends()?;
    judge(Expected::Done, Instant::ZERO, &done)?;
    for other in [Expected::Gone, Expected::Late, Expected::Over] {
        finds(judge(other, Instant::FAR, &done), "expected")?;
    }
    // The one that waits ends with its session, by which the others are told apart.
    scene.node().driver.close_session(link.session, crate::clock::now())?;
    scene.forget(&link);
    let over = [scene.node().end_of(tag)?];
    judge(Expected::Over, Instant::FAR, &over)?;
    for other in [Expected::Done, Expected::Gone, Expected::Late] {
        finds(judge(other, Instant::FAR, &over), "expected")?;
    }
    finds(judge(Expected::Over, Instant::ZERO, &over), "too late")?;
    drop((done, over));
    let anomaly = scene.node().driver.context().take_anomaly();
    scene.signal()?;
    anomaly.map_or(Ok("all of 11 were found".to_owned()), |anomaly| Err(anomaly.to_string().into()))
}
