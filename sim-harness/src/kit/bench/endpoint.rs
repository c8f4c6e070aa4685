//! Endpoints on the bench: opened, connected, moved, closed.

use wavetank_contract::{Backend, EndpointSpec, EpId, QpState, SrqId};

use super::{A, B, Bench, DEADLINE_NS, End, MS, Opened, everything, side_name};
use crate::kit::stop::{Ended, OrFail, Stop, fail};
use crate::lab::Lab;

/// What a case asks of an endpoint besides the usual.
pub(in crate::kit) type Tune<'t> = &'t dyn Fn(&mut EndpointSpec);

/// Nothing besides the usual.
pub(in crate::kit) const PLAIN: Tune<'static> = &|_| {};

impl<L: Lab> Bench<'_, L> {
    /// What an endpoint of a side is asked to be, unless a case says otherwise.
    pub(in crate::kit) fn spec(&self, side: usize) -> EndpointSpec {
        let caps = self.caps(side);
        let mut spec = EndpointSpec::new(self.cq(side));
        spec.access = everything(caps);
        for depth in [&mut spec.send_depth, &mut spec.recv_depth] {
            *depth = (*depth).min(caps.queue_depth_max);
        }
        for reads in [&mut spec.max_rd_atomic, &mut spec.max_dest_rd_atomic] {
            *reads = (*reads).min(caps.rd_atomic_max);
        }
        spec
    }

    pub(in crate::kit) fn open(&mut self, side: usize, tune: Tune<'_>) -> Result<End, Stop> {
        let mut spec = self.spec(side);
        tune(&mut spec);
        let opened_at = &mut self.sides[side];
        let ep = opened_at.device.open(&spec).or_fail(format!("{}: an endpoint", side_name(side)))?;
        opened_at.opened.push(Opened { ep, peer: None });
        Ok(End { side, ep })
    }

    /// Points two endpoints at each other, waits until both are ready, and imports the key of each other's main region.
    pub(in crate::kit) fn connect(&mut self, a: End, b: End) -> Ended {
        let addresses = [a, b].map(|end| self.sides[end.side].device.address(end.ep));
        let [Some(to_a), Some(to_b)] = addresses else { fail!("an open endpoint has no address") };
        for (end, peer) in [(a, &to_b), (b, &to_a)] {
            let connected = self.sides[end.side].device.connect(end.ep, peer);
            connected.or_fail(format!("{}: connecting", self.name(end)))?;
        }
        self.becomes_ready(a)?;
        self.becomes_ready(b)?;
        for (end, peer) in [(a, b), (b, a)] {
            let key =
                self.sides[peer.side].device.export(self.sides[peer.side].mr).or_fail("exporting a key")?;
            let side = &mut self.sides[end.side];
            let remote = side.device.import(end.ep, &key).or_fail("importing a key")?;
            if let Some(opened) = side.opened.iter_mut().find(|opened| opened.ep == end.ep) {
                opened.peer = Some(remote);
            }
        }
        Ok(())
    }

    /// An endpoint of A connected with one of B.
    pub(in crate::kit) fn pair(&mut self) -> Result<(End, End), Stop> {
        self.pair_with(PLAIN, PLAIN)
    }

    pub(in crate::kit) fn pair_with(&mut self, a: Tune<'_>, b: Tune<'_>) -> Result<(End, End), Stop> {
        let ends = (self.open(A, a)?, self.open(B, b)?);
        self.connect(ends.0, ends.1)?;
        Ok(ends)
    }

    /// A pair whose end at B takes its receives from a shared queue.
    pub(in crate::kit) fn sharing(&mut self, srq: SrqId) -> Result<(End, End), Stop> {
        self.pair_with(&|spec| spec.rnr_retry = 1, &|spec| {
            (spec.shared_receive, spec.recv_depth) = (Some(srq), 0);
        })
    }

    pub(in crate::kit) fn state(&self, end: End) -> Option<QpState> {
        self.sides[end.side].device.state(end.ep)
    }

    /// Waits until an endpoint that was connected is ready.
    fn becomes_ready(&mut self, end: End) -> Ended {
        self.becomes(end, QpState::Rts, |state| state.is_none() || state == Some(QpState::Err))
    }

    /// Waits until an endpoint that failed says so.
    pub(in crate::kit) fn becomes_dead(&mut self, end: End) -> Ended {
        self.becomes(end, QpState::Err, |state| state.is_none())
    }

    /// Nobody is woken for a state, so somebody looks from time to time.
    fn becomes(&mut self, end: End, wanted: QpState, hopeless: impl Fn(Option<QpState>) -> bool) -> Ended {
        let deadline = self.now() + DEADLINE_NS;
        loop {
            let state = self.state(end);
            if state == Some(wanted) {
                return Ok(());
            }
            if self.now() >= deadline || hopeless(state) {
                fail!("{} is in {state:?} and should be in {wanted:?}", self.name(end));
            }
            let slice = self.now() + MS;
            self.look_until(slice)?;
        }
    }

    pub(in crate::kit) fn modify(&mut self, end: End, to: QpState) -> Ended {
        self.sides[end.side]
            .device
            .modify(end.ep, to)
            .or_fail(format!("{}: moving to {to:?}", self.name(end)))
    }

    /// Forgets what is owed to an endpoint: it was closed or reset.
    pub(in crate::kit) fn forget(&mut self, end: End) {
        let side = &mut self.sides[end.side];
        side.posted.retain(|posted| posted.ep != Some(end.ep));
        side.done.retain(|(_, completion)| completion.ep != end.ep);
    }

    pub(in crate::kit) fn close(&mut self, end: End) {
        self.sides[end.side].device.close(end.ep);
        self.forget(end);
    }

    /// `a`, `b`, `a2`: the side, and which endpoint of it.
    pub(in crate::kit) fn name(&self, end: End) -> String {
        self.ep_name(end.side, end.ep)
    }

    pub(in crate::kit) fn ep_name(&self, side: usize, ep: EpId) -> String {
        match self.sides[side].opened.iter().position(|opened| opened.ep == ep) {
            Some(0) => side_name(side).to_owned(),
            Some(at) => format!("{}{}", side_name(side), at + 1),
            None => format!("{}?", side_name(side)),
        }
    }
}
