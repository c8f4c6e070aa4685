//! What the simulated NIC promises: about what a ConnectX-6 does, kept small enough that tests can reach each limit.

use wavetank_contract::Caps;

use crate::profile::Profile;

/// Local pieces of one work.
pub(crate) const SGE_MAX: u32 = 16;

/// The promises under a latency profile.
pub fn caps(profile: &Profile) -> Caps {
    Caps {
        name: format!("mock/{}", profile.name),
        simulated: true,
        queue_depth_max: 32_768,
        cq_depth_max: 4_194_303,
        cq_max: 65_536,
        endpoint_max: 131_072,
        region_max: 65_536,
        region_bytes_max: 1 << 40,
        message_bytes_max: 1 << 30,
        sge_max: SGE_MAX,
        inline_bytes_max: 220,
        rd_atomic_max: 16,
        shared_receive_depth_max: 32_767,
        immediate: true,
        atomics: true,
        memory_windows: true,
        data_in_order: true,
        one_sided: true,
        qp_states: true,
        async_events: true,
        peer_close_event: false,
    }
}
