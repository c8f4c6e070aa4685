//! Faults on the wire, one at a time, under a stream of READs and WRITEs whose every byte is checked.
//!
//! The same stream runs on the simulated network, with every `cargo test`, and over two real devices whose cable `tc` and
//! `ip` disturb (`WAVETANK_DEVICES=rxe0,rxe1 WAVETANK_WIRE=va,vb`, as root; `cargo ci rxe` does it in a guest). What a
//! fault may do is bounded in both: it is recovered from with the right bytes, or it ends in the listed status; no
//! operation ever outlives its deadline.

#[cfg(feature = "verbs")]
#[path = "wire/cable.rs"]
mod cable;
#[cfg(feature = "verbs")]
#[path = "wire/device.rs"]
mod device;
#[path = "wire/mock.rs"]
mod mock;
#[cfg(feature = "verbs")]
#[path = "wire/peer.rs"]
mod peer;
#[path = "wire/stream.rs"]
mod stream;
