//! Attempts at one call: one deadline for all of them, and a pause between two.

use wavetank_contract::Instant;
use wavetank_engine::RdmaOps;
use wavetank_messenger::LocalMessenger;

use super::ChunkClientConfig;
use crate::failure::{ChunkFailure, Effect, Failed};

/// The attempts so far.
#[derive(Debug)]
pub(super) struct Attempts {
    deadline: Instant,
    attempt_ns: u64,
    pause_ns: u64,
    pause_ns_max: u64,
    made: u32,
    /// What those may have changed.
    effect: Effect,
}

impl Attempts {
    pub(super) fn new(config: &ChunkClientConfig, deadline: Instant) -> Attempts {
        let ChunkClientConfig { attempt_ns, pause_ns, pause_ns_max, .. } = *config;
        Attempts { deadline, attempt_ns, pause_ns, pause_ns_max, made: 0, effect: Effect::None }
    }

    /// When an attempt that begins now is over.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        self.deadline.min(now + self.attempt_ns)
    }

    /// An attempt failed: waits until the next is due, or says that there is none.
    pub(super) async fn again<C: RdmaOps + 'static>(
        &mut self,
        messenger: &LocalMessenger<C>,
        failed: Failed,
        repeats: bool,
    ) -> Result<(), ChunkFailure> {
        self.made += 1;
        let effect = if failed.is_recorded() { Effect::None } else { self.effect.max(failed.effect()) };
        self.effect = effect;
        let at = messenger.now() + self.pause_ns;
        let gave_up = repeats && at >= self.deadline;
        if !repeats || gave_up {
            return Err(ChunkFailure { failed, attempts: self.made, gave_up, effect });
        }
        self.pause_ns = (self.pause_ns * 2).min(self.pause_ns_max);
        messenger.sleep_until(at).await;
        Ok(())
    }
}
