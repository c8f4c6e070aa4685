//! Chunks over the simulated NIC: both sides and the network on one core.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use wavetank_contract::Quiet;
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{Deaf, LocalMessenger, Messenger, MessengerConfig, Policy, Within};
use wavetank_mock::{Fabric, Profile};
use wavetank_rpc::{ChunkClient, ChunkClientConfig, ChunkFailure, ChunkServer, ChunkServerConfig};

use super::super::{Clock, median};
use super::{ChunkCall, Chunks, PairError, Travel, one_call, prepare, said, store};

/// Bytes of one round.
const ROUND_BYTES: u64 = 64 << 20;
const ROUNDS: usize = 3;
/// Turns of both sides that a round may take.
const TURNS_MAX: u64 = 100_000_000;

/// What calls on chunks cost over the simulated NIC.
#[derive(Clone, Debug, Serialize)]
pub struct SimChunks {
    /// What was called.
    pub call: ChunkCall,
    /// Bytes of each call.
    pub bytes: u32,
    /// Bytes in a second of one core that does both sides and the network, checksums included.
    pub bytes_per_core_s: f64,
}

/// Measures calls, one at a time, as the messenger chooses.
///
/// # Errors
/// When the two cannot be connected, or a call fails.
pub fn sim_chunks(call: ChunkCall, bytes: u32, clock: Clock<'_>) -> Result<SimChunks, PairError> {
    let mut fabric = Fabric::new(Profile::IDEAL);
    let mut make = |name: u64| {
        let context = RdmaContext::from(Port::new(fabric.add_node(), PortConfig { signal_every: 32 }));
        let driver = Driver::new(context, DriverConfig::default());
        let instance = InstanceId::new(name).ok_or_else(|| PairError("no instance".to_owned()))?;
        let config = MessengerConfig::new(name, BackendKind::Mock);
        Messenger::new(driver, BackendKind::Mock, instance, config).map_err(|error| said(&error))
    };
    let server = ChunkServer::new(store(), ChunkServerConfig::default());
    let client = LocalMessenger::new(make(1)?, Deaf);
    let mut both = [client.clone(), LocalMessenger::new(make(2)?, server.services())];
    both[1].bind(Some(Policy::StatelessServer));
    let count = (ROUND_BYTES / u64::from(bytes.max(1))).max(1) as u32;
    let chunks = Chunks { call, travel: Travel::Auto, bytes, depth: 1, count, frame_bytes: 0 };
    let client = ChunkClient::new(client, ChunkClientConfig::new("1", 1));
    let mut lines = Within::new();
    let mut rounds = Vec::new();
    {
        // All rounds are one future, so that it is pinned once.
        let mut calls = pin!(async {
            prepare(&client, &chunks).await?;
            for _ in 0..ROUNDS {
                let begun = clock();
                for _ in 0..count {
                    one_call(&client, &chunks, 0).await?;
                }
                let bytes = f64::from(bytes) * f64::from(count);
                rounds.push(bytes * 1e9 / (clock() - begun).max(1) as f64);
            }
            Ok::<_, ChunkFailure>(())
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = 0;
        loop {
            let now = fabric.now();
            for one in &both {
                one.spin(now);
            }
            lines.carry(now, &mut both);
            if let Poll::Ready(outcome) = calls.as_mut().poll(&mut context) {
                outcome.map_err(|failure| said(&failure))?;
                break;
            }
            turns += 1;
            if turns > TURNS_MAX {
                return Err(PairError("it was not over in time".to_owned()));
            }
            while fabric.next_at(&mut Quiet).is_some_and(|at| at <= now + 100_000) {
                fabric.step_one(&mut Quiet);
            }
        }
    }
    Ok(SimChunks { call, bytes, bytes_per_core_s: median(rounds) })
}
