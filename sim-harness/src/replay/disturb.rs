//! Faults of a replay: they are done when they are due. What fails by them is counted and not held against the run; what
//! succeeds is held to everything as ever.

use std::collections::BTreeMap;

use thiserror::Error;
use wavetank_contract::{Access, AsyncEvent, Instant, PdId, Status};
use wavetank_engine::{RdmaOps, TransferError};
use wavetank_mock::Mark;

use super::Replay;
use super::place::Home;
use crate::check::Check;
use crate::fault::schedule::Schedule;
use crate::fault::{Begins, Injector, inject};
use crate::lab::{Cause, DeviceFault, HostFault, MemoryFault, Skip, Wire};
use crate::report::{CameOf, Toll};

/// A fault that this run cannot have.
#[derive(Debug, Error)]
#[error("{place}: {what}: {why}")]
pub struct NoSuchFault {
    /// Its file and line.
    pub place: String,
    /// The fault, as a line of text.
    pub what: String,
    /// Why not, and what would help.
    pub why: String,
}

/// What is done to a run, and what came of it.
#[derive(Debug)]
pub(super) struct Disturbed {
    schedule: Schedule,
    injector: Injector,
    wire: Option<Wire>,
    /// The latest fault that came, and when.
    latest: Option<(Instant, usize)>,
    /// Operations that failed by a fault, by how.
    failed: BTreeMap<String, u64>,
    /// Connections made anew.
    pub(super) renewed: u64,
}

impl<C: RdmaOps> Replay<C> {
    /// Disturbs the run by a schedule: on the simulated network, or by the wire between two devices. Call it before
    /// [`run`](Self::run), with a workload whose settings have the patience of the schedule.
    ///
    /// # Errors
    /// The first fault that cannot be done here.
    pub fn disturb(&mut self, schedule: Schedule, mut wire: Option<Wire>) -> Result<(), NoSuchFault> {
        let simulated = self.world.is_simulated();
        let elsewhere = self.places.iter().any(|place| place.home.memory().is_none());
        for (index, fault) in schedule.faults.iter().enumerate() {
            let can = match (fault.cause, &mut wire) {
                _ if elsewhere => Err(Skip(
                    "the storage node is another process, whose connections are made once".to_owned(),
                )),
                (Cause::Host { fault: HostFault::Pause | HostFault::Resume, .. }, _) => Ok(()),
                (Cause::Host { .. }, _) => Err(Skip("a replay does not outlive its hosts".to_owned())),
                (Cause::Memory { fault: MemoryFault::RollKey, .. }, _) => Ok(()),
                (Cause::Memory { .. }, _) => {
                    Err(Skip("a replay needs all of its regions; roll-key is what it can do".to_owned()))
                }
                _ if simulated => Ok(()),
                (cause, Some(wire)) => wire.expect(cause),
                (_, None) => Err(Skip("there is no wire to disturb; give --wire va,vb".to_owned())),
            };
            can.map_err(|Skip(why)| NoSuchFault {
                place: schedule.cite(index),
                what: fault.to_string(),
                why,
            })?;
        }
        let injector = Injector::new(schedule.faults.clone());
        let (latest, failed, renewed) = (None, BTreeMap::new(), 0);
        self.disturbed = Some(Box::new(Disturbed { schedule, injector, wire, latest, failed, renewed }));
        Ok(())
    }

    /// When a fault is due next, or a connection to be tried again.
    #[inline]
    pub(super) fn next_disturbance(&self) -> Instant {
        match &self.disturbed {
            None => Instant::FAR,
            Some(disturbed) => disturbed.injector.next_at().min(self.connections.next_try()),
        }
    }

    /// Does every fault that is due.
    #[inline]
    pub(super) fn do_faults(&mut self) {
        if self.disturbed.is_some() {
            self.do_due();
        }
    }

    /// An operation is about to begin: some faults wait for that.
    pub(super) fn begin_disturbed(&mut self, connection: usize) {
        let Some(disturbed) = &mut self.disturbed else { return };
        let begins = Begins {
            op: u32::try_from(self.started).unwrap_or(u32::MAX),
            connection: u16::try_from(connection).unwrap_or(u16::MAX),
            op_of_connection: self.connections.begun(connection),
        };
        let now = self.world.now();
        disturbed.injector.begin_op(now, begins, &mut self.world.choices);
        self.do_due();
    }

    fn do_due(&mut self) {
        loop {
            let now = self.world.now();
            let Some(disturbed) = &mut self.disturbed else { return };
            let Some(step) = disturbed.injector.due(now) else { return };
            disturbed.latest = Some((now, step.fault));
            self.tell_fault(now, &step);
            if let Err(Skip(why)) = self.cause(step.cause) {
                let place = self.disturbed.as_ref().map_or(String::new(), |d| d.schedule.cite(step.fault));
                let cause = step.cause;
                self.failures.add(Check::Fault, now, || format!("{place}: {cause} could not be done: {why}"));
            }
        }
    }

    fn cause(&mut self, cause: Cause) -> Result<(), Skip> {
        match cause {
            Cause::Host { node, fault: HostFault::Pause } => self.world.pause(node),
            Cause::Host { node, .. } => self.world.resume(node),
            Cause::Memory { region, .. } => return self.roll_key(region).map_err(Skip),
            cause => {
                let wire = self.disturbed.as_mut().and_then(|disturbed| disturbed.wire.as_mut());
                return match (self.world.fabric(), wire) {
                    (Some(fabric), _) => inject(fabric, cause),
                    (None, Some(wire)) => wire.inject(cause),
                    (None, None) => Ok(()),
                };
            }
        }
        Ok(())
    }

    /// The owner registers a region again, and tells its peers the new key: whatever is under way with the old one fails.
    fn roll_key(&mut self, region: u16) -> Result<(), String> {
        let simulated = self.world.is_simulated();
        let Some(place) = self.places.get_mut(usize::from(region)) else { return Ok(()) };
        let Home::Here { node: owner, memory, mr } = &mut place.home else {
            return Err("its owner is another process".to_owned());
        };
        // The simulated NIC scribbles over what is retired. Its owner had a copy, in which a wrong byte is as wrong as ever.
        let mut copy = vec![0; if simulated { memory.len() as usize } else { 0 }];
        memory.read(0, &mut copy);
        let owner = self.world.nodes[usize::from(*owner)].driver.context();
        owner.deregister(*mr).map_err(|error| error.to_string())?;
        *mr = owner.register(memory, PdId::default(), Access::ALL).map_err(|error| error.to_string())?;
        memory.write(0, &copy);
        let key = owner.export(*mr).map_err(|error| error.to_string())?;
        for connection in self.connections.all_mut() {
            let (node, ep) = connection.poster;
            let Some(remote) = connection.remotes.get_mut(&u32::from(region)) else { continue };
            let context = self.world.nodes[usize::from(node)].driver.context();
            let imported = context.import(ep, &key).map_err(|error| error.to_string())?;
            (*remote, remote.len) = (imported, place.len);
        }
        Ok(())
    }

    /// Whether a fault that came explains that an operation ended like this. Counts it, if so.
    pub(super) fn explains(&mut self, error: &TransferError) -> bool {
        let Some(how) = self.explained(error) else { return false };
        if let Some(disturbed) = &mut self.disturbed {
            *disturbed.failed.entry(how).or_default() += 1;
        }
        true
    }

    /// Whether a fault that came explains that a receive ended like this.
    pub(super) fn explains_receive(&self, error: &TransferError) -> bool {
        self.explained(error).is_some()
    }

    fn explained(&self, error: &TransferError) -> Option<String> {
        let disturbed = self.disturbed.as_ref()?;
        let came = disturbed.injector.came().iter().zip(disturbed.injector.faults());
        let causes = came.filter(|(times, _)| **times > 0).map(|(_, fault)| fault.cause);
        let (how, status) = match error {
            TransferError::Failed { status, first_cause, .. } => {
                (status.to_string(), Some(first_cause.unwrap_or(*status)))
            }
            TransferError::DeadlinePassed { .. } => ("deadline passed".to_owned(), None),
            TransferError::Refused { .. } => ("refused".to_owned(), None),
            _ => return None,
        };
        causes.into_iter().any(|cause| may_end_in(cause, status)).then_some(how)
    }

    /// Whether a fault that came explains an event.
    pub(super) fn explains_event(&self, event: &AsyncEvent) -> bool {
        let Some(disturbed) = &self.disturbed else { return false };
        let came = disturbed.injector.came().iter().zip(disturbed.injector.faults());
        came.filter(|(times, _)| **times > 0).any(|(_, fault)| {
            matches!(
                (fault.cause, event),
                (
                    Cause::Device { fault: DeviceFault::PortDown | DeviceFault::PortUp, .. },
                    AsyncEvent::PortErr | AsyncEvent::PortActive | AsyncEvent::GidChange,
                ) | (Cause::Device { fault: DeviceFault::ChangeGid, .. }, AsyncEvent::GidChange)
                    | (Cause::Device { fault: DeviceFault::Remove, .. }, AsyncEvent::DeviceFatal)
                    | (Cause::Memory { .. }, AsyncEvent::QpAccessErr(_))
            )
        })
    }

    /// The latest fault that came, for people.
    pub(super) fn latest_fault(&self) -> String {
        let latest = self.disturbed.as_ref().and_then(|d| Some((d, d.latest?)));
        let Some((disturbed, (at, index))) = latest else { return "no fault came before".to_owned() };
        let (place, cause) = (disturbed.schedule.cite(index), disturbed.injector.faults()[index].cause);
        format!("the latest fault was {place}: {cause}, at {at}")
    }

    /// Whether a fault is still to come or to end: what breaks now may hold later.
    pub(super) fn will_change(&self) -> bool {
        self.disturbed.as_ref().is_some_and(|disturbed| disturbed.injector.next_at() < Instant::FAR)
    }

    /// Undoes what lasts, and says what all of it did.
    pub(super) fn calm(&mut self) -> Option<Toll> {
        for cause in self.disturbed.as_mut()?.injector.heal() {
            // What cannot be undone now was undone by somebody else; the wire undoes its own when it goes.
            let _ = self.cause(cause);
        }
        let marks = self.world.fabric().map_or(Vec::new(), |fabric| {
            let passed = Mark::ALL.iter().map(|mark| (mark.name(), fabric.passed(*mark)));
            passed.filter(|(_, times)| *times > 0).collect()
        });
        let disturbed = self.disturbed.take()?;
        let faults = disturbed.injector.faults().iter().zip(disturbed.injector.came()).enumerate();
        let came = faults.map(|(index, (fault, times))| CameOf {
            place: disturbed.schedule.cite(index),
            fault: fault.to_string(),
            times: *times,
        });
        Some(Toll { came: came.collect(), failed: disturbed.failed, renewed: disturbed.renewed, marks })
    }
}

/// Whether a work or its receiver may end in this status by this cause; `None` is an operation that was not done in time or
/// not taken.
fn may_end_in(cause: Cause, status: Option<Status>) -> bool {
    match cause {
        Cause::Link { .. } => matches!(status, None | Some(Status::RetryExcErr | Status::WrFlushErr)),
        Cause::Mend { .. } => false,
        // A responder that is slow to answer, and a receiver that posts nothing.
        Cause::Device { .. } | Cause::Host { .. } => {
            matches!(status, None | Some(Status::RetryExcErr | Status::WrFlushErr | Status::RnrRetryExcErr))
        }
        // The endpoint that was refused is in ERR, and its peer finds nobody.
        Cause::Memory { .. } => {
            matches!(status, Some(Status::RemAccessErr | Status::RetryExcErr | Status::WrFlushErr))
        }
    }
}
