//! What is wrong over shared memory, and known. Each is told with its cell, so that it is not forgotten; nothing else is forgiven.

/// Messages of all peers come through one queue in this side's memory (`uct_mm`). Whoever sends claims the next place, copies, and
/// then says that it is filled. Killed in between, it says so never, and nobody is heard any more.
pub(crate) const DEAF: &str =
    "the device is deaf: the victim was killed while it filled a place of its queue";

/// The same, as long as the victim is stopped.
pub(crate) const DEAF_MEANWHILE: &str =
    "the device was deaf until SIGCONT: the victim was stopped while it filled a place of its queue";
