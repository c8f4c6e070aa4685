//! Stories of operations: what touched them is told, what touched others is not.

mod replays;
mod swarms;
mod told;
