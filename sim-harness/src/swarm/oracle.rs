//! What must be true of a run, whatever happens to it: each oracle watches one thing, knows nothing of the runner, and
//! answers in words when it is wrong.
//!
//! * [`slots`]: which generations a word of a region may be of, now or at any time of a READ.
//! * [`messages`]: what arrives, once, whole and in order.
//! * [`atomics`]: sums and chains that must come out.
//! * [`blame`]: which errors the faults so far explain.

pub mod atomics;
pub mod blame;
pub mod messages;
pub mod slots;

/// Who did something: one life of one end of a connection. What one of them does is done in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The connection.
    pub connection: u16,
    /// Its end.
    pub end: u8,
    /// How often it had been connected before.
    pub life: u32,
}
