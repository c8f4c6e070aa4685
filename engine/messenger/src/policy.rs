//! Delivery policies: what a connection promises when it breaks.
//!
//! The presets and their names are those of Ceph's messenger, so that storage people find what they know.

/// What a connection promises. Both sides say theirs when they connect; [`Policy::fits`] says which pairs make sense.
///
/// In every policy, while a connection holds: requests and one-way messages are delivered once, in the order in which they were
/// sent; a reply is delivered once, to its own request, as soon as it is there. They differ in what becomes of messages when
/// the connection breaks.
///
/// | policy | who dials | what was not acknowledged when it breaks | duplicates | told |
/// |---|---|---|---|---|
/// | lossy client | this side | is lost; requests fail | never | `reset` |
/// | lossless client | this side, again and again | is sent again, in order | never | `reconnecting`; `remote reset` where the server forgot us |
/// | lossless peer | either side | is sent again, in order | never | the same |
/// | stateful server | the peer | waits for the peer and is sent again | never | `reset` when the peer does not come back in time |
/// | stateless server | the peer | is lost | never | `reset` |
///
/// "Acknowledged" means that the peer's messenger has the whole message in its memory. A peer whose process ends takes what it
/// had not handled with it: its next life is another incarnation, and `remote reset` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Policy {
    /// Dials once per connection; what is lost is told and not repeated.
    LossyClient = 1,
    /// Dials until it gets through; repeats what was not acknowledged.
    LosslessClient = 2,
    /// Two equals: either dials, both repeat.
    LosslessPeer = 3,
    /// Waits for its clients to come back, and repeats.
    StatefulServer = 4,
    /// Forgets a client with its connection.
    StatelessServer = 5,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 5] = [
        Policy::LossyClient,
        Policy::LosslessClient,
        Policy::LosslessPeer,
        Policy::StatefulServer,
        Policy::StatelessServer,
    ];

    /// Its name in flags and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::LossyClient => "lossy-client",
            Policy::LosslessClient => "lossless-client",
            Policy::LosslessPeer => "lossless-peer",
            Policy::StatefulServer => "stateful-server",
            Policy::StatelessServer => "stateless-server",
        }
    }

    /// The policy of this name.
    pub fn from_name(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// From its number on the wire.
    pub fn from_number(number: u8) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.number() == number)
    }

    /// Whether what was not acknowledged is kept and sent again.
    pub const fn is_lossless(self) -> bool {
        matches!(self, Policy::LosslessClient | Policy::LosslessPeer | Policy::StatefulServer)
    }

    /// Whether this side dials again by itself.
    pub const fn redials(self) -> bool {
        matches!(self, Policy::LosslessClient | Policy::LosslessPeer)
    }

    /// Whether this side dials at all.
    pub const fn dials(self) -> bool {
        !matches!(self, Policy::StatefulServer | Policy::StatelessServer)
    }

    /// Whether it makes sense with the peer's: one promises to repeat only if the other remembers what came.
    pub const fn fits(self, peer: Policy) -> bool {
        use Policy::{LosslessClient, LosslessPeer, LossyClient, StatefulServer, StatelessServer};
        matches!(
            (self, peer),
            (LossyClient, StatelessServer)
                | (StatelessServer, LossyClient)
                | (LosslessClient, StatefulServer)
                | (StatefulServer, LosslessClient)
                | (LosslessPeer, LosslessPeer)
        )
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_back() {
        for policy in Policy::ALL {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
            assert_eq!(Policy::from_number(policy.number()), Some(policy));
        }
        assert_eq!((Policy::from_number(0), Policy::from_number(6)), (None, None));
    }

    #[test]
    fn what_fits_one_way_fits_the_other_and_both_keep_or_neither_does() {
        for (a, b) in Policy::ALL.into_iter().flat_map(|a| Policy::ALL.map(|b| (a, b))) {
            assert_eq!(a.fits(b), b.fits(a));
            assert!(
                !a.fits(b) || a.is_lossless() == b.is_lossless() && (a.dials() || b.dials()),
                "{a} and {b}"
            );
        }
    }
}
