//! A client's ring: what it submits is done as if it had come over the socket, under the same limits.

use wavetank_contract::Instant;
use wavetank_ipc::Code;
use wavetank_ipc::ring::{Answer, Completion, EngineRing, Submission, Task};

use super::native::{Native, fatal};
use super::{Common, Conversation, Origin, Speech};
use crate::reads::{Found, NotRead, Wanted};

impl Conversation {
    /// Takes submissions, a burst at most. Answers whether there were any.
    #[inline]
    pub fn turn_ring(&mut self, now: Instant) -> bool {
        let Speech::Native(native) = &mut self.speech else { return false };
        native.turn_ring(&mut self.common, now)
    }

    /// The ring's memory, for whoever hands it to the client.
    pub fn ring(&self) -> Option<&EngineRing> {
        match &self.speech {
            Speech::Native(native) => native.ring.as_ref(),
            _ => None,
        }
    }

    /// Nobody will poll the ring for a while. Answers whether that may be: nothing is there, or nothing that will ever be taken,
    /// because the conversation is over and waits only for its last words to be taken.
    pub fn ring_sleeps(&mut self) -> bool {
        match &mut self.speech {
            Speech::Native(_) if self.common.over.is_some() => true,
            Speech::Native(native) => native.ring.as_mut().is_none_or(EngineRing::sleep),
            _ => true,
        }
    }

    /// The ring is polled again.
    pub fn ring_is_polled(&mut self) {
        if let Speech::Native(native) = &mut self.speech
            && let Some(ring) = &mut native.ring
        {
            ring.wake();
        }
    }

    /// Whether the client has to be woken for its ring. Asked once for each time.
    #[inline]
    pub fn take_ring_wake(&mut self) -> bool {
        match &mut self.speech {
            Speech::Native(native) => std::mem::take(&mut native.ring_wakes),
            _ => false,
        }
    }
}

impl Native {
    #[inline]
    fn turn_ring(&mut self, common: &mut Common, now: Instant) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        if !ring.is_ready() || common.over.is_some() {
            return false;
        }
        self.burst(common, now)
    }

    fn burst(&mut self, common: &mut Common, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..common.limits().ring_burst.max(1) {
            let Some(ring) = &mut self.ring else { break };
            match ring.take() {
                Ok(Some(submission)) => self.submission(common, now, submission),
                Ok(None) => break,
                Err(broken) => {
                    fatal(common, Code::Malformed, 0, broken.to_string());
                    return true;
                }
            }
            any = true;
        }
        any
    }

    fn submission(&mut self, common: &mut Common, now: Instant, submission: Submission) {
        let name = submission.name;
        match submission.task {
            Task::Ping => {
                common.commons.stats().pings_ring.add(1);
                self.complete(name, Answer::Pong);
            }
            Task::Read { volume, needle, cookie, offset, len, timeout_ns, server } => {
                common.commons.stats().reads_ring.add(1);
                let known = self.servers.get(&server).cloned();
                if self.submissions.contains_key(&name) || (server != 0 && known.is_none()) {
                    return self.refuse(common, name, Code::WrongName, 0);
                }
                let deadline = common.deadline(now, timeout_ns);
                let wanted = Wanted { volume, needle, cookie, offset, len, server: known, deadline };
                match self.admit(common, &wanted) {
                    Ok(()) => {
                        let key = common.read(Origin::Submission(name), wanted);
                        self.submissions.insert(name, key);
                    }
                    Err((why, detail)) => self.refuse(common, name, why.code(), detail),
                }
            }
            Task::Release { offset, generation } => self.release(common, offset, generation),
            Task::Cancel { name: other } => {
                if let Some(key) = self.submissions.get(&other).copied() {
                    self.cancel(common, key);
                }
            }
            Task::Unknown(_) => self.refuse(common, name, Code::Unsupported, 0),
        }
    }

    pub(super) fn ring_answered(&mut self, common: &Common, name: u64, answer: Result<Found, NotRead>) {
        self.submissions.remove(&name);
        match answer.and_then(|found| self.lend(common, found)) {
            Ok(told) => self.complete(name, Answer::Found(Box::new(told))),
            Err(why) => self.refuse(common, name, why.code(), why.detail()),
        }
    }

    fn refuse(&mut self, common: &Common, name: u64, code: Code, detail: u64) {
        common.commons.stats().error(code);
        self.complete(name, Answer::Refused { code, detail });
    }

    #[inline]
    fn complete(&mut self, name: u64, answer: Answer) {
        if let Some(ring) = &mut self.ring {
            self.ring_wakes |= ring.complete(&Completion { name, answer });
        }
    }
}
