//! The survivor: one device for all cells of a group, a bystander whose connection must not suffer, and the next victim.

use wavetank_contract::{Access, EndpointAddress, EpId, Op, QpState, RemoteKey, RemoteRegion};
use wavetank_engine::RdmaOps as _;
use wavetank_engine::memory::Arena;
use wavetank_engine::session::SessionKey;

use crate::clock::{MS, now};
use crate::node::{Device, LIMIT_NS, Node, Patience, Try, hex, unhex};
use crate::pattern;
use crate::peer::Peer;

/// For the bytes that are moved to see whether a connection works.
const TRIED_NS: u64 = 3_000 * MS;

/// Bytes that are moved to see whether a connection works.
const TRIED_BYTES: u64 = 1 << 16;

/// A connection to a victim.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ep: EpId,
    pub(crate) session: SessionKey,
    /// The endpoint at the other end, by the victim's number, and its address.
    pub(crate) theirs: u32,
    pub(crate) address: EndpointAddress,
}

/// Memory of a victim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) index: u64,
    pub(crate) seed: u64,
    pub(crate) remote: RemoteRegion,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) device: Device,
    pub(crate) node: Node,
    arena: Arena,
    bystander: Peer,
    beside: Link,
    shared: Share,
    next: Option<Peer>,
    seed: u64,
}

impl Lab {
    pub(crate) fn open(device: &Device) -> Try<Lab> {
        let mut node = Node::open(device)?;
        let memory = node.memory(true, 4 * TRIED_BYTES, Access::LOCAL)?;
        let arena = Arena::new(memory.region, memory.mr)?;
        let mut bystander = Peer::start(device)?;
        let beside = connect(&mut node, &mut bystander, Patience::Long)?;
        let shared = share(&mut node, &mut bystander, &beside, "heap", TRIED_BYTES, 1)?;
        let device = device.clone();
        Ok(Lab { device, node, arena, bystander, beside, shared, next: None, seed: 100 })
    }

    /// A pattern that memory had never before.
    pub(crate) fn seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// A process to be killed.
    pub(crate) fn victim(&mut self) -> Try<Peer> {
        self.next.take().map_or_else(|| Peer::start(&self.device), Ok)
    }

    /// The connection to the bystander works.
    pub(crate) fn try_bystander(&mut self) -> Try<()> {
        let seed = self.seed();
        let (link, share) = (self.beside.clone(), self.shared);
        try_out(&mut self.node, &mut self.arena, &mut self.bystander, &link, share, seed)
            .map_err(|why| format!("the connection to the bystander: {why}").into())
    }

    /// The connection to the bystander is closed.
    pub(crate) fn leave_bystander(&mut self) -> Try<()> {
        Ok(self.node.driver.close_session(self.beside.session, now())?)
    }

    /// The device takes a new peer in, and moves bytes. The peer is the next victim.
    pub(crate) fn try_fresh(&mut self) -> Try<()> {
        let seed = self.seed();
        let mut peer = Peer::start(&self.device)?;
        let tried = (|| -> Try<()> {
            let link = connect(&mut self.node, &mut peer, Patience::Long)?;
            for kind in ["alloc", "heap"] {
                let share = share(&mut self.node, &mut peer, &link, kind, TRIED_BYTES, seed)?;
                try_out(&mut self.node, &mut self.arena, &mut peer, &link, share, seed)?;
            }
            self.node.driver.close_session(link.session, now())?;
            peer.ask(&format!("close {}", link.theirs))?;
            Ok(())
        })();
        tried.map_err(|why| format!("a fresh peer: {why}"))?;
        self.next = Some(peer);
        Ok(())
    }
}

/// Opens an endpoint here and one there, and connects neither.
pub(crate) fn introduce(node: &mut Node, peer: &mut Peer, patience: Patience, depth: u32) -> Try<Link> {
    let ep = node.endpoint(patience, depth)?;
    let session = node.session(ep)?;
    let answer = peer.ask(&format!("open long {depth}"))?;
    let (theirs, address) = answer.split_once(' ').ok_or("no endpoint")?;
    let address = EndpointAddress::from_bytes(&unhex(address)?).ok_or("a long address")?;
    Ok(Link { ep, session, theirs: theirs.parse()?, address })
}

/// The line that makes a victim connect its end.
pub(crate) fn connect_line(node: &mut Node, link: &Link) -> Try<String> {
    Ok(format!("connect {} {}", link.theirs, hex(node.address(link.ep)?.as_bytes())))
}

/// Connects two introduced ends.
pub(crate) fn join(node: &mut Node, peer: &mut Peer, link: &Link) -> Try<()> {
    peer.tell(&connect_line(node, link)?)?;
    node.driver.context().connect(link.ep, &link.address)?;
    if !node.run(LIMIT_NS, |node| node.state(link.ep) != Some(QpState::Init)) {
        return Err("nobody is connected, and nobody gave up".into());
    }
    match node.state(link.ep) {
        Some(QpState::Rts) => peer.ask(&format!("ready {}", link.theirs)).map(drop),
        state => Err(format!("the endpoint is not connected, but {state:?}").into()),
    }
}

pub(crate) fn connect(node: &mut Node, peer: &mut Peer, patience: Patience) -> Try<Link> {
    let link = introduce(node, peer, patience, 128)?;
    join(node, peer, &link)?;
    Ok(link)
}

/// Memory of a victim, filled with a pattern.
pub(crate) fn share(
    node: &mut Node,
    peer: &mut Peer,
    link: &Link,
    kind: &str,
    bytes: u64,
    seed: u64,
) -> Try<Share> {
    let answer = peer.ask(&format!("share {kind} {bytes} {seed}"))?;
    let (index, key) = answer.split_once(' ').ok_or("no key")?;
    Ok(Share { index: index.parse()?, seed, remote: import(node, link, key)? })
}

/// Memory of a victim by its key, as text.
pub(crate) fn import(node: &mut Node, link: &Link, key: &str) -> Try<RemoteRegion> {
    let key = RemoteKey::from_bytes(&unhex(key)?).ok_or("a long key")?;
    Ok(node.driver.context().import(link.ep, &key)?)
}

/// Writes, reads back, and sends: every byte is compared, by both sides.
fn try_out(
    node: &mut Node,
    arena: &mut Arena,
    peer: &mut Peer,
    link: &Link,
    share: Share,
    seed: u64,
) -> Try<()> {
    peer.ask(&format!("receive {} 1 {TRIED_BYTES}", link.theirs))?;
    let remote = share.remote.at(0, TRIED_BYTES).ok_or("a short region")?;
    for op in [Op::Write { remote, imm: None }, Op::Read { remote }, Op::Send { imm: None }] {
        let lease = arena.acquire(TRIED_BYTES)?;
        // What a READ brings is there only if it brings it.
        let filled = if matches!(op, Op::Read { .. }) { seed + 1_000_000 } else { seed };
        pattern::fill(lease.region(), lease.offset(), TRIED_BYTES, filled, 0);
        let lease = (lease, arena.mr());
        let tag = node.submit((link.ep, Some(link.session)), op, lease, now() + TRIED_NS)?;
        let finished = node.end_of(tag)?;
        finished.result?;
        let lease = finished.lease.ok_or("the device keeps the lease")?;
        pattern::check(lease.region(), lease.offset(), TRIED_BYTES, seed, 0)?;
    }
    peer.ask(&format!("check {} {seed} 0 {TRIED_BYTES}", share.index)).map(drop)
}
