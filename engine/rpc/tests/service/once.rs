//! A write is applied once, whatever is lost.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_messenger::{Go, Policy, Step};
use wavetank_rpc::{
    AppliedLimits, ChunkClient, ChunkError, ChunkServer, ChunkServerConfig, ChunkStore, Effect, FileStore,
    FolderDisk, StoreLimits, Waits,
};

use crate::net::{Fault, MS, Net, SERVER, begin};
use crate::rig::{Book, KEY, Ledger, client_config, in_ms, pattern, serve};

const POLICIES: [Policy; 3] = [Policy::LossyClient, Policy::LosslessClient, Policy::LosslessPeer];

/// The server has everything of the next write, and whatever it says from there on is lost; then its process ends.
fn die_before_the_answer(net: &mut Net, len: usize) {
    let (mute, wanted) = (Rc::clone(&net.mute), if len > 4096 { Step::Fetched } else { Step::ReceiveEager });
    net.nodes[SERVER].with(|messenger| {
        messenger.intercept(Some(Box::new(move |step, _| {
            if step == wanted {
                mute.set(true);
            }
            Go::On
        })));
    });
    let at = net.fabric.now() + 20 * MS;
    net.plan(at, Fault::Restart);
    net.plan(at, Fault::Heal);
}

#[test]
fn a_server_that_dies_between_doing_and_answering_does_it_once() {
    for policy in POLICIES {
        for len in [100usize, 100_000] {
            let book = Rc::new(RefCell::new(Book::default()));
            let shared = Rc::clone(&book);
            let mut net = Net::new(1, policy, serve(None, move || Ledger(Rc::clone(&shared))));
            let client = ChunkClient::new(net.client(), client_config(policy, None));
            let deadline = Instant(2000 * MS);
            net.run(client.write_bytes(KEY, 0, &pattern(1, len), false, deadline)).expect("there is room");
            die_before_the_answer(&mut net, len);
            net.run(client.write_bytes(KEY, 0, &pattern(2, len), false, deadline))
                .unwrap_or_else(|failure| panic!("{policy}, {len}: {failure}"));
            assert!(client.stats().attempts_failed > 0, "{policy}, {len}");
            let applied: Vec<_> = book.borrow().applied.iter().map(|(n, times)| (*n, *times)).collect();
            assert_eq!(applied, [(1, 1), (2, 1)], "{policy}, {len}");
        }
    }
}

#[test]
fn a_write_that_is_given_up_is_not_known_to_be_applied_and_never_comes_after_a_later_one() {
    for policy in POLICIES {
        let book = Rc::new(RefCell::new(Book::default()));
        let shared = Rc::clone(&book);
        let mut net = Net::new(1, policy, serve(None, move || Ledger(Rc::clone(&shared))));
        let client = ChunkClient::new(net.client(), client_config(policy, None));
        net.run(client.write_bytes(KEY, 0, &pattern(1, 5000), false, Instant(1000 * MS))).expect("room");
        die_before_the_answer(&mut net, 5000);
        let deadline = in_ms(&client, 10);
        let failure = net.run(client.write_bytes(KEY, 0, &pattern(2, 5000), false, deadline));
        let failure = failure.expect_err("nobody answers");
        assert!(failure.gave_up && failure.effect == Effect::Unknown, "{policy}: {failure:?}");
        assert!(failure.to_string().contains("not known whether it was applied"), "{failure}");
        assert_eq!(book.borrow().applied.get(&2), Some(&1), "it was, as it happens");
        let deadline = in_ms(&client, 1000);
        net.run(client.write_bytes(KEY, 0, &pattern(3, 5000), false, deadline)).expect("it is back");
        net.run_ms(200);
        assert_eq!(book.borrow().applied.get(&2), Some(&1));
        assert!(book.borrow().chunks[&KEY] == pattern(3, 5000));
    }
}

fn file_store(path: &Path) -> FileStore {
    let disk = Rc::new(FolderDisk::open(path, Waits::Here).expect("a folder"));
    FileStore::open(disk, StoreLimits::default(), AppliedLimits::default()).expect("a store")
}

#[test]
fn a_store_of_files_knows_a_write_again_after_its_process_has_died() {
    for durable in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let mut net = Net::new(1, Policy::LossyClient, serve(None, move || file_store(&path)));
        let client = ChunkClient::new(net.client(), client_config(Policy::LossyClient, None));
        let deadline = Instant(4000 * MS);
        net.run(client.write_bytes(KEY, 0, &pattern(1, 5000), durable, deadline)).expect("there is room");
        let bytes_of_one = used_bytes(folder.path());
        die_before_the_answer(&mut net, 5000);
        net.run(client.write_bytes(KEY, 0, &pattern(2, 5000), durable, deadline)).expect("once, in the end");
        assert!(client.stats().attempts_failed > 0);
        // A chunk's file is a log: a write that were applied twice would stand in it twice.
        let bytes_of_two = used_bytes(folder.path());
        net.run(client.write_bytes(KEY, 0, &pattern(3, 5000), durable, deadline)).expect("there is room");
        let one = used_bytes(folder.path()) - bytes_of_two;
        assert_eq!(bytes_of_two - bytes_of_one, one, "durable: {durable}");
        let data = net.run(client.read(KEY, 0, 5000, deadline)).expect("it is there");
        assert!(data.to_vec() == pattern(3, 5000));
    }
}

fn used_bytes(path: &Path) -> u64 {
    let disk = Rc::new(FolderDisk::open_read_only(path).expect("a folder"));
    let store = FileStore::open(disk, StoreLimits::default(), AppliedLimits::default()).expect("a store");
    store.used_bytes()
}

#[test]
fn a_busy_server_is_asked_again_under_the_same_number() {
    // A store that remembers one writer, and is full of another one.
    let limits = AppliedLimits { writers_max: 1, sequences_max: 8 };
    let store = Rc::new(RefCell::new(None::<Rc<ChunkServer<wavetank_rpc::MemoryStore>>>));
    let hand = Rc::clone(&store);
    let mut net = Net::new(
        1,
        Policy::LossyClient,
        begin(move || {
            let memory = wavetank_rpc::MemoryStore::new(StoreLimits::default(), limits);
            let server = ChunkServer::new(memory, ChunkServerConfig::default());
            *hand.borrow_mut() = Some(Rc::clone(&server));
            server.services()
        }),
    );
    let config = client_config(Policy::LossyClient, None);
    let one = ChunkClient::new(net.client(), config.clone());
    let other = ChunkClient::new(net.client(), wavetank_rpc::ChunkClientConfig { writer: 78, ..config });
    let server = store.borrow().clone().expect("it has begun");
    net.run(async {
        let deadline = in_ms(&one, 1000);
        one.write_bytes(KEY, 0, &[1; 10], false, deadline).await.expect("the first writer is known");
        let failure = other.write_bytes(KEY, 0, &[2; 10], false, in_ms(&other, 50)).await.expect_err("full");
        assert_eq!((failure.chunk_error(), failure.effect), (Some(ChunkError::Busy), Effect::None));
        assert!(failure.gave_up && failure.attempts > 2);
        assert_eq!(server.stats().busy, u64::from(failure.attempts));
        server.store().retire(77);
        other.write_bytes(KEY, 0, &[2; 10], false, deadline).await.expect("there is room now");
    });
}

#[test]
fn writers_are_forgotten_by_silence_and_not_because_a_connection_broke() {
    let config = ChunkServerConfig { silence_ns: 100 * MS, flush_ns: 10 * MS, ..Default::default() };
    let server = ChunkServer::new(crate::rig::memory_store(), config);
    let hand = Rc::clone(&server);
    let mut net = Net::new(1, Policy::LossyClient, begin(move || hand.services()));
    let client = ChunkClient::new(net.client(), client_config(Policy::LossyClient, None));
    let (upkeep, messenger) = (Rc::clone(&server), net.nodes[SERVER].clone());
    let task = messenger.clone();
    messenger.spawn(async move { upkeep.look_after(&task).await });
    net.run(client.write_bytes(KEY, 0, &[1; 10], false, Instant(50 * MS))).expect("there is room");
    client.close("for now");
    net.run_ms(80);
    assert_eq!(server.stats().retired, 0);
    net.run_ms(60);
    assert_eq!(server.stats().retired, 1);
    let deadline = in_ms(&client, 50);
    net.run(client.write_bytes(KEY, 0, &[3; 10], false, deadline))
        .expect("a writer that comes back is a new one");
}
