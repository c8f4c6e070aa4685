//! Queue pairs of two simulated NICs, connected through the exchange, and a READ over them.

use std::cell::Cell;
use std::rc::Rc;

use async_trait::async_trait;
use tokio::io::duplex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wavetank_contract::{
    Access, EndpointSpec, EpId, Instant, MrId, Op, PdId, QpState, Quiet, Region, RegionSpec, RemoteKey, Wake,
};
use wavetank_engine::bootstrap::{
    BadKey, Bootstrap, BootstrapError, Joined, ListenerConfig, NamedKey, Offer, Plan, RefusalCode, Role,
    Share, Step, TcpBootstrap, join,
};
use wavetank_engine::memory::Arena;
use wavetank_engine::{
    Driver, DriverConfig, LocalEngine, Port, PortConfig, RdmaContext, RdmaOps, TransferSpec,
};
use wavetank_mock::{Fabric, Profile};

use crate::shy::Shy;
use crate::sides::{DIALER, us};
use crate::stream::meet;
use crate::tcp::{LIMIT, listener};

const BYTES: u64 = 5000;

/// A driver with endpoints and a region of [`BYTES`] bytes that the peer may reach.
struct Node<C> {
    driver: Driver<C>,
    region: Region,
    plan: Plan,
}

fn node<C: RdmaOps>(mut context: C, endpoints: usize) -> Node<C> {
    let region = context.allocate(&RegionSpec::new(BYTES)).unwrap();
    let mr = context.register(&region, PdId::default(), Access::ALL).unwrap();
    let cq = context.open_cq(64).unwrap();
    let endpoints = (0..endpoints).map(|_| context.open(&EndpointSpec::new(cq)).unwrap()).collect();
    let shares = vec![Share { name: "region".into(), mr, len_bytes: BYTES }];
    let plan = Plan { endpoints, shares, blob: b"hello".to_vec() };
    Node { driver: Driver::new(context, DriverConfig::default()), region, plan }
}

fn mock(fabric: &mut Fabric, endpoints: usize) -> Node<RdmaContext> {
    node(RdmaContext::Mock(Port::new(fabric.add_node(), PortConfig::default())), endpoints)
}

/// Two plans, joined over a pipe; each side's result.
async fn joined<A: RdmaOps, B: RdmaOps>(
    dialer: &mut Node<A>,
    listener: &mut Node<B>,
) -> [Result<Joined, BootstrapError>; 2] {
    let (a, b) = duplex(4096);
    let (a, b) = tokio::join!(meet(a, Role::Dialer), meet(b, Role::Listener));
    let (mut a, mut b) = (a.unwrap(), b.unwrap());
    let now = || Instant::ZERO;
    let (a, b) = tokio::join!(
        join(&mut dialer.driver, now, &dialer.plan, &mut a),
        join(&mut listener.driver, now, &listener.plan, &mut b)
    );
    [a, b]
}

/// READs the peer's whole region over each endpoint.
fn read_all(fabric: &mut Fabric, driver: &mut Driver, plan: &Plan, peer: &Joined) -> Vec<Vec<u8>> {
    let context = driver.context();
    let region = context.allocate(&RegionSpec::new(1 << 16)).unwrap();
    let mr = context.register(&region, PdId::default(), Access::LOCAL).unwrap();
    let mut arena = Arena::new(region, mr).unwrap();
    let mut read = |(place, ep): (usize, &EpId)| {
        let remote = peer.region("region", place).unwrap();
        assert_eq!(remote.len, BYTES, "as said, and not what the registration rounds it up to");
        let spec = TransferSpec {
            ep: *ep,
            op: Op::Read { remote: remote.at(0, BYTES).unwrap() },
            lease: arena.acquire(BYTES).unwrap(),
            mr: arena.mr(),
            len: BYTES,
            deadline: Instant::FAR,
            session: None,
            tag: 0,
        };
        driver.submit(fabric.now(), spec).unwrap();
        let finished = loop {
            let wake = driver.turn(fabric.now());
            if let Some(finished) = driver.take_finished() {
                break finished;
            }
            assert!(wake == Wake::Now || fabric.step(&mut Quiet).is_some(), "nothing more will happen");
        };
        assert_eq!(finished.result, Ok(BYTES));
        let mut bytes = vec![0; BYTES as usize];
        finished.lease.unwrap().read(0, &mut bytes);
        bytes
    };
    plan.endpoints.iter().enumerate().map(&mut read).collect()
}

#[tokio::test]
async fn what_is_read_over_queue_pairs_joined_through_tcp_is_what_the_peer_wrote() {
    let mut fabric = Fabric::new(Profile::CX6);
    let (mut client, storage) = (mock(&mut fabric, 3), mock(&mut fabric, 3));
    let written: Vec<u8> = (0..BYTES).map(|at| (at * 7 + at / 256) as u8).collect();
    storage.region.write(0, &written);
    // One side has its driver to itself, the other shares it among tasks.
    let mut shared = LocalEngine::new(storage.driver);
    let (mut listener, address) = listener(ListenerConfig::default());
    let serve = async {
        let (mut bootstrap, _) = listener.accept().await.unwrap();
        join(&mut shared, || Instant::ZERO, &storage.plan, &mut bootstrap).await
    };
    let dial = async {
        let mut bootstrap = TcpBootstrap::dial(address, us(DIALER), LIMIT).await.unwrap();
        join(&mut client.driver, || Instant::ZERO, &client.plan, &mut bootstrap).await
    };
    let (served, peer) = tokio::join!(serve, dial);
    let (served, peer) = (served.unwrap(), peer.unwrap());
    assert_eq!((&served.blob[..], &peer.blob[..]), (&b"hello"[..], &b"hello"[..]));
    assert_eq!(peer.region("another", 0), None);
    assert_eq!(peer.region("region", 3), None);
    for bytes in read_all(&mut fabric, &mut client.driver, &client.plan, &peer) {
        assert!(bytes == written, "other bytes than were written");
    }
}

fn shy(fabric: &mut Fabric, polls: u32, says: QpState) -> (Node<Port<Shy>>, Rc<Cell<u32>>) {
    let polls_left = Rc::new(Cell::new(polls));
    let shy = Shy { nic: fabric.add_node(), polls_left: Rc::clone(&polls_left), says };
    (node(Port::new(shy, PortConfig::default()), 2), polls_left)
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_shake_hands_are_waited_for_while_their_device_is_polled() {
    let mut fabric = Fabric::new(Profile::CX6);
    let ((mut a, left_a), (mut b, left_b)) =
        (shy(&mut fabric, 30, QpState::Init), shy(&mut fabric, 70, QpState::Rtr));
    let start = tokio::time::Instant::now();
    let results = joined(&mut a, &mut b).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((left_a.get(), left_b.get()), (0, 0));
    let waited = start.elapsed().as_millis();
    assert!((60..=80).contains(&waited), "about 70 polls a millisecond apart: {waited} ms");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_goes_to_err_is_told_to_both_sides() {
    let mut fabric = Fabric::new(Profile::CX6);
    let ((mut a, _), mut b) = (shy(&mut fabric, u32::MAX, QpState::Err), mock(&mut fabric, 2));
    let [of_a, of_b] = joined(&mut a, &mut b).await.map(Result::unwrap_err);
    assert!(matches!(of_a, BootstrapError::NotReached(ep) if ep == a.plan.endpoints[0]), "{of_a}");
    assert!(matches!(of_b, BootstrapError::Refused { code: RefusalCode::NotConnected, .. }), "{of_b}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_never_ready_end_it_at_the_deadline_on_both_sides() {
    let mut fabric = Fabric::new(Profile::CX6);
    let ((mut a, _), mut b) = (shy(&mut fabric, u32::MAX, QpState::Rtr), mock(&mut fabric, 2));
    let [of_a, of_b] = joined(&mut a, &mut b).await.map(Result::unwrap_err);
    // Their deadlines are the same: whoever is asked first tells the other.
    let told =
        |error: &BootstrapError| matches!(error, BootstrapError::Refused { code: RefusalCode::Timeout, .. });
    let late =
        |error: &BootstrapError, at| matches!(error, BootstrapError::Timeout { step, .. } if *step == at);
    assert!(late(&of_a, Step::Connect) || late(&of_b, Step::Ready), "{of_a}; {of_b}");
    assert!(late(&of_a, Step::Connect) || told(&of_a), "{of_a}");
    assert!(late(&of_b, Step::Ready) || told(&of_b), "{of_b}");
}

/// What both sides say when the dialer's node is spoilt.
async fn spoilt(spoil: impl FnOnce(&mut Node<RdmaContext>)) -> [BootstrapError; 2] {
    let mut fabric = Fabric::new(Profile::CX6);
    let (mut a, mut b) = (mock(&mut fabric, 2), mock(&mut fabric, 2));
    spoil(&mut a);
    joined(&mut a, &mut b).await.map(Result::unwrap_err)
}

#[tokio::test(start_paused = true)]
async fn what_one_side_cannot_bring_is_told_to_the_other() {
    let local = spoilt(|node| {
        let mr = node.driver.context().register(&node.region, PdId::default(), Access::LOCAL).unwrap();
        node.plan.shares[0].mr = mr;
    });
    let [ours, theirs] = local.await;
    assert!(
        matches!(&ours, BootstrapError::Key { name, why: BadKey::Refused(_) } if name == "region"),
        "{ours}"
    );
    assert!(theirs.to_string().contains("registered for local use only"), "{theirs}");

    let [ours, theirs] = spoilt(|node| node.plan.blob = vec![0; 4097]).await;
    assert!(matches!(ours, BootstrapError::OwnOffer(_)), "{ours}");
    assert!(theirs.to_string().contains("cannot offer 4097 bytes of blob"), "{theirs}");

    let [ours, theirs] = spoilt(|node| node.plan.shares[0].mr = MrId(77)).await;
    assert!(matches!(ours, BootstrapError::Key { .. }), "{ours}");
    assert!(matches!(theirs, BootstrapError::Refused { code: RefusalCode::Offer, .. }), "{theirs}");

    let [ours, theirs] = spoilt(|node| node.plan.endpoints[1] = EpId(99)).await;
    assert!(matches!(ours, BootstrapError::NoEndpoint(EpId(99))), "{ours}");
    assert!(matches!(theirs, BootstrapError::Refused { code: RefusalCode::NotConnected, .. }), "{theirs}");

    let taken = spoilt(|node| {
        let (ep, context) = (node.plan.endpoints[1], node.driver.context());
        let somebody = context.address(node.plan.endpoints[0]).unwrap();
        context.connect(ep, &somebody).unwrap();
    });
    let [ours, theirs] = taken.await;
    assert!(matches!(ours, BootstrapError::Connect { ep: EpId(1), .. }), "{ours}");
    assert!(matches!(theirs, BootstrapError::Refused { code: RefusalCode::NotConnected, .. }), "{theirs}");

    let [ours, theirs] = spoilt(|node| node.plan.endpoints.truncate(1)).await;
    assert!(matches!(ours, BootstrapError::Refused { code: RefusalCode::Offer, .. }), "{ours}");
    assert!(matches!(theirs, BootstrapError::Unpaired { ours: 2, theirs: 1 }), "{theirs}");
}

/// A channel of the application's own, within one process: no bytes, no time, no checks.
struct Mailbox {
    out: UnboundedSender<Option<Offer>>,
    inbox: UnboundedReceiver<Option<Offer>>,
    refused: Option<String>,
    /// Applied to what arrives.
    forge: fn(&mut Offer),
}

fn mailboxes() -> (Mailbox, Mailbox) {
    let ((out, inbox), (other_out, other_inbox)) = (unbounded_channel(), unbounded_channel());
    let forge: fn(&mut Offer) = |_| {};
    let mailbox = |out, inbox| Mailbox { out, inbox, refused: None, forge };
    (mailbox(out, other_inbox), mailbox(other_out, inbox))
}

impl Mailbox {
    async fn next(&mut self, step: Step) -> Result<Option<Offer>, BootstrapError> {
        self.inbox.recv().await.ok_or(BootstrapError::Closed { step, amid: false })
    }
}

#[async_trait]
impl Bootstrap for Mailbox {
    async fn exchange(&mut self, offer: &Offer) -> Result<Offer, BootstrapError> {
        let _ = self.out.send(Some(offer.clone()));
        let step = Step::Offer;
        let mut theirs = self.next(step).await?.ok_or(BootstrapError::Closed { step, amid: false })?;
        (self.forge)(&mut theirs);
        Ok(theirs)
    }
    async fn pause(&mut self) -> Result<(), BootstrapError> {
        tokio::task::yield_now().await;
        Ok(())
    }
    async fn confirm(&mut self) -> Result<(), BootstrapError> {
        let _ = self.out.send(None);
        self.next(Step::Ready).await.map(drop)
    }
    async fn refuse(&mut self, _code: RefusalCode, text: &str) {
        self.refused = Some(text.into());
    }
}

/// Joins over mailboxes; the dialer sees a forged offer. Its error, and what it told its peer.
async fn forged(forge: fn(&mut Offer)) -> (Result<Joined, BootstrapError>, Option<String>) {
    let mut fabric = Fabric::new(Profile::CX6);
    let (mut a, mut b) = (mock(&mut fabric, 2), mock(&mut fabric, 2));
    let (mut box_a, mut box_b) = mailboxes();
    box_a.forge = forge;
    let now = || Instant::ZERO;
    let dial = async {
        let result = join(&mut a.driver, now, &a.plan, &mut box_a).await;
        let refused = box_a.refused.take();
        drop(box_a);
        (result, refused)
    };
    let (dialled, _) = tokio::join!(dial, join(&mut b.driver, now, &b.plan, &mut box_b));
    dialled
}

#[tokio::test]
async fn an_application_may_bring_its_own_channel() {
    let (joined, refused) = forged(|_| {}).await;
    assert_eq!((joined.unwrap().blob, refused), (b"hello".to_vec(), None));
}

#[tokio::test]
async fn what_its_channel_delivers_is_checked_all_the_same() {
    type Forgery = (fn(&mut Offer), &'static str);
    let forgeries: [Forgery; 4] = [
        (|offer| offer.endpoints.truncate(1), "this side offers 2 endpoints and the peer 1"),
        (
            |offer| offer.endpoints[1] = wavetank_contract::EndpointAddress::from_bytes(b"?").unwrap(),
            "EpId(1) cannot",
        ),
        (|offer| offer.keys[0].len_bytes = BYTES * 2, "it is said to reach 10000 bytes and reaches 8192"),
        (
            |offer| {
                let key = RemoteKey::from_bytes(b"not a key").unwrap();
                offer.keys.push(NamedKey { name: "odd".into(), key, len_bytes: 0 });
            },
            "key \"odd\": 9 bytes were offered as a remote key",
        ),
    ];
    for (forge, part) in forgeries {
        let (joined, refused) = forged(forge).await;
        let said = joined.unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
        assert_eq!(refused, Some(said), "the peer is told the same");
    }
}

#[test]
fn an_exchange_may_run_on_another_thread_than_the_device() {
    fn is_send<T: Send>(_: &T) {}
    let _ = |bootstrap: &'static mut TcpBootstrap, offer: &'static Offer| is_send(&bootstrap.exchange(offer));
}
