//! Turning a driver among the tasks of a thread: when its device has something to say, and now and then.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;
use wavetank_contract::{Instant, Wake};
use wavetank_engine::{LocalEngine, RdmaOps};

use crate::lab::RealTime;

/// The longest sleep: should a wake-up be lost, no longer than this.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What makes a device's descriptor readable.
#[derive(Debug)]
pub(super) struct Turning {
    notifier: Option<AsyncFd<OwnedFd>>,
}

impl Turning {
    /// Watches a device.
    pub(super) fn of<C: RdmaOps>(engine: &LocalEngine<C>) -> io::Result<Turning> {
        let notifier = engine
            .with(|driver| driver.context().notifier().map(|notifier| notifier.try_clone_to_owned()))
            .transpose()?;
        #[expect(
            deprecated,
            reason = "an OwnedFd stays the descriptor it is, which is all that its successor asks for"
        )]
        let watch = |notifier| AsyncFd::with_interest(notifier, Interest::READABLE);
        Ok(Turning { notifier: notifier.map(watch).transpose()? })
    }

    /// Turns the driver once, and sleeps as long as it says.
    pub(super) async fn turn<C: RdmaOps>(&self, engine: &LocalEngine<C>, clock: &RealTime) -> io::Result<()> {
        let until = match engine.turn(clock.now()) {
            Wake::Now => {
                tokio::task::yield_now().await;
                return Ok(());
            }
            Wake::At(at) | Wake::Notified { until: at } => at,
            Wake::Idle => Instant::FAR,
        };
        let sleep = Duration::from_nanos(until.since_ns(clock.now())).min(SLEEP_MAX);
        let Some(notifier) = &self.notifier else {
            tokio::time::sleep(sleep).await;
            return Ok(());
        };
        if is_readable(notifier.get_ref()) {
            // An edge may have been seen before: what counts is the level.
            tokio::task::yield_now().await;
            return Ok(());
        }
        if let Ok(ready) = timeout(sleep, notifier.readable()).await {
            ready?.clear_ready();
        }
        Ok(())
    }
}

fn is_readable(notifier: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(notifier, PollFlags::IN)];
    matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_level_of_a_descriptor_is_what_counts() {
        let (reader, mut writer) = std::io::pipe().expect("two descriptors");
        let reader = OwnedFd::from(reader);
        assert!(!is_readable(&reader));
        writer.write_all(b"x").expect("room in a pipe");
        assert!(is_readable(&reader) && is_readable(&reader));
    }
}
