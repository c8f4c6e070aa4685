//! The no-hang matrix: every step of the protocol, and everything that may befall a side at it.
#![allow(clippy::unwrap_used)]

mod cell;
mod net;
mod scenario;
mod table;
