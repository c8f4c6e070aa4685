//! What the reader promises, held against volumes written here and against real ones.
#![allow(clippy::unwrap_used)]

mod arbitrary;
mod damage;
mod disk;
mod index;
mod real;
mod round_trip;
mod rules;
mod sample;
mod writing;
