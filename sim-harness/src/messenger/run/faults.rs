//! Faults and incidents as they come and end.

use wavetank_contract::{Choices, EpId, QpState};
use wavetank_engine::RdmaOps;

use super::hosts::Outage;
use super::{Run, State, Task};
use crate::fault::{Part, inject};
use crate::lab::{Cause, DeviceFault, HostFault};
use crate::messenger::plan::Happens;
use crate::swarm::coverage::Phase;

/// Endpoints that are looked at.
const ENDPOINTS: u32 = 4_096;

impl<X: Choices + Clone + 'static> Run<'_, X> {
    /// Lets faults come and end that are due.
    pub(super) fn do_faults(&mut self) {
        let now = self.net.now();
        while self.guilt.is_none()
            && let Some(step) = self.injector.due(now)
        {
            if step.part == Part::Comes {
                let busy = self
                    .states
                    .iter()
                    .any(|state| matches!(state, State::Sent(sent) if sent.ended.is_none()));
                self.coverage.fault(&step.cause, if busy { Phase::UnderWay } else { Phase::Idle });
            }
            self.say(|| format!("fault: {:?} {:?}", step.part, step.cause));
            let done = self.apply(step.cause);
            let own = step.part == Part::Comes && step.cause.undone_by().is_none();
            if let Some(ns) = self.plan.faults[step.fault].lasts_ns
                && own
                && done
            {
                self.after(ns, Task::EndFault(step.fault));
            }
        }
    }

    fn apply(&mut self, cause: Cause) -> bool {
        match cause {
            Cause::Device { node, fault } => {
                if self.host(node).outage.is_some() {
                    return false;
                }
                // Only hosts and memory are refused.
                let _ = inject(&mut self.net.fabric, cause);
                match fault {
                    DeviceFault::Remove => self.host(node).outage = Some(Outage::Removed),
                    // Whoever loses a notification looks at its device all the same, soon.
                    DeviceFault::LoseNotification => self.net.touch(node),
                    _ => {}
                }
            }
            Cause::Host { node, fault } => match fault {
                HostFault::Restart { same } => {
                    if self.host(node).outage != Some(Outage::Removed) {
                        if self.host(node).outage.is_none() {
                            self.kill(node, true);
                        }
                        self.restart(node, same);
                    }
                }
                HostFault::Resume => self.resume(node),
                _ if self.host(node).outage.is_some() || self.net.is_paused(node) => return false,
                HostFault::Pause => self.net.pause(node),
                HostFault::Crash => self.kill(node, true),
                HostFault::ClientDeath => {}
            },
            _ => {
                let _ = inject(&mut self.net.fabric, cause);
            }
        }
        true
    }

    /// A host goes on.
    pub(super) fn resume(&mut self, node: u16) {
        if !self.net.is_paused(node) {
            return;
        }
        let now = self.net.now();
        self.net.resume(node);
        self.host(node).runs_since = now;
        for (at, task) in std::mem::take(&mut self.deferred) {
            match at == node {
                true => self.at(now, task),
                false => self.deferred.push((at, task)),
            }
        }
    }

    /// A fault that only a host can end is over.
    pub(super) fn end_fault(&mut self, index: usize) {
        let Cause::Device { node, fault } = self.plan.faults[index].cause else { return };
        self.say(|| format!("fault ends: {fault:?} of node {node}"));
        match fault {
            DeviceFault::Remove if self.host(node).outage == Some(Outage::Removed) => {
                self.restart(node, false);
            }
            DeviceFault::PlaceOutOfOrder => self.net.fabric.place_out_of_order(node, false),
            DeviceFault::ShuffleCompletions => self.net.fabric.shuffle_completions(node, false),
            DeviceFault::ShallowBuffer { .. } => self.net.fabric.shallow_buffer(node, None),
            DeviceFault::MarkCongestion => self.net.fabric.mark_congestion(node, false),
            _ => {}
        }
    }

    /// Something happens beside the device.
    pub(super) fn happen(&mut self, index: usize) {
        let what = self.plan.incidents[index].what;
        self.say(|| format!("incident: {what:?}"));
        let now = self.net.now();
        match what {
            Happens::LinesCut { nodes, ns } => {
                self.net.lines.cut(nodes, now + ns);
                self.count("fault lines cut");
            }
            Happens::LinesSilent { nodes } => {
                self.net.lines.silence(nodes);
                self.count("fault lines silent");
            }
            Happens::LinesReset { nodes } => {
                self.net.lines.reset(now, nodes, &mut self.net.choices);
                self.count("fault lines reset");
            }
            Happens::EndpointKilled { node, nth } => {
                if self.host(node).outage.is_some() {
                    return;
                }
                let Some(messenger) = self.messenger(node) else { return };
                let context = messenger.driver().context();
                let ep = (0..ENDPOINTS).map(EpId).filter(|ep| context.is_open(*ep)).nth(nth as usize);
                if let Some(ep) = ep
                    && context.modify(ep, QpState::Err).is_ok()
                {
                    self.count("fault endpoint killed");
                    self.net.touch(node);
                }
            }
            Happens::PowerLost { node, ns } => {
                if self.host(node).outage.is_none() {
                    self.kill(node, false);
                    self.count("fault power lost");
                    self.after(ns, Task::Restart(node));
                }
            }
        }
    }
}
