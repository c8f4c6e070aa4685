//! Causes on the simulated network.

use wavetank_mock::Fabric;

use crate::lab::{Cause, DeviceFault, LinkFault, Skip};

/// Lets a cause come about on a fabric, whose nodes it names.
///
/// # Errors
/// What is not the network's to do: hosts and memory belong to whoever runs them.
pub fn inject(fabric: &mut Fabric, cause: Cause) -> Result<(), Skip> {
    match cause {
        Cause::Link { from, to, fault } => disturb(fabric, from, to, fault),
        Cause::Mend { from, to } => fabric.mend(from, to),
        Cause::Device { node, fault } => match fault {
            DeviceFault::PortDown => fabric.set_port(node, false),
            DeviceFault::PortUp => fabric.set_port(node, true),
            DeviceFault::Remove => fabric.remove_device(node),
            DeviceFault::ChangeGid => fabric.change_gid(node),
            DeviceFault::LoseNotification => fabric.lose_notification(node),
            DeviceFault::FailRegistration { nth } => fabric.fail_registration(node, nth),
            DeviceFault::PlaceOutOfOrder => fabric.place_out_of_order(node, true),
            DeviceFault::ShuffleCompletions => fabric.shuffle_completions(node, true),
            DeviceFault::Pause { ns } => fabric.pause_port(node, ns),
            DeviceFault::ShallowBuffer { bytes } => fabric.shallow_buffer(node, Some(bytes)),
            DeviceFault::MarkCongestion => fabric.mark_congestion(node, true),
        },
        Cause::Host { .. } => {
            return Err(Skip("a network has no hosts: whoever runs them does this".to_owned()));
        }
        Cause::Memory { .. } => {
            return Err(Skip("a network owns no memory: whoever registered it does this".to_owned()));
        }
    }
    Ok(())
}

fn disturb(fabric: &mut Fabric, from: u16, to: u16, fault: LinkFault) {
    let link = fabric.link(from, to);
    match fault {
        LinkFault::Cut => link.loss_one_in = 1,
        LinkFault::LoseNth { nth } => link.lose_after = Some(nth),
        LinkFault::LoseOneIn { n, burst } => (link.loss_one_in, link.loss_burst) = (n.into(), burst),
        LinkFault::DuplicateOneIn { n } => link.duplicate_one_in = n.into(),
        LinkFault::ReorderOneIn { n, by_ns } => (link.reorder_one_in, link.reorder_ns) = (n.into(), by_ns),
        LinkFault::Delay { ns } => link.delay_ns = ns,
        LinkFault::CorruptOneIn { n } => link.corrupt_one_in = n.into(),
        LinkFault::TruncateOneIn { n } => link.truncate_one_in = n.into(),
        LinkFault::Throttle { percent } => link.bandwidth_percent = percent,
    }
}
