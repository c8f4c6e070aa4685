//! Who is at the other end, as the system says, and who is let in.

/// Credentials of a connection, as `SO_PEERCRED` gives them: of whoever called `connect(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Who is let in, beyond what the socket's mode says. Both empty: everybody whom the mode lets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Users.
    pub uids: Vec<u32>,
    /// Groups, by the primary one of a process.
    pub gids: Vec<u32>,
}

impl Admitted {
    /// Whether this one is.
    pub fn admits(&self, peer: Peer) -> bool {
        (self.uids.is_empty() && self.gids.is_empty())
            || self.uids.contains(&peer.uid)
            || self.gids.contains(&peer.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_neither_list_is_not_admitted_unless_there_is_none() {
        let peer = Peer { pid: 1, uid: 1000, gid: 100 };
        let admitted = |uids: &[u32], gids: &[u32]| Admitted { uids: uids.into(), gids: gids.into() };
        assert!(admitted(&[], &[]).admits(peer));
        assert!(admitted(&[0, 1000], &[]).admits(peer));
        assert!(admitted(&[0], &[100]).admits(peer));
        assert!(!admitted(&[0], &[]).admits(peer));
        assert!(!admitted(&[], &[0]).admits(peer));
    }
}
