//! Stores that lie, wires that damage, memory that is not what it was: nobody sees a wrong byte.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease, Region};
use wavetank_messenger::{Go, Message, Policy, Step};
use wavetank_rpc::{
    AppliedLimits, Call, ChunkError, ChunkKey, ChunkStat, ChunkStore, Effect, Failed, FileStore, FolderDisk,
    MemoryStore, ReadChunk, RemoveOrder, StoreLimits, WriteOrder,
};

use crate::net::{MS, SERVER};
use crate::rig::{KEY, in_ms, memory_store, pattern, rig};

/// A store that places other bytes than it says, so many times.
struct Liar {
    inside: MemoryStore,
    lies: Rc<Cell<u32>>,
}

#[async_trait(?Send)]
impl ChunkStore for Liar {
    async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        into: &Lease,
        at: u64,
    ) -> Result<u32, ChunkError> {
        let sum = self.inside.read(key, offset, len_bytes, into, at).await?;
        if self.lies.get() > 0 {
            self.lies.set(self.lies.get() - 1);
            let mut byte = [0];
            into.read(at + u64::from(len_bytes) / 2, &mut byte);
            into.write(at + u64::from(len_bytes) / 2, &[byte[0] ^ 1]);
        }
        Ok(sum)
    }

    async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
        self.inside.write(order, from, at).await
    }

    async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError> {
        self.inside.remove(order).await
    }

    async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError> {
        self.inside.stat(key).await
    }

    fn retire(&self, _: u64) {}

    fn end_grace(&self) {}
}

#[test]
fn what_a_lying_store_places_is_never_seen_and_asked_for_again_until_the_deadline() {
    for len in [1usize, 600, 5000, 100_000] {
        let lies = Rc::new(Cell::new(3));
        let told = Rc::clone(&lies);
        let (mut net, client) = rig(None, move || Liar { inside: memory_store(), lies: Rc::clone(&told) });
        let bytes = pattern(1, len);
        net.run(async {
            let deadline = in_ms(&client, 400);
            client.write_bytes(KEY, 0, &bytes, false, deadline).await.expect("there is room");
            let data = client.read(KEY, 0, len as u32, deadline).await.expect("the fourth is true");
            assert!(data.to_vec() == bytes);
            assert_eq!(client.stats().corrupt, 3);
            lies.set(u32::MAX);
            let failure = client.read(KEY, 0, len as u32, in_ms(&client, 50)).await.expect_err("all lies");
            assert!(matches!(failure.chunk_error(), Some(ChunkError::CorruptOnTheWay { .. })), "{failure}");
            assert!(failure.gave_up && failure.attempts > 3, "{failure:?}");
            assert_eq!(failure.effect, Effect::None, "a read changes nothing");
        });
    }
}

#[test]
fn damage_at_rest_is_told_at_once_and_not_as_damage_on_the_way() {
    let store = Rc::new(RefCell::new(None));
    /// A store that the test has a hand on.
    struct Held(Rc<MemoryStore>);
    #[async_trait(?Send)]
    impl ChunkStore for Held {
        async fn read(
            &self,
            key: ChunkKey,
            offset: u64,
            len: u32,
            into: &Lease,
            at: u64,
        ) -> Result<u32, ChunkError> {
            self.0.read(key, offset, len, into, at).await
        }
        async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
            self.0.write(order, from, at).await
        }
        async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError> {
            self.0.remove(order).await
        }
        async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError> {
            self.0.stat(key).await
        }
        fn retire(&self, _: u64) {}
        fn end_grace(&self) {}
    }
    let hand = Rc::clone(&store);
    let (mut net, client) = rig(None, move || {
        let inside = Rc::new(memory_store());
        *hand.borrow_mut() = Some(Rc::clone(&inside));
        Held(inside)
    });
    net.run(async {
        let deadline = in_ms(&client, 400);
        client.write_bytes(KEY, 0, &pattern(1, 10_000), false, deadline).await.expect("there is room");
        assert!(store.borrow().as_ref().is_some_and(|store| store.flip_bit(KEY, 5000, 3)));
        let failure = client.read(KEY, 0, 10_000, deadline).await.expect_err("it is damaged");
        assert_eq!(
            (failure.chunk_error(), failure.attempts),
            (Some(ChunkError::CorruptAtRest { offset: 4096 }), 1)
        );
        assert_eq!(client.read(KEY, 0, 4096, deadline).await.expect("not this part").len_bytes(), 4096);
    });
}

/// Flips a bit of the first place in a region where these bytes are. False: they are nowhere.
fn flip(region: &Region, wanted: &[u8], at: usize) -> bool {
    let mut bytes = vec![0; region.len() as usize];
    region.read(0, &mut bytes);
    let Some(place) = bytes.windows(wanted.len()).position(|window| window == wanted) else { return false };
    region.write((place + at) as u64, &[bytes[place + at] ^ 4]);
    true
}

#[test]
fn a_bit_that_flips_in_the_sink_between_the_write_and_the_check_is_found() {
    let (mut net, client) = rig(None, memory_store);
    let bytes = pattern(1, 100_000);
    // A buffer of its own tells where this connection's memory is.
    let region = client.buffer(1).expect("memory").lease().region().clone();
    net.run(client.write_bytes(KEY, 0, &bytes, false, Instant(400 * MS))).expect("there is room");
    let flips = Rc::new(Cell::new(0));
    let (count, wanted) = (Rc::clone(&flips), bytes[..64].to_vec());
    net.nodes[SERVER].with(|messenger| {
        messenger.intercept(Some(Box::new(move |step, _| {
            if step == Step::SinkFilled && count.get() < 2 {
                assert!(flip(&region, &wanted, 33), "the sink was written");
                count.set(count.get() + 1);
            }
            Go::On
        })));
    });
    let data = net.run(client.read(KEY, 0, 100_000, Instant(400 * MS))).expect("the third is whole");
    assert!(data.to_vec() == bytes);
    assert_eq!((flips.get(), client.stats().corrupt), (2, 2));
}

#[test]
fn a_write_that_is_damaged_on_the_way_changes_nothing_and_goes_on_under_another_number() {
    let (mut net, client) = rig(None, memory_store);
    let (old, new) = (pattern(1, 100_000), pattern(2, 100_000));
    net.run(client.write_bytes(KEY, 0, &old, false, Instant(400 * MS))).expect("there is room");
    let buffer = client.buffer(100_000).expect("memory");
    assert!(buffer.fill(0, &new));
    let (region, place) = (buffer.lease().region().clone(), buffer.lease().offset() + 4711);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let steps = Rc::clone(&seen);
    net.nodes[SERVER].with(|messenger| {
        messenger.intercept(Some(Box::new(move |step, _| {
            // Damaged while the first READ is under way, and whole again after it.
            let first = steps.borrow().len() < 2;
            if first && matches!(step, Step::FetchData | Step::Fetched) {
                let mut byte = [0];
                region.read(place, &mut byte);
                region.write(place, &[byte[0] ^ 0x10]);
                steps.borrow_mut().push(step);
            }
            Go::On
        })));
    });
    net.run(client.write(KEY, 0, buffer, false, Instant(800 * MS))).expect("the second comes whole");
    assert_eq!(*seen.borrow(), [Step::FetchData, Step::Fetched]);
    assert_eq!((client.stats().corrupt, client.stats().attempts_failed), (1, 1));
    let data = net.run(client.read(KEY, 0, 100_000, Instant(800 * MS))).expect("it is there");
    assert!(data.to_vec() == new);
}

#[test]
fn a_full_store_says_so_once_and_what_it_holds_is_served_on() {
    let limits = StoreLimits { capacity_bytes: 8192, ..StoreLimits::default() };
    let (mut net, client) = rig(None, move || MemoryStore::new(limits, AppliedLimits::default()));
    net.run(async {
        let deadline = in_ms(&client, 400);
        client.write_bytes(KEY, 0, &[1; 8192], false, deadline).await.expect("there is room");
        let failure =
            client.write_bytes(KEY, 8192, &[2; 5000], false, deadline).await.expect_err("it is full");
        assert_eq!(failure.chunk_error(), Some(ChunkError::NoSpace { need_bytes: 8192, free_bytes: 0 }));
        assert_eq!((failure.attempts, failure.effect, failure.gave_up), (1, Effect::None, false));
        assert!(client.read(KEY, 0, 8192, deadline).await.is_ok());
    });
}

#[test]
fn a_read_only_store_refuses_writes_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let (mut net, client) = rig(None, move || {
        let disk = Rc::new(FolderDisk::open_read_only(&path).expect("a folder"));
        FileStore::open(disk, StoreLimits::default(), AppliedLimits::default()).expect("a store")
    });
    net.run(async {
        let failure = client.write_bytes(KEY, 0, &[1; 100], true, in_ms(&client, 400)).await.expect_err("no");
        assert_eq!((failure.chunk_error(), failure.attempts), (Some(ChunkError::ReadOnly), 1));
        assert_eq!(failure.effect, Effect::None);
    });
}

#[test]
fn fronts_that_make_no_sense_are_answered_and_strangers_are_told_that_there_is_no_reply() {
    let (mut net, client) = rig(None, memory_store);
    net.run(client.write_bytes(KEY, 0, &[1; 100], false, Instant(400 * MS))).expect("there is room");
    let messenger = net.client();
    let (to, _) = messenger.connect("0", None, Policy::LossyClient).expect("it can be dialled");
    for front in [&b""[..], b"\x01", &[0xff; 500]] {
        let message = Message::new(ReadChunk::TYPE, front, Instant(400 * MS));
        let reply = net.run(messenger.request(to, message, None).expect("it is sent")).expect("a reply");
        let mut bytes = [0; 1024];
        let said = ReadChunk::decode_reply(reply.front(&mut bytes)).expect("it can be read");
        assert!(matches!(said, Err(ChunkError::Malformed | ChunkError::Unsupported)), "{front:?}: {said:?}");
    }
    let stranger = messenger.request(to, Message::new(1, b"?", Instant(400 * MS)), None).expect("it is sent");
    let told = net.run(stranger).expect_err("nobody serves that").why.to_string();
    assert!(told.contains("let go of it"), "{told}");
}

#[test]
fn a_server_that_is_not_there_is_told_as_a_matter_of_the_connection_by_the_deadline() {
    let (mut net, client) = rig(None, memory_store);
    net.plan(Instant::ZERO, crate::net::Fault::Lines(true));
    net.run(async {
        let failure =
            client.write_bytes(KEY, 0, &[1; 100], false, in_ms(&client, 200)).await.expect_err("no");
        assert!(matches!(failure.failed, Failed::Call(_)) && failure.gave_up, "{failure}");
        assert!(failure.attempts > 1, "{failure:?}");
        assert!(client.messenger().now() <= Instant(210 * MS), "{}", client.messenger().now());
    });
}
