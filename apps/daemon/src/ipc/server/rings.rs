//! Rings of all clients: polled by the engine's loop, looked at when a client rings while that sleeps.

use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, spawn_local};
use wavetank_contract::{Instant, Others, Pages, SharedMemory};
use wavetank_ipc::ring::{EngineRing, ring_bytes};
use wavetank_messenger::Beside;

use super::Shared;
use super::client::Client;
use crate::reads::Reads;

/// What a client and the engine wake each other by: a pair of sockets. Of an `eventfd(2)` both sides would share the flags, so that
/// a client could make a call of the engine's wait for ever; here each end has its own.
pub(super) struct RingBell {
    pub(super) memory: SharedMemory,
    ours: Rc<UnixStream>,
    pub(super) theirs: Option<OwnedFd>,
    task: AbortHandle,
}

impl Drop for RingBell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All rings of a server, for the loop that polls them.
pub struct Rings<R: Reads> {
    shared: Rc<Shared<R>>,
}

impl<R: Reads> fmt::Debug for Rings<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rings({})", self.shared.rings.borrow().len())
    }
}

impl<R: Reads> Rings<R> {
    pub(super) fn new(shared: Rc<Shared<R>>) -> Rings<R> {
        shared.polled.set(true);
        // Who has a ring already believes that the engine sleeps, and rings once too often until it wakes.
        Rings { shared }
    }
}

impl<R: Reads> Drop for Rings<R> {
    fn drop(&mut self) {
        // From here on a client's bell is all there is.
        self.shared.polled.set(false);
        self.shared.bell.borrow_mut().take();
        let rings = self.shared.rings.borrow().clone();
        rings.iter().for_each(|client| self.shared.look(client));
    }
}

impl<R: Reads> Beside for Rings<R> {
    #[inline]
    fn turn(&mut self, now: Instant) -> bool {
        let mut any = false;
        for client in &*self.shared.rings.borrow() {
            if client.is(|conversation| conversation.turn_ring(now)) {
                any = true;
                self.shared.drive(client);
            }
        }
        any
    }

    fn sleep(&mut self) -> bool {
        self.shared.asleep.set(true);
        let mut may = true;
        for client in &*self.shared.rings.borrow() {
            // Every one has to know, whatever another says.
            may &= client.with(|conversation| conversation.ring_sleeps()).unwrap_or(true);
        }
        may
    }

    fn wake(&mut self) {
        self.shared.asleep.set(false);
        for client in &*self.shared.rings.borrow() {
            client.with(|conversation| conversation.ring_is_polled());
        }
    }

    #[inline]
    fn has_tasks(&self) -> bool {
        self.shared.tasks.get() > 0
    }
}

impl<R: Reads> Shared<R> {
    /// Makes a ring, and a pair to wake each other by.
    pub(super) fn give_ring(self: &Rc<Self>, client: &Rc<Client>, entries: u32) {
        let made = self.make_ring(client, entries);
        let made = made.map_err(|error| format!("no ring of {entries} submissions: {error}"));
        let is_made = made.is_ok();
        client.with(|conversation| {
            conversation.ring_made(made);
            // Whoever polls may be asleep just now, or there may be nobody.
            if self.asleep.get() || !self.polled.get() {
                conversation.ring_sleeps();
            }
        });
        if is_made {
            self.rings.borrow_mut().push(Rc::clone(client));
        }
    }

    fn make_ring(self: &Rc<Self>, client: &Rc<Client>, entries: u32) -> Result<EngineRing, String> {
        let bytes = ring_bytes(entries).ok_or("not a size of a ring")?;
        let memory = SharedMemory::create("wavetank-ring", bytes, Others::Write, Pages::Plain)
            .map_err(|error| error.to_string())?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (ours, theirs) = pair.map_err(|errno| format!("socketpair: {errno}"))?;
        let ours = std::os::unix::net::UnixStream::from(ours);
        let ours = Rc::new(UnixStream::from_std(ours).map_err(|error| error.to_string())?);
        let ring = EngineRing::create(memory.clone(), entries).ok_or("its memory is too small")?;
        let hearing = Rc::clone(self).hear_bell(Rc::clone(client), Rc::clone(&ours));
        let task = spawn_local(hearing).abort_handle();
        *client.ring_bell.borrow_mut() = Some(RingBell { memory, ours, theirs: Some(theirs), task });
        Ok(ring)
    }

    /// Looks at a ring whenever its client rings.
    async fn hear_bell(self: Rc<Self>, client: Rc<Client>, ours: Rc<UnixStream>) {
        let mut bytes = [0; 256];
        loop {
            if ours.readable().await.is_err() {
                return;
            }
            match ours.try_read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            self.look(&client);
            if let Some(bell) = &*self.bell.borrow() {
                bell.ring();
            }
        }
    }

    /// Takes what is in a ring while nobody polls it.
    fn look(self: &Rc<Self>, client: &Rc<Client>) {
        let now = self.now();
        loop {
            while client.is(|conversation| conversation.turn_ring(now)) {
                self.drive(client);
            }
            let goes_on = client.is(|conversation| conversation.is_over().is_none());
            if self.polled.get() || !goes_on || client.is(|conversation| conversation.ring_sleeps()) {
                return;
            }
        }
    }

    /// Wakes a client that sleeps while there is something in its ring.
    #[inline]
    pub(super) fn ring_client(&self, client: &Client) {
        if client.is(|conversation| conversation.take_ring_wake())
            && let Some(bell) = &*client.ring_bell.borrow()
        {
            self.commons.stats().ring_wakes.add(1);
            // Where there is no room, enough wake-ups are under way.
            let _ = send(&*bell.ours, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}
