//! Messengers on one simulated network, in one process and in virtual time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use wavetank_contract::{Instant, Quiet, Wake};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{Dispatcher, LocalMessenger, Messenger, MessengerConfig, Within};
use wavetank_mock::{Fabric, Profile};

use crate::station::Outcome;

/// Messengers on one simulated network. They call each other by their number: "0", "1".
pub(crate) struct Simulated {
    fabric: Fabric,
    pub(crate) messengers: Vec<LocalMessenger>,
    lines: Within,
}

impl Simulated {
    /// A network of ConnectX-6 adapters.
    pub(crate) fn new() -> Simulated {
        Simulated { fabric: Fabric::new(Profile::CX6), messengers: Vec::new(), lines: Within::new() }
    }

    /// Adds a node.
    pub(crate) fn add(
        &mut self,
        config: MessengerConfig,
        dispatcher: impl Dispatcher,
    ) -> Outcome<LocalMessenger> {
        let context = RdmaContext::from(Port::new(self.fabric.add_node(), PortConfig::default()));
        let driver = Driver::new(context, DriverConfig::default());
        let instance = InstanceId::new(self.messengers.len() as u64 + 1).ok_or("too many nodes")?;
        let messenger = Messenger::new(driver, BackendKind::Mock, instance, config)?;
        let messenger = LocalMessenger::new(messenger, dispatcher);
        self.messengers.push(messenger.clone());
        Ok(messenger)
    }

    /// Lets virtual time pass until a future is over.
    pub(crate) async fn run<T>(&mut self, until: impl Future<Output = T>) -> Outcome<T> {
        let mut until = pin!(until);
        loop {
            let now = self.fabric.now();
            let mut wake = Instant::FAR;
            for messenger in &self.messengers {
                match messenger.turn(now) {
                    Wake::Now => wake = now,
                    Wake::At(at) | Wake::Notified { until: at } => wake = wake.min(at),
                    Wake::Idle => {}
                }
            }
            if self.lines.carry(now, &mut self.messengers) {
                continue;
            }
            let over = poll_fn(|context| Poll::Ready(until.as_mut().poll(context))).await;
            if let Poll::Ready(value) = over {
                return Ok(value);
            }
            if wake <= now || self.messengers.iter().any(|messenger| messenger.with(|m| m.has_work())) {
                continue;
            }
            let wake = self.messengers.iter().map(LocalMessenger::next_alarm).fold(wake, Instant::min);
            match self.fabric.next_at(&mut Quiet) {
                Some(at) if at <= wake => drop(self.fabric.step_one(&mut Quiet)),
                _ if wake < Instant::FAR => self.fabric.advance_to(wake),
                _ => return Err("nothing will ever happen again, and it is not over".into()),
            }
        }
    }
}
