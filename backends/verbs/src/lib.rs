//! RDMA devices through libibverbs and librdmacm.
//!
//! [`VerbsDevice`] keeps the promises of [`wavetank_contract::Backend`] on InfiniBand, RoCE and iWARP devices. The C libraries
//! are loaded when a device is opened: a program with this crate in it starts on any machine, and says what is missing.
//! [`doctor::examine`] says it of everything at once.
//!
//! ```no_run
//! use wavetank_contract::Backend;
//! use wavetank_verbs::{VerbsConfig, VerbsDevice};
//!
//! let device = VerbsDevice::open(&VerbsConfig::new("rxe0"))?;
//! println!("{:#?}", device.caps());
//! # Ok::<(), wavetank_verbs::DeviceError>(())
//! ```
//!
//! # Supported
//! * Reliable-connected queue pairs with every operation of the contract, shared completion and receive queues, states,
//!   asynchronous events, sleeping on one descriptor.
//! * RoCE v2 and v1 by GID, InfiniBand by LID or GID. On InfiniBand no path is asked of a subnet manager: both ends are in one
//!   subnet and partition, with the service level of [`VerbsConfig`].
//! * iWARP by librdmacm, where an endpoint is ready some polls after it was connected (`cm.rs`), and where a send that
//!   completes has arrived, which iWARP itself does not promise (`doorbell.rs`).
//!
//! # What devices do otherwise than the contract wishes
//! * `retry_cnt` 7 never gives up on rxe (rxe_comp.c: it is not counted down). Ask for 6 at most.
//! * rxe tells WR_FLUSH_ERR of a work whose own memory it could not read (rxe_comp.c, flush_send_queue), and REM_OP_ERR and
//!   LOC_QP_OP_ERR of a message longer than its receive (rxe_resp.c, send_data_in).
//! * rxe and its kind refuse a misaligned atomic at the doorbell, adapters let the peer refuse it.
//! * iWARP tells the caller of a refused request WR_FLUSH_ERR whatever the reason, ends the connection when a message meets no
//!   receive, and takes its patience from TCP: `timeout`, `retry_cnt`, `rnr_retry`, `min_rnr_timer` and `mtu` mean nothing
//!   there. Its queue pairs allow READs always, and siw's allow everything: rights are those of regions.
//! * A completion queue that overruns on rxe loses completions without an end; this crate then ends its endpoints, as adapters do.
//!
//! Comments that name a file of the kernel mean version 6.12, of a provider rdma-core 44.

mod address;
mod caps;
mod cm;
mod device;
pub mod doctor;
mod doorbell;
mod endpoint;
mod error;
mod event;
mod gid;
mod handshake;
mod kernel;
mod memory;
mod notifier;
mod opening;
mod queue;
mod shared;
mod status;
mod sys;

pub use device::VerbsDevice;
pub use error::DeviceError;
pub use gid::{Gid, GidChoice, GidEntry, GidKind, GidVerdict};
pub use opening::VerbsConfig;
