//! A peer that speaks the handshake as it should, and then says whatever a test wants.

use wavetank_contract::{
    Access, EndpointSpec, EpId, Instant, Lease, MrId, Op, PdId, RegionSpec, RemoteKey, RemoteRegion, Sge,
    Status,
};
use wavetank_engine::bootstrap::{Handshake, InstanceId, Introduction, Offer, Role};
use wavetank_engine::memory::Arena;
use wavetank_engine::{
    BackendKind, Driver, DriverConfig, Order, Outcome, Port, PortConfig, RdmaContext, RdmaOps,
};
use wavetank_messenger::frame::{FrameKind, Header};
use wavetank_messenger::hello::{Fate, Hello, VERSIONS, feature};
use wavetank_messenger::{ConnectionId, Event, LineId, Message, Policy};

use crate::net::{Net, config};

const MS: u64 = 1_000_000;
const FRAME: u64 = 16 << 10;
const RECEIVE: u64 = 1 << 20;

pub(crate) struct Villain {
    driver: Driver,
    handshake: Handshake,
    pub(crate) line: LineId,
    arena: Arena,
    pub(crate) mr: MrId,
    ep: Option<EpId>,
    life: u64,
    posted: Vec<Lease>,
    pub(crate) frames: Vec<(Header, Vec<u8>)>,
    /// How its own works ended.
    pub(crate) ended: Vec<Status>,
    /// What the victim said when it closed the line during the handshake.
    pub(crate) refused: Option<String>,
    pub(crate) victims_hello: Option<Hello>,
}

/// What a well-behaved peer would say.
pub(crate) fn hello() -> Hello {
    Hello {
        versions: VERSIONS,
        policy: Policy::LossyClient,
        fate: Fate::Open,
        features: feature::ALL,
        name: 66,
        life: 0x6666_0001,
        peer_life: 0,
        received: 0,
        credits: 16,
        window: 64,
        frame_bytes: 8192,
        message_bytes_max: 1 << 20,
        silence_ns: 1 << 32,
    }
}

impl Villain {
    /// Comes to host 0 of a net.
    pub(crate) fn new(net: &mut Net) -> Villain {
        let context = RdmaContext::from(Port::new(net.fabric.add_node(), PortConfig::default()));
        let mut driver = Driver::new(context, DriverConfig::default());
        let spec = RegionSpec { granule_bytes: 64, ..RegionSpec::new(1 << 20) };
        let region = driver.context().allocate(&spec).unwrap();
        let mr = driver.context().register(&region, PdId::default(), Access::ALL).unwrap();
        let us = Introduction {
            features: feature::ALL,
            ..Introduction::new(InstanceId::new(666).unwrap(), BackendKind::Mock, "mock")
        };
        let now = net.now();
        let line = net.hosts[0].messenger.line_came(now);
        net.touch(0);
        Villain {
            driver,
            handshake: Handshake::new(Role::Dialer, us),
            line,
            arena: Arena::new(region, mr).unwrap(),
            mr,
            ep: None,
            life: 0,
            posted: Vec::new(),
            frames: Vec::new(),
            ended: Vec::new(),
            refused: None,
            victims_hello: None,
        }
    }

    /// Lets time pass, and takes what comes.
    pub(crate) fn run(&mut self, net: &mut Net, ns: u64) {
        let end = net.now() + ns;
        while net.now() < end {
            let until = (net.now() + 10_000).min(end);
            net.run_until(until);
            self.poll(net);
        }
    }

    fn poll(&mut self, net: &mut Net) {
        let now = net.now();
        self.driver.spin(now);
        let mut outcomes: Vec<Outcome> = Vec::new();
        self.driver.take_outcomes(&mut outcomes);
        for outcome in outcomes {
            if outcome.tag < RECEIVE {
                self.ended.push(outcome.status);
                continue;
            }
            if outcome.status == Status::Success {
                let lease = &self.posted[(outcome.tag - RECEIVE) as usize];
                let mut bytes = vec![0; outcome.len as usize];
                lease.read(0, &mut bytes);
                let header = Header::decode(&bytes, u64::from(outcome.len)).expect("victims speak well");
                let front = bytes[header.front_at()..].to_vec();
                self.frames.push((header, front));
            }
        }
        for (line, said) in std::mem::take(&mut net.stray) {
            if line == self.line
                && let Some(bytes) = said
                && let Err(error) = self.handshake.receive(&bytes)
            {
                self.refused.get_or_insert(error.to_string());
            }
        }
    }

    fn say(&mut self, net: &mut Net) {
        let bytes = self.handshake.to_send().to_vec();
        self.handshake.sent(bytes.len());
        let now = net.now();
        net.hosts[0].messenger.line_heard(now, self.line, &bytes);
        net.touch(0);
        self.run(net, 100_000);
    }

    /// Shakes hands, with this blob. True: it is connected.
    pub(crate) fn connect(&mut self, net: &mut Net, blob: Vec<u8>, life: u64) -> bool {
        self.life = life;
        self.say(net);
        let cq = self.driver.context().open_cq(256).unwrap();
        let spec =
            EndpointSpec { send_depth: 64, recv_depth: 64, access: Access::ALL, ..EndpointSpec::new(cq) };
        let ep = self.driver.context().open(&spec).unwrap();
        self.ep = Some(ep);
        let address = self.driver.context().address(ep).unwrap();
        let offer = Offer { endpoints: vec![address], keys: Vec::new(), blob };
        if self.handshake.offer(&offer).is_err() {
            return false;
        }
        self.say(net);
        let Some(theirs) = self.handshake.take_offer() else { return false };
        self.victims_hello = Hello::decode(&theirs.blob).ok();
        self.driver.context().connect(ep, &theirs.endpoints[0]).unwrap();
        for at in 0..32 {
            let lease = self.arena.acquire(8192).unwrap();
            let piece = Sge { mr: self.mr, len: 8192, offset: lease.offset() };
            self.driver.order(ep, Order::new(RECEIVE + at, Op::Recv, piece, Some(lease.hold())));
            self.posted.push(lease);
        }
        self.driver.push(net.now());
        self.handshake.ready().unwrap();
        self.say(net);
        self.say(net);
        self.handshake.is_established()
    }

    /// What it would say first.
    pub(crate) fn hello_bytes(&mut self) -> Vec<u8> {
        self.handshake.to_send().to_vec()
    }

    /// A frame as a well-behaved peer would begin one.
    pub(crate) fn header(&self, kind: FrameKind) -> Header {
        Header { life: self.life as u32, granted: 16, ..Header::new(kind) }
    }

    /// Posts bytes as a frame.
    pub(crate) fn post(&mut self, net: &mut Net, bytes: &[u8]) {
        let ep = self.ep.unwrap();
        let lease = self.arena.acquire(FRAME.min(bytes.len().max(1) as u64)).unwrap();
        lease.write(0, bytes);
        let piece = Sge { mr: self.mr, len: bytes.len() as u32, offset: lease.offset() };
        let order = Order::new(0, Op::Send { imm: None }, piece, Some(lease.hold()));
        self.driver.order(ep, order);
        self.driver.push(net.now());
    }

    /// Posts a header, and what is behind it.
    pub(crate) fn frame(&mut self, net: &mut Net, header: &Header, rest: &[u8]) {
        let mut bytes = header.encode()[..header.front_at()].to_vec();
        bytes.extend_from_slice(rest);
        self.post(net, &bytes);
    }

    /// The key to its own memory.
    pub(crate) fn key(&mut self) -> RemoteKey {
        self.driver.context().export(self.mr).unwrap()
    }

    pub(crate) fn import(&mut self, key: &[u8]) -> RemoteRegion {
        let ep = self.ep.unwrap();
        self.driver.context().import(ep, &RemoteKey::from_bytes(key).unwrap()).unwrap()
    }

    /// WRITEs somewhere.
    pub(crate) fn write(
        &mut self,
        net: &mut Net,
        region: &RemoteRegion,
        offset: u64,
        len: u32,
        imm: Option<u32>,
    ) {
        let ep = self.ep.unwrap();
        let lease = self.arena.acquire(u64::from(len)).unwrap();
        lease.write(0, &vec![0x66; len as usize]);
        let remote = region.at(offset, u64::from(len)).unwrap();
        let piece = Sge { mr: self.mr, len, offset: lease.offset() };
        let order = Order::new(0, Op::Write { remote, imm }, piece, Some(lease.hold()));
        self.driver.order(ep, order);
        self.driver.push(net.now());
    }

    /// What the victim said when it closed.
    pub(crate) fn goodbye(&self) -> Option<String> {
        let close = self.frames.iter().find(|(header, _)| header.kind == FrameKind::Close)?;
        Some(String::from_utf8_lossy(&close.1).into_owned())
    }
}

/// A victim, host 0, and a well-behaved client of it, host 1.
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) good: ConnectionId,
    accepted: ConnectionId,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let mut net = Net::new(&[config(1), config(2)]);
        net.hosts[0].messenger.bind(Some(Policy::StatelessServer));
        let good = net.hosts[1].messenger.connect(Instant::ZERO, "0", Some(1), Policy::LossyClient).unwrap();
        net.run_until(Instant(MS));
        let Some(Event::Accepted { connection: accepted, .. }) = net.hosts[0].events.pop_front() else {
            panic!("no client")
        };
        net.hosts[1].events.clear();
        Scene { net, good, accepted }
    }

    /// A villain that has been let in, and the victim's name for its connection.
    pub(crate) fn let_in(&mut self) -> (Villain, ConnectionId) {
        let mut villain = Villain::new(&mut self.net);
        let hello = hello();
        assert!(villain.connect(&mut self.net, hello.encode(), hello.life), "{:?}", villain.refused);
        let Some(Event::Accepted { connection, peer: 66 }) = self.net.hosts[0].events.pop_front() else {
            panic!("{:?}", self.net.hosts[0].events)
        };
        (villain, connection)
    }

    /// The well-behaved client goes on, and nothing is left of anybody else.
    pub(crate) fn is_unharmed(&mut self) {
        let until = self.net.now() + 1_200 * MS;
        self.net.run_until(until);
        let now = self.net.now();
        let host = &mut self.net.hosts[0];
        host.events.clear();
        let left = host.messenger.outstanding();
        assert_eq!(
            (left.connections, left.lines, left.moves, left.requests, left.frames),
            (1, 1, 0, 0, 0),
            "{left:?}"
        );
        assert_eq!((left.receives, left.pool_leases), (left.receive_leases, 0), "{left:?}");
        assert!(host.messenger.is_established(self.accepted));
        let good = &mut self.net.hosts[1].messenger;
        good.request(now, self.good, Message::new(1, b"still there?", now + 50 * MS), None).unwrap();
        self.net.touch(1);
        self.net.run_until(now + MS);
        let Some(Event::Delivered(mut incoming)) = self.net.hosts[0].events.pop_front() else {
            panic!("not heard")
        };
        let to = incoming.take_reply_to().unwrap();
        self.net.hosts[0].messenger.reply(now + MS, to, Message::new(1, b"", Instant::FAR)).unwrap();
        drop(incoming);
        self.net.touch(0);
        self.net.run_until(now + 2 * MS);
        let reply = self.net.hosts[1].events.pop_front();
        assert!(matches!(reply, Some(Event::Replied { reply: Ok(_), .. })), "{reply:?}");
    }
}
