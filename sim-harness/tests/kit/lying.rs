//! Devices that lie, and a lab of them.

mod device;
mod lab;
mod liar;
mod lie;
mod posting;
mod telling;

pub(crate) use device::Lying;
pub(crate) use lab::LyingLab;
pub(crate) use lie::Lie;
