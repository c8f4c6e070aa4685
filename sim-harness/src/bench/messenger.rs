//! Messages between two messengers on the simulated NIC: what a message costs of a core's time, everything included.

use serde::Serialize;
use wavetank_contract::{Instant, Quiet};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{Event, Message, Messenger, MessengerConfig, Policy, Within};
use wavetank_mock::{Fabric, Profile};

use super::pair::PairError;
use super::{Clock, median};

/// Bytes of a front.
const FRONT_BYTES: usize = 64;
/// Requests of one round.
const ROUND: u64 = 50_000;
/// Rounds of each depth.
const ROUNDS: usize = 9;

/// What messages cost over the simulated NIC.
#[derive(Clone, Debug, Serialize)]
pub struct SimMessages {
    /// Requests under way at a time.
    pub depth: u32,
    /// Messages, requests and replies, in a second of one core that does both sides and the network.
    pub messages_per_core_s: f64,
}

/// Measures requests of 64 bytes that are answered with as much, `depth` at a time.
///
/// # Errors
/// When the two cannot be connected, or a request fails.
pub fn sim_messages(depth: u32, clock: Clock<'_>) -> Result<SimMessages, PairError> {
    let mut pair = Pair::new()?;
    pair.requests(u64::from(depth) * 64, depth)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = clock();
        pair.requests(ROUND, depth)?;
        rounds.push((2 * ROUND) as f64 * 1e9 / (clock() - start) as f64);
    }
    Ok(SimMessages { depth, messages_per_core_s: median(rounds) })
}

/// Sends `count` requests, `depth` at a time, and does nothing else: for profilers.
///
/// # Errors
/// As [`sim_messages`].
pub fn sim_requests(depth: u32, count: u64) -> Result<(), PairError> {
    Pair::new()?.requests(count, depth)
}

struct Pair {
    fabric: Fabric,
    messengers: [Messenger; 2],
    connection: wavetank_messenger::ConnectionId,
}

impl Pair {
    fn new() -> Result<Pair, PairError> {
        let mut fabric = Fabric::new(Profile::IDEAL);
        let mut make = |name: u64| {
            let context = RdmaContext::from(Port::new(fabric.add_node(), PortConfig { signal_every: 32 }));
            let driver = Driver::new(context, DriverConfig::default());
            let config = MessengerConfig {
                credits: 256,
                window: 1024,
                pool_bytes: 16 << 20,
                receive_bytes: 16 << 20,
                ..MessengerConfig::new(name, BackendKind::Mock)
            };
            let instance = InstanceId::new(name).ok_or_else(|| PairError("no instance".to_owned()))?;
            Messenger::new(driver, BackendKind::Mock, instance, config)
                .map_err(|error| PairError(error.to_string()))
        };
        let mut messengers = [make(1)?, make(2)?];
        messengers[1].bind(Some(Policy::StatelessServer));
        let connection = messengers[0]
            .connect(Instant::ZERO, "1", None, Policy::LossyClient)
            .map_err(|error| PairError(error.to_string()))?;
        let mut lines = Within::new();
        let mut pair = Pair { fabric, messengers, connection };
        for _ in 0..100 {
            lines.carry(pair.fabric.now(), &mut pair.messengers);
            pair.step();
        }
        match pair.messengers[0].is_established(connection) {
            true => {
                while pair.messengers.iter_mut().any(|messenger| messenger.take_event().is_some()) {}
                Ok(pair)
            }
            false => Err(PairError("the messengers did not connect".to_owned())),
        }
    }

    /// Lets both sides and the network go on.
    fn step(&mut self) {
        let now = self.fabric.now();
        for messenger in &mut self.messengers {
            messenger.spin(now);
        }
        while self.fabric.next_at(&mut Quiet).is_some_and(|at| at <= now + 100_000) {
            self.fabric.step_one(&mut Quiet);
        }
    }

    fn requests(&mut self, count: u64, depth: u32) -> Result<(), PairError> {
        let failed = |error: &dyn std::fmt::Display| PairError(error.to_string());
        let (mut asked, mut done) = (0, 0);
        let front = [7; FRONT_BYTES];
        while done < count {
            let now = self.fabric.now();
            while asked < count && asked - done < u64::from(depth) {
                let message = Message::new(1, &front, Instant::FAR);
                self.messengers[0]
                    .request(now, self.connection, message, None)
                    .map_err(|error| failed(&error))?;
                asked += 1;
            }
            self.step();
            let now = self.fabric.now();
            while let Some(event) = self.messengers[1].take_event() {
                if let Event::Delivered(mut incoming) = event
                    && let Some(reply_to) = incoming.take_reply_to()
                {
                    let mut bytes = [0; 1024];
                    let message = Message::new(2, incoming.front(&mut bytes), Instant::FAR);
                    self.messengers[1].reply(now, reply_to, message).map_err(|error| failed(&error))?;
                }
            }
            while let Some(event) = self.messengers[0].take_event() {
                match event {
                    Event::Replied { reply: Ok(_), .. } => done += 1,
                    other => return Err(PairError(format!("{other:?}"))),
                }
            }
        }
        Ok(())
    }
}
