//! Two devices that reach each other, and waiting for what they say. Waits sleep in `poll(2)`: on soft devices a busy loop
//! starves the very worker it waits for.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Completion, Completions, CqId, Data, EndpointSpec, EpId, MrId, Op, PdId,
    Region, RegionSpec, RemoteAddr, RemoteRegion, Sge, Status, Wake, Work, WorkId,
};
use wavetank_verbs::{VerbsConfig, VerbsDevice};

/// Bytes of each side's region.
pub(crate) const REGION: u64 = 1 << 20;

/// How long a test waits for what has to come.
pub(crate) const PATIENCE_S: i64 = 20;

/// The two devices' names, or a word on stderr that nothing was tested.
pub(crate) fn devices() -> Option<(String, String)> {
    let named = std::env::var("WAVETANK_DEVICES").ok();
    let pair = named.as_deref().and_then(|n| n.split_once(','));
    if pair.is_none() {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        {
            eprintln!("SKIPPED: WAVETANK_DEVICES names no two devices, as in WAVETANK_DEVICES=rxe0,rxe1");
        }
    }
    pair.map(|(a, b)| (a.to_owned(), b.to_owned()))
}

/// One device with a queue, a region and what it said.
pub(crate) struct Side {
    pub(crate) dev: VerbsDevice,
    pub(crate) cq: CqId,
    pub(crate) ep: EpId,
    pub(crate) region: Region,
    pub(crate) mr: MrId,
    pub(crate) done: Vec<Completion>,
    pub(crate) events: Vec<AsyncEvent>,
    polled: Completions,
    next_id: u64,
}

impl Side {
    pub(crate) fn open(device: &str) -> Side {
        let dev = VerbsDevice::open(&VerbsConfig::new(device)).unwrap_or_else(|e| panic!("{e}"));
        Side::with(dev, 256, |_| {})
    }

    pub(crate) fn with(mut dev: VerbsDevice, cq_depth: u32, shape: impl FnOnce(&mut EndpointSpec)) -> Side {
        let cq = dev.open_cq(cq_depth).expect("a queue");
        let mut spec = EndpointSpec::new(cq);
        shape(&mut spec);
        let ep = dev.open(&spec).expect("an endpoint");
        let region = dev.allocate(&RegionSpec::new(REGION)).expect("memory");
        let mr = dev.register(&region, spec.pd, Access::ALL).expect("a registration");
        let polled = Completions::with_capacity(16);
        Side { dev, cq, ep, region, mr, done: Vec::new(), events: Vec::new(), polled, next_id: 0 }
    }

    /// Everything the device has to say now. Whether it said anything.
    pub(crate) fn turn(&mut self) -> bool {
        let before = self.done.len() + self.events.len();
        while let Some(event) = self.dev.poll_event() {
            self.events.push(event);
        }
        loop {
            let n = self.dev.poll(self.cq, &mut self.polled);
            self.done.extend(self.polled.drain());
            if n == 0 {
                break;
            }
        }
        self.done.len() + self.events.len() > before
    }

    pub(crate) fn piece(&self, offset: u64, len: u32) -> Sge {
        Sge { mr: self.mr, len, offset }
    }

    pub(crate) fn work<'a>(&mut self, op: Op, pieces: &'a [Sge]) -> Work<'a> {
        self.next_id += 1;
        Work { id: WorkId(self.next_id), op, data: Data::Pieces(pieces), signalled: true, fence: false }
    }

    /// Posts one work and rings.
    pub(crate) fn post(&mut self, op: Op, pieces: &[Sge]) -> WorkId {
        let work = self.work(op, pieces);
        self.dev.post(self.ep, &work).expect("taken");
        self.dev.ring(self.ep).expect("taken");
        work.id
    }

    pub(crate) fn of(&self, id: WorkId) -> Option<Completion> {
        self.done.iter().find(|c| c.id == id && c.ep == self.ep).copied()
    }

    pub(crate) fn statuses(&self) -> Vec<(u64, Status)> {
        self.done.iter().map(|c| (c.id.0, c.status)).collect()
    }

    /// What a peer needs to reach this side's region.
    pub(crate) fn export_to(&self, peer: &mut Side) -> RemoteRegion {
        let key = self.dev.export(self.mr).expect("remote rights");
        peer.dev.import(peer.ep, &key).expect("a key of ours")
    }

    pub(crate) fn fill(&self, offset: u64, len: u64, seed: u8) {
        let bytes: Vec<u8> = (0..len).map(|i| pattern(seed, i)).collect();
        self.region.write(offset, &bytes);
    }

    pub(crate) fn holds(&self, offset: u64, len: u64, seed: u8) -> bool {
        let mut bytes = vec![0; len as usize];
        self.region.read(offset, &mut bytes);
        (0..).zip(&bytes).all(|(i, b)| *b == pattern(seed, i))
    }
}

pub(crate) fn pattern(seed: u8, i: u64) -> u8 {
    seed.wrapping_add((i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
}

/// Two connected sides; `b_region` is where `a` reaches `b`.
pub(crate) struct Pair {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) b_region: RemoteRegion,
}

impl Pair {
    pub(crate) fn open() -> Option<Pair> {
        Pair::shaped(|_| {})
    }

    /// Both ends get the same spec.
    pub(crate) fn shaped(shape: impl Fn(&mut EndpointSpec)) -> Option<Pair> {
        let (a, b) = devices()?;
        let side = |name: &str| {
            let dev = VerbsDevice::open(&VerbsConfig::new(name)).unwrap_or_else(|e| panic!("{e}"));
            Side::with(dev, 256, &shape)
        };
        Some(Pair::connected(side(&a), side(&b)))
    }

    pub(crate) fn connected(mut a: Side, mut b: Side) -> Pair {
        connect(&mut a, &mut b);
        let b_region = b.export_to(&mut a);
        Pair { a, b, b_region }
    }

    /// Two sides that were connected one by one.
    pub(crate) fn connected_already(mut a: Side, b: Side) -> Pair {
        let b_region = b.export_to(&mut a);
        Pair { a, b, b_region }
    }

    pub(crate) fn remote(&self, offset: u64) -> RemoteAddr {
        self.b_region.at(offset, 0).expect("inside")
    }

    /// Turns both sides until `done` holds.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Side, &Side) -> bool) {
        wait(&mut [&mut self.a, &mut self.b], what, |sides| done(sides[0], sides[1]));
    }

    /// Waits for the completion of a work of `a`.
    pub(crate) fn finish(&mut self, id: WorkId) -> Completion {
        self.until("the completion of a work", |a, _| a.of(id).is_some());
        self.a.of(id).expect("it is there")
    }

    pub(crate) fn finish_b(&mut self, id: WorkId) -> Completion {
        self.until("the completion of a work of the peer", |_, b| b.of(id).is_some());
        self.b.of(id).expect("it is there")
    }
}

/// Connects two endpoints and waits until both can send.
pub(crate) fn connect(a: &mut Side, b: &mut Side) {
    let (to_b, to_a) = (b.dev.address(b.ep).expect("open"), a.dev.address(a.ep).expect("open"));
    a.dev.connect(a.ep, &to_b).expect("connected");
    b.dev.connect(b.ep, &to_a).expect("connected");
    use wavetank_contract::QpState::Rts;
    wait(&mut [a, b], "both to be ready", |s| s.iter().all(|side| side.dev.state(side.ep) == Some(Rts)));
}

/// Turns sides until `done` holds, sleeping on their descriptors in between. Panics when it takes too long.
pub(crate) fn wait(sides: &mut [&mut Side], what: &str, done: impl Fn(&[&mut Side]) -> bool) {
    assert!(wait_for(sides, PATIENCE_S * 1000, done), "waited {PATIENCE_S} s for {what}: {}", state(sides));
}

fn state(sides: &[&mut Side]) -> String {
    let one = |s: &&mut Side| {
        format!("{:?} {:?} {:?} {:?}", s.dev.caps().name, s.dev.state(s.ep), s.statuses(), s.events)
    };
    sides.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// As [`wait`], for at most so many milliseconds; whether it came to hold.
pub(crate) fn wait_for(sides: &mut [&mut Side], ms: i64, done: impl Fn(&[&mut Side]) -> bool) -> bool {
    let deadline = now_ms() + ms;
    loop {
        for side in sides.iter_mut() {
            side.turn();
        }
        if done(sides) {
            return true;
        }
        if sides.iter().any(|side| side.dev.wake() == Wake::Now) {
            continue;
        }
        let left = deadline - now_ms();
        if left <= 0 {
            return false;
        }
        let mut fds: Vec<_> = sides
            .iter()
            .filter_map(|side| side.dev.notifier())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = Timespec { tv_sec: left / 1000, tv_nsec: (left % 1000) * 1_000_000 };
        poll(&mut fds, Some(&timeout)).expect("poll(2)");
    }
}

pub(crate) fn now_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Another endpoint of the same device and queue.
pub(crate) fn another(side: &mut Side) -> EpId {
    side.dev.open(&EndpointSpec::new(side.cq)).expect("another endpoint")
}

pub(crate) fn pd(n: u16) -> PdId {
    PdId(n)
}
