//! Runs programs on the devices of a lab.

mod actors;
mod control;
mod posting;
mod settle;
mod setup;

use std::collections::BTreeMap;

use wavetank_contract::{AsyncEvent, Backend, Caps, Completions, CqId, EpId, QpState};

use super::log::{Ended, Log, Queue, Round};
use super::plan::Plan;
use super::program::{End, NODES, Program, Step};
use crate::lab::{Lab, LabError};
use actors::Actors;

/// Deep enough that no program fills it.
const CQ_DEPTH: u32 = 1024;

/// Two devices of a lab, used for one program after the other.
pub(crate) struct Stage<L: Lab> {
    pub(crate) lab: L,
    nodes: Vec<Node<L::Device>>,
    polled: Completions,
    /// Endpoints that said since they were told to that their send queue is drained.
    drained: Vec<(usize, EpId)>,
    /// Programs run so far: completions name the one they belong to.
    run: u64,
}

/// A device and its completion queues: one for sends, one for receives.
struct Node<D> {
    device: D,
    cqs: [CqId; 2],
}

const QUEUES: [Queue; 2] = [Queue::Send, Queue::Recv];

impl<L: Lab> Stage<L> {
    pub(crate) fn new(mut lab: L) -> Result<Stage<L>, LabError> {
        let mut nodes = Vec::with_capacity(NODES);
        for node in 0..NODES as u16 {
            let mut device = lab.open(node)?;
            let name = lab.name().to_owned();
            let mut cq = || {
                let fault = |e| LabError { lab: name.clone(), node, why: format!("a completion queue: {e}") };
                device.open_cq(CQ_DEPTH).map_err(fault)
            };
            let cqs = [cq()?, cq()?];
            nodes.push(Node { device, cqs });
        }
        Ok(Stage { lab, nodes, polled: Completions::with_capacity(64), drained: Vec::new(), run: 0 })
    }

    pub(crate) fn caps(&self) -> impl Iterator<Item = &Caps> {
        self.nodes.iter().map(|node| node.device.caps())
    }

    /// Runs a program. With `expected`, what another lab saw of it, waits for just that; without, until nothing more
    /// happens.
    ///
    /// # Errors
    /// What the program begins with could not be had.
    pub(crate) fn run(
        &mut self,
        program: &Program,
        plan: &Plan,
        expected: Option<&Log>,
    ) -> Result<Log, String> {
        self.run += 1;
        let mut log = Log::default();
        let mut actors = Actors::default();
        let begun = self.begin(program, &mut actors, &mut log.strays);
        if begun.is_ok() {
            for (i, step) in program.steps.iter().enumerate() {
                if plan.settle_before[i] {
                    self.round(i, plan, &actors, expected, &mut log);
                }
                match step {
                    Step::Settle => {}
                    Step::Post(post) => self.post(i, post, plan.signal[i], &mut actors, &mut log),
                    step => self.control(i, program, step, &mut actors, &mut log),
                }
                let more = |next: &Step| {
                    matches!((step, next), (Step::Post(a), Step::Post(b)) if a.end == b.end
                    && a.is_recv() == b.is_recv())
                };
                let last = plan.settle_before[i + 1] || !program.steps.get(i + 1).is_some_and(more);
                if let (true, Step::Post(post)) = (last, step) {
                    self.ring(post.end, &mut actors, &mut log);
                }
            }
            self.round(program.steps.len(), plan, &actors, expected, &mut log);
        }
        self.finish(&mut actors, &mut log);
        begun.map(|()| log)
    }

    /// Settles, and looks at everything.
    fn round(&mut self, before: usize, plan: &Plan, actors: &Actors, expected: Option<&Log>, log: &mut Log) {
        let mut round = Round { before, ..Round::default() };
        let wanted = expected.map(|expected| expected.rounds.get(log.rounds.len()));
        round.unsettled = match wanted {
            None => self.settle(actors, &mut round, &mut log.strays),
            Some(wanted) => self.settle_as(actors, wanted, &mut round, &mut log.strays),
        };
        if plan.linger[before] {
            self.linger(settle::LINGER_NS, actors, &mut round, &mut log.strays);
        }
        if expected.is_none() || plan.linger[before] || round.unsettled.is_some() {
            round.states = self.states(actors);
        }
        round.memory = actors.memory();
        log.rounds.push(round);
    }

    /// Takes what the devices have to say. True when it was anything.
    fn poll(&mut self, actors: &Actors, round: &mut Round, strays: &mut Vec<String>) -> bool {
        let mut news = false;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            for (queue, cq) in QUEUES.into_iter().zip(node.cqs) {
                loop {
                    self.polled.clear();
                    let polled = node.device.poll(cq, &mut self.polled);
                    if polled == 0 {
                        break;
                    }
                    news = true;
                    for c in self.polled.as_slice() {
                        let (run, step) = (c.id.0 >> 16, (c.id.0 & 0xffff) as usize);
                        let end = actors.end_of(index, c.ep);
                        let known = end.filter(|end| {
                            run == self.run && actors.posted.get(&step) == Some(&(*end, queue))
                        });
                        match known {
                            Some(end) => {
                                let ended = Ended { step, status: c.status, kind: c.kind, len: c.len, imm: c.imm };
                                round.ends.entry((end, queue)).or_default().push(ended);
                            }
                            None => strays.push(format!(
                                "node {index}, {queue:?} queue: a completion of {:?} with id {:#x}, which was not posted there: {}",
                                c.ep, c.id.0, c.status
                            )),
                        }
                    }
                }
            }
            while let Some(event) = node.device.poll_event() {
                news = true;
                if let AsyncEvent::SqDrained(ep) = event {
                    self.drained.push((index, ep));
                }
            }
        }
        news
    }

    fn states(&self, actors: &Actors) -> BTreeMap<End, QpState> {
        let state = |end: End, ep| Some((end, self.nodes.get(end.node)?.device.state(ep)?));
        actors.open().filter_map(|(end, ep)| state(end, ep)).collect()
    }
}
