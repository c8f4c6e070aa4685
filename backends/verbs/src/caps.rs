//! What a device promises: what it says of itself, cut down to what was tried and what names can hold.

use std::rc::Rc;

use wavetank_contract::Caps;
use wavetank_contract::region::REGION_BYTES_MAX;

use crate::endpoint::NAMED_MAX;
use crate::memory::SLOTS_MAX;
use crate::sys::{CompChannel, Context, Cq, DeviceInfo, Pd, PortInfo, Qp, QpSpec};

/// Pieces promised at most: a device's own limit is for its shallowest queues, and every piece is paid for in each slot of a
/// queue, used or not.
const SGE_MAX: u32 = 16;

/// Depth promised at most: a queue is memory, and soft devices name depths that no machine has memory for.
const QUEUE_DEPTH_MAX: u32 = 16_384;

/// Inline bytes to try, best first. What a device takes is known only when it makes a queue pair.
const INLINE_BYTES: [u32; 11] = [512, 256, 220, 192, 128, 96, 80, 64, 32, 16, 0];

/// What a queue pair of this device can be, by trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) sge_max: u32,
    pub(crate) depth_max: u32,
    pub(crate) inline_bytes_max: u32,
    pub(crate) writes_in_order: bool,
}

/// Makes queue pairs until one of the promised size can be had.
///
/// # Errors
/// The answer to the smallest one, when not even that can be had.
pub(crate) fn try_queue_pair(context: &Rc<Context>, info: &DeviceInfo) -> Result<Trial, i32> {
    let pd = Pd::new(context)?;
    let channel = CompChannel::new(context)?;
    let cq = Cq::new(&channel, 16, 0)?;
    // A READ may be allowed fewer pieces than others. What is promised holds for every work.
    let sge_max = [info.max_sge, info.max_sge_rd, SGE_MAX].into_iter().filter(|n| *n > 0).min().unwrap_or(1);
    let make = |depth, inline_bytes| {
        let spec = QpSpec {
            send_cq: &cq,
            recv_cq: &cq,
            srq: None,
            send_depth: depth,
            recv_depth: depth,
            sges: sge_max,
            inline_bytes,
            token: 0,
        };
        Qp::new(&pd, &spec)
    };
    let mut refusal = libc::EINVAL;
    for inline_bytes in INLINE_BYTES {
        match make(1, inline_bytes) {
            Err(errno) => refusal = errno,
            Ok(qp) => {
                let writes_in_order = qp.writes_in_order();
                drop(qp);
                let mut depth = info.max_qp_wr.clamp(1, QUEUE_DEPTH_MAX);
                while depth > 1 && make(depth, inline_bytes).is_err() {
                    depth /= 2;
                }
                return Ok(Trial {
                    sge_max,
                    depth_max: depth,
                    inline_bytes_max: inline_bytes,
                    writes_in_order,
                });
            }
        }
    }
    Err(refusal)
}

/// The promises.
pub(crate) fn caps(name: &str, iwarp: bool, info: &DeviceInfo, port: &PortInfo, trial: &Trial) -> Caps {
    let rd_atomic =
        info.max_rd_atom.min(if info.max_init_rd_atom == 0 { u32::MAX } else { info.max_init_rd_atom });
    // The first receive of an iWARP endpoint is ours (`cm.rs`), which a shared queue cannot promise.
    let shared_receives = info.max_srq > 0 && info.max_srq_sge >= trial.sge_max && !iwarp;
    // There, each send may take a READ beside it (`doorbell.rs`), and one more greets the peer.
    let queue_depth_max =
        if iwarp { (trial.depth_max.saturating_sub(1) / 2).max(1) } else { trial.depth_max };
    Caps {
        name: format!("verbs/{name}"),
        simulated: false,
        queue_depth_max,
        cq_depth_max: info.max_cqe,
        cq_max: info.max_cq,
        endpoint_max: info.max_qp.min(NAMED_MAX),
        region_max: info.max_mr.min(SLOTS_MAX),
        region_bytes_max: info.max_mr_size.min(REGION_BYTES_MAX),
        message_bytes_max: port.max_message_bytes.min(1 << 30),
        sge_max: trial.sge_max,
        inline_bytes_max: trial.inline_bytes_max,
        rd_atomic_max: u8::try_from(rd_atomic).unwrap_or(u8::MAX),
        shared_receive_depth_max: if shared_receives { info.max_srq_wr.min(QUEUE_DEPTH_MAX) } else { 0 },
        immediate: !iwarp,
        atomics: info.atomics,
        memory_windows: false,
        data_in_order: trial.writes_in_order,
        one_sided: true,
        qp_states: !iwarp,
        async_events: true,
        peer_close_event: false,
    }
}
