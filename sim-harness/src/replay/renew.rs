//! Connections that a fault has broken are made anew: both ends are driven into ERR, so that nothing of them can land any more,
//! what was under way is drained, and two new endpoints take their place.

use wavetank_contract::{Instant, QpState};
use wavetank_engine::RdmaOps;

use super::connection::Condition;
use super::place::Contents;
use super::setup;
use super::{Expect, InFlight, Replay};
use crate::check::Check;

/// How long to wait before a connection that could not be made is tried again.
const AGAIN_NS: u64 = 20_000_000;

/// Tries of one connection: 10 s.
const TRIES_MAX: u32 = 500;

/// How often a connection may break in a row with nothing done in between. More will not help.
pub(super) const BREAKS_MAX: u32 = 8;

impl<C: RdmaOps> Replay<C> {
    /// An operation on a connection failed by a fault, or its receiver did: it is made anew once nothing is under way.
    pub(super) fn break_connection(&mut self, connection: usize) {
        if self.connections.get(connection).condition == Condition::Whole {
            let connection = self.connections.get_mut(connection);
            connection.condition = Condition::Broken;
            connection.breaks += 1;
        }
    }

    /// What a failed operation may have done stays possible until its connection is gone.
    pub(super) fn doubt(&mut self, ended: &InFlight) {
        let InFlight { planned, expect, connection, .. } = *ended;
        match expect {
            Expect::Written { generation, imm } => {
                if let Some(region) = planned.region {
                    self.connections.get_mut(connection).doubtful.push((region.0, generation));
                }
                if let Some(imm) = imm {
                    self.messages.doubt_write(connection, imm);
                }
            }
            Expect::Sent { generation } => self.messages.doubt(connection, generation),
            Expect::Added { .. } | Expect::Swapped { .. } => {
                let place = planned.region.and_then(|id| self.places.get_mut(id.0 as usize));
                if let Some(Contents::Cells(cells)) = place.map(|place| &mut place.contents) {
                    cells.failed(planned.offset);
                }
            }
            Expect::Read(_) => {}
        }
    }

    /// Moves on every connection that is being made anew.
    #[inline]
    pub(super) fn renew(&mut self) {
        if self.disturbed.is_some() {
            (0..self.connections.len()).for_each(|connection| self.renew_one(connection));
        }
    }

    fn renew_one(&mut self, index: usize) {
        let now = self.world.now();
        let connection = self.connections.get_mut(index);
        let ends = connection.ends();
        match connection.condition {
            Condition::Broken if connection.in_flight == 0 => {
                connection.condition = Condition::Draining;
                for (node, ep) in ends {
                    // What is gone already has nothing to drain.
                    let _ = self.world.nodes[node as usize].driver.context().modify(ep, QpState::Err);
                    self.world.touch(node);
                }
                self.renew_one(index);
            }
            Condition::Draining if connection.receives == 0 => {
                connection.condition = Condition::Connecting { at: now, tries: 0 };
                for (node, ep) in ends {
                    self.world.nodes[node as usize].driver.context().close(ep);
                    self.world.touch(node);
                }
                self.settle_doubts(index);
                self.renew_one(index);
            }
            Condition::Connecting { at, tries } if at <= now => match setup::connect_anew(
                &mut self.connections,
                index,
                self.messages.receives(index),
                &self.places,
                &self.workload,
                &mut self.world.nodes,
            ) {
                Ok(()) => {
                    self.connections.get_mut(index).condition = Condition::Whole;
                    self.tell_connected(index);
                    if let Some(disturbed) = &mut self.disturbed {
                        disturbed.renewed += 1;
                    }
                    self.post_receives_of(index);
                }
                Err(error) if tries >= TRIES_MAX => {
                    self.connections.get_mut(index).condition =
                        Condition::Connecting { at: Instant::FAR, tries };
                    let fault = self.latest_fault();
                    self.failures.add(Check::Success, now, || {
                        format!("connection {index} could not be made anew: {error}; {fault}")
                    });
                }
                Err(_) => {
                    self.connections.get_mut(index).condition =
                        Condition::Connecting { at: now + AGAIN_NS, tries: tries + 1 };
                }
            },
            _ => {}
        }
    }

    /// Nothing of the old endpoints can land any more.
    pub(super) fn settle_doubts(&mut self, index: usize) {
        for (region, generation) in std::mem::take(&mut self.connections.get_mut(index).doubtful) {
            let place = self.places.get_mut(region as usize);
            if let Some(Contents::Pattern(versions)) = place.map(|place| &mut place.contents) {
                versions.give_up_write(generation);
            }
        }
        self.messages.forget_doubtful(index);
    }
}
