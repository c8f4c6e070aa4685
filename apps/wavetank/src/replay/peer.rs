//! `wavetank replay --peer`: the storage node is another process, which serves memory.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wavetank_engine::bootstrap::TcpBootstrap;
use wavetank_engine::{PortConfig, RdmaContext, RdmaOps as _};
use wavetank_harness::peer::{Peer, attach, introduction};
use wavetank_harness::report::Spent;
use wavetank_harness::world::Waiting;
use wavetank_harness::{Replay, Report, Workload};

use super::{Args, print_report, waiting};
use crate::address::Address;
use crate::clock::Clock;
use crate::device::Devices;
use crate::memory;
use crate::progress::Bar;

/// Replays a workload on the memory of the process at `address`.
pub(super) fn run(
    args: &Args,
    workload: Workload,
    devices: Option<&Devices>,
    address: &Address,
) -> Result<ExitCode, Box<dyn Error>> {
    let Some(devices) = devices else {
        return Err(
            "--peer is another process, and two processes share no simulated network: add --backend ucx \
                    --device tcp, or --backend verbs"
                .into(),
        );
    };
    memory::check(&workload.path.display().to_string(), memory_bytes(&workload))?;
    let waiting = waiting(args);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ran = replay(workload, devices, address, waiting, &runtime);
    // A name that nobody knows may still be looked for.
    runtime.shutdown_background();
    let (report, spent) = ran?;
    print_report(args, &report, &spent, true)
}

/// What cannot be had of another process. Said before anything is asked of it.
pub(super) fn refuse(args: &Args) -> Result<(), String> {
    let refused = [
        (
            "--volume",
            args.volume.is_some(),
            "the other process fills its memory with pattern data and has no volume",
        ),
        (
            "--faults",
            args.faults.is_some(),
            "connections with another process are made once, and faults break them",
        ),
        (
            "--record",
            args.record.is_some(),
            "a recording is of all nodes of a run, and one of them is elsewhere",
        ),
        ("--pcap", args.pcap.path().is_some(), "no packet of a device passes through here"),
        ("--check-determinism", args.check_determinism, "nothing on a device happens twice"),
    ];
    match refused.into_iter().find(|(_, given, _)| *given) {
        Some((flag, _, why)) => Err(format!("{flag} with --peer: {why}; leave one of the two out")),
        None => Ok(()),
    }
}

/// Bytes of this process: those of what is under way, and the largest region, which is read at the end.
fn memory_bytes(workload: &Workload) -> u64 {
    let regions = workload.regions.iter().map(|region| region.bytes);
    let (all, largest) = (regions.clone().fold(0, u64::saturating_add), regions.max().unwrap_or(0));
    workload.memory_bytes().saturating_sub(all).saturating_add(largest)
}

fn replay(
    workload: Workload,
    devices: &Devices,
    address: &Address,
    waiting: Waiting,
    runtime: &Runtime,
) -> Result<(Report, Spent), Box<dyn Error>> {
    let port = PortConfig { signal_every: workload.settings.signal_every };
    let context = devices.contexts()?(0, port)?;
    let limit = Duration::from_nanos(waiting.deadline_ns);
    let reached = reach(workload, context, devices, address, waiting, limit);
    let (replay, peer) = runtime.block_on(reached).map_err(|error| format!("{address}: {error}"))?;
    let progress = Bar::new();
    let clock = Clock::start();
    let mut report = replay.run(&mut |at| progress.show(at));
    let spent = Spent { wall_s: clock.wall_s(), core_s: clock.core_s() };
    progress.done();
    report.device = format!("{} with {} at {address}", report.device, peer.device());
    runtime.block_on(peer.part(&mut report));
    Ok((report, spent))
}

/// Finds the process, and attaches a replay to it.
async fn reach(
    workload: Workload,
    context: RdmaContext,
    devices: &Devices,
    address: &Address,
    waiting: Waiting,
    limit: Duration,
) -> Result<(Replay, Peer<tokio::net::TcpStream>), Box<dyn Error>> {
    let us = introduction(devices.backend(), &context.caps().name)?;
    let bootstrap = TcpBootstrap::dial(address.find(limit).await?, us, limit).await?;
    Ok(attach(workload, waiting, context, bootstrap, limit).await?)
}
