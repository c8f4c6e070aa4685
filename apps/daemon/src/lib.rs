//! The engine as a process.
