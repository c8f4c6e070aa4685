//! What the shell of sockets does for a client: bytes, tasks, rings and descriptors, in virtual time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use wavetank_contract::chance::Seeded;
use wavetank_contract::{Instant, Others, Pages, SharedMemory};
use wavetank_daemon::ipc::{Ask, Conversation, Passed, ReadKey};
use wavetank_daemon::reads::{Found, NotRead, Reads as _};
use wavetank_ipc::ring::{EngineRing, ring_bytes};

use super::lying::Lying;
use crate::lie::Lie;
use crate::wire::{Heard, Wire, ring, rings};

pub(super) type Task = Pin<Box<dyn Future<Output = Result<Found, NotRead>>>>;

/// A client's place.
pub(super) struct Seat {
    pub(super) conversation: Conversation,
    pub(super) tasks: BTreeMap<ReadKey, Task>,
    pub(super) ring: Option<SharedMemory>,
}

/// What the shell of sockets does for one client.
pub(super) struct Desk<'a> {
    pub(super) reads: &'a Rc<Lying>,
    pub(super) now: Instant,
    pub(super) wire: &'a mut Wire,
    pub(super) dice: &'a mut Seeded,
    pub(super) lie: Lie,
}

impl Desk<'_> {
    /// All that is due for a client. Answers whether anything was.
    pub(super) fn serve(&mut self, seat: &mut Seat) -> bool {
        let mut any = false;
        while seat.conversation.wants_bytes() {
            match self.wire.up.hear(self.now) {
                Some(Heard::Bytes(bytes, _)) => seat.conversation.heard(self.now, &bytes),
                Some(Heard::End) => seat.conversation.left(),
                None => break,
            }
            any = true;
            self.drive(seat);
        }
        if seat.conversation.wake() <= self.now {
            any = true;
            seat.conversation.tick(self.now);
            self.drive(seat);
        }
        let mut context = Context::from_waker(Waker::noop());
        let keys: Vec<ReadKey> = seat.tasks.keys().copied().collect();
        for key in keys {
            let Some(task) = seat.tasks.get_mut(&key) else { continue };
            if let Poll::Ready(answer) = task.as_mut().poll(&mut context) {
                any = true;
                seat.tasks.remove(&key);
                seat.conversation.answered(self.now, key, answer);
                self.drive(seat);
            }
        }
        if rings(&mut self.wire.bell_up, self.now) {
            any = true;
        }
        // There may be room again.
        self.drive(seat);
        any
    }

    pub(super) fn poll_ring(&mut self, seat: &mut Seat) -> bool {
        let any = seat.conversation.turn_ring(self.now);
        if any {
            self.drive(seat);
        }
        any
    }

    /// Does what a conversation asks for, and sends what it has to say.
    fn drive(&mut self, seat: &mut Seat) {
        self.asks(seat);
        while let Some((passed, bytes)) = seat.conversation.to_send() {
            if self.wire.client_gone {
                seat.conversation.left();
                break;
            }
            let count = bytes.len().min(self.wire.down.room());
            if count == 0 {
                break;
            }
            let clone = |memory: &SharedMemory| memory.fd().try_clone_to_owned().unwrap();
            let descriptors = match passed {
                None => Vec::new(),
                Some(Passed::Arena) => vec![clone(self.reads.arena())],
                Some(Passed::Ring) => vec![clone(seat.ring.as_ref().expect("it was made"))],
            };
            self.wire.down.put(self.now, self.dice, &bytes[..count], descriptors);
            seat.conversation.sent(self.now, count);
            self.asks(seat);
        }
        if seat.conversation.take_ring_wake() && self.lie != Lie::LosesBell {
            ring(&mut self.wire.bell_down, self.now, self.dice);
        }
    }

    fn asks(&mut self, seat: &mut Seat) {
        while let Some(ask) = seat.conversation.take_ask() {
            match ask {
                Ask::Read { key, wanted } => {
                    let reads = Rc::clone(self.reads);
                    let mut task: Task = Box::pin(async move { reads.read(wanted).await });
                    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(answer) => seat.conversation.answered(self.now, key, answer),
                        Poll::Pending => drop(seat.tasks.insert(key, task)),
                    }
                }
                Ask::Cancel { key } => drop(seat.tasks.remove(&key)),
                Ask::Ring { entries } => {
                    let bytes = ring_bytes(entries).expect("a size of a ring");
                    let memory =
                        SharedMemory::create("sim-ring", bytes, Others::Write, Pages::Plain).unwrap();
                    seat.ring = Some(memory.clone());
                    let ring = EngineRing::create(memory, entries).ok_or_else(|| "no ring".to_owned());
                    seat.conversation.ring_made(ring);
                }
            }
        }
    }
}
