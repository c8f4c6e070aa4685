//! The enum over the backends: the same device as the bare port, bound to its thread, and honest about what is not built.

use std::marker::PhantomData;

use wavetank_contract::error::PostError;
use wavetank_contract::{AsyncEvent, QpState, Status, Wake};
use wavetank_engine::{BackendKind, Batch, Driver, LocalEngine, Outcome, Port, RdmaContext, RdmaOps};
use wavetank_mock::MockNic;

use crate::bench::{Bench, depths, honest_context, honest_port};

/// Everything that can be seen of one run.
#[derive(Debug, PartialEq)]
struct Seen {
    outcomes: Vec<Outcome>,
    events: Vec<AsyncEvent>,
    refused: Vec<(usize, PostError)>,
    outstanding: Vec<usize>,
    wakes: Vec<Wake>,
    states: Vec<Option<QpState>>,
    text: String,
    name: String,
    at: u64,
}

/// Messages, one-sided works, a refusal, a bad key, a close: a little of everything.
fn program<C: RdmaOps>(context: impl Fn(MockNic) -> C) -> Seen {
    let mut bench = Bench::new(depths(4, 4), 64, context);
    let (mut refused, mut outstanding, mut wakes, mut text) = (vec![], vec![], vec![], String::new());
    let receives = vec![bench.b.recv(1), bench.b.recv(2)];
    bench.b.post(receives);
    let orders = vec![bench.a.write(3), bench.a.read(4), bench.a.send(5)];
    bench.a.post(orders);
    bench.a.port.describe_outstanding(&mut text);
    outstanding.push(bench.a.port.outstanding());
    bench.settle();
    wakes.push(bench.a.port.wake());
    bench.run();
    wakes.push(bench.a.port.wake());
    let mut batch: Batch = [bench.a.write(6), bench.a.impossible(7)].into();
    let error = bench.a.port.post(bench.a.ep, &mut batch).unwrap_err();
    refused.push((error.index, error.error));
    bench.run();
    let mut bad = bench.a.write(8);
    bad.op = wavetank_contract::Op::Read {
        remote: wavetank_contract::RemoteAddr { addr: bench.a.remote.addr + (1 << 20), ..bench.a.remote },
    };
    let orders = vec![bench.a.read(9), bad, bench.a.read(10)];
    bench.a.post(orders);
    bench.run();
    let states = vec![bench.a.port.state(bench.a.ep), bench.b.port.state(bench.b.ep)];
    let ep = bench.b.ep;
    bench.b.port.close(ep);
    bench.run();
    outstanding.push(bench.a.port.outstanding() + bench.b.port.outstanding());
    let mut events = Vec::new();
    for side in [&mut bench.a, &mut bench.b] {
        events.extend(std::iter::from_fn(|| side.port.poll_event()));
    }
    let outcomes = [bench.a.ended, bench.b.ended].concat();
    let (name, at) = (bench.a.port.caps().name.clone(), bench.fabric.now().0);
    Seen { outcomes, events, refused, outstanding, wakes, states, text, name, at }
}

#[test]
fn the_enum_behaves_as_the_bare_port() {
    let (bare, through_enum) = (program(honest_port), program(honest_context));
    assert_eq!(bare, through_enum);
    // The program is worth comparing: it saw successes, a refusal by the peer, flushes and a refused post.
    let count = |status| bare.outcomes.iter().filter(|o| o.status == status).count();
    assert_eq!(count(Status::RemAccessErr), 1);
    assert!(count(Status::Success) >= 6 && count(Status::WrFlushErr) >= 2, "{bare:?}");
    assert_eq!((bare.refused.len(), bare.outstanding[0], bare.wakes[0]), (1, 3, Wake::Now));
}

#[test]
fn a_port_becomes_a_context_and_back() {
    let mut fabric = wavetank_mock::Fabric::new(wavetank_mock::Profile::IDEAL);
    let context: RdmaContext = honest_port(fabric.add_node()).into();
    let port: Result<Port<MockNic>, _> = context.try_into();
    assert!(port.is_ok());
}

struct Probe<T>(PhantomData<T>);

/// What [`Probe`] answers for every type that has no better answer of its own.
trait Otherwise {
    const IS_SEND: bool = false;
}

impl<T> Otherwise for Probe<T> {}

impl<T: Send> Probe<T> {
    const IS_SEND: bool = true;
}

#[test]
fn nothing_that_holds_a_device_crosses_threads() {
    const { assert!(Probe::<u8>::IS_SEND, "the probe can tell") }
    const { assert!(!Probe::<RdmaContext>::IS_SEND) }
    // Not because this backend happens to be bound to its thread: every port is.
    const { assert!(!Probe::<Port<u8>>::IS_SEND) }
    const { assert!(!Probe::<Driver<RdmaContext>>::IS_SEND) }
    const { assert!(!Probe::<LocalEngine<RdmaContext>>::IS_SEND) }
}

/// Backends of devices, and whether they are in this build.
const OPTIONAL: [(&str, bool); 2] = [("verbs", cfg!(feature = "verbs")), ("ucx", cfg!(feature = "ucx"))];

#[test]
fn a_backend_that_is_not_in_this_build_is_named_with_its_feature() {
    for (name, built) in OPTIONAL {
        let required = name.parse::<BackendKind>().unwrap().require_built();
        if built {
            assert_eq!(required, Ok(()));
            continue;
        }
        let error = required.unwrap_err();
        assert_eq!((error.feature, error.kind.name()), (name, name));
        let expected = format!("the {name} backend is not in this build");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.to_string().contains(&format!("cargo feature `{name}`")), "{error}");
    }
    assert_eq!(BackendKind::Mock.require_built(), Ok(()));
    assert!("Mock".parse::<BackendKind>().unwrap_err().to_string().contains("mock, verbs, ucx"));
}
