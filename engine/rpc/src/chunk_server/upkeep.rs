//! What a server does while nobody calls: makes durable what was written, and forgets writers who are long gone.

use wavetank_contract::Instant;
use wavetank_engine::RdmaOps;
use wavetank_messenger::LocalMessenger;

use super::ChunkServer;
use crate::store::ChunkStore;

impl<S: ChunkStore + 'static> ChunkServer<S> {
    /// Looks after the store for as long as it is polled: run it beside the messenger, once.
    ///
    /// Writers are forgotten by their silence alone. That a connection broke says nothing: its writer comes back on another, and
    /// repeats what was not answered.
    pub async fn look_after<C: RdmaOps + 'static>(&self, messenger: &LocalMessenger<C>) {
        let mut grace_until = Some(messenger.now() + self.config.silence_ns);
        loop {
            messenger.sleep_until(messenger.now() + self.config.flush_ns.max(1)).await;
            if self.store.flush().await.is_err() {
                // Who asked for a durable write is told by the store; the others were promised nothing.
                self.count(|stats| stats.flush_failures += 1);
            }
            let now = messenger.now();
            if grace_until.is_some_and(|until| until <= now) {
                grace_until = None;
                self.store.end_grace();
            }
            self.retire_silent(now);
        }
    }

    fn retire_silent(&self, now: Instant) {
        let silent = |heard: Instant| now.since_ns(heard) > self.config.silence_ns;
        let gone: Vec<u64> = {
            let mut heard = self.heard.borrow_mut();
            let gone = heard.iter().filter(|(_, at)| silent(**at)).map(|(writer, _)| *writer).collect();
            heard.retain(|_, at| !silent(*at));
            gone
        };
        for writer in gone {
            self.store.retire(writer);
            self.count(|stats| stats.retired += 1);
        }
    }
}
