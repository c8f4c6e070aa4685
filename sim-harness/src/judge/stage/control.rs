//! Steps that are no posts.

use wavetank_contract::error::ModifyError;
use wavetank_contract::{Backend, PdId, QpState};

use super::Stage;
use super::actors::Actors;
use crate::judge::log::{Log, Refusal};
use crate::judge::program::{End, Program, RegionId, RegionPlan, Step};
use crate::lab::Lab;

impl<L: Lab> Stage<L> {
    /// Carries out a step that is no post. What is refused is noted.
    pub(super) fn control(
        &mut self,
        step_index: usize,
        program: &Program,
        step: &Step,
        actors: &mut Actors,
        log: &mut Log,
    ) {
        let done = match step {
            Step::Post(_) | Step::Settle => Ok(()),
            Step::Deregister(id) => self.deregister(*id, actors),
            Step::Register(id) => self.register(*id, actors),
            Step::Move(end, to) => self.move_and_drain(*end, *to, actors, &mut log.strays),
            Step::Close(end) => {
                self.close(*end, actors);
                Ok(())
            }
            Step::Reconnect(connection) if program.connections.contains_key(connection) => {
                let ends = [0, 1].map(|node| End { connection: *connection, node });
                let reset = ends.map(|end| self.move_to(end, QpState::Reset, actors));
                let reset: Result<Vec<()>, Refusal> = reset.into_iter().collect();
                reset.and_then(|_| {
                    self.connect(*connection, actors, &mut log.strays).map_err(|_| Refusal::Other)
                })
            }
            Step::Reconnect(_) => Err(Refusal::Unknown),
        };
        if let Err(refusal) = done {
            log.refusals.insert(step_index, refusal);
        }
    }

    fn deregister(&mut self, id: RegionId, actors: &mut Actors) -> Result<(), Refusal> {
        let memory = actors.regions.get_mut(&id).filter(|memory| memory.live).ok_or(Refusal::Unknown)?;
        self.nodes[memory.plan.node].device.deregister(memory.mr).map_err(|_| Refusal::Other)?;
        memory.live = false;
        Ok(())
    }

    fn register(&mut self, id: RegionId, actors: &mut Actors) -> Result<(), Refusal> {
        let memory = actors.regions.get_mut(&id).filter(|memory| !memory.live).ok_or(Refusal::Unknown)?;
        memory.life += 1;
        memory.fill(id);
        let RegionPlan { node, pd, access, .. } = memory.plan;
        let device = &mut self.nodes[node].device;
        memory.mr = device.register(&memory.region, PdId(pd), access).map_err(|_| Refusal::Other)?;
        memory.old_key = std::mem::replace(&mut memory.key, device.export(memory.mr).ok());
        memory.live = true;
        Ok(())
    }

    fn move_and_drain(
        &mut self,
        end: End,
        to: QpState,
        actors: &Actors,
        strays: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let device = &self.nodes[end.node].device;
        let speaks = device.caps().async_events;
        let from = actors.endpoints.get(&end).and_then(|e| device.state(e.ep));
        self.drained.clear();
        self.move_to(end, to, actors)?;
        if let (Some(QpState::Rts), QpState::Sqd, true) = (from, to, speaks) {
            self.drain(end.node, actors.endpoints[&end].ep, actors, strays);
        }
        Ok(())
    }

    fn move_to(&mut self, end: End, to: QpState, actors: &Actors) -> Result<(), Refusal> {
        let endpoint = actors.endpoints.get(&end).filter(|e| e.open).ok_or(Refusal::Unknown)?;
        self.nodes[end.node].device.modify(endpoint.ep, to).map_err(|error| match error {
            ModifyError::Unknown(_) => Refusal::Unknown,
            ModifyError::IllegalTransition { .. } => Refusal::WrongState,
            ModifyError::System(_) => Refusal::Unexplained,
            _ => Refusal::Other,
        })
    }

    pub(super) fn close(&mut self, end: End, actors: &mut Actors) {
        if let Some(endpoint) = actors.endpoints.get_mut(&end)
            && std::mem::take(&mut endpoint.open)
        {
            self.nodes[end.node].device.close(endpoint.ep);
        }
    }
}
