//! What needs a real device: two of them, named in WAVETANK_DEVICES (`rxe0,rxe1`), that reach each other.
//!
//! Ignored unless asked for: `WAVETANK_DEVICES=rxe0,rxe1 cargo test -p wavetank-verbs --test device -- --ignored --test-threads=1`.
//!
//! A test takes a link down and up again. Where routes or neighbours were laid out by hand, which go with the link, a shell
//! command in WAVETANK_RESTORE puts them back.

mod data;
mod errors;
mod events;
mod handshake;
mod lab;
mod memory;
mod queues;
mod shared;
mod states;
mod wake;
