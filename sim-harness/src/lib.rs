//! The harness: replays workloads on the simulated network and checks every byte and latency.
//!
//! * [`workload`]: what is replayed: TOML files, fio iologs, SeaweedFS volumes.
//! * [`world`]: nodes and fabric, one clock, one source of chance.
//! * [`replay`]: feeds operations to the drivers and holds each one to what it must do.
//! * [`pattern`], [`version`], [`atomic`]: what must be found where, and whose wrong bytes are.
//! * [`kit`]: what every backend promises, tried on whatever a lab opens.
//! * [`lab`]: where devices are had and time passes, simulated or real.
//! * [`judge`]: programs run on two labs, and everything in which they differ.
//! * [`fault`]: what is done to a run and when; [`swarm`]: runs that a seed draws, faults and all.
//! * [`messenger`]: runs over messengers, drawn and disturbed likewise.
//! * [`check`], [`report`]: what failed, and what was measured.
//! * [`peer`]: a storage node that is another process.
//! * [`record`]: runs as text, to be kept, compared and run again.
//! * [`calibrate`]: profiles fitted to recorded runs.
//! * [`watch`]: who looks on at a run; [`pcap`]: its packets for Wireshark; [`explain`]: the story of one operation.
//! * [`trace`], [`determinism`]: everything that happened, as one number, and where two runs part.
//! * [`mod@bench`]: what it all costs.
//!
//! Simulated code here knows no wall clock and no entropy: whoever runs a replay measures its wall time.

pub mod atomic;
pub mod bench;
pub mod calibrate;
pub mod check;
pub mod determinism;
mod dice;
pub mod explain;
pub mod fault;
pub mod judge;
pub mod kit;
pub mod lab;
pub mod messenger;
pub mod pattern;
pub mod pcap;
pub mod peer;
pub mod record;
pub mod replay;
pub mod report;
pub mod swarm;
pub mod trace;
pub mod version;
pub mod watch;
pub mod workload;
pub mod world;

pub use check::{Check, Failure, Failures};
pub use replay::{Progress, Replay, SetupError};
pub use report::Report;
pub use trace::Trace;
pub use workload::{Workload, WorkloadError};
