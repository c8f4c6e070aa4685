//! Ports: a node's connection to the network.

use wavetank_contract::Instant;

/// A node's connection to the network: sends and receives at the profile's bandwidth, both at once.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// When the last packet given to it has left.
    pub(crate) sends_free: Instant,
    /// When it has taken in the last packet it set time aside for.
    pub(crate) receives_free: Instant,
    /// An event is planned for when it can take more to send.
    pub(crate) waiting: bool,
}
