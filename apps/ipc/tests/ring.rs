//! Rings: both sides in one process, in order, full, asleep, and with a client that lies.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use wavetank_contract::{Others, Pages, SharedMemory};
use wavetank_ipc::ring::{Answer, ClientRing, Completion, EngineRing, Full, Submission, Task, ring_bytes};
use wavetank_ipc::{Code, Details, Found, ReadPath};

fn ring(entries: u32) -> (EngineRing, ClientRing, SharedMemory) {
    let memory =
        SharedMemory::create("ring", ring_bytes(entries).unwrap(), Others::Write, Pages::Plain).unwrap();
    let there = SharedMemory::attach(memory.fd().try_clone_to_owned().unwrap(), 1 << 30).unwrap();
    let engine = EngineRing::create(memory, entries).unwrap();
    let hand = SharedMemory::attach(there.fd().try_clone_to_owned().unwrap(), 1 << 30).unwrap();
    (engine, ClientRing::attach(there).unwrap(), hand)
}

fn ping(name: u64) -> Submission {
    Submission { name, task: Task::Ping }
}

fn pong(name: u64) -> Completion {
    Completion { name, answer: Answer::Pong }
}

#[test]
fn a_ring_has_a_size_and_memory_that_was_laid_out() {
    assert_eq!((ring_bytes(0), ring_bytes(7), ring_bytes(12), ring_bytes(8192)), (None, None, None, None));
    let memory = SharedMemory::create("ring", 1 << 20, Others::Write, Pages::Plain).unwrap();
    assert!(ClientRing::attach(memory.clone()).is_none(), "nobody laid it out");
    assert!(EngineRing::create(memory, 4096).is_none(), "it does not fit");
}

#[test]
fn submissions_and_completions_come_in_order_over_many_laps() {
    let (mut engine, mut client, _) = ring(8);
    for lap in 0..1000 {
        for name in 0..8 {
            client.submit(ping(lap * 8 + name)).unwrap();
        }
        assert_eq!(client.submit(ping(0)), Err(Full { entries: 8 }));
        for name in 0..8 {
            assert_eq!(engine.take().unwrap(), Some(ping(lap * 8 + name)));
        }
        assert_eq!(engine.take().unwrap(), None);
        for name in 0..8 {
            assert!(!engine.complete(&pong(lap * 8 + name)));
            assert_eq!(client.take(), Some(Some(pong(lap * 8 + name))));
        }
        assert_eq!(client.take(), None);
    }
}

#[test]
fn completions_never_overrun_a_client_that_takes_none() {
    let (mut engine, mut client, _) = ring(8);
    let mut owed = 0;
    loop {
        while client.submit(ping(owed)).is_ok() {}
        let Some(submission) = engine.take().unwrap() else { break };
        engine.complete(&pong(submission.name));
        owed += 1;
    }
    assert_eq!(owed, 16, "as many as there are places for completions");
    assert!(engine.sleep(), "what has no room is no reason to stay awake");
    assert!(client.take().is_some());
    assert!(client.engine_waits(), "and whoever makes room has to wake it");
    engine.wake();
    assert!(engine.take().unwrap().is_some());
}

#[test]
fn who_looks_once_more_before_it_sleeps_misses_nothing() {
    let (mut engine, mut client, _) = ring(8);
    assert!(engine.sleep());
    assert_eq!(client.submit(ping(1)), Ok(true), "it sleeps, so wake it");
    engine.wake();
    assert!(engine.take().unwrap().is_some());
    assert_eq!(client.submit(ping(2)), Ok(false));
    assert!(!engine.sleep(), "something came before the flag was there");
    engine.wake();
    engine.take().unwrap();
    assert!(client.sleep());
    assert!(engine.complete(&pong(1)), "the client sleeps");
    client.wake();
    assert!(!engine.complete(&pong(2)));
    client.take();
    assert!(!client.sleep());
}

#[test]
fn a_client_that_says_it_took_more_than_there_was_is_told() {
    let (mut engine, mut client, hand) = ring(8);
    for name in 0..16 {
        client.submit(ping(name)).unwrap();
        engine.take().unwrap().unwrap();
        engine.complete(&pong(name));
    }
    client.submit(ping(16)).unwrap();
    assert_eq!(engine.take(), Ok(None), "its twin, who says nothing, waits");
    for said in [17, u64::MAX, 1 << 63] {
        hand.word(384).store(said);
        let broken = engine.take().unwrap_err();
        assert_eq!((broken.said, broken.written), (said, 16));
    }
    hand.word(384).store(1);
    assert!(engine.take().unwrap().is_some());
}

proptest! {
    #[test]
    fn found_bytes_travel_whole(words: [u64; 4], crc32c: u32, path in 0u8..3, flags: u8, modified: Option<u64>, etag: Option<u32>, mime: Option<String>, name: Option<String>) {
        let (mut engine, mut client, _) = ring(8);
        let cut = |text: Option<String>| text.map(|text| text[..text.floor_char_boundary(255)].into());
        let details = Details { flags, last_modified_s: modified, etag, mime: cut(mime), name: cut(name) };
        let [offset, len, generation, whole_len] = words;
        let path = ReadPath::from_number(path).unwrap();
        let found = Found { offset, len, generation, whole_len, crc32c, path, details };
        for answer in [Answer::Found(Box::new(found)), Answer::Refused { code: Code::PastEnd, detail: whole_len }] {
            client.submit(ping(3)).unwrap();
            engine.take().unwrap();
            let completion = Completion { name: 3, answer };
            engine.complete(&completion);
            prop_assert_eq!(client.take(), Some(Some(completion)));
        }
    }

    #[test]
    fn every_task_travels_whole(name: u64, volume: u32, needle: u64, cookie: u32, offset: u64, len: u64, timeout_ns: u64, server: u16) {
        let (mut engine, mut client, _) = ring(8);
        for task in [
            Task::Read { volume, needle, cookie, offset, len, timeout_ns, server },
            Task::Release { offset, generation: needle },
            Task::Cancel { name: needle },
            Task::Unknown(99),
        ] {
            client.submit(Submission { name, task }).unwrap();
            prop_assert_eq!(engine.take().unwrap(), Some(Submission { name, task }));
        }
    }

    #[test]
    fn random_bytes_in_a_ring_hurt_nobody(seed: u64, writes in proptest::collection::vec((0u64..2000, any::<u64>()), 1..60)) {
        let (mut engine, mut client, hand) = ring(8);
        client.submit(ping(seed)).unwrap();
        for (at, word) in writes {
            hand.word(at % (hand.len() / 8) * 8).store(word);
            if let Ok(Some(submission)) = engine.take()
                && !matches!(submission.task, Task::Release { .. } | Task::Cancel { .. }) {
                engine.complete(&pong(submission.name));
            }
            let _ = client.take();
            let _ = engine.sleep();
            engine.wake();
        }
    }
}
