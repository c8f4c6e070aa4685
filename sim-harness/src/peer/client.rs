//! The client's side: attaching a replay to a process that serves memory, and parting from it.

use std::os::fd::AsFd;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::{
    BootstrapError, InstanceId, Introduction, Peer as Introduced, Said, StreamBootstrap,
};
use wavetank_engine::{BackendKind, RdmaOps};
use wavetank_mock::Fabric;

use super::control::{Control, ControlError, Message};
use crate::check::Check;
use crate::replay::{Replay, SetupError};
use crate::report::Report;
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::Waiting;

/// What both sides can do, as [`Introduction::features`] says it: serve memory by need, and ask for it.
const SERVES_MEMORY: u64 = 1 << 0;

/// How this process introduces itself, to whichever side it speaks.
///
/// # Errors
/// The system has no entropy for its name.
pub fn introduction(backend: BackendKind, device: &str) -> Result<Introduction, BootstrapError> {
    let us = Introduction::new(InstanceId::random()?, backend, device);
    Ok(Introduction { features: SERVES_MEMORY, ..us })
}

/// Whether the other side speaks of memory at all.
pub(super) fn speaks(peer: &Introduced) -> bool {
    peer.features & SERVES_MEMORY != 0
}

/// A replay could not be attached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The workload does not fit, or the other side refused.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The bootstrap failed.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A peer, but none that serves memory.
    #[error("the peer (device {0}) serves no memory: is a `wavetank serve-memory` of this version there?")]
    ServesNothing(Said),
    /// It went away as soon as it was there.
    #[error("the memory server let us in, and then {0}")]
    Control(#[from] ControlError),
}

/// The process that serves the memory, while a replay uses it.
#[derive(Debug)]
pub struct Peer<S> {
    control: Control<S>,
    device: Said,
    limit: Duration,
}

/// Attaches a replay to the process at the other end of `bootstrap`, in real time. The node that posts is over `context`;
/// `limit` is for each word of the other side.
///
/// # Errors
/// See [`AttachError`]; the other side gives back what it gave.
pub async fn attach<C: RdmaOps, S: AsyncRead + AsyncWrite + AsFd + Unpin + Send>(
    workload: Workload,
    waiting: Waiting,
    context: C,
    mut bootstrap: StreamBootstrap<S>,
    limit: Duration,
) -> Result<(Replay<C>, Peer<S>), AttachError> {
    expect_server(&bootstrap)?;
    let mut replay = Replay::attach_on(workload, Trace::default(), waiting, context, &mut bootstrap).await?;
    let peer = Peer::of(bootstrap, limit).await?;
    // It speaks when it is spoken to: should it have something to say during the run, that is its end.
    let stream = peer.control.stream().as_fd().try_clone_to_owned().map_err(ControlError::Io)?;
    replay.world().accompany(stream);
    Ok((replay, peer))
}

/// The same in virtual time: see [`Replay::attach_with`].
///
/// # Errors
/// See [`AttachError`].
pub async fn attach_simulated<C: RdmaOps, S: AsyncRead + AsyncWrite + Unpin + Send>(
    workload: Workload,
    fabric: Fabric,
    context: C,
    mut bootstrap: StreamBootstrap<S>,
    limit: Duration,
) -> Result<(Replay<C>, Peer<S>), AttachError> {
    expect_server(&bootstrap)?;
    let replay = Replay::attach_with(workload, Trace::default(), fabric, context, &mut bootstrap).await?;
    Ok((replay, Peer::of(bootstrap, limit).await?))
}

fn expect_server<S: AsyncRead + AsyncWrite + Unpin + Send>(
    bootstrap: &StreamBootstrap<S>,
) -> Result<(), AttachError> {
    match bootstrap.peer() {
        peer if speaks(peer) => Ok(()),
        peer => Err(AttachError::ServesNothing(peer.device.clone())),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Peer<S> {
    async fn of(bootstrap: StreamBootstrap<S>, limit: Duration) -> Result<Peer<S>, AttachError> {
        let device = bootstrap.peer().device.clone();
        let mut control = Control::new(bootstrap.into_stream()?);
        match control.hear(limit).await? {
            Message::Welcome => Ok(Peer { control, device, limit }),
            got => Err(ControlError::unexpected(&got, "WELCOME").into()),
        }
    }

    /// Its device.
    pub fn device(&self) -> &Said {
        &self.device
    }

    /// Ends what began with [`attach`], after the run: asks the owner of the memory what it holds, compares that with what was
    /// read, and takes leave. Whatever is wrong becomes a failure of the report.
    pub async fn part(mut self, report: &mut Report) {
        if report.failures.has(Check::Peer) {
            return;
        }
        let at = Instant(report.elapsed_ns);
        if let Err(error) = self.settle(report, at).await {
            report.failures.add(Check::Peer, at, || format!("the memory server was there, and then {error}"));
        }
    }

    async fn settle(&mut self, report: &mut Report, at: Instant) -> Result<(), ControlError> {
        self.control.say(&Message::AskDigests, self.limit).await?;
        let digests = match self.control.hear(self.limit).await? {
            Message::Digests(digests) => digests,
            got => return Err(ControlError::unexpected(&got, "DIGESTS")),
        };
        let Report { read_back, failures, .. } = report;
        if let Some(read_back) = read_back {
            if digests.len() != read_back.regions.len() {
                return Err(ControlError::Garbage("digests of other regions than it serves"));
            }
            let mut agreed = 0;
            for (region, digest) in read_back.regions.iter().zip(digests) {
                match region.digest {
                    Some(read) if read == digest => agreed += 1,
                    Some(read) => failures.add(Check::Bytes, at, || {
                        format!(
                            "region {}, at the end: what was read has the digest {read:016x}, and its owner says \
                             {digest:016x}",
                            region.name
                        )
                    }),
                    None => {}
                }
            }
            read_back.agreed = Some(agreed);
        }
        self.control.say(&Message::Bye, self.limit).await?;
        match self.control.hear(self.limit).await? {
            Message::Bye => Ok(()),
            got => Err(ControlError::unexpected(&got, "BYE")),
        }
    }
}
