//! The program as its users run it: real files, real pipes, exit statuses. What the harness computes is tested there;
//! here it is what arrives outside, and where.

mod bench;
#[cfg(any(feature = "verbs", feature = "ucx"))]
mod devices;
mod doctor;
mod endings;
mod faults;
mod files;
mod iologs;
mod judge;
mod kit;
mod looking_on;
mod memory;
mod misses;
#[cfg(feature = "ucx")]
mod processes;
mod program;
mod recorded;
mod serving;
mod shipped;
mod shrink;
mod sim;
mod streams;
mod tomls;
mod usage;
mod volumes;
