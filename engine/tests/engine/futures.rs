//! Transfers as futures.

use std::cell::RefCell;
use std::sync::Arc;

use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use wavetank_contract::{Instant, Wake};
use wavetank_engine::session::SessionSpec;
use wavetank_engine::{LocalEngine, RdmaOps, TransferError, TransferSpec, Transferring};

use crate::lab::{CHUNK, Lab, Plan, lab};

fn begin(lab: &Lab, spec: TransferSpec) -> Transferring {
    lab.nodes[0].engine.transfer(lab.now(), spec).unwrap()
}

#[test]
fn a_future_is_woken_when_its_transfer_ends_and_not_before() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 5, 10 * CHUNK);
    let mut task = spawn(begin(&lab, spec));
    assert_pending!(task.poll());
    lab.run_for(1000);
    assert!(lab.outstanding(0) > 0 && !task.is_woken());
    assert_pending!(task.poll());
    lab.run();
    assert!(task.is_woken());
    assert!(lab.finished(0).is_empty(), "the end is the future's, not the queue's");
    assert_eq!(lab.on(0, |d| d.transfers_len()), 1, "it waits to be asked for");
    let finished = assert_ready!(task.poll());
    lab.assert_brought(0, &finished, 5, 10 * CHUNK);
    drop(finished);
    lab.assert_quiet();
}

#[test]
fn a_future_that_is_polled_late_needs_no_waker() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 5, 10);
    let mut task = spawn(begin(&lab, spec));
    lab.run();
    let finished = assert_ready!(task.poll());
    lab.assert_brought(0, &finished, 5, 10);
    assert_pending!(task.poll(), "a future that is over has nothing more to say");
    drop((finished, task));
    lab.assert_quiet();
}

#[test]
fn dropping_a_future_cancels_and_the_memory_comes_back_when_the_device_is_done() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100 * CHUNK);
    let mut task = spawn(begin(&lab, spec));
    assert_pending!(task.poll());
    lab.run_for(5000);
    let works = lab.outstanding(0);
    assert!(works > 0);
    drop(task);
    assert!(!lab.nodes[0].arena.is_whole(), "the device still writes there");
    assert_eq!((lab.outstanding(0), lab.on(0, |d| d.transfers_len())), (works, 1));
    // All of it would take twice as long.
    lab.run_until(Instant(18_000));
    lab.assert_quiet();
}

#[test]
fn dropping_a_future_whose_transfer_has_not_begun_or_has_ended_gives_the_memory_back_at_once() {
    let mut lab = lab(Plan::default());
    // Somebody else's end waits in the queue, and stays there.
    let spec = lab.read(0, 0, 10);
    lab.submit(0, TransferSpec { tag: 99, ..spec });
    lab.run();
    let spec = lab.read(0, 0, 100);
    let task = spawn(begin(&lab, spec));
    drop(task);
    assert_eq!(lab.on(0, |d| d.transfers_len()), 0);
    let spec = lab.read(0, 0, 100);
    let task = spawn(begin(&lab, spec));
    lab.run();
    assert_eq!(lab.on(0, |d| d.transfers_len()), 1);
    drop(task);
    assert_eq!(lab.the_finished(0).tag, 99);
    lab.assert_quiet();
}

#[test]
fn two_tasks_are_woken_each_by_its_own_transfer() {
    let mut lab = lab(Plan::default());
    let (long, short) = (lab.read(0, 0, 200 * CHUNK), lab.read(0, 3, 50));
    let (mut long, mut short) = (spawn(begin(&lab, long)), spawn(begin(&lab, short)));
    assert_pending!(long.poll());
    assert_pending!(short.poll());
    lab.run_for(20_000);
    assert!(short.is_woken() && !long.is_woken());
    let finished = assert_ready!(short.poll());
    lab.assert_brought(0, &finished, 3, 50);
    assert_pending!(long.poll());
    lab.run();
    assert!(long.is_woken());
    let other = assert_ready!(long.poll());
    lab.assert_brought(0, &other, 0, 200 * CHUNK);
    drop((finished, other));
    lab.assert_quiet();
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 10);
    let mut first = spawn(begin(&lab, spec));
    assert_pending!(first.poll());
    let mut second = spawn(std::mem::replace(&mut *first, never(&mut lab)));
    assert_pending!(second.poll());
    lab.run_for(10_000);
    assert!(second.is_woken() && !first.is_woken());
    assert_eq!(assert_ready!(second.poll()).result, Ok(10));
}

/// A receive that no message ever meets.
#[test]
fn a_future_may_be_dropped_while_somebody_is_inside_the_engine() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100 * CHUNK);
    let future = begin(&lab, spec);
    lab.run_for(5000);
    lab.nodes[0].engine.with(|_| drop(future));
    lab.run();
    assert!(lab.finished(0).is_empty(), "nobody is left to be told");
    lab.assert_quiet();
}

fn never(lab: &mut Lab) -> Transferring {
    let spec = lab.spec(0, wavetank_contract::Op::Recv, 8);
    begin(lab, spec)
}

#[test]
fn a_future_whose_session_is_closed_learns_of_it_and_its_memory_follows() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    let key = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, 5000))).unwrap();
    let spec = lab.read(0, 0, 10 * CHUNK);
    let mut task = spawn(begin(&lab, TransferSpec { session: Some(key), ..spec }));
    assert_pending!(task.poll());
    lab.run_until(Instant(4000));
    lab.on(0, |d| d.close_session(key, Instant(4000))).unwrap();
    assert!(task.is_woken());
    let finished = assert_ready!(task.poll());
    assert_eq!((finished.result, finished.finished_at), (Err(TransferError::SessionEnded), Instant(4000)));
    assert!(finished.lease.is_none() && !lab.nodes[0].arena.is_whole());
    assert_eq!(lab.outstanding(0), 4);
    lab.run();
    lab.assert_quiet();
}

#[test]
fn a_future_that_is_asked_only_after_the_device_let_go_still_learns_how_it_ended() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    let spec = lab.read(0, 0, 10 * CHUNK);
    let mut task = spawn(begin(&lab, TransferSpec { deadline: Instant(5000), ..spec }));
    lab.run();
    assert!(lab.nodes[0].arena.is_whole(), "memory does not wait to be asked for");
    let finished = assert_ready!(task.poll());
    assert_eq!(finished.result.unwrap_err().code(), "DEADLINE");
    lab.assert_quiet();
}

#[test]
fn a_future_dropped_between_its_end_and_that_of_the_device_leaves_nothing() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    let spec = lab.read(0, 0, 10 * CHUNK);
    let task = spawn(begin(&lab, TransferSpec { deadline: Instant(5000), ..spec }));
    lab.run_until(Instant(5000));
    assert_eq!(lab.outstanding(0), 4);
    drop(task);
    assert!(!lab.nodes[0].arena.is_whole());
    lab.run();
    lab.assert_quiet();
}

thread_local! {
    static ENGINE: RefCell<Option<LocalEngine>> = const { RefCell::new(None) };
    static WAKES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// An executor that uses the engine from inside its waker, and when a waker is dropped.
struct Eager;

fn look() {
    let works = ENGINE.with_borrow(|engine| engine.as_ref().unwrap().with(|d| d.context().outstanding()));
    WAKES.with_borrow_mut(|wakes| wakes.push(works));
}

impl std::task::Wake for Eager {
    fn wake(self: Arc<Eager>) {
        look();
    }
}

impl Drop for Eager {
    fn drop(&mut self) {
        look();
    }
}

#[test]
fn a_waker_may_use_the_engine() {
    let mut lab = lab(Plan::default());
    ENGINE.set(Some(lab.nodes[0].engine.clone()));
    let spec = lab.read(0, 0, 10);
    let mut transferring = begin(&lab, spec);
    let mut poll = |waker: Arc<Eager>| {
        let waker = waker.into();
        let mut context = std::task::Context::from_waker(&waker);
        std::future::Future::poll(std::pin::Pin::new(&mut transferring), &mut context).is_pending()
    };
    assert!(poll(Arc::new(Eager)));
    assert!(poll(Arc::new(Eager)), "the first waker is dropped here");
    assert_eq!(WAKES.take(), [0]);
    lab.run();
    assert_eq!(WAKES.take(), [0, 0], "woken, and dropped");
    assert!(!poll(Arc::new(Eager)));
    // The same by way of a call, and of a drop.
    let specs = [lab.read(0, 0, 10), lab.read(0, 0, 10)];
    for (at, spec) in specs.into_iter().enumerate() {
        let id_and_future = begin(&lab, spec);
        let waker = Arc::new(Eager).into();
        let mut boxed = Box::pin(id_and_future);
        assert!(boxed.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        drop(waker);
        WAKES.take();
        if at == 1 {
            lab.run();
        }
        drop(boxed);
        assert_eq!(WAKES.take().len(), at + 1);
        lab.run();
    }
    ENGINE.set(None);
    assert_eq!(lab.nodes[0].wake, Wake::Idle);
    lab.assert_quiet();
}
