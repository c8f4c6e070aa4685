//! `wavetank bench`.

mod simulated;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use wavetank_engine::BackendKind;
use wavetank_harness::bench;
use wavetank_harness::bench::across::Measure;
use wavetank_harness::workload::units::{Bytes, Nanos};
use wavetank_harness::world::Waiting;

use crate::chunks_bench;
use crate::device::{Devices, Protocol};
use crate::device_bench::{self, Plan};
use crate::ucx_bench::{self, peer};
use crate::{bench_volume, index_bench, ipc_bench, messenger_bench, needles_bench, print, sidecar_bench};

/// Measures what the simulator and the engine cost on this machine.
///
/// Figures are of the time one core spends, and vary with the machine: compare within one run.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank bench sim
  wavetank bench post-poll
  wavetank bench swarm
  wavetank bench memory
  wavetank bench memory --backend verbs --device rxe0
  wavetank bench sim --json | jq .ops_per_core_s
  wavetank bench device --backend verbs --device rxe0,rxe1 --against-perftest
  wavetank bench device --backend ucx --device tcp/lo
  wavetank bench ucx
  wavetank bench messenger --device tcp,shm
  wavetank bench chunks --device tcp,shm
  wavetank bench ucx --device shm --cells am-lat,get-lat --sizes 8,4KiB --through backend
  wavetank bench ipc
  wavetank bench index
  wavetank bench needles                      both ends on simulated NICs
  wavetank bench needles --device tcp,shm     between processes, beside the bare backend
  wavetank bench sidecar --device tcp,shm     by wrk, beside HTTP servers that have the bytes in memory and in the file

Instructions of the engine per READ: the difference of these two, per operation; and, to leave the set-up out, run each with
10,000 and 20,000 operations and take the difference of the differences.
  valgrind --tool=callgrind wavetank bench engine --through engine --bytes 8 --ops 20000
  valgrind --tool=callgrind wavetank bench engine --through backend --bytes 8 --ops 20000

What `device` compares, one operation at a time and every byte checked outside the clock:
  READ, median   against t_typical of ib_read_lat -e
  WRITE, mean    against the message rate of ib_write_bw -t 1: post, completion. perftest has no -e for WRITE, so both
                 poll here. Not against ib_write_lat, which halves a ping-pong in which both sides poll memory
  bandwidth      against BW average of ib_read_bw -e, and of ib_write_bw, polling on both sides; --window is -t

What `ucx` compares: two processes each, pinned to a CPU each, polling; rounds of engine, bare backend and ucx_perftest in turn.
  am-lat         SEND and receive, half of a ping-pong, against the median of ucp_am_lat; a receive copies eager messages into
                 its buffer, perftest does not; so also against tag_lat, which does
  am-bw          a window of SENDs to posted receives, against ucp_am_bw -O WINDOW, and tag_bw
  get-lat        one READ at a time, against the median of ucp_get -O 1
  get-bw         a window of READs, against ucp_get -O WINDOW
  put-lat        WRITE and polling memory, half of a ping-pong, against the median of ucp_put_lat
  put-bw         a window of WRITEs, each placed at the peer when it completes, against ucp_put_bw -O WINDOW, which
                 flushes once
  A second table says what the engine adds to an operation of the bare backend. Needs ucx_perftest (Debian: ucx-utils), a
  build with the feature ucx, and two CPUs with nothing else on them.

Exit status:
  0  measured, however slow
  1  a check failed in what was measured: the figures mean nothing
  2  it could not be set up")]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// For `engine` and `ucx`: who posts.
    #[arg(long, value_enum, default_value = "engine")]
    through: Through,
    /// For `engine`: how many READs, and for `device`: how many of a round; 1000 if not given. For `ucx`: how many of a
    /// round; as many as take a quarter of a second if not given. For `ipc`: round trips of a round over the socket; 100000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    ops: Option<u32>,
    /// For `engine`: bytes of each READ.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    bytes: u32,
    /// For `device` and `memory`: the backend.
    #[arg(long, default_value = "mock")]
    backend: BackendKind,
    /// For `device`: who posts, and whose memory it is; one name stands for both. For `memory`: the one. For `ucx`: one after the other, each for
    /// both sides; tcp,shm if not given.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    device: Vec<String>,
    /// For `device` and `ucx`: how messages travel over UCX.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// For `device`: run ib_read_lat, ib_read_bw and ib_write_bw in turn with ours, and print ratios.
    #[arg(long)]
    against_perftest: bool,
    /// For `device`: perftest's -x.
    #[arg(long, default_value_t = 1)]
    gid_index: u32,
    /// Rounds of each, ours and theirs in turn; 3 for `device` and `sidecar`, 1 for `index` and 5 for all others if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// For `device` and `ucx`: operations in flight for bandwidth; perftest's -t, 64 if not given, and ucx_perftest's -O, 32.
    /// For `needles`: reads in flight, beside one at a time; 16. For `sidecar`: connections, beside one; 64.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    window: Option<u32>,
    /// For `ucx`: what to measure; everything if not given.
    #[arg(long, value_delimiter = ',', value_name = "CELL,...", value_parser = cell)]
    cells: Vec<Measure>,
    /// For `ucx`: bytes of an operation; 8,4KiB,64KiB,1MiB if not given. For `chunks`: of a call; 4KiB to 16MiB.
    /// For `needles` and `sidecar`: of a needle; 4KiB,64KiB,1MiB.
    #[arg(long, value_delimiter = ',', value_name = "SIZE,...", value_parser = size)]
    sizes: Vec<u32>,
    /// For `chunks`: bytes of a receive buffer; those of the messenger's configuration if not given.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    frame_bytes: Option<u32>,
    /// One side of `chunks`, as its parent starts it.
    #[arg(long, hide = true, value_parser = chunks_bench::caller)]
    caller: Option<chunks_bench::Caller>,
    /// One side of `messenger`, as its parent starts it.
    #[arg(long, hide = true, value_parser = messenger_bench::talker)]
    talker: Option<messenger_bench::Talker>,
    /// The HTTP server of `needles` and `sidecar`, as its parent starts it.
    #[arg(long, hide = true, value_name = "FILE")]
    serve_file: Option<PathBuf>,
    /// For that of `sidecar`: from memory.
    #[arg(long, hide = true, requires = "serve_file")]
    from_memory: bool,
    /// For `sidecar`: seconds of a round of each server; 2 if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// One side of `ucx`, as its parent starts it.
    #[arg(long, hide = true, value_parser = peer::peer)]
    peer: Option<peer::Peer>,
    /// For `device`: poll for so long before sleeping, as in 50us; perftest then polls too.
    #[arg(long, value_name = "TIME")]
    spin: Option<Nanos>,
    /// For `index`: needles of each index.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=index_bench::NEEDLES_MAX))]
    needles: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Operations of `engine` and `device`.
const OPS: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Verified 4 KiB READs per core-second, every check on, over 1 queue pair and over 64.
    Sim,
    /// Swarm runs: fault episodes and verified operations per core-second, over a thousand seeds.
    Swarm,
    /// Post and poll of one simulated READ through RdmaContext, of 8 B and of 4 KiB.
    PostPoll,
    /// Create + look up + close of sessions per second, and bytes each with a million open.
    Sessions,
    /// The cache of registrations beside raw registration, leases and sessions, over the simulated NIC or a device.
    Memory,
    /// What the enum RdmaContext adds to the port it holds.
    Dispatch,
    /// One of {engine, backend} doing simulated READs and nothing else, for a profiler to count instructions.
    Engine,
    /// READs and WRITEs between real devices, event-driven: latency of 8 B to 64 KiB, bandwidth of 64 KiB and 1 MiB.
    Device,
    /// Requests and replies of 64 bytes between two messengers: over the simulated NIC per core-second, and with --device over
    /// UCX between two processes, beside ucx_perftest.
    Messenger,
    /// ReadChunk and WriteChunk, verified: over the simulated NIC per core-second, and with --device over UCX between two
    /// processes, by each way, beside the bare backend.
    Chunks,
    /// What local programs see of an engine whose bytes are made up: over its socket and through its ring, beside a bare socket
    /// and a bare word of shared memory.
    Ipc,
    /// Needles of one engine read through another: pulled and pushed, over socket and ring, every byte checked. With --device over
    /// UCX between processes, beside the bare backend; always beside the same file over HTTP.
    Needles,
    /// Requests by wrk to `wavetank sidecar` before two engines over UCX, beside the same bytes from an HTTP server's memory and
    /// from one that reads the volume's file: requests per second, CPU of a request, peak memory.
    Sidecar,
    /// The index of a volume: bytes of a needle, loading, and looking up, beside a bare read of as much memory.
    Index,
    /// SEND, READ and WRITE between two processes over UCX, beside ucx_perftest: latency and bandwidth, over TCP and shared
    /// memory.
    Ucx,
}

/// A cell of `bench ucx`, by name.
fn cell(name: &str) -> Result<Measure, String> {
    let names = || Measure::ALL.map(Measure::name).join(", ");
    Measure::named(name).ok_or_else(|| format!("it is one of {}", names()))
}

/// The size of an operation.
fn size(text: &str) -> Result<u32, String> {
    let bytes: Bytes = text.parse().map_err(|error| format!("{error}"))?;
    match u32::try_from(bytes.0) {
        Ok(bytes @ 1..=BYTES_MAX) => Ok(bytes),
        _ => Err(format!("an operation has 1 to {BYTES_MAX} bytes")),
    }
}

/// Bytes of operations of `bench ucx`, if not asked otherwise.
const UCX_SIZES: [u32; 4] = [8, 4 << 10, 64 << 10, 1 << 20];

/// Longest operation of `bench ucx`.
const BYTES_MAX: u32 = 64 << 20;

/// Who posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Through {
    /// RdmaContext: enum, port, ledger.
    Engine,
    /// The backend alone.
    Backend,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match args.what {
        What::Device => return run_device(args),
        What::Engine => return run_engine(args),
        What::Ucx => return run_ucx(args),
        What::Messenger => return run_messenger(args),
        What::Chunks => return run_chunks(args),
        What::Ipc => return run_ipc(args),
        What::Index => return run_index(args),
        What::Needles => return run_needles(args),
        What::Sidecar => return run_sidecar(args),
        _ => {}
    }
    let (json, text, ok) = simulated::run(args)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nothing but READs, and no clock: valgrind has trouble with the kernel's.
fn run_engine(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let through_engine = args.through == Through::Engine;
    let ops = args.ops.unwrap_or(OPS);
    bench::reads(through_engine, args.bytes, ops.into())?;
    let who = if through_engine { "RdmaContext" } else { "the bare backend" };
    let figures = json!({ "through": who, "ops": ops, "bytes": args.bytes });
    let text =
        format!("{ops} READs of {} B went through {who}; a profiler counts what they took", args.bytes);
    print(&if args.json { pretty(&figures)? } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Between real devices, on the wall's clock.
fn run_device(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let Some(devices) = Devices::asked(args.backend, &args.device, args.protocol)? else {
        let why = "bench device is of real devices: add --backend verbs --device rxe0,rxe1, or --backend ucx --device tcp";
        return Err(why.into());
    };
    if args.against_perftest && devices.backend() != BackendKind::Verbs {
        let backend = devices.backend();
        return Err(format!(
            "--against-perftest runs ib_read_lat and its like, which know no {backend} devices; leave it out"
        )
        .into());
    }
    let plan = Plan {
        devices,
        against_perftest: args.against_perftest,
        gid_index: args.gid_index,
        rounds: args.rounds.unwrap_or(3),
        iterations: args.ops.unwrap_or(OPS),
        window: args.window.unwrap_or(64),
        waiting: Waiting { spin_ns: args.spin.map_or(0, |spin| spin.0), ..Waiting::default() },
    };
    let (json, text) = device_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Over the simulated NIC, and between two processes if devices are named; or one of the two.
fn run_messenger(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(talker) = args.talker {
        return messenger_bench::be(talker, &args.device);
    }
    let plan = messenger_bench::Plan {
        devices: args.device.clone(),
        rounds: args.rounds.unwrap_or(5),
        ops: args.ops,
    };
    let (json, text, code) = messenger_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(code)
}

/// Chunks over the simulated NIC, and between two processes if devices are named; or one of the two.
fn run_chunks(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(caller) = args.caller {
        return chunks_bench::be(caller, &args.device);
    }
    let plan = chunks_bench::Plan {
        devices: args.device.clone(),
        sizes: if args.sizes.is_empty() { chunks_bench::SIZES.to_vec() } else { args.sizes.clone() },
        rounds: args.rounds.unwrap_or(5),
        ops: args.ops,
        frame_bytes: args.frame_bytes.unwrap_or(0),
    };
    let (json, text, code) = chunks_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(code)
}

/// Between two processes over UCX, or one of the two.
fn run_ucx(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let through = match args.through {
        Through::Engine => ucx_bench::Through::Engine,
        Through::Backend => ucx_bench::Through::Backend,
    };
    if let Some(peer) = args.peer {
        return peer::be(peer, through, &args.device, args.protocol);
    }
    let plan = ucx_bench::Plan {
        devices: match &args.device[..] {
            [] => ["tcp", "shm"].map(str::to_owned).to_vec(),
            devices => devices.to_vec(),
        },
        protocol: args.protocol,
        measures: if args.cells.is_empty() { Measure::ALL.to_vec() } else { args.cells.clone() },
        sizes: if args.sizes.is_empty() { UCX_SIZES.to_vec() } else { args.sizes.clone() },
        rounds: args.rounds.unwrap_or(5),
        ops: args.ops,
        window: args.window.unwrap_or(32) as u16,
        through,
    };
    let (json, text, code) = ucx_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(code)
}

/// A client of an engine in this process.
fn run_ipc(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan =
        ipc_bench::Plan { rounds: args.rounds.unwrap_or(5), count: args.ops.unwrap_or(100_000).into() };
    let (json, text) = ipc_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Through engines in processes of their own, or the HTTP server beside them.
fn run_needles(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(dat) = &args.serve_file {
        return needles_bench::http::serve(dat);
    }
    let plan = needles_bench::Plan {
        devices: args.device.clone(),
        sizes: if args.sizes.is_empty() { bench_volume::SIZES.to_vec() } else { args.sizes.clone() },
        rounds: args.rounds.unwrap_or(5),
        ops: args.ops,
        window: args.window.unwrap_or(16) as u16,
    };
    let (json, text, code) = needles_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(code)
}

/// By wrk, or the HTTP server beside.
fn run_sidecar(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(dat) = &args.serve_file {
        return sidecar_bench::server::serve(dat, args.from_memory);
    }
    let plan = sidecar_bench::Plan {
        devices: match &args.device[..] {
            [] => ["tcp", "shm"].map(str::to_owned).to_vec(),
            devices => devices.to_vec(),
        },
        sizes: if args.sizes.is_empty() { bench_volume::SIZES.to_vec() } else { args.sizes.clone() },
        rounds: args.rounds.unwrap_or(3),
        seconds: args.seconds.unwrap_or(2),
        connections: args.window.unwrap_or(64),
    };
    let (json, text, code) = sidecar_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(code)
}

/// Indices of made-up needles.
fn run_index(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan = index_bench::Plan { rounds: args.rounds.unwrap_or(1), needles: args.needles };
    let (json, text) = index_bench::run(&plan)?;
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(ExitCode::SUCCESS)
}

fn pretty(json: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(json)
}
