//! Reads needles through an engine on the same machine, without a copy.
//!
//! [`Client`] is for tokio, on any of its runtimes; [`blocking::Client`] is for threads. Both speak the engine's own protocol over
//! its Unix socket, and use a ring in shared memory where they are asked to. What is read is a [`Lent`]: bytes in the engine's
//! arena, which go back when it is dropped.
//!
//! ```no_run
//! use wavetank_client::{Options, Wanted, blocking};
//!
//! let mut client = blocking::Client::connect(wavetank_client::SOCKET_PATH, &Options::default())?;
//! let wanted = Wanted { volume: 3, needle: 0x1637_037d, cookie: 0x6dea_dbee, ..Wanted::default() };
//! let lent = client.read(&wanted)?;
//! assert_eq!(lent.as_ref().len() as u64, lent.found().len);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod blocking;
mod client;
mod error;
mod lent;
mod link;
mod options;
pub mod seaweed;
mod time;
mod wire;

pub use client::Client;
pub use error::{ConnectError, ReadError, Refusal};
pub use lent::Lent;
pub use options::Options;
pub use wavetank_ipc::native::Welcome;
pub use wavetank_ipc::{Code, Details, Found, ReadPath, SOCKET_PATH, Wanted};
