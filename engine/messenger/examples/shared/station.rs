//! What every example needs: a device by flags, a messenger over it, and time.

use std::error::Error;

use clap::Args;
use wavetank_contract::Instant;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, PortConfig, RdmaContext};
use wavetank_messenger::{Dispatcher, LocalMessenger, Messenger, MessengerConfig, TcpCarrier, TcpConfig};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// The device, and how long to poll.
#[derive(Clone, Debug, Args)]
pub(crate) struct Station {
    /// mock: both sides in one process, in virtual time. verbs, ucx: with the cargo feature of that name.
    #[arg(long, default_value = "mock")]
    pub(crate) backend: BackendKind,
    /// verbs: rxe0. ucx: tcp, tcp/lo, shm, rc/rxe0:1.
    #[arg(long, default_value = "")]
    pub(crate) device: String,
    /// Microseconds to poll without sleeping after something happened.
    #[arg(long, default_value_t = 50)]
    pub(crate) spin_us: u64,
}

impl Station {
    /// Whether both sides are in this process.
    pub(crate) fn is_simulated(&self) -> bool {
        self.backend == BackendKind::Mock
    }

    /// A messenger over a device of this machine.
    pub(crate) fn open(
        &self,
        config: MessengerConfig,
        dispatcher: impl Dispatcher,
    ) -> Outcome<LocalMessenger> {
        let context = RdmaContext::open_device(self.backend, &self.device, PortConfig::default())?;
        let driver = Driver::new(context, DriverConfig::default());
        let messenger = Messenger::new(driver, self.backend, InstanceId::random()?, config)?;
        Ok(LocalMessenger::new(messenger, dispatcher))
    }

    /// Its lines over TCP.
    pub(crate) fn carrier(&self, messenger: &LocalMessenger) -> Outcome<TcpCarrier> {
        let config = TcpConfig { spin_ns: self.spin_us * 1000, ..TcpConfig::default() };
        Ok(TcpCarrier::new(messenger.clone(), config)?)
    }
}

/// Real time, from now on.
pub(crate) fn clock() -> impl Fn() -> Instant + Clone {
    let started = tokio::time::Instant::now();
    move || Instant(started.elapsed().as_nanos() as u64)
}
