//! Sessions of the upstream protocol: begun before the transfer, ended by their client or by their time.
//!
//! They live over connections of the same user. What they hold is bounded by their number and in bytes.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::{Instant, Lease};

use crate::reads::Found;

/// Name of a session: a UUID.
pub(crate) type SessionId = u128;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uid: u32,
    pub(crate) expires: Instant,
    /// The bytes, once they are here.
    pub(crate) found: Option<Found>,
}

/// Why a session does not get its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// It ended meanwhile.
    Gone,
    /// All of them hold as much as they may.
    Full,
}

/// Bytes of the arena that it holds.
fn bytes_of(found: &Found) -> u64 {
    found.lease.as_ref().map_or(0, Lease::len)
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Bytes of the arena that they hold.
    bytes: u64,
    all: BTreeMap<SessionId, Session>,
    by_end: BTreeSet<(Instant, SessionId)>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Begins one, unless there are `sessions_max` or the name is taken: looking and taking a place are one step.
    pub(crate) fn begin(&mut self, id: SessionId, uid: u32, expires: Instant, sessions_max: usize) -> bool {
        if self.all.len() >= sessions_max || self.all.contains_key(&id) {
            return false;
        }
        self.all.insert(id, Session { uid, expires, found: None });
        self.by_end.insert((expires, id));
        true
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.all.get(&id)
    }

    /// Puts the bytes into a session, unless all would hold more than so many then. They come back when it is gone.
    pub(crate) fn fill(&mut self, id: SessionId, found: Found, bytes_max: u64) -> Result<(), Unfilled> {
        let session = self.all.get_mut(&id).ok_or(Unfilled::Gone)?;
        let bytes = self.bytes + bytes_of(&found);
        if self.bytes > 0 && bytes > bytes_max {
            return Err(Unfilled::Full);
        }
        self.bytes = bytes;
        session.found = Some(found);
        Ok(())
    }

    pub(crate) fn end(&mut self, id: SessionId) -> Option<Session> {
        let session = self.all.remove(&id)?;
        self.bytes -= session.found.as_ref().map_or(0, bytes_of);
        self.by_end.remove(&(session.expires, id));
        Some(session)
    }

    /// The next one whose time is over.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Session> {
        let (_, id) = self.by_end.first().filter(|(at, _)| *at <= now)?;
        self.end(*id)
    }

    /// When the next one's time is over.
    pub(crate) fn next_end(&self) -> Instant {
        self.by_end.first().map_or(Instant::FAR, |(at, _)| *at)
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = Session> {
        self.all.into_values()
    }
}

/// The text of a name: version 4, variant 1 (RFC 9562, section 5.4), of 122 drawn bits.
pub(crate) fn uuid(drawn: u128) -> SessionId {
    drawn & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62
}

pub(crate) fn uuid_text(id: SessionId) -> String {
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A name out of its text. `None` for what [`uuid_text`] would not have written.
pub(crate) fn uuid_from(text: &str) -> Option<SessionId> {
    if text.len() != 36 || !text.is_ascii() {
        return None;
    }
    let id = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    (uuid_text(id) == text.to_ascii_lowercase()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_uuid_of_version_4_there_and_back() {
        for drawn in [0, u128::MAX, 0x29b1_a7ba_8d3e_42aa_b0d3_7a0c_8b2c_4ce4] {
            let id = uuid(drawn);
            let text = uuid_text(id);
            assert_eq!((&text[14..15], text.len()), ("4", 36));
            assert!(["8", "9", "a", "b"].contains(&&text[19..20]), "{text}");
            assert_eq!(uuid_from(&text), Some(id));
            assert_eq!(uuid_from(&text.to_ascii_uppercase()), Some(id));
        }
        assert_eq!(
            uuid_text(uuid(0x29b1_a7ba_8d3e_02aa_30d3_7a0c_8b2c_4ce4)),
            "29b1a7ba-8d3e-42aa-b0d3-7a0c8b2c4ce4"
        );
        for bad in [
            "",
            "no-such-session",
            "29b1a7ba8d3e-42aa-b0d3-7a0c8b2c4ce4-",
            "+9b1a7ba-8d3e-42aa-b0d3-7a0c8b2c4ce4",
        ] {
            assert_eq!(uuid_from(bad), None, "{bad}");
        }
    }

    #[test]
    fn there_are_never_more_than_may_be_and_each_ends_once() {
        let mut sessions = Sessions::default();
        let at = |ms: u64| Instant(ms);
        assert!(sessions.begin(1, 0, at(5), 2) && sessions.begin(2, 0, at(3), 2));
        assert!(!sessions.begin(3, 0, at(1), 2), "full");
        assert_eq!(sessions.next_end(), at(3));
        assert!(sessions.pop_due(at(2)).is_none());
        assert!(sessions.pop_due(at(3)).is_some() && sessions.pop_due(at(4)).is_none());
        assert!(!sessions.begin(1, 0, at(9), 2), "a name that is taken");
        assert!(sessions.end(1).is_some() && sessions.end(1).is_none());
        assert_eq!((sessions.len(), sessions.next_end()), (0, Instant::FAR));
    }
}
