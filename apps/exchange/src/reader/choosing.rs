//! Which peer is asked first, and what would be done and why.

use std::rc::Rc;

use wavetank_engine::RdmaOps;

use super::Reader;
use super::peer::Peer;
use crate::found::{Mode, Wanted, Why};

impl<C: RdmaOps + 'static> Reader<C> {
    /// Peers in the order in which they are tried: the one that was named, those that are known to have the volume, all others.
    pub(super) fn candidates(&self, wanted: &Wanted) -> Vec<Rc<Peer>> {
        let named = wanted.server.as_deref().and_then(|server| self.named(server));
        let mut peers = self.shared.peers.borrow().clone();
        let is_named = |peer: &Rc<Peer>| named.as_ref().is_some_and(|named| Rc::ptr_eq(named, peer));
        peers.sort_by_key(|peer| match () {
            () if is_named(peer) => 0,
            () if peer.is_open() && peer.has(wanted.volume) => 1,
            () if peer.has(wanted.volume) => 2,
            () => 3,
        });
        peers
    }

    /// The engine beside a volume server.
    fn named(&self, server: &str) -> Option<Rc<Peer>> {
        let port = self.shared.config.hint_port?;
        let server = server.trim_start_matches("http://").trim_end_matches('/');
        let (host, _) = server.rsplit_once(':')?;
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
        if host.is_empty() || host.len() > 255 || !host.chars().all(sound) {
            return None;
        }
        let address = format!("{host}:{port}");
        let mut peers = self.shared.peers.borrow_mut();
        if let Some(there) = peers.iter().find(|peer| peer.address == address) {
            return Some(Rc::clone(there));
        }
        if peers.len() >= self.shared.config.peers_max {
            return None;
        }
        let peer = Rc::new(Peer::new(&address, None));
        peers.push(Rc::clone(&peer));
        Some(peer)
    }

    /// What would be done now to read this, and why.
    pub fn explain(&self, wanted: &Wanted) -> String {
        if self.shared.home.as_ref().is_some_and(|home| home.has(wanted.volume)) && wanted.mode != Mode::Pull
        {
            return format!("local: {}", Why::Here);
        }
        let peers = self.candidates(wanted);
        let Some(peer) = peers.iter().find(|peer| !peer.state.borrow().circuit.is_open(self.now())) else {
            return "nobody to ask: no peer is known, or all failed a moment ago".into();
        };
        let who = match peer.has(wanted.volume) {
            true => format!("engine {} exports volume {}", peer.address, wanted.volume),
            false => format!("engine {} is asked whether it exports volume {}", peer.address, wanted.volume),
        };
        let name = (wanted.volume, wanted.id, wanted.cookie);
        let grants = self.shared.grants.borrow();
        let fresh = grants.peek(&name).map(|granted| self.now() < granted.until);
        let ungranted = *self.shared.ungranted.borrow();
        match (wanted.mode, fresh) {
            (Mode::Push, _) => format!("pushed: {}; {who}", Why::Asked),
            (Mode::Pull, _) => format!("pulled: {}; {who}", Why::Asked),
            (Mode::Auto, Some(true)) => format!("pulled: {}; {who}", Why::Granted),
            (Mode::Auto, Some(false)) => format!("pushed: {}; {who}", Why::GrantOver),
            (Mode::Auto, None) => format!("pushed: {}; {who}", Why::NotGranted(ungranted)),
        }
    }
}
