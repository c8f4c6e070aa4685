//! What happens at each step.

mod lies;
mod sides;

use wavetank_contract::{Op, OpKind, QpState};
use wavetank_engine::{Finished, RdmaOps as _};

use crate::cell::{Cell, Ending, From, Step};
use crate::clock::{MS, now, pause};
use crate::judge::{Expected, summary, word};
use crate::lab::{Lab, Link, Share, connect_line, introduce};
use crate::node::{LIMIT_NS, Try};
use crate::pattern;
use crate::scene::{BYTES, COUNT, Scene};

/// Runs a cell. What became of it, and what is known to be wrong.
pub(crate) fn run(lab: &mut Lab, cell: Cell) -> Try<(String, Option<&'static str>)> {
    for _ in 0..5 {
        let mut scene = Scene::open(lab, cell)?;
        let said = play(&mut scene);
        let (too_late, closed) = (scene.too_late, scene.close());
        if !too_late || said.is_ok() {
            return Ok((said?, closed?));
        }
        closed?;
    }
    Err("everything was done before the signal, five times".into())
}

fn play(scene: &mut Scene<'_>) -> Try<String> {
    match scene.cell.step {
        Step::BeforeConnect => connecting(scene, false, false),
        Step::ConnectingTheirs => connecting(scene, true, false),
        Step::ConnectingOurs => connecting(scene, true, true),
        Step::Idle => idle(scene),
        Step::Get(from) => one_sided(scene, OpKind::Read, from),
        Step::Put(from) => one_sided(scene, OpKind::Write, from),
        Step::Send => send(scene),
        Step::SendUnmet => send_unmet(scene),
        Step::Full => full(scene),
        Step::Flush(from) => flush(scene, from),
        Step::PeerCloses => peer_closes(scene),
        Step::WeClose(from) => we_close(scene, from),
        Step::ServeGet(from) => serve(scene, "read", from),
        Step::ServePut(from) => serve(scene, "write", from),
        Step::ServeSend => serve(scene, "send", From::Heap),
        Step::OneSided(from) => sides::one_sided(scene, from),
        Step::Served => sides::served(scene),
        Step::Lies => lies::find(scene),
    }
}

/// Memory that we reach without the peer's CPU.
fn reached(scene: &Scene<'_>, from: From) -> bool {
    scene.lab.device.transport == "shm" && from == From::Alloc
}

/// The victim dies or stops before it is connected. `theirs`: it has connected its end; `last`: it does only when we have ours.
fn connecting(scene: &mut Scene<'_>, theirs: bool, last: bool) -> Try<String> {
    let patience = scene.cell.ending.patience();
    let link = introduce(&mut scene.lab.node, &mut scene.peer, patience, 128)?;
    scene.keep(&link);
    let line = format!("{} {}", connect_line(scene.node(), &link)?, scene.cell.ending.signal());
    if !last {
        match theirs {
            true => {
                scene.peer.tell(&line)?;
                scene.await_signal()?;
            }
            false => scene.signal()?,
        }
    }
    let refused = scene.node().driver.context().connect(link.ep, &link.address).err();
    if last {
        scene.node().run(20 * MS, |_| false);
        scene.peer.tell(&line)?;
        scene.await_signal()?;
    }
    let text = refused.map_or("", |_| "refused, ");
    // It may have answered with its last breath.
    scene.node().run(LIMIT_NS, |node| node.state(link.ep) != Some(QpState::Init));
    match scene.node().state(link.ep) {
        Some(QpState::Rts) if last => {
            scene.begin(&link, Op::Send { imm: None }, 64, 0)?;
            Ok(format!("connected, {}", as_expected(scene)?))
        }
        Some(state @ (QpState::Err | QpState::Reset)) => {
            let late = now().since_ns(scene.signalled_at.unwrap_or_default());
            match late < LIMIT_NS / 2 {
                true => Ok(format!("{text}{state:?}")),
                false => Err(format!("gave up after {late} ns").into()),
            }
        }
        state => Err(format!("connecting to nobody, the endpoint is {state:?}").into()),
    }
}

/// Each kind of operation on a connection of its own, when nothing was under way.
fn idle(scene: &mut Scene<'_>) -> Try<String> {
    let shm = scene.lab.device.transport == "shm";
    let froms: &[From] = if shm { &[From::Alloc, From::Heap] } else { &[From::Heap] };
    let mut tries = Vec::new();
    for from in froms {
        for kind in [OpKind::Read, OpKind::Write, OpKind::FetchAdd, OpKind::CompareSwap, OpKind::WriteImm] {
            let link = scene.connect()?;
            let share = scene.share(&link, *from)?;
            let remote = share.remote.at(0, BYTES).ok_or("a short region")?;
            let op = match kind {
                OpKind::Read => Op::Read { remote },
                OpKind::Write => Op::Write { remote, imm: None },
                OpKind::WriteImm => Op::Write { remote, imm: Some(1) },
                OpKind::FetchAdd => Op::FetchAdd { remote, add: 1 },
                _ => Op::CompareSwap { remote, compare: 0, swap: 1 },
            };
            let len = if kind.is_atomic() { 8 } else { 64 };
            // An immediate meets a receive, for which the peer's CPU is needed.
            tries.push((link, op, len, reached(scene, *from) && kind != OpKind::WriteImm));
        }
    }
    let link = scene.connect()?;
    tries.push((link, Op::Send { imm: None }, 64, false));
    scene.node().run(5 * MS, |_| false);
    scene.signal()?;
    for (link, op, len, _) in &tries {
        scene.begin(link, *op, *len, 0)?;
    }
    let ends = scene.ends()?;
    for (ended, (_, op, _, one_sided)) in ends.iter().zip(&tries) {
        let expected = scene.expected(*one_sided);
        scene
            .judge(expected, std::slice::from_ref(ended))
            .map_err(|why| format!("{} (one-sided: {one_sided}): {why}", op.kind().name()))?;
        scene.too_late = false;
    }
    Ok(summary(&ends))
}

fn op_at(kind: OpKind, share: Share, offset: u64, len: u64) -> Try<Op> {
    let remote = share.remote.at(offset, len).ok_or("a short region")?;
    Ok(if kind == OpKind::Read { Op::Read { remote } } else { Op::Write { remote, imm: None } })
}

/// Long READs or WRITEs, and the signal in the middle.
fn one_sided(scene: &mut Scene<'_>, kind: OpKind, from: From) -> Try<String> {
    let link = scene.connect()?;
    let share = scene.share(&link, from)?;
    if reached(scene, from) {
        return race(scene, &link, kind, share);
    }
    for n in 0..COUNT {
        scene.begin(&link, op_at(kind, share, n * BYTES, BYTES)?, BYTES, n * BYTES)?;
    }
    scene.await_first()?;
    scene.signal()?;
    let ends = scene.ends()?;
    if kind == OpKind::Read {
        check_read(share, &ends)?;
    }
    let expected = scene.expected(false);
    let said = scene.judge(expected, &ends)?;
    if kind == OpKind::Write {
        scene.check_placed(share, &ends)?;
    }
    Ok(said)
}

/// What READs brought is what was there.
fn check_read(share: Share, ends: &[Finished]) -> Try<()> {
    for (n, finished) in (0..).zip(ends) {
        if let (Ok(len), Some(lease)) = (&finished.result, &finished.lease) {
            pattern::check(lease.region(), lease.offset(), *len, share.seed, n * BYTES)
                .map_err(|why| format!("READ {n} is done, and {why}"))?;
        }
    }
    Ok(())
}

/// Where works are done as soon as they are posted, the signal comes from another thread. Whatever begins after a death fails.
fn race(scene: &mut Scene<'_>, link: &Link, kind: OpKind, share: Share) -> Try<String> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let over = AtomicBool::new(false);
    let ending = scene.cell.ending;
    let process = scene.peer.process();
    let expected = scene.expected(true);
    let raced = std::thread::scope(|threads| -> Try<(u64, u64, Vec<Finished>)> {
        let signal = threads.spawn(|| {
            pause(10 * MS);
            let sent = if ending == Ending::Kill { process.kill() } else { process.stop() };
            over.store(true, Ordering::SeqCst);
            sent.map_err(|why| why.to_string())
        });
        let (mut before, mut after, mut last) = (0, 0, Vec::new());
        while after < 50 {
            let was_over = over.load(Ordering::SeqCst);
            scene.begin(link, op_at(kind, share, 0, BYTES)?, BYTES, 0)?;
            let ends = scene.ends()?;
            let failed = ends.iter().any(|finished| finished.result.is_err());
            if kind == OpKind::Read {
                check_read(share, &ends)?;
            }
            if was_over && !failed && ending == Ending::Kill {
                return Err("a dead peer's memory was served".into());
            }
            (before, after) = (before + u64::from(!was_over), after + u64::from(was_over));
            last = ends;
            if failed {
                break;
            }
        }
        signal.join().map_err(|_| "the thread panicked")??;
        Ok((before, after, last))
    });
    scene.signalled_at = Some(now());
    let (before, after, last) = raced?;
    let said = scene.judge(expected, &last)?;
    Ok(format!("{before} before, {after} after, {said}"))
}

/// Messages under way that meet receives.
fn send(scene: &mut Scene<'_>) -> Try<String> {
    let link = scene.connect()?;
    scene.peer.ask(&format!("receive {} {COUNT} {BYTES}", link.theirs))?;
    for n in 0..COUNT {
        scene.begin(&link, Op::Send { imm: None }, BYTES, n * BYTES)?;
    }
    scene.await_first()?;
    scene.signal()?;
    as_expected(scene)
}

/// Nothing ends meanwhile, for nobody can have done it.
fn quiet(scene: &mut Scene<'_>, ns: u64) -> Try<()> {
    if !scene.node().run(ns, |node| !node.finished.is_empty()) {
        return Ok(());
    }
    let ended = word(&scene.node().finished[0]);
    // On a machine that busy it says nothing.
    scene.too_late = ended == "DEADLINE";
    Err(format!("nobody can have done it: {ended}").into())
}

/// Messages that wait for receives.
fn send_unmet(scene: &mut Scene<'_>) -> Try<String> {
    let link = scene.connect()?;
    for n in 0..COUNT {
        scene.begin(&link, Op::Send { imm: None }, BYTES, n * BYTES)?;
    }
    quiet(scene, 100 * MS)?;
    scene.signal()?;
    as_expected(scene)
}

/// Everything under way ends, as the cell expects it to.
fn as_expected(scene: &mut Scene<'_>) -> Try<String> {
    let ends = scene.ends()?;
    let expected = scene.expected(false);
    scene.judge(expected, &ends)
}

/// The peer was stopped before anything was begun, which now has gone as far as it will.
fn after_the_stop(scene: &mut Scene<'_>) -> Try<String> {
    quiet(scene, 50 * MS)?;
    if scene.cell.ending == Ending::Kill {
        scene.peer.kill()?;
    }
    scene.signalled_at = Some(now());
    as_expected(scene)
}

/// Messages to a peer that takes none: its queue is full, and so is what UCX keeps before it.
fn full(scene: &mut Scene<'_>) -> Try<String> {
    const LEN: u64 = 1 << 16;
    let link = scene.connect()?;
    scene.peer.stop()?;
    for n in 0..128 {
        scene.begin(&link, Op::Send { imm: None }, LEN, n * LEN)?;
    }
    after_the_stop(scene)
}

/// WRITEs that have left and are not acknowledged, for the peer stopped before they came.
fn flush(scene: &mut Scene<'_>, from: From) -> Try<String> {
    let link = scene.connect()?;
    let share = scene.share(&link, from)?;
    scene.peer.stop()?;
    for n in 0..COUNT {
        let remote = share.remote.at(n * BYTES, 4096).ok_or("a short region")?;
        // Where they are placed at once it is the immediate that is to be acknowledged.
        let imm = reached(scene, from).then_some(n as u32);
        scene.begin(&link, Op::Write { remote, imm }, 4096, n * BYTES)?;
    }
    after_the_stop(scene)
}

/// The victim closes its end, and goes.
fn peer_closes(scene: &mut Scene<'_>) -> Try<String> {
    let link = scene.connect()?;
    scene.peer.tell(&format!("close {} {}", link.theirs, scene.cell.ending.signal()))?;
    scene.await_signal()?;
    scene.begin(&link, Op::Send { imm: None }, 64, 0)?;
    as_expected(scene)
}

/// We close our end with everything under way.
fn we_close(scene: &mut Scene<'_>, from: From) -> Try<String> {
    let link = scene.connect()?;
    let share = scene.share(&link, from)?;
    // The first few are enough to know that it is in the middle.
    for n in 0..COUNT / 2 {
        scene.begin(&link, op_at(OpKind::Write, share, n * BYTES, BYTES)?, BYTES, n * BYTES)?;
    }
    for n in COUNT / 2..COUNT {
        scene.begin(&link, Op::Send { imm: None }, BYTES, n * BYTES)?;
    }
    scene.await_first()?;
    scene.signal()?;
    let began = now();
    scene.node().driver.close_session(link.session, began)?;
    let ends = scene.ends()?;
    let ms = now().since_ns(began) / MS;
    scene.forget(&link);
    // One that failed before it was closed keeps its reason; nobody turned meanwhile.
    let said = scene.judge(Expected::Over, &ends)?;
    Ok(format!("{said}, closed in {ms} ms"))
}

/// The victim asks us, and goes in the middle.
fn serve(scene: &mut Scene<'_>, op: &str, from: From) -> Try<String> {
    let link = scene.connect()?;
    let key = match op {
        "send" => {
            for n in 0..COUNT - 1 {
                scene.begin(&link, Op::Recv, BYTES, n * BYTES)?;
            }
            String::new()
        }
        _ => scene.export(from)?,
    };
    let what = match op {
        "send" => format!("flood {} send {} {BYTES}", link.theirs, COUNT - 1),
        // Done as soon as it is posted: what is in the middle is the next.
        _ if reached(scene, from) => format!("hammer {} {op} {} {key}", link.theirs, COUNT * BYTES),
        _ => format!("flood {} {op} {COUNT} {BYTES} {key}", link.theirs),
    };
    scene.peer.tell(&what)?;
    // Our driver has to be turned for some of it, and the first is done when the victim says so.
    let (lab, peer) = (&mut *scene.lab, &mut scene.peer);
    while !peer.has_answered()? {
        lab.node.turn();
    }
    scene.signal()?;
    // Nothing tells us of the death but our own work.
    let tag = scene.begin(&link, Op::Send { imm: None }, 64, 0)?;
    let ends = scene.ends()?;
    let (own, receives): (Vec<_>, Vec<_>) = ends.into_iter().partition(|finished| finished.tag == tag);
    let expected = scene.expected(false);
    let said = scene.judge(expected, &own)?;
    let fine = receives.iter().all(|finished| matches!(word(finished), "done" | "WR_FLUSH_ERR" | "DEADLINE"));
    match fine {
        true if receives.is_empty() => Ok(said),
        true => Ok(format!("{said}; receives: {}", summary(&receives))),
        false => Err(format!("receives: {}", summary(&receives)).into()),
    }
}
