//! The out-of-band exchange: machines fed with anything, streams on paused time, real TCP on loopback, and queue pairs that
//! are connected through it.
#![allow(clippy::unwrap_used)]

mod codec;
mod cuts;
mod join;
mod listener;
mod machines;
mod order;
mod shy;
mod sides;
mod slow;
mod stream;
mod tcp;
