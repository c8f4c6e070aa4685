//! When faults come and end, and what undoes them.

use wavetank_contract::{Choices, Instant, Seeded, Site};
use wavetank_harness::fault::{Begins, Injector, Part, parse_line};

/// Answers every question alike.
struct Always {
    last: bool,
    asked: u64,
}

impl Choices for Always {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        assert_eq!(site, Site::Fault);
        self.asked += 1;
        if self.last { bound - 1 } else { 0 }
    }
}

fn injector(faults: &[&str]) -> Injector {
    Injector::new(faults.iter().map(|line| parse_line(line).expect(line)).collect())
}

fn op(op: u32) -> Begins {
    Begins { op, connection: 0, op_of_connection: op }
}

/// What is due at a time, as text.
fn due(injector: &mut Injector, now: u64) -> Vec<String> {
    std::iter::from_fn(|| injector.due(Instant(now)))
        .map(|step| {
            let part = match step.part {
                Part::Comes => "",
                Part::Ends => " (ends)",
                Part::GoesOn => " (goes on)",
            };
            format!("{}{part}", step.cause)
        })
        .collect()
}

/// Everything that happens by itself, with its time.
fn all(injector: &mut Injector) -> Vec<String> {
    let mut told = Vec::new();
    while injector.next_at() != Instant::FAR {
        let now = injector.next_at().0;
        told.extend(due(injector, now).into_iter().map(|what| format!("{now}: {what}")));
    }
    told
}

const NONE: [&str; 0] = [];

#[test]
fn faults_come_at_their_times_in_the_order_of_the_schedule() {
    let mut injector = injector(&[
        "at 20 device 0 remove",
        "at 10 device 1 remove",
        "at 10 device 2 remove",
        "op 9 device 3 remove",
    ]);
    assert_eq!(injector.next_at(), Instant(10));
    assert_eq!(due(&mut injector, 9), NONE);
    assert_eq!(due(&mut injector, 15), ["device 1 remove", "device 2 remove"]);
    assert_eq!(injector.next_at(), Instant(20));
    assert_eq!(due(&mut injector, 99), ["device 0 remove"]);
    assert_eq!((injector.next_at(), injector.came()), (Instant::FAR, &[1, 1, 1, 0][..]));
}

#[test]
fn a_fault_that_lasts_is_undone() {
    let table = [
        ("at 5 for 10 link 0 1 cut", "link 0 1 cut", Some("mend 0 1")),
        ("at 5 for 10 device 2 port-down", "device 2 port-down", Some("device 2 port-up")),
        ("at 5 for 10 host 1 pause", "host 1 pause", Some("host 1 resume")),
        ("at 5 for 10 host 1 crash", "host 1 crash", Some("host 1 restart")),
        ("at 5 for 10 link 0 1 lose nth 3", "link 0 1 lose nth 3", None),
        ("at 5 for 10 device 0 remove", "device 0 remove", None),
        ("at 5 for 10 memory 0 deregister", "memory 0 deregister", None),
        ("at 5 link 0 1 cut", "link 0 1 cut", None),
    ];
    for (fault, comes, ends) in table {
        let mut expected = vec![format!("5: {comes}")];
        expected.extend(ends.map(|ends| format!("15: {ends} (ends)")));
        assert_eq!(all(&mut injector(&[fault])), expected, "{fault}");
    }
}

#[test]
fn mending_one_fault_of_a_link_does_not_mend_the_others() {
    let mut injector = injector(&[
        "at 0 for 30 link 0 1 cut",
        "at 10 for 10 link 0 1 delay 7",
        "at 10 for 10 link 1 0 delay 7",
        "at 15 for 100 link 0 1 duplicate one-in 9",
    ]);
    let expected = [
        "0: link 0 1 cut",
        "10: link 0 1 delay 7",
        "10: link 1 0 delay 7",
        "15: link 0 1 duplicate one-in 9",
        "20: mend 0 1 (ends)",
        "20: link 0 1 cut (goes on)",
        "20: link 0 1 duplicate one-in 9 (goes on)",
        "20: mend 1 0 (ends)",
        "30: mend 0 1 (ends)",
        "30: link 0 1 duplicate one-in 9 (goes on)",
        "115: mend 0 1 (ends)",
    ];
    assert_eq!(all(&mut injector), expected);
}

#[test]
fn what_two_faults_keep_down_comes_up_when_the_last_one_ends() {
    for (fault, undo) in [("device 0 port-down", "device 0 port-up"), ("host 0 pause", "host 0 resume")] {
        let faults = [format!("at 0 for 20 {fault}"), format!("at 10 for 40 {fault}")];
        let mut injector = injector(&[&faults[0], &faults[1]]);
        assert_eq!(all(&mut injector), [format!("0: {fault}"), format!("50: {undo} (ends)")]);
        assert_eq!(injector.came(), [1, 1]);
    }
}

#[test]
fn what_ends_makes_room_for_what_comes_at_the_same_time() {
    let mut injector = injector(&["at 10 for 5 device 0 port-down", "at 0 for 10 device 0 port-down"]);
    let expected = [
        "0: device 0 port-down",
        "10: device 0 port-up (ends)",
        "10: device 0 port-down",
        "15: device 0 port-up (ends)",
    ];
    assert_eq!(all(&mut injector), expected);
}

#[test]
fn a_fault_that_is_undone_by_another_does_not_end_once_more() {
    let table = [
        (
            ["at 0 for 50 device 0 port-down", "at 10 device 0 port-up"],
            ["0: device 0 port-down", "10: device 0 port-up"],
        ),
        (
            ["at 0 for 50 host 0 crash", "at 10 host 0 restart-same"],
            ["0: host 0 crash", "10: host 0 restart-same"],
        ),
        (["at 0 for 50 link 0 1 cut", "at 10 mend 0 1"], ["0: link 0 1 cut", "10: mend 0 1"]),
    ];
    for (faults, expected) in table {
        assert_eq!(all(&mut injector(&faults)), expected);
    }
}

#[test]
fn an_operation_brings_its_fault_and_no_other_operation_does() {
    let mut injector = injector(&[
        "op 2 device 0 remove",
        "op 1 connection 7 device 1 remove",
        "op 3 connection 7 for 10 host 0 pause",
    ]);
    let mut quiet = Always { last: false, asked: 0 };
    // Connection 7 has the even operations.
    for number in 0..9u32 {
        let connection = if number % 2 == 0 { 7 } else { 0 };
        injector.begin_op(
            Instant(5),
            Begins { op: number, connection, op_of_connection: number / 2 },
            &mut quiet,
        );
        let expected: &[&str] = match number {
            2 => &["device 0 remove", "device 1 remove"],
            6 => &["host 0 pause"],
            _ => &[],
        };
        assert_eq!(due(&mut injector, 5), expected, "operation {number}");
    }
    assert_eq!(all(&mut injector), ["15: host 0 resume (ends)"]);
    assert_eq!(quiet.asked, 0, "where nothing is left to chance, nothing is drawn");
}

#[test]
fn chance_is_quiet_at_zero_and_strikes_on_the_last_choice() {
    for (last, expected) in [(false, &[][..]), (true, &["device 0 remove"][..])] {
        let mut injector = injector(&["each-op 1000 device 0 remove"]);
        let mut choices = Always { last, asked: 0 };
        injector.begin_op(Instant(0), op(0), &mut choices);
        assert_eq!(due(&mut injector, 0), expected);
        assert_eq!(choices.asked, 1);
    }
    let mut sure = injector(&["each-op 1 device 0 remove"]);
    let mut choices = Always { last: false, asked: 0 };
    sure.begin_op(Instant(0), op(0), &mut choices);
    assert_eq!((due(&mut sure, 0).len(), choices.asked), (1, 0), "what is sure is not drawn");
}

#[test]
fn chance_strikes_about_as_often_as_asked() {
    let mut injector = injector(&["each-op 100 device 0 remove"]);
    let mut choices = Seeded::new(3);
    for number in 0..100_000 {
        injector.begin_op(Instant(0), op(number), &mut choices);
        while injector.due(Instant(0)).is_some() {}
    }
    assert!((900..1100).contains(&injector.came()[0]), "{}", injector.came()[0]);
}

#[test]
fn a_fault_that_comes_again_lasts_longer_and_is_done_once() {
    let mut injector = injector(&["each-op 2 for 10 host 0 pause"]);
    let mut strike = Always { last: true, asked: 0 };
    for (now, expected) in [(0, &["host 0 pause"][..]), (5, &[]), (9, &[])] {
        injector.begin_op(Instant(now), op(0), &mut strike);
        assert_eq!(due(&mut injector, now), expected, "at {now}");
    }
    assert_eq!(all(&mut injector), ["19: host 0 resume (ends)"]);
    assert_eq!(injector.came(), [3]);
}

#[test]
fn healing_undoes_what_lasts_once_and_lets_nothing_come_any_more() {
    let mut injector = injector(&[
        "at 0 link 0 1 cut",
        "at 0 for 50 link 0 1 delay 9",
        "at 0 host 0 pause",
        "at 60 device 0 remove",
        "each-op 1 device 1 remove",
    ]);
    assert_eq!(due(&mut injector, 0).len(), 3);
    let healed: Vec<String> = injector.heal().iter().map(ToString::to_string).collect();
    assert_eq!(healed, ["mend 0 1", "host 0 resume"]);
    injector.begin_op(Instant(70), op(0), &mut Always { last: true, asked: 0 });
    assert_eq!(due(&mut injector, 100), NONE);
    assert_eq!((injector.next_at(), injector.heal()), (Instant::FAR, vec![]));
}
