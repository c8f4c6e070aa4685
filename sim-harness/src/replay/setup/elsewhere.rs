//! Workloads whose storage node is another process: which can be, and what they need of it.

use thiserror::Error;
use wavetank_contract::Mtu;
use wavetank_engine::bootstrap::Offer;

use super::uses::Uses;
use crate::peer::{Fill, Need, Wanted};
use crate::workload::{NodeId, Source, Workload};

/// A workload whose storage node cannot be another process.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: with the storage node in another process {why}")]
pub struct Unfit {
    /// The workload's file.
    pub path: String,
    /// Why not, and what would help.
    pub why: String,
}

/// Makes the node that posts the first one, the only one that is here, and answers what the workload needs of the other.
pub(super) fn fit(workload: &mut Workload, uses: &Uses) -> Result<Need, Unfit> {
    let path = workload.path.display().to_string();
    let (poster, target) = ends(workload, uses).map_err(|why| Unfit { path: path.clone(), why })?;
    let need = need(workload, uses, target).map_err(|why| Unfit { path, why })?;
    swap(workload, poster);
    Ok(need)
}

/// Who posts, and where to.
fn ends(workload: &Workload, uses: &Uses) -> Result<(NodeId, NodeId), String> {
    match &workload.source {
        Source::Volume { .. } => {
            return Err(
                "there is nobody to put a volume there: it fills its memory with pattern data; replay the \
                        volume in one process"
                    .to_owned(),
            );
        }
        Source::Run { .. } => {
            return Err("a recorded run is not issued again: replay it in one process".to_owned());
        }
        Source::Mix(_) | Source::Iolog { .. } => {}
    }
    let name = |node: &NodeId| workload.nodes.get(usize::from(node.0)).map_or("?", |node| &node.name);
    let mut pairs = uses.pairs.iter();
    let (Some(((poster, target), messages)), other) = (pairs.next(), pairs.next()) else {
        return Err("there have to be operations".to_owned());
    };
    if let Some(((from, to), _)) = other {
        return Err(format!(
            "one node posts and one is reached, and here {} works with {} and {} with {}: replay each in a process of \
             its own",
            name(poster),
            name(target),
            name(from),
            name(to)
        ));
    }
    if *messages {
        return Err("nobody is there to check messages: leave out send and write_imm".to_owned());
    }
    Ok((*poster, *target))
}

fn need(workload: &Workload, uses: &Uses, target: NodeId) -> Result<Need, String> {
    if let Some(region) = workload.regions.iter().find(|region| region.node != target) {
        return Err(format!("all regions are there, and region {:?} is of another node", region.name));
    }
    let (regions, regions_max) = (workload.regions.len(), Need::REGIONS_MAX);
    if regions > regions_max {
        return Err(format!(
            "there are at most {regions_max} regions (files of an iolog), and here {regions}"
        ));
    }
    let (pairs, pairs_max) = (workload.settings.queue_pairs, Offer::ENDPOINTS_MAX);
    if pairs as usize > pairs_max {
        return Err(format!("there are at most {pairs_max} queue pairs, and queue_pairs is {pairs}"));
    }
    let Some(mtu) = Mtu::from_bytes(workload.settings.mtu.into()) else {
        unreachable!("the workload's MTU was validated")
    };
    let wanted = |(id, region): (u32, &crate::workload::Region)| {
        let fill = if uses.atomic.contains(&id) { Fill::Zero } else { Fill::Pattern };
        Wanted { id, len_bytes: region.bytes, fill }
    };
    let regions = (0..).zip(&workload.regions).map(wanted).collect();
    Ok(Need { mtu, patience: workload.settings.patience, regions })
}

/// Lets a node change its number with the first one's.
fn swap(workload: &mut Workload, poster: NodeId) {
    let renamed = |node: NodeId| match node {
        NodeId(0) => poster,
        other if other == poster => NodeId(0),
        other => other,
    };
    workload.nodes.swap(0, usize::from(poster.0));
    workload.regions.iter_mut().for_each(|region| region.node = renamed(region.node));
    if let Source::Mix(mix) = &mut workload.source {
        mix.iter_mut().for_each(|op| (op.from, op.to) = (renamed(op.from), renamed(op.to)));
    }
}
