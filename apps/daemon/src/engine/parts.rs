//! What of an engine can be looked at while it runs.

use std::fmt;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_exchange::{Exporter, Shelf as _, StoreShelf};

use super::Clock;
use super::figures::figures;
use crate::config::EngineConfig;
use crate::health::{Health, PeerHealth, Told};
use crate::ipc::Server;
use crate::reading::Reading;
use crate::reads::About;

/// See the module.
pub struct Parts {
    /// What clients are told of the engine.
    pub about: About,
    pub(super) clock: Clock,
    /// What is exported.
    pub exporter: Option<Rc<Exporter<StoreShelf>>>,
    /// What reads.
    pub reading: Rc<Reading>,
    /// The socket for clients.
    pub server: Server<Reading>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("device", &self.about.device)
            .field("reading", &self.reading)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// Takes over of a configuration what can be while it runs: peers, another key (never none), the way, and who may use the
    /// socket.
    pub fn reload(&self, config: &EngineConfig) {
        let reader = self.reading.reader();
        if !self.about.simulated {
            reader.set_peers(&super::peers(config));
        }
        if config.key.is_some() {
            reader.set_key(config.key.clone());
            if let Some(exporter) = &self.exporter {
                exporter.set_key(config.key.clone());
            }
        }
        self.reading.set_mode(super::mode(config));
        self.server.admit(super::admitted(config));
    }

    /// How the engine is, and its counts.
    pub fn told(&self, status: &'static str) -> Told {
        let Instant(uptime_ns) = self.clock.now();
        let shelf = self.exporter.as_ref().map(|exporter| exporter.shelf());
        let peer = |(address, open, volumes): (String, bool, Vec<_>)| PeerHealth {
            address,
            state: if open { "ready" } else { "not connected" },
            volumes: volumes.len() as u64,
        };
        let health = Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            backend: wavetank_engine::BackendKind::ALL
                .into_iter()
                .find(|kind| kind.name() == self.about.backend)
                .map_or("", wavetank_engine::BackendKind::name),
            device: self.about.device.clone(),
            simulated: self.about.simulated,
            uptime_s: uptime_ns / 1_000_000_000,
            volumes: shelf.map_or(0, |shelf| shelf.volumes().len() as u64),
            refused: shelf.map_or_else(Vec::new, StoreShelf::refusals),
            peers: self.reading.reader().peers().into_iter().map(peer).collect(),
        };
        Told { health, figures: figures(self) }
    }

    /// Whether nobody waits for anything, and nobody has anything of this engine's.
    pub fn is_idle(&self) -> bool {
        self.reading.under_way() == 0 && self.server.stats().leases_now.get() == 0
    }
}
