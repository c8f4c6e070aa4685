//! Times: requests that are given up, connections that are silent, acknowledgements that have waited long enough.

use wavetank_contract::Instant;
use wavetank_contract::planted::{self, Bug};
use wavetank_engine::RdmaOps;
use wavetank_engine::slab::Key;

use super::Messenger;
use crate::connection::{Connection, State};
use crate::event::{Cause, RequestError};

impl<C: RdmaOps> Messenger<C> {
    /// Looks after whatever is due.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(place) = self.deadlines.pop_due(now) {
            if planted::is(Bug::IgnoreRequestDeadlines) {
                continue;
            }
            if let Some(key) = self.requests.key_at(place) {
                let Some(deadline) = self.requests.get(key).map(|request| request.deadline) else { continue };
                self.give_up(key, &RequestError::Deadline(deadline));
            }
        }
        while let Some(place) = self.line_timers.pop_due(now) {
            if let Some(key) = self.lines.key_at(place) {
                self.look_at_line(key, now);
            }
        }
        while let Some(place) = self.timers.pop_due(now) {
            if let Some(key) = self.connections.key_at(place) {
                self.look_at(key, now);
            }
        }
    }

    fn look_at(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get(key) else { return };
        match connection.state {
            State::Waiting { .. } | State::Standby { .. } => self.waited(key, now),
            State::Closing { .. } => self.closed(key),
            State::Open { .. } => {
                let silence_ns = self.config.silence_ns;
                if connection.heard_at + silence_ns <= now {
                    return self.fault(key, Cause::Silent(silence_ns / 1_000_000), now);
                }
                let transfer_ns = self.config.transfer_ns;
                if self.moved_at(connection).is_some_and(|moved_at| moved_at + transfer_ns <= now) {
                    return self.fault(key, Cause::Stuck(transfer_ns / 1_000_000), now);
                }
                self.mark(key);
                self.set_timer(key, now);
            }
            // Their lines have timers.
            State::Dialing { .. } | State::Answering { .. } => {}
        }
    }

    /// Sets the timer of an open connection to whatever comes first.
    pub(super) fn set_timer(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get(key).filter(|connection| connection.is_open()) else {
            return;
        };
        // What is due and could not be said waits for credits, which come with a frame, or for memory.
        let can_say = connection.can_say();
        let keepalive_ns = connection.keepalive_ns(self.config.keepalive_ns);
        let said = |at: Instant| match (can_say, at > now) {
            (false, _) => Instant::FAR,
            (true, true) => at,
            (true, false) => now + super::pumping::TRY_AGAIN_NS,
        };
        let keepalive = said(connection.said_at + keepalive_ns);
        let silence = connection.heard_at + self.config.silence_ns;
        let ack = said(connection.ack_at.unwrap_or(Instant::FAR));
        let moved_at = self.moved_at(connection);
        let stuck = moved_at.map_or(Instant::FAR, |moved_at| moved_at + self.config.transfer_ns);
        let again = if connection.short { now + super::pumping::TRY_AGAIN_NS } else { Instant::FAR };
        let stuck = stuck.min(again);
        self.timers.set(key.index, keepalive.min(silence).min(ack).min(stuck));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.muted = !can_say;
        }
    }

    /// When data of a connection last got any further, if some is on its way.
    fn moved_at(&self, connection: &Connection) -> Option<Instant> {
        let ep = connection.ep.filter(|_| connection.moving > 0)?;
        Some(connection.moved_at.max(self.driver.progressed_at(ep)))
    }

    /// An acknowledgement is owed: it travels with the next message, or by itself after a while.
    pub(super) fn owe(&mut self, key: Key, now: Instant) {
        let at = now + self.config.ack_delay_ns;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ack_at.is_none() {
            connection.ack_at = Some(at);
            if self.timers.get(key.index).is_none_or(|set| at < set) {
                self.timers.set(key.index, at);
            }
        }
    }
}
