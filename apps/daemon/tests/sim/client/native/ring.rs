//! The client's side of its ring.

use wavetank_ipc::ring::{Answer, Completion, Submission, Task};

use super::{Asked, Native, What};
use crate::client::Scene;
use crate::wire::{Wire, ring, rings};

impl Native {
    pub(in crate::client) fn hear_bell(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        if rings(&mut wire.bell_down, scene.now) {
            scene.seen.tell("ring: the client was woken");
            self.take_ring(wire, scene);
        }
    }

    /// Takes what is in the ring, and sleeps when there is nothing.
    pub(super) fn take_ring(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        loop {
            let Some(there) = &mut self.ring else { return };
            there.wake();
            let mut completions = Vec::new();
            while let Some(completion) = there.take() {
                completions.push(completion);
            }
            if there.engine_waits() {
                ring(&mut wire.bell_up, scene.now, &mut self.line.dice);
            }
            let sleeps = there.sleep();
            for completion in completions {
                self.completed(completion, scene);
            }
            if sleeps {
                return;
            }
        }
    }

    fn completed(&mut self, completion: Option<Completion>, scene: &mut Scene<'_, '_>) {
        let Some(Completion { name, answer }) = completion else {
            return scene.seen.wrong(scene.now, self.line.number, "a completion that makes no sense");
        };
        let Some(asked) = self.submitted.remove(&name) else {
            let what = format_args!("an answer to what was not asked: submission {name}, {answer:?}");
            return scene.seen.wrong(scene.now, self.line.number, what);
        };
        self.look_at_time(&asked, name, scene);
        match (&asked.what, answer) {
            (What::Pong(_), Answer::Pong) => scene.seen.tell("ring: pong"),
            (What::Read(wish), Answer::Found(told)) => {
                scene.seen.tell("ring: found");
                self.lent(&wish.clone(), asked.from, *told, scene);
            }
            (What::Read(wish), Answer::Refused { code, detail }) => {
                scene.seen.tell("ring: refused");
                self.refused(&wish.clone(), &asked, code, detail, scene);
            }
            (What::Refusal(code), Answer::Refused { code: told, .. }) if *code == told => {
                scene.seen.tell(&format!("ring: refused {code}"));
            }
            (_, answer) => {
                scene.seen.wrong(scene.now, self.line.number, format_args!("{asked:?} was told {answer:?}"));
            }
        }
    }

    pub(super) fn submit(
        &mut self,
        wire: &mut Wire,
        scene: &Scene<'_, '_>,
        task: Task,
        asked: Option<(What, u64)>,
    ) {
        let Some(there) = &mut self.ring else { return };
        let name = self.next_id;
        self.next_id += 1;
        match there.submit(Submission { name, task }) {
            Ok(sleeps) => {
                if sleeps {
                    ring(&mut wire.bell_up, scene.now, &mut self.line.dice);
                }
                if let Some((what, may_take_ns)) = asked {
                    let asked = Asked { what, from: scene.now, may_take_ns, cancelled: false, times: 1 };
                    self.submitted.insert(name, asked);
                }
            }
            Err(_) => scene.seen.tell("ring: full"),
        }
    }
}
