//! What the client does of its own accord: right and wrong.

use wavetank_ipc::native::{FromClient, Hello, Ring, SERVER_INDEX_MAX};
use wavetank_ipc::ring::Task;
use wavetank_ipc::{Code, Wanted};

use super::{Asked, Native, What};
use crate::client::{Loan, Scene};
use crate::house::limits;
use crate::net::MS;
use crate::volumes::Wish;
use crate::wire::Wire;

impl Native {
    /// Gives a loan back, by whichever way.
    fn release(&mut self, place: usize, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let loan = self.loans.swap_remove(place);
        self.line.check_loan(scene, &loan);
        let Loan { offset, generation, .. } = loan;
        if self.ring.is_some() && self.line.draw(2) == 0 {
            self.submit(wire, scene, Task::Release { offset, generation }, None);
        } else {
            self.say(wire, scene, 0, &FromClient::Release { offset, generation });
        }
    }

    fn read(&mut self, wish: Wish, timeout_ns: u64, wire: &mut Wire, scene: &Scene<'_, '_>) {
        let limits = limits();
        let may_take_ns = if timeout_ns == 0 { limits.read_ns } else { timeout_ns.min(limits.read_ns_max) };
        let Wish { volume, needle, cookie, offset, len } = wish;
        if self.ring.is_some() && self.wants_ring {
            let server = if self.line.errand.is_none() && self.line.draw(16) == 0 { 77 } else { 0 };
            let task = Task::Read { volume, needle, cookie, offset, len, timeout_ns, server };
            let what = if server > 0 { What::Refusal(Code::WrongName) } else { What::Read(wish) };
            return self.submit(wire, scene, task, Some((what, may_take_ns)));
        }
        let wanted = Wanted { volume, needle, cookie, offset, len, server: None, timeout_ns };
        self.ask(wire, scene, &FromClient::Read(wanted), What::Read(wish), may_take_ns);
    }

    /// Does one thing of its own accord.
    pub(in crate::client) fn act(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        self.line.next_at = scene.now + self.line.draw(9) * MS + 1;
        if !self.greeted || self.line.doomed.is_some() {
            return;
        }
        if self.wants_ring && self.ring.is_none() && self.asked.is_empty() {
            return self.ask(wire, scene, &FromClient::GetRing(Ring { entries: 4 }), What::Ring, 0);
        }
        if self.line.errand.is_some() {
            while !self.loans.is_empty() {
                self.release(0, wire, scene);
            }
            if self.asked.is_empty()
                && self.submitted.is_empty()
                && let Some(wish) = self.line.errand_wish()
            {
                self.read(wish, 0, wire, scene);
            }
            return;
        }
        self.line.left -= 1;
        match self.line.draw(24) {
            0..=10 => {
                for _ in 0..=self.line.draw(3) {
                    let wish = self.line.wish();
                    let timeout_ns = match self.line.draw(4) {
                        0 => 0,
                        1 => u64::MAX,
                        _ => 1 + self.line.draw(100 * MS),
                    };
                    self.read(wish, timeout_ns, wire, scene);
                }
            }
            11..=14 => {
                for _ in 0..self.loans.len() {
                    let place = self.line.draw(self.loans.len() as u64) as usize;
                    self.release(place, wire, scene);
                }
            }
            15 | 16 => self.cancel(wire, scene),
            17 => {
                let word = self.line.draw(u64::MAX);
                if self.ring.is_some() {
                    self.submit(wire, scene, Task::Ping, Some((What::Pong(0), 0)));
                    self.submit(wire, scene, Task::Unknown(99), Some((What::Refusal(Code::Unsupported), 0)));
                }
                self.ask(wire, scene, &FromClient::Ping(word), What::Pong(word), 0);
            }
            18 => self.ask(wire, scene, &FromClient::GetCapabilities, What::Capabilities, 0),
            19 => self.err(wire, scene),
            20 => {
                let index = 1 + self.line.draw(3) as u16;
                let named = FromClient::NameServer { index, server: "0:8080".into() };
                self.ask(wire, scene, &named, What::Named, 0);
                let index = SERVER_INDEX_MAX + 1;
                let nameless = FromClient::NameServer { index, server: "0:8080".into() };
                self.ask(wire, scene, &nameless, What::Refusal(Code::WrongName), 0);
                if self.ring.is_some() {
                    self.ask(wire, scene, &FromClient::GetRing(Ring { entries: 4 }), What::Ring, 0);
                }
            }
            21 => {
                // What it never had, or gave back before.
                let (offset, generation) = (self.line.draw(1 << 20), 1 + self.line.draw(1000));
                if self.loans.iter().all(|loan| loan.generation != generation) {
                    self.say(wire, scene, 0, &FromClient::Release { offset, generation });
                }
            }
            22 => {
                scene.seen.tell("client: deaf for a while");
                self.line.deaf_until = scene.now + (5 + self.line.draw(70)) * MS;
            }
            _ => {
                if self.line.draw(3) == 0 {
                    scene.seen.tell("client: died");
                    self.line.leave(scene.now, wire);
                    self.forget();
                }
            }
        }
    }

    fn cancel(&mut self, wire: &mut Wire, scene: &Scene<'_, '_>) {
        let reads = self.asked.iter().filter(|(_, asked)| matches!(asked.what, What::Read(_)));
        let ids: Vec<u64> = reads.map(|(id, _)| *id).chain(self.submitted.keys().copied()).collect();
        let id = if ids.is_empty() { 1 << 50 } else { ids[self.line.draw(ids.len() as u64) as usize] };
        if let Some(asked) = self.submitted.get_mut(&id) {
            asked.cancelled = true;
            return self.submit(wire, scene, Task::Cancel { name: id }, None);
        }
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.cancelled = true;
        }
        self.say(wire, scene, id, &FromClient::Cancel);
    }

    /// Says what is not to be said.
    fn err(&mut self, wire: &mut Wire, scene: &mut Scene<'_, '_>) {
        let header = |len: u32, kind: u16, id: u64| {
            let mut bytes = len.to_le_bytes().to_vec();
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 2]);
            bytes.extend(id.to_le_bytes());
            bytes
        };
        match self.line.draw(6) {
            0 => {
                scene.seen.tell("client: half a frame");
                self.line.doom(scene.now);
                self.line.say(scene.now, wire, &header(20, 5, 1 << 51)[..9]);
            }
            1 => {
                scene.seen.tell("client: too long a frame");
                self.line.doom(scene.now);
                self.line.say(scene.now, wire, &header(1 << 30, 2, 1 << 52));
            }
            2 => {
                scene.seen.tell("client: second hello");
                self.line.doom(scene.now);
                let hello = Hello { version_min: 1, version_max: 1, features: 0, name: String::new() };
                self.say(wire, scene, 0, &FromClient::Hello(hello));
            }
            3 | 4 => {
                let id = self.next_id;
                self.next_id += 1;
                let what = What::Refusal(Code::Malformed);
                self.asked
                    .insert(id, Asked { what, from: scene.now, may_take_ns: 0, cancelled: false, times: 1 });
                self.line.say(scene.now, wire, &header(0, 900, id));
            }
            _ => {
                // An id that is in use.
                let asked = self.asked.iter_mut().find(|(_, asked)| matches!(asked.what, What::Read(_)));
                if let Some((id, asked)) = asked
                    && let What::Read(wish) = &asked.what
                {
                    asked.times += 1;
                    let (id, Wish { volume, needle, cookie, offset, len }) = (*id, wish.clone());
                    // What it was asked for first may be told yet: as it was then.
                    let since_ns = scene.now.since_ns(asked.from);
                    asked.may_take_ns = since_ns + asked.may_take_ns.max(limits().read_ns);
                    let wanted = Wanted { volume, needle, cookie, offset, len, server: None, timeout_ns: 0 };
                    self.say(wire, scene, id, &FromClient::Read(wanted));
                }
            }
        }
    }
}
