//! Whole replays: honest devices pass every check, and for each check there is a device that lies and is caught.
#![allow(clippy::unwrap_used)]

mod atomics;
mod completions;
mod data;
mod determinism;
mod expectations;
mod faults;
mod lying;
mod messages;
mod needles;
mod overlaps;
mod physics;
mod progress;
mod real;
mod regions;
mod returns;
mod support;
