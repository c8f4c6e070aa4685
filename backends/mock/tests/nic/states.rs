//! States of a queue pair: only legal moves, and what each does to the works.

use std::collections::VecDeque;

use proptest::prelude::*;
use wavetank_contract::error::{ConnectError, ModifyError, PostError};
use wavetank_contract::*;
use wavetank_mock::{Opcode, StepKind};

use crate::lab::*;

#[test]
fn works_are_taken_only_in_the_states_that_take_them() {
    let mut lab = Lab::new(2);
    let spec = lab.spec(0);
    let a = lab.open(0, &spec);
    let refused = |state| Err(PostError::WrongState { ep: a.ep, state });
    assert_eq!(lab.state(a), QpState::Reset);
    assert_eq!(lab.post(a, &send(1, &[])), refused(QpState::Reset));
    assert_eq!(lab.post(a, &recv(1, &[])), refused(QpState::Reset));
    lab.nic(a).modify(a.ep, QpState::Init).unwrap();
    assert_eq!(lab.post(a, &send(1, &[])), refused(QpState::Init));
    assert_eq!(lab.post(a, &recv(1, &[])), Ok(()));
    assert_eq!(lab.nic(a).modify(a.ep, QpState::Rtr), Err(ModifyError::NoPeer(a.ep)));
    assert_eq!(lab.nic(a).modify(EpId(77), QpState::Init), Err(ModifyError::Unknown(EpId(77))));
}

#[test]
fn receives_posted_before_the_connection_serve_it() {
    let mut lab = Lab::new(2);
    let (spec_a, spec_b) = (lab.spec(0), lab.spec(1));
    let (a, b) = (lab.open(0, &spec_a), lab.open(1, &spec_b));
    lab.nic(b).modify(b.ep, QpState::Init).unwrap();
    lab.go(b, &[recv(9, &[lab.piece(1, 0, 8)])]);
    lab.connect(a, b);
    lab.go(a, &[send(1, &[lab.piece(0, 0, 8)])]);
    lab.run();
    assert_good(&lab.ends(1), [9]);
}

#[test]
fn a_peer_that_connects_late_catches_up() {
    let mut lab = Lab::new(2);
    let (spec_a, spec_b) = (lab.spec(0), lab.spec(1));
    let (a, b) = (lab.open(0, &spec_a), lab.open(1, &spec_b));
    let (to_a, to_b) = (lab.nic(a).address(a.ep).unwrap(), lab.nic(b).address(b.ep).unwrap());
    lab.nic(a).connect(a.ep, &to_b).unwrap();
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run_until(Instant(10_000));
    assert_eq!(lab.count(StepKind::Unclaimed(Opcode::WriteOnly)), 1, "it has no peer yet");
    lab.check();
    lab.nic(b).connect(b.ep, &to_a).unwrap();
    lab.run();
    assert_good(&lab.ends(0), [1]);
    let again = lab.nic(a).connect(a.ep, &to_b);
    assert_eq!(again, Err(ConnectError::WrongState { ep: a.ep, state: QpState::Rts }));
}

#[test]
fn sqd_finishes_what_was_begun_and_holds_the_rest_until_rts() {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| s.mtu = Mtu::B256;
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    let works: Vec<W> =
        (0..3).map(|i| write(i, &[lab.piece(0, i * 50_000, 50_000)], lab.at(1, i * 50_000))).collect();
    lab.go(a, &works);
    lab.run_to(StepKind::Delivered(Opcode::WriteFirst));
    lab.nic(a).modify(a.ep, QpState::Sqd).unwrap();
    assert!(lab.events(0).is_empty(), "a message is half way out");
    // Held, though posted and rung.
    lab.go(a, &[write(3, &[], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.events(0), [AsyncEvent::SqDrained(a.ep)]);
    assert_good(&lab.ends(0), [0]);
    lab.expect_copy(0, 0, 1, 0, 50_000);
    lab.check();
    lab.nic(a).modify(a.ep, QpState::Sqd).unwrap();
    lab.nic(a).modify(a.ep, QpState::Rts).unwrap();
    lab.run();
    assert_good(&lab.ends(0), 1..4);
    lab.expect_copy(0, 50_000, 1, 50_000, 100_000);
    lab.check();
    assert!(lab.events(0).is_empty());
}

#[test]
fn sqd_drains_through_loss() {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout) = (Mtu::B256, 8);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    lab.fabric.link(0, 1).lose_after = Some(5);
    lab.go(a, &[write(0, &[lab.piece(0, 0, 10_000)], lab.at(1, 0)), write(1, &[], lab.at(1, 0))]);
    lab.run_to(StepKind::Delivered(Opcode::WriteFirst));
    lab.nic(a).modify(a.ep, QpState::Sqd).unwrap();
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 10_000);
    lab.check();
    assert_eq!(lab.events(0), [AsyncEvent::SqDrained(a.ep)]);
}

#[test]
fn an_idle_queue_is_drained_at_once_and_one_that_goes_on_never_says_so() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.nic(a).modify(a.ep, QpState::Sqd).unwrap();
    assert_eq!(lab.events(0), [AsyncEvent::SqDrained(a.ep)]);
    // It still answers.
    lab.go(b, &[read(5, &[lab.piece(1, 0, 8)], lab.at(0, 0))]);
    lab.run();
    assert_good(&lab.ends(1), [5]);
    lab.nic(a).modify(a.ep, QpState::Rts).unwrap();
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run_to(StepKind::Delivered(Opcode::WriteOnly));
    lab.nic(a).modify(a.ep, QpState::Sqd).unwrap();
    lab.nic(a).modify(a.ep, QpState::Rts).unwrap();
    lab.run();
    assert!(lab.events(0).is_empty());
}

#[test]
fn reset_forgets_everything() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0)), recv(2, &[])]);
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 8);
    lab.go(a, &[write(3, &[lab.piece(0, 100, 8)], lab.at(1, 0)), recv(4, &[])]);
    lab.nic(a).modify(a.ep, QpState::Reset).unwrap();
    lab.run();
    assert!(lab.ends(0).is_empty() && lab.events(0).is_empty());
    lab.check();
    // The same two endpoints, another life.
    lab.nic(b).modify(b.ep, QpState::Reset).unwrap();
    lab.connect(a, b);
    lab.go(b, &[recv(6, &[])]);
    lab.go(a, &[write(5, &[lab.piece(0, 100, 8)], lab.at(1, 0)).imm(1)]);
    lab.run();
    lab.expect_copy(0, 100, 1, 0, 8);
    lab.check();
    assert_good(&lab.ends(0), [5]);
    assert_good(&lab.ends(1), [6]);
}

#[test]
fn packets_of_an_earlier_life_are_not_taken_for_new_ones() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 4096)], lab.at(1, 0))]);
    assert!(lab.fabric.next_at(&mut Quiet).is_some(), "it is on the wire");
    for end in [a, b] {
        lab.nic(end).modify(end.ep, QpState::Reset).unwrap();
    }
    lab.connect(a, b);
    lab.run();
    lab.check();
    lab.go(a, &[write(2, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run();
    assert_good(&lab.ends(0), [2]);
}

#[test]
fn err_flushes_sends_then_receives_and_silences_the_endpoint() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    let large = [lab.piece(0, 0, 200_000)];
    lab.go(
        a,
        &[recv(4, &[]), read(1, &large, lab.at(1, 0)).silent(), write(2, &large, lab.at(1, 0)), recv(5, &[])],
    );
    lab.run_to(StepKind::Delivered(Opcode::ReadRequest));
    lab.nic(b).modify(b.ep, QpState::Err).unwrap();
    lab.nic(a).modify(a.ep, QpState::Err).unwrap();
    let flush = Status::WrFlushErr;
    assert_eq!(lab.ends(0), [(1, flush), (2, flush), (4, flush), (5, flush)]);
    lab.run();
    lab.check();
    assert!(lab.events(0).is_empty() && lab.events(1).is_empty(), "software asked for it");
}

#[test]
fn err_stops_the_answers_that_are_under_way() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.timeout = 5, |_| {});
    lab.go(a, &[read(1, &[lab.piece(0, 0, 200_000)], lab.at(1, 0))]);
    lab.run_to(StepKind::Delivered(Opcode::ReadResponseFirst));
    lab.nic(b).modify(b.ep, QpState::Err).unwrap();
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    assert!(lab.delivered(Opcode::ReadResponseMiddle) < 20, "those on the wire, no more");
}

#[test]
fn a_closed_endpoint_leaves_nothing_behind() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.timeout = 8, |_| {});
    let (other, _) = lab.pair(0, 1);
    let local = [lab.piece(0, 0, 8)];
    lab.go(a, &[write(1, &local, lab.at(1, 0))]);
    lab.go(other, &[write(2, &local, lab.at(1, 0))]);
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 8);
    lab.go(a, &[read(3, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)), recv(4, &[])]);
    lab.run_to(StepKind::Delivered(Opcode::ReadRequest));
    lab.nic(a).close(a.ep);
    lab.run();
    assert_good(&lab.ends(0), [2]);
    lab.check();
    assert!(lab.count(StepKind::Unclaimed(Opcode::ReadResponseMiddle)) > 0);
    assert_eq!(lab.nic(a).state(a.ep), None);
    assert_eq!(lab.post(a, &recv(1, &[])), Err(PostError::Unknown(a.ep)));
    lab.nic(a).close(a.ep);
    lab.nic(a).ring(a.ep).expect("the simulated NIC takes what it posted");
    // Its peer learns by silence.
    lab.go(b, &[write(7, &[], lab.at(0, 0))]);
    lab.run();
    assert_eq!(lab.ends(1), [(7, Status::RetryExcErr)]);
}

#[test]
fn packets_of_another_node_than_the_peer_are_unclaimed() {
    let mut lab = Lab::new(3);
    let specs = [0, 1, 2].map(|n| EndpointSpec { timeout: 5, ..lab.spec(n) });
    let [a, b, stranger] = [0, 1, 2].map(|n| lab.open(n, &specs[n]));
    let [to_a, to_b, to_stranger] = [a, b, stranger].map(|e| lab.nic(e).address(e.ep).unwrap());
    // Even with the very sequence number that is expected.
    let mut forged = to_a.as_bytes().to_vec();
    forged[10..].copy_from_slice(&to_stranger.as_bytes()[10..]);
    lab.nic(b).connect(b.ep, &EndpointAddress::from_bytes(&forged).unwrap()).unwrap();
    lab.nic(stranger).connect(stranger.ep, &to_b).unwrap();
    lab.go(stranger, &[write(1, &[lab.piece(2, 0, 8)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(2), [(1, Status::RetryExcErr)]);
    assert_eq!(lab.count(StepKind::Unclaimed(Opcode::WriteOnly)), 7);
    lab.check();
}

/// What a test does to one endpoint whose peer never answers.
#[derive(Clone, Copy, Debug)]
enum Act {
    Modify(QpState),
    Connect,
    Send,
    Recv,
    /// Lets everything that was posted go out.
    Run,
    Poll,
    Close,
}

/// What the endpoint must be like: small enough to be read and believed.
struct Model {
    state: QpState,
    sends: Vec<u64>,
    receives: Vec<u64>,
    /// Works of `sends` that went out.
    begun: usize,
    done: VecDeque<(u64, bool)>,
    events: Vec<&'static str>,
    closed: bool,
}

const DEPTH: usize = 3;

impl Model {
    fn allows(&self, to: QpState) -> bool {
        use QpState::{Err, Init, Reset, Rtr, Rts, Sqd};
        match to {
            Reset => true,
            Err => self.state != Reset,
            Init => matches!(self.state, Reset | Init),
            // Connecting goes through it: nobody is ever in INIT with a peer.
            Rtr => false,
            Rts => matches!(self.state, Rts | Sqd),
            Sqd => matches!(self.state, Rts | Sqd),
        }
    }

    fn enter(&mut self, to: QpState) {
        match to {
            QpState::Reset => (self.sends, self.receives, self.done) = Default::default(),
            QpState::Err => self.flush(),
            QpState::Sqd if self.state == QpState::Rts && self.begun == 0 => self.events.push("drained"),
            _ => {}
        }
        if matches!(to, QpState::Reset | QpState::Err) {
            self.begun = 0;
        }
        self.state = to;
    }

    fn flush(&mut self) {
        self.done.extend(self.sends.drain(..).map(|id| (id, true)));
        self.done.extend(self.receives.drain(..).map(|id| (id, false)));
    }

    fn used(&self, send: bool) -> usize {
        let waiting = if send { &self.sends } else { &self.receives };
        waiting.len() + self.done.iter().filter(|d| d.1 == send).count()
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let state = prop::sample::select(QpState::ALL.to_vec());
    let act = prop_oneof![
        3 => state.prop_map(Act::Modify),
        3 => Just(Act::Connect),
        4 => Just(Act::Send),
        3 => Just(Act::Recv),
        2 => Just(Act::Run),
        2 => Just(Act::Poll),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Act::Close } else { Act::Poll }),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_endpoint_follows_the_state_table_through_any_sequence_of_calls(acts in acts()) {
        let mut lab = Lab::new(2);
        let mut spec = lab.spec(0);
        (spec.send_depth, spec.recv_depth, spec.timeout) = (DEPTH as u32, DEPTH as u32, 0);
        let a = lab.open(0, &spec);
        let silent = lab.spec(1);
        let b = lab.open(1, &silent);
        let to_b = lab.nic(b).address(b.ep).unwrap();
        let mut m = Model {
            state: QpState::Reset, sends: vec![], receives: vec![], begun: 0,
            done: VecDeque::new(), events: vec![], closed: false,
        };
        let mut id = 0;
        for act in acts {
            id += 1;
            match act {
                Act::Modify(to) => {
                    let expected = if m.closed {
                        Err(ModifyError::Unknown(a.ep))
                    } else if m.allows(to) {
                        m.enter(to);
                        Ok(())
                    } else if to == QpState::Rtr && m.state == QpState::Init {
                        Err(ModifyError::NoPeer(a.ep))
                    } else {
                        Err(ModifyError::IllegalTransition { from: m.state, to })
                    };
                    prop_assert_eq!(lab.nic(a).modify(a.ep, to), expected);
                }
                Act::Connect => {
                    let expected = if m.closed {
                        Err(ConnectError::Unknown(a.ep))
                    } else if matches!(m.state, QpState::Reset | QpState::Init) {
                        m.state = QpState::Rts;
                        Ok(())
                    } else {
                        Err(ConnectError::WrongState { ep: a.ep, state: m.state })
                    };
                    prop_assert_eq!(lab.nic(a).connect(a.ep, &to_b), expected);
                }
                Act::Send | Act::Recv => {
                    let is_send = matches!(act, Act::Send);
                    let takes = match (is_send, m.state) {
                        (true, s) => matches!(s, QpState::Rts | QpState::Sqd | QpState::Err),
                        (false, s) => s != QpState::Reset,
                    };
                    let expected = if m.closed {
                        Err(PostError::Unknown(a.ep))
                    } else if !takes {
                        Err(PostError::WrongState { ep: a.ep, state: m.state })
                    } else if m.used(is_send) == DEPTH {
                        Err(PostError::QueueFull { ep: a.ep, depth: DEPTH as u32 })
                    } else {
                        if is_send { m.sends.push(id) } else { m.receives.push(id) }
                        if m.state == QpState::Err { m.flush() }
                        Ok(())
                    };
                    let w = if is_send { send(id, &[]) } else { recv(id, &[]) };
                    prop_assert_eq!(lab.post(a, &w), expected);
                }
                Act::Run => {
                    lab.nic(a).ring(a.ep).expect("the simulated NIC takes what it posted");
                    lab.run();
                    if m.state == QpState::Rts { m.begun = m.sends.len() }
                }
                Act::Poll => {
                    let expected: Vec<_> = m.done.drain(..).map(|(id, _)| (id, Status::WrFlushErr)).collect();
                    prop_assert_eq!(lab.ends(0), expected);
                }
                Act::Close => {
                    lab.nic(a).close(a.ep);
                    m.closed = true;
                    m.done.clear();
                }
            }
            let state = lab.nic(a).state(a.ep);
            prop_assert_eq!(state, (!m.closed).then_some(m.state));
            let events = lab.events(0);
            prop_assert!(events.iter().all(|e| *e == AsyncEvent::SqDrained(a.ep)));
            prop_assert_eq!(events.len(), m.events.drain(..).len());
        }
    }
}
