//! A small network with memory whose every byte is accounted for: what no test announced must not change.

use wavetank_contract::error::PostError;
use wavetank_contract::*;
use wavetank_mock::{Fabric, MockNic, Opcode, Profile, Step, StepKind};

/// Bytes of each node's main region.
pub(crate) const MEM: usize = 1 << 18;

pub(crate) struct Node {
    pub(crate) nic: MockNic,
    pub(crate) cq: CqId,
    pub(crate) mem: Region,
    pub(crate) mr: MrId,
    pub(crate) remote: RemoteRegion,
    /// What `mem` must hold.
    shadow: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) ep: EpId,
}

pub(crate) struct Lab {
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<Node>,
    pub(crate) chance: Box<dyn Choices>,
    pub(crate) steps: Vec<Step>,
}

/// What extra regions are filled with.
pub(crate) const FILL: u8 = 0x5a;

/// A region besides the main one.
pub(crate) struct Extra {
    pub(crate) mem: Region,
    pub(crate) mr: MrId,
    to: Option<RemoteAddr>,
}

impl Extra {
    /// Where it is for peers.
    pub(crate) fn to(&self) -> RemoteAddr {
        self.to.unwrap()
    }

    pub(crate) fn untouched(&self) -> bool {
        let len = self.mem.len() as usize;
        self.mem.cells(0, len).iter().all(|c| c.get() == FILL)
    }
}

/// The byte a node's memory begins with at this offset: different at each node and hardly ever repeating.
pub(crate) fn original(node: usize, offset: usize) -> u8 {
    wavetank_contract::chance::mix64((node << 32 | offset) as u64 | 1 << 50) as u8
}

/// Bytes that no node's memory begins with.
pub(crate) fn fresh(tag: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| wavetank_contract::chance::mix64(tag << 40 | i) as u8).collect()
}

impl Lab {
    pub(crate) fn new(nodes: usize) -> Lab {
        Lab::of(nodes, Profile::IDEAL, Quiet)
    }

    pub(crate) fn of(nodes: usize, profile: Profile, chance: impl Choices + 'static) -> Lab {
        let mut fabric = Fabric::new(profile);
        let nodes = (0..nodes)
            .map(|node| {
                let mut nic = fabric.add_node();
                let mem = nic.allocate(&RegionSpec::new(MEM as u64)).unwrap();
                let shadow: Vec<u8> = (0..MEM).map(|i| original(node, i)).collect();
                mem.write(0, &shadow);
                let mr = nic.register(&mem, PdId(0), Access::ALL).unwrap();
                let cq = nic.open_cq(4096).unwrap();
                let key = nic.export(mr).unwrap();
                let remote = nic.import(EpId(0), &key).unwrap();
                Node { nic, cq, mem, mr, remote, shadow }
            })
            .collect();
        Lab { fabric, nodes, chance: Box::new(chance), steps: Vec::new() }
    }

    /// Another region of a node, filled with a byte.
    pub(crate) fn extra(&mut self, node: usize, len: u64, pd: u16, access: Access) -> Extra {
        let nic = &mut self.nodes[node].nic;
        let mem = nic.allocate(&RegionSpec::new(len)).unwrap();
        mem.write(0, &vec![FILL; mem.len() as usize]);
        let mr = nic.register(&mem, PdId(pd), access).unwrap();
        let remote = nic.export(mr).ok().map(|key| nic.import(EpId(0), &key).unwrap());
        let to = remote.and_then(|r| r.at(0, 0));
        Extra { mem, mr, to }
    }

    pub(crate) fn spec(&self, node: usize) -> EndpointSpec {
        EndpointSpec::new(self.nodes[node].cq)
    }

    pub(crate) fn open(&mut self, node: usize, spec: &EndpointSpec) -> End {
        let ep = self.nodes[node].nic.open(spec).unwrap();
        End { node, ep }
    }

    pub(crate) fn nic(&mut self, end: End) -> &mut MockNic {
        &mut self.nodes[end.node].nic
    }

    pub(crate) fn connect(&mut self, a: End, b: End) {
        let (to_a, to_b) = (self.nic(a).address(a.ep).unwrap(), self.nic(b).address(b.ep).unwrap());
        self.nic(a).connect(a.ep, &to_b).unwrap();
        self.nic(b).connect(b.ep, &to_a).unwrap();
    }

    pub(crate) fn pair(&mut self, a: usize, b: usize) -> (End, End) {
        self.pair_with(a, b, |_| {}, |_| {})
    }

    pub(crate) fn pair_with(
        &mut self,
        a: usize,
        b: usize,
        tune_a: impl FnOnce(&mut EndpointSpec),
        tune_b: impl FnOnce(&mut EndpointSpec),
    ) -> (End, End) {
        let (mut spec_a, mut spec_b) = (self.spec(a), self.spec(b));
        tune_a(&mut spec_a);
        tune_b(&mut spec_b);
        let (a, b) = (self.open(a, &spec_a), self.open(b, &spec_b));
        self.connect(a, b);
        (a, b)
    }

    /// An address in a node's main region.
    pub(crate) fn at(&self, node: usize, offset: u64) -> RemoteAddr {
        let RemoteRegion { rkey, addr, .. } = self.nodes[node].remote;
        RemoteAddr { rkey, addr: addr.wrapping_add(offset) }
    }

    pub(crate) fn piece(&self, node: usize, offset: u64, len: u32) -> Sge {
        let mr = self.nodes[node].mr;
        Sge { mr, len, offset }
    }

    /// The owner writes its own memory.
    pub(crate) fn put(&mut self, node: usize, offset: usize, bytes: &[u8]) {
        self.nodes[node].mem.write(offset as u64, bytes);
        self.expect(node, offset, bytes);
    }

    /// From now on memory must hold these bytes there.
    pub(crate) fn expect(&mut self, node: usize, offset: usize, bytes: &[u8]) {
        self.nodes[node].shadow[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// From now on a node's memory must hold what another part of some node's memory does.
    pub(crate) fn expect_copy(
        &mut self,
        from: usize,
        from_offset: usize,
        to: usize,
        to_offset: usize,
        len: usize,
    ) {
        let bytes = self.nodes[from].shadow[from_offset..from_offset + len].to_vec();
        self.expect(to, to_offset, &bytes);
    }

    pub(crate) fn get(&self, node: usize, offset: usize, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.nodes[node].mem.read(offset as u64, &mut out);
        out
    }

    pub(crate) fn word(&self, node: usize, offset: u64) -> u64 {
        self.nodes[node].mem.word(offset).get()
    }

    /// Every byte of every main region is what was announced.
    #[track_caller]
    pub(crate) fn check(&self) {
        for (node, n) in self.nodes.iter().enumerate() {
            let now = self.get(node, 0, MEM);
            if let Some(i) = now.iter().zip(&n.shadow).position(|(a, b)| a != b) {
                panic!("byte {i} of node {node} is {:#04x} and should be {:#04x}", now[i], n.shadow[i]);
            }
        }
    }

    pub(crate) fn post(&mut self, end: End, work: &W) -> Result<(), PostError> {
        let data = match &work.inline {
            Some(bytes) => Data::Inline(bytes),
            None => Data::Pieces(&work.pieces),
        };
        let work =
            Work { id: WorkId(work.id), op: work.op, data, signalled: work.signalled, fence: work.fence };
        self.nic(end).post(end.ep, &work)
    }

    /// Posts works and rings.
    #[track_caller]
    pub(crate) fn go(&mut self, end: End, works: &[W]) {
        for work in works {
            self.post(end, work).unwrap();
        }
        self.nic(end).ring(end.ep).expect("the simulated NIC takes what it posted");
    }

    /// Runs until nothing is scheduled.
    pub(crate) fn run(&mut self) {
        while let Some(step) = self.fabric.step(&mut *self.chance) {
            self.steps.push(step);
            assert!(self.steps.len() < 2_000_000, "it never ends");
        }
    }

    /// Runs until a step of this kind was taken.
    #[track_caller]
    pub(crate) fn run_to(&mut self, kind: StepKind) -> Step {
        loop {
            let step = self.fabric.step(&mut *self.chance).expect("it never happened");
            self.steps.push(step);
            if step.kind == kind {
                return step;
            }
        }
    }

    /// Runs up to a point in time.
    pub(crate) fn run_until(&mut self, limit: Instant) {
        while let Some(step) = self.fabric.step_until(limit, &mut *self.chance) {
            self.steps.push(step);
        }
        self.fabric.advance_to(limit);
    }

    pub(crate) fn poll(&mut self, node: usize) -> Vec<Completion> {
        let cq = self.nodes[node].cq;
        self.poll_cq(node, cq)
    }

    pub(crate) fn poll_cq(&mut self, node: usize, cq: CqId) -> Vec<Completion> {
        let mut out = Completions::with_capacity(100_000);
        self.nodes[node].nic.poll(cq, &mut out);
        out.as_slice().to_vec()
    }

    /// Ids and statuses of what a node's queue holds.
    pub(crate) fn ends(&mut self, node: usize) -> Vec<(u64, Status)> {
        self.poll(node).iter().map(|c| (c.id.0, c.status)).collect()
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<AsyncEvent> {
        std::iter::from_fn(|| self.nodes[node].nic.poll_event()).collect()
    }

    pub(crate) fn state(&self, end: End) -> QpState {
        self.nodes[end.node].nic.state(end.ep).unwrap()
    }

    /// How many steps of this kind were taken.
    pub(crate) fn count(&self, kind: StepKind) -> usize {
        self.steps.iter().filter(|s| s.kind == kind).count()
    }

    /// When the steps of this kind were taken.
    pub(crate) fn times(&self, kind: StepKind) -> Vec<u64> {
        let of_kind = self.steps.iter().filter(|s| s.kind == kind);
        of_kind.map(|s| s.at.0).collect()
    }

    pub(crate) fn delivered(&self, opcode: Opcode) -> usize {
        self.count(StepKind::Delivered(opcode))
    }
}

/// All works of a list ended well, in this order.
#[track_caller]
pub(crate) fn assert_good(ends: &[(u64, Status)], ids: impl IntoIterator<Item = u64>) {
    let expected: Vec<_> = ids.into_iter().map(|id| (id, Status::Success)).collect();
    assert_eq!(ends, expected);
}

/// A work that owns what it needs.
#[derive(Clone, Debug)]
pub(crate) struct W {
    pub(crate) id: u64,
    pub(crate) op: Op,
    pub(crate) pieces: Vec<Sge>,
    pub(crate) inline: Option<Vec<u8>>,
    pub(crate) signalled: bool,
    pub(crate) fence: bool,
}

impl W {
    pub(crate) fn of(id: u64, op: Op, pieces: &[Sge]) -> W {
        W { id, op, pieces: pieces.to_vec(), inline: None, signalled: true, fence: false }
    }

    pub(crate) fn silent(mut self) -> W {
        self.signalled = false;
        self
    }

    pub(crate) fn fenced(mut self) -> W {
        self.fence = true;
        self
    }

    pub(crate) fn inline(mut self, bytes: &[u8]) -> W {
        self.inline = Some(bytes.to_vec());
        self
    }

    pub(crate) fn imm(mut self, value: u32) -> W {
        match &mut self.op {
            Op::Send { imm } | Op::Write { imm, .. } => *imm = Some(value),
            _ => panic!("no immediate"),
        }
        self
    }
}

pub(crate) fn recv(id: u64, pieces: &[Sge]) -> W {
    W::of(id, Op::Recv, pieces)
}

pub(crate) fn send(id: u64, pieces: &[Sge]) -> W {
    W::of(id, Op::Send { imm: None }, pieces)
}

pub(crate) fn write(id: u64, pieces: &[Sge], remote: RemoteAddr) -> W {
    W::of(id, Op::Write { remote, imm: None }, pieces)
}

pub(crate) fn read(id: u64, pieces: &[Sge], remote: RemoteAddr) -> W {
    W::of(id, Op::Read { remote }, pieces)
}

pub(crate) fn swap(id: u64, piece: Sge, remote: RemoteAddr, compare: u64, swap: u64) -> W {
    let op = Op::CompareSwap { remote, compare, swap };
    W::of(id, op, &[piece])
}

pub(crate) fn add(id: u64, piece: Sge, remote: RemoteAddr, add: u64) -> W {
    W::of(id, Op::FetchAdd { remote, add }, &[piece])
}
