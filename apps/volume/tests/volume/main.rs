//! What the reader promises, held against volumes written here and against real ones.
#![allow(clippy::unwrap_used)]

mod arbitrary;
mod coded;
mod damage;
mod disk;
mod hostile;
mod index;
mod live;
mod model;
mod reading;
mod real;
mod round_trip;
mod rules;
mod sample;
mod store;
mod width;
mod writing;
