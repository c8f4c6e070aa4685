//! Tasks that sleep, and tasks that another thread wakes.
#![cfg(all(feature = "mock", feature = "tokio"))]

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Context;

use wavetank_contract::{Instant, Wake};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext};
use wavetank_messenger::{
    Deaf, LocalMessenger, Message, Messenger, MessengerConfig, Policy, TcpCarrier, TcpConfig,
};
use wavetank_mock::{Fabric, Profile};

fn messenger() -> LocalMessenger {
    let context = RdmaContext::from(Port::new(Fabric::new(Profile::IDEAL).add_node(), PortConfig::default()));
    let driver = Driver::new(context, DriverConfig::default());
    let config = MessengerConfig {
        pool_bytes: 1 << 20,
        receive_bytes: 1 << 20,
        ..MessengerConfig::new(1, BackendKind::Mock)
    };
    let instance = InstanceId::new(1).expect("not 0");
    let messenger = Messenger::new(driver, BackendKind::Mock, instance, config).expect("memory");
    LocalMessenger::new(messenger, Deaf)
}

#[test]
fn who_sleeps_is_woken_at_its_time_and_who_is_let_go_of_wakes_nobody() {
    let messenger = messenger();
    let woken = Rc::new(Cell::new(0));
    for ms in [5, 3] {
        let (messenger, woken) = (messenger.clone(), Rc::clone(&woken));
        let task = messenger.clone();
        messenger.spawn(async move {
            task.sleep_until(Instant(ms * 1_000_000)).await;
            woken.set(woken.get() * 10 + ms);
        });
    }
    drop(messenger.sleep_until(Instant(1_000_000)));
    while messenger.turn(Instant::ZERO) == Wake::Now {}
    assert_eq!(messenger.turn(Instant::ZERO), Wake::At(Instant(3_000_000)));
    let until = |at| while messenger.turn(at) == Wake::Now {};
    until(Instant(2_999_999));
    assert_eq!(woken.get(), 0);
    until(Instant(3_000_000));
    assert_eq!((woken.get(), messenger.next_alarm()), (3, Instant(5_000_000)));
    until(Instant(9_000_000));
    assert_eq!((woken.get(), messenger.next_alarm()), (35, Instant::FAR));
}

#[test]
fn a_task_that_another_thread_wakes_goes_on_at_once_although_the_carrier_sleeps() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let messenger = messenger();
        let config = TcpConfig { spin_ns: 0, ..TcpConfig::default() };
        let mut carrier = TcpCarrier::new(messenger.clone(), config).expect("nothing to watch");
        let done = Rc::new(Cell::new(false));
        let over = Rc::clone(&done);
        messenger.spawn(async move {
            // Long enough that nobody looks any more when it is over.
            let work = || (0..20_000_000u64).fold(0, |sum, n| black_box(sum ^ n));
            tokio::task::spawn_blocking(work).await.expect("it ends");
            over.set(true);
        });
        let started = tokio::time::Instant::now();
        let now = move || Instant(started.elapsed().as_nanos() as u64);
        let until = std::future::poll_fn(|_| match done.get() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        carrier.run(now, until).await.expect("it runs");
        assert!(started.elapsed().as_millis() < 700, "it slept for {:?}", started.elapsed());
    });
}

#[derive(Default)]
struct Counted(AtomicU32);

impl std::task::Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_asks_for_something_wakes_whoever_turns_the_messenger() {
    let messenger = messenger();
    let counted = Arc::new(Counted::default());
    let waker = std::task::Waker::from(Arc::clone(&counted));
    let asleep = || messenger.is_woken(&Context::from_waker(&waker));
    assert!(!asleep());
    // A task of its own, not the messenger's: nothing else tells whoever sleeps.
    let (connection, _made) = messenger.connect("nobody", None, Policy::LosslessClient).expect("a call");
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
    asleep();
    messenger.send(connection, Message::new(1, b"", Instant::FAR)).expect("lined up");
    assert_eq!(counted.0.load(Ordering::Relaxed), 2);
    asleep();
    drop(messenger.sleep_until(Instant(5)));
    assert_eq!(counted.0.load(Ordering::Relaxed), 3);
    asleep();
    messenger.with(|messenger| messenger.has_work());
    assert_eq!(counted.0.load(Ordering::Relaxed), 3, "who only looks wakes nobody");
}
