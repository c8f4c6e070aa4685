//! Conversations as machines: no socket, no clock, every deadline to the nanosecond.
#![allow(clippy::unwrap_used)]

mod hostile;
mod native;
mod random;
mod seaweed;
mod talk;
