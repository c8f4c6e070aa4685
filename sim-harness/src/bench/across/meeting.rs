//! How two sides meet: the engine's handshake, over a stream that does not block.

use std::io::{ErrorKind, Read, Write};

use wavetank_contract::Instant;
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::{Handshake, InstanceId, Introduction, Role, Step};

use super::super::pair::PairError;
use super::station::Station;

/// One side of an exchange, a step at a time.
#[derive(Debug)]
pub(super) struct Meeting {
    handshake: Handshake,
    connected: bool,
    ready: bool,
}

impl Meeting {
    pub(super) fn new<S: Station>(station: &mut S, role: Role, backend: BackendKind) -> Meeting {
        // The stream is between two processes that one parent made for it, and one is as good as another.
        let id = if role == Role::Dialer { 1 } else { 2 };
        let Some(instance) = InstanceId::new(id) else { unreachable!("neither is 0") };
        let handshake = Handshake::new(role, Introduction::new(instance, backend, &station.name()));
        Meeting { handshake, connected: false, ready: false }
    }

    /// Moves on; `receives` posts what the peer may send to. True once both may post.
    pub(super) fn step<S: Station>(
        &mut self,
        station: &mut S,
        stream: &mut (impl Read + Write),
        now: Instant,
        receives: impl FnOnce(&mut S) -> Result<(), PairError>,
    ) -> Result<bool, PairError> {
        // Some devices reach each other only while they are polled.
        station.spin(now)?;
        self.send(stream)?;
        self.receive(stream)?;
        if self.handshake.step() == Step::OwnOffer {
            self.handshake.offer(&station.offer()?)?;
        }
        if let Some(theirs) = self.handshake.take_offer() {
            station.connect(theirs)?;
            receives(station)?;
            self.connected = true;
        }
        if self.connected && !self.ready && station.can_send()? {
            self.handshake.ready()?;
            self.ready = true;
        }
        self.send(stream)?;
        Ok(self.handshake.is_established() && self.handshake.to_send().is_empty())
    }

    fn send(&mut self, stream: &mut impl Write) -> Result<(), PairError> {
        while !self.handshake.to_send().is_empty() {
            match stream.write(self.handshake.to_send()) {
                Ok(count) => self.handshake.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, stream: &mut impl Read) -> Result<(), PairError> {
        if self.handshake.is_established() {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => self.handshake.end()?,
            Ok(count) => self.handshake.receive(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
