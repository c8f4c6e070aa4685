//! What every request needs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::config::SidecarConfig;
use crate::figures::Figures;
use crate::reads::Reads;
use crate::temp_files::TempFiles;

/// What every request needs; handles of one and the same.
#[derive(Clone, Debug)]
pub(crate) struct State(Arc<Shared>);

/// What they share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SidecarConfig,
    pub(crate) reads: Reads,
    pub(crate) figures: Figures,
    pub(crate) temp_files: Option<TempFiles>,
    /// Reads at once.
    pub(crate) places: Semaphore,
    /// One benchmark at a time.
    pub(crate) benchmark: Mutex<()>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) draining: std::sync::atomic::AtomicBool,
    pub(crate) begun: Instant,
}

impl State {
    pub(crate) fn new(config: SidecarConfig, reads: Reads, temp_files: Option<TempFiles>) -> State {
        State(Arc::new(Shared {
            places: Semaphore::new(config.limits.requests_max),
            config,
            reads,
            figures: Figures::default(),
            temp_files,
            benchmark: Mutex::new(()),
            connections: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            draining: false.into(),
            begun: Instant::now(),
        }))
    }
}

impl std::ops::Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
