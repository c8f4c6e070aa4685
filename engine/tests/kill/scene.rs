//! One cell: a victim, what is under way with it, and afterwards that everything is back and stays as it is.

use wavetank_contract::error::DeregisterError;
use wavetank_contract::{Access, Instant, Op};
use wavetank_engine::memory::Arena;
use wavetank_engine::{Finished, RdmaOps as _};

use crate::cell::{Cell, Ending, From, Step};
use crate::clock::{MS, now};
use crate::judge::{Expected, judge};
use crate::known;
use crate::lab::{Lab, Link, Share, introduce, join, share};
use crate::node::{LIMIT_NS, Memory, Node, Patience, Try};
use crate::pattern;
use crate::peer::Peer;

/// Transfers under way, and the bytes of each.
pub(crate) const COUNT: u64 = 16;
pub(crate) const BYTES: u64 = 1 << 20;

/// How long a transfer may take.
const DEADLINE_NS: u64 = 8_000 * MS;
const DEADLINE_LATE_NS: u64 = 1_000 * MS;

/// How long closing may take.
const CLOSING_NS: u64 = 5_000 * MS;

/// How long whatever is late is given to arrive.
const STALE_NS: u64 = 30 * MS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) lab: &'a mut Lab,
    pub(crate) cell: Cell,
    pub(crate) peer: Peer,
    pub(crate) arena: Arena,
    links: Vec<Link>,
    /// Memory that the victim reaches.
    pub(crate) exported: Vec<Memory>,
    /// Tags of what was begun.
    begun: Vec<u64>,
    /// When the victim got its signal.
    pub(crate) signalled_at: Option<Instant>,
    /// Why the cell says nothing: everything was done before the signal.
    pub(crate) too_late: bool,
}

impl<'a> Scene<'a> {
    pub(crate) fn open(lab: &'a mut Lab, cell: Cell) -> Try<Scene<'a>> {
        let peer = lab.victim()?;
        let memory = lab.node.memory(true, COUNT * BYTES, Access::LOCAL)?;
        let arena = Arena::new(memory.region, memory.mr)?;
        lab.node.finished.clear();
        Ok(Scene {
            lab,
            cell,
            peer,
            arena,
            links: Vec::new(),
            exported: Vec::new(),
            begun: Vec::new(),
            signalled_at: None,
            too_late: false,
        })
    }

    pub(crate) fn node(&mut self) -> &mut Node {
        &mut self.lab.node
    }

    /// A connection to the victim that is ready.
    pub(crate) fn connect(&mut self) -> Try<Link> {
        self.connect_with(self.cell.ending.patience(), 128)
    }

    /// The same, with more or less patience and room.
    pub(crate) fn connect_with(&mut self, patience: Patience, depth: u32) -> Try<Link> {
        let link = introduce(&mut self.lab.node, &mut self.peer, patience, depth)?;
        join(&mut self.lab.node, &mut self.peer, &link)?;
        self.links.push(link.clone());
        Ok(link)
    }

    /// A connection that the step makes itself.
    pub(crate) fn keep(&mut self, link: &Link) {
        self.links.push(link.clone());
    }

    /// A connection that is closed already.
    pub(crate) fn forget(&mut self, link: &Link) {
        self.links.retain(|other| other.ep != link.ep);
    }

    /// Memory of the victim.
    pub(crate) fn share(&mut self, link: &Link, from: From) -> Try<Share> {
        let seed = self.lab.seed();
        share(&mut self.lab.node, &mut self.peer, link, from.name(), COUNT * BYTES, seed)
    }

    /// Memory for the victim, as the word of its key.
    pub(crate) fn export(&mut self, from: From) -> Try<String> {
        let memory = self.lab.node.memory(from == From::Alloc, COUNT * BYTES, Access::ALL)?;
        let key = self.node().driver.context().export(memory.mr)?;
        self.exported.push(memory);
        Ok(crate::node::hex(key.as_bytes()))
    }

    /// Begins a transfer that moves bytes at `offset` of the peer's memory. They leave with the next turn.
    pub(crate) fn begin(&mut self, link: &Link, op: Op, len: u64, offset: u64) -> Try<u64> {
        let deadline = match self.cell.ending {
            Ending::StopLate => DEADLINE_LATE_NS,
            _ => DEADLINE_NS,
        };
        let lease = self.arena.acquire(len)?;
        if len >= pattern::PAGE {
            // What is sent can be told; and where a READ brings nothing, that can be told too.
            pattern::fill(lease.region(), lease.offset(), len, OURS, offset);
        }
        let lease = (lease, self.arena.mr());
        let tag = self.node().submit((link.ep, Some(link.session)), op, lease, now() + deadline)?;
        self.begun.push(tag);
        Ok(tag)
    }

    /// The victim gets its signal. It is dead, or none of its threads runs, when this returns.
    pub(crate) fn signal(&mut self) -> Try<()> {
        match self.cell.ending {
            Ending::Kill => self.peer.kill()?,
            Ending::Stop | Ending::StopLate => self.peer.stop()?,
        }
        self.signalled_at = Some(now());
        Ok(())
    }

    /// The victim sends itself its signal: waits for that.
    pub(crate) fn await_signal(&mut self) -> Try<()> {
        match self.cell.ending {
            Ending::Kill => self.peer.await_death()?,
            Ending::Stop | Ending::StopLate => self.peer.await_stop()?,
        }
        self.signalled_at = Some(now());
        Ok(())
    }

    /// Turns until something is done.
    pub(crate) fn await_first(&mut self) -> Try<()> {
        match self.node().run(LIMIT_NS, |node| !node.finished.is_empty()) {
            true => Ok(()),
            false => Err("nothing is done although the peer is there".into()),
        }
    }

    /// Waits until everything has ended, and takes it, in the order in which it was begun.
    pub(crate) fn ends(&mut self) -> Try<Vec<Finished>> {
        let tags = std::mem::take(&mut self.begun);
        let here = |node: &mut Node| node.finished.iter().filter(|f| tags.contains(&f.tag)).count();
        if !self.node().run(2 * LIMIT_NS, |node| here(node) == tags.len()) {
            let mut text = String::new();
            self.node().driver.context().describe_outstanding(&mut text);
            return Err(format!("some transfers never end, whatever their deadline:\n{text}").into());
        }
        let (mut ours, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.node().finished).into_iter().partition(|f| tags.contains(&f.tag));
        self.node().finished = others;
        ours.sort_by_key(|finished| finished.tag);
        Ok(ours)
    }

    /// What the transfers of a cell end as, if the peer's CPU has to do its part, or (`one_sided`) has not.
    pub(crate) fn expected(&self, one_sided: bool) -> Expected {
        match self.cell.ending {
            Ending::Kill => Expected::Gone,
            _ if one_sided => Expected::Done,
            Ending::Stop => Expected::Gone,
            Ending::StopLate => Expected::Late,
        }
    }

    /// Judges ends, counted from the signal or from the deadlines, whichever is later.
    pub(crate) fn judge(&mut self, expected: Expected, ends: &[Finished]) -> Try<String> {
        let signalled = self.signalled_at.unwrap_or_default();
        let begun = ends.iter().map(|finished| finished.submitted_at).max().unwrap_or_default();
        let since = match expected {
            Expected::Late => begun + DEADLINE_LATE_NS,
            _ => signalled.max(begun),
        };
        if expected != Expected::Done && ends.iter().all(|finished| finished.result.is_ok()) {
            self.too_late = true;
        }
        judge(expected, since, ends)
    }

    /// Closes everything, sees that it is all back, lets the victim go on, and sees that nothing changes any more. What is known
    /// to be wrong, if it is.
    pub(crate) fn close(mut self) -> Try<Option<&'static str>> {
        let deaf = self.lab.try_bystander();
        if self.lab.device.transport != "shm" {
            deaf.as_ref().map_err(|why| why.to_string())?;
        }
        let mut sessions = 1;
        match self.cell.ending {
            _ if deaf.is_ok() => {}
            Ending::Kill => {
                sessions = 0;
                self.lab.leave_bystander()?;
            }
            Ending::Stop | Ending::StopLate => {
                // What is heard again is what was said meanwhile.
                self.peer.go_on()?;
                self.lab.try_bystander().map_err(|why| format!("after SIGCONT: {why}"))?;
            }
        }
        let began = now();
        for link in std::mem::take(&mut self.links) {
            self.node().driver.close_session(link.session, now())?;
        }
        self.node().turn();
        let took = now().since_ns(began);
        if took > CLOSING_NS {
            return Err(format!("closing took {took} ns").into());
        }
        self.node().finished.clear();
        is_whole(&mut self.lab.node, &mut self.arena, sessions)?;
        // What is leased is nobody's once it is back, and what peers reach once it is deregistered.
        let seed = self.lab.seed();
        let mut written = Vec::new();
        for Memory { region, mr } in &self.exported {
            match self.lab.node.driver.context().deregister(*mr) {
                Ok(()) => pattern::fill(region, 0, region.len(), seed, 0),
                // A peer that was stopped in the middle of a one-sided WRITE goes on with it: until then it is not given back.
                Err(DeregisterError::System(_)) if self.is_in_the_middle() => written.push(*mr),
                Err(why) => return Err(why.into()),
            }
        }
        let leased = self.arena.region();
        pattern::fill(leased, 0, leased.len(), seed, 0);
        if self.cell.ending != Ending::Kill {
            self.peer.go_on()?;
            self.peer.ask("ping").map_err(|why| format!("after SIGCONT: {why}"))?;
        }
        for mr in written {
            let why = |why| format!("after SIGCONT: {why}");
            self.lab.node.driver.context().deregister(mr).map_err(why)?;
            let memory = self.exported.iter().filter(|memory| memory.mr == mr);
            memory.for_each(|memory| pattern::fill(&memory.region, 0, memory.region.len(), seed, 0));
        }
        self.lab.node.run(STALE_NS, |_| false);
        for region in self.exported.iter().map(|memory| &memory.region).chain([self.arena.region()]) {
            pattern::check(region, 0, region.len(), seed, 0)
                .map_err(|why| format!("memory that was back changed: {why}"))?;
        }
        self.lab.node.driver.context().deregister(self.arena.mr())?;
        if self.cell.ending != Ending::Kill && self.lab.device.transport == "shm" {
            // It may still be sending. Killed now, it could leave a place of our queue unfilled, as `known::DEAF` says.
            self.peer.ask("leave").map_err(|why| format!("after SIGCONT: {why}"))?;
        }
        drop(self.peer);
        if let Some(anomaly) = self.lab.node.driver.context().take_anomaly() {
            return Err(format!("the device did what no device may: {anomaly}").into());
        }
        if deaf.is_err() && self.cell.ending == Ending::Kill {
            return Ok(Some(known::DEAF));
        }
        self.lab.try_bystander()?;
        self.lab.try_fresh()?;
        Ok(deaf.err().map(|_| known::DEAF_MEANWHILE))
    }

    /// Whether the victim may be stopped in the middle of writing memory here by itself.
    fn is_in_the_middle(&self) -> bool {
        self.cell.ending != Ending::Kill
            && self.cell.step == Step::ServePut(From::Alloc)
            && self.lab.device.transport == "shm"
    }

    /// A stopped victim goes on, and the WRITEs that were said to be placed are there.
    pub(crate) fn check_placed(&mut self, share: Share, ends: &[Finished]) -> Try<()> {
        if self.cell.ending == Ending::Kill {
            return Ok(());
        }
        let done = ends.iter().take_while(|finished| finished.result.is_ok()).count() as u64;
        self.peer.go_on()?;
        if done > 0 {
            let line = format!("check {} {OURS} 0 {}", share.index, done * BYTES);
            self.peer.ask(&line).map_err(|why| format!("a WRITE that was done: {why}"))?;
        }
        Ok(())
    }
}

/// What our side writes and sends.
pub(crate) const OURS: u64 = 7;

/// Everything is back, but for the sessions that stay.
pub(crate) fn is_whole(node: &mut Node, arena: &mut Arena, sessions: u32) -> Try<()> {
    let transfers = node.driver.transfers_len();
    let outstanding = node.driver.context().outstanding();
    let open = node.driver.sessions().len();
    let leases = arena.stats().leases;
    if transfers > 0 || outstanding > 0 || open != sessions || leases > 0 || !arena.is_whole() {
        return Err(format!(
            "not everything is back: {transfers} transfers, {outstanding} works, {leases} leases, {open} sessions of {sessions}"
        )
        .into());
    }
    arena.check()?;
    match node.driver.sessions().holdings_len() {
        0 => Ok(()),
        n => Err(format!("{n} things are held by sessions").into()),
    }
}
