//! Swarm runs as files: what is written is read, and whatever else is read is refused by file and line.

mod files;
mod plans;
