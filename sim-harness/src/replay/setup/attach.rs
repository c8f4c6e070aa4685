//! Setting a workload up whose storage node is another process: its memory and connections are had by the bootstrap.

use std::collections::BTreeMap;

use wavetank_contract::Instant;
use wavetank_contract::region::PAGE_BYTES;
use wavetank_engine::RdmaOps;
use wavetank_engine::bootstrap::{Bootstrap, Joined, Plan, join};
use wavetank_mock::Fabric;

use super::connect::{SEND_DEPTH, open};
use super::uses::Uses;
use super::{SetupError, Unfit, elsewhere, nodes};
use crate::atomic::Cells;
use crate::lab::RealTime;
use crate::peer::Need;
use crate::replay::Replay;
use crate::replay::connection::{Connection, Connections};
use crate::replay::place::{Contents, Home, Place};
use crate::trace::Trace;
use crate::version::Versions;
use crate::workload::{NodeId, Workload};
use crate::world::{Node, Waiting, World};

impl<C: RdmaOps> Replay<C> {
    /// Sets a workload up in real time whose storage node is the process at the other end of `bootstrap`, which has to be
    /// one that serves memory (see [`peer`](crate::peer)). The node that posts is over `context`.
    ///
    /// # Errors
    /// See [`SetupError`]; the other process gives back what it gave.
    pub async fn attach_on(
        mut workload: Workload,
        trace: Trace,
        waiting: Waiting,
        context: C,
        bootstrap: &mut dyn Bootstrap,
    ) -> Result<Replay<C>, SetupError> {
        workload.settings.deadline_ns.get_or_insert(waiting.deadline_ns);
        let clock = RealTime::start();
        let attached = Attached::new(workload, context, || clock.now(), bootstrap).await?;
        attached.replay(|nodes, seed| World::real(waiting, nodes, seed, trace))
    }

    /// The same in virtual time, over the first NIC of a network on which the other process, or what stands for it, has
    /// another.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn attach_with(
        workload: Workload,
        trace: Trace,
        fabric: Fabric,
        context: C,
        bootstrap: &mut dyn Bootstrap,
    ) -> Result<Replay<C>, SetupError> {
        let attached = Attached::new(workload, context, || fabric.now(), bootstrap).await?;
        attached.replay(|nodes, seed| World::simulated(fabric, nodes, seed, trace))
    }
}

/// A workload whose regions and connections are made.
struct Attached<C> {
    workload: Workload,
    uses: Uses,
    nodes: Vec<Node<C>>,
    places: Vec<Place>,
    connections: Connections,
}

impl<C: RdmaOps> Attached<C> {
    async fn new(
        mut workload: Workload,
        context: C,
        now: impl Fn() -> Instant,
        bootstrap: &mut dyn Bootstrap,
    ) -> Result<Attached<C>, SetupError> {
        let uses = Uses::of(&workload)?;
        let need = elsewhere::fit(&mut workload, &uses)?;
        // By their new numbers.
        let uses = Uses::of(&workload)?;
        let mut nodes = nodes(vec![context], &workload);
        let queue_pairs = workload.settings.queue_pairs;
        let cqs = vec![nodes[0].driver.context().open_cq(queue_pairs * SEND_DEPTH)?];
        let open = |_| open(&cqs, NodeId(0), SEND_DEPTH, 0, &workload, &mut nodes);
        let endpoints = (0..queue_pairs).map(open).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan { endpoints, shares: Vec::new(), blob: need.encode() };
        let joined = join(&mut nodes[0].driver, now, &plan, bootstrap).await?;
        let wholes = wholes(&workload, &need, &joined)?;
        let mut connections = Connections::default();
        connections.cqs = cqs;
        let connect = |(index, ep)| {
            let remotes = need.regions.iter().filter_map(|wanted| {
                let mut remote = joined.region(&wanted.name(), index)?;
                remote.len = wanted.len_bytes;
                Some((wanted.id, remote))
            });
            Connection::new((0, ep), None, remotes.collect::<BTreeMap<_, _>>())
        };
        let made = plan.endpoints.iter().copied().enumerate().map(connect).collect();
        let Some((from, to)) = uses.pairs.keys().next().copied() else { unreachable!("it was fitted") };
        connections.add(from, to, made);
        let places = places(&workload, &uses, &wholes);
        Ok(Attached { workload, uses, nodes, places, connections })
    }

    fn replay(self, world: impl FnOnce(Vec<Node<C>>, u64) -> World<C>) -> Result<Replay<C>, SetupError> {
        let Attached { workload, uses, nodes, places, connections } = self;
        let world = world(nodes, workload.settings.seed);
        let receives = vec![0; connections.len()];
        Replay::over(workload, &uses, world, places, connections, receives)
    }
}

/// How far each region may be reached: to the end of its last page, and no further.
fn wholes(workload: &Workload, need: &Need, joined: &Joined) -> Result<Vec<u64>, Unfit> {
    let whole = |wanted: &crate::peer::Wanted| {
        let asked = wanted.len_bytes.next_multiple_of(PAGE_BYTES);
        match joined.region(&wanted.name(), 0) {
            Some(remote) if remote.len == asked => Ok(asked),
            given => {
                let given = given.map_or("none".to_owned(), |remote| format!("{} bytes", remote.len));
                let why = format!("{asked} bytes of {:?} were asked for, and {given} given", wanted.name());
                Err(Unfit { path: workload.path.display().to_string(), why })
            }
        }
    };
    need.regions.iter().map(whole).collect()
}

fn places(workload: &Workload, uses: &Uses, wholes: &[u64]) -> Vec<Place> {
    let place = |((id, region), whole_bytes): ((u32, &crate::workload::Region), &u64)| {
        let contents = match uses.atomic.contains(&id) {
            true => Contents::Cells(Cells::default()),
            false => Contents::Pattern(Versions::new(region.bytes, uses.written.contains(&id))),
        };
        let home = Home::Elsewhere { whole_bytes: *whole_bytes };
        Place { name: region.name.clone(), id, len: region.bytes, home, contents }
    };
    (0..).zip(&workload.regions).zip(wholes).map(place).collect()
}
