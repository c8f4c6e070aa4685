//! Swarm runs as files, made small, and enumerated: what is written is read, and whatever else is read is refused by file and
//! line; a planted bug becomes a file of a few lines.

mod exhaustive;
mod files;
mod plans;
mod planted;
