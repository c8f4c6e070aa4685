//! Faults: as text, as schedules, and when they come.

mod all;
mod injector;
mod schedule;
mod text;
