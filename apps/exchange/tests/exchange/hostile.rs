//! Peers that lie, ask for too much, or never stop: they hurt themselves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use async_trait::async_trait;
use futures_util::future::join_all;
use wavetank_exchange::calls::{
    About, Catalogue, CataloguePage, Challenge, ChallengeReply, Grant, Hello, NeedleCall, NeedleFound,
    NeedleReply, ReachSegment, ReadNeedle, SegmentReply, Standing, Ungranted, Which,
};
use wavetank_exchange::{Absence, Mode, NotRead, Reader, Wanted};
use wavetank_messenger::{ConnectionId, Data, LocalMessenger, Policy};
use wavetank_rpc::{Answer, Asked, Carried, Service, Services, call};
use wavetank_volume::{Flags, Version};

use crate::net::{MS, Net};
use crate::rig::{Known, exporter_config, nonces, reader_config, rig, volume, wanted};

const HELLO: Hello = Hello { version_min: 1, version_max: 1, has_key: false, nonce: [9; 32] };

fn folder() -> (tempfile::TempDir, Vec<Known>) {
    let folder = tempfile::tempdir().unwrap();
    let (writer, known) = volume(Version::V3, 3);
    writer.write_to(&folder, "3").unwrap();
    (folder, known)
}

pub(crate) async fn enter(messenger: &LocalMessenger) -> ConnectionId {
    let (connection, connecting) = messenger.connect("0", None, Policy::LossyClient).unwrap();
    connecting.await.unwrap();
    let until = messenger.now() + 50 * MS;
    call::<Challenge, _>(messenger, connection, &HELLO, Carried::default(), until).await.unwrap();
    connection
}

/// A read of a needle, with memory of so many bytes for it.
pub(crate) async fn ask(
    messenger: &LocalMessenger,
    connection: ConnectionId,
    needle: &NeedleCall,
    sink: Option<u64>,
) -> NeedleReply {
    let sink = sink.map(|len| messenger.expose(connection, len).unwrap().unwrap());
    let carried = Carried { sink, ..Carried::default() };
    let until = messenger.now() + 200 * MS;
    call::<ReadNeedle, _>(messenger, connection, needle, carried, until).await.unwrap().reply
}

fn needle(known: &Known) -> NeedleCall {
    let (id, cookie) = (known.id, known.cookie);
    let (offset, len, wants_grant, only_grant) = (0, 0, true, false);
    NeedleCall { volume: 3, id, cookie, offset, len, wants_grant, only_grant, only: None, doubts: false }
}

#[test]
fn numbers_that_cannot_be_are_answered_and_memory_that_is_too_short_is_left_alone() {
    let (folder, known) = folder();
    let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    let messenger = reader.messenger().clone();
    // 70,001 bytes.
    let of = needle(&known[9]);
    net.run(async {
        let connection = enter(&messenger).await;
        for (offset, len) in [(u64::MAX, u64::MAX), (u64::MAX, 1), (70_001, 1), (70_002, u64::MAX)] {
            let reply = ask(&messenger, connection, &NeedleCall { offset, len, ..of }, Some(4096)).await;
            assert_eq!(reply, Err(Absence::OutOfRange), "{offset} {len}");
        }
        for (offset, len, sink) in [(0, u64::MAX, Some(4096)), (0, 0, None), (1, 70_000, Some(69_999))] {
            let found = ask(&messenger, connection, &NeedleCall { offset, len, ..of }, sink).await.unwrap();
            assert_eq!((found.placed, found.about.whole_bytes), (0, 70_001), "{offset} {len}");
        }
        let last =
            ask(&messenger, connection, &NeedleCall { offset: 70_000, len: u64::MAX, ..of }, Some(1)).await;
        assert_eq!(last.unwrap().placed, 1, "a range ends with the needle");
        let only = Some(Which { generation: 77, offset_bytes: 8, size_bytes: 1 });
        let stale = ask(&messenger, connection, &NeedleCall { only, ..of }, Some(80_000)).await;
        assert_eq!(stale, Err(Absence::Stale));
        for segment in [0, 1, 7, u32::MAX] {
            let until = messenger.now() + 50 * MS;
            let key =
                call::<ReachSegment, _>(&messenger, connection, &segment, Carried::default(), until).await;
            assert_eq!(key.unwrap().reply.is_some(), segment == 0, "only what was granted from: {segment}");
        }
        assert!(messenger.with(|messenger| messenger.is_established(connection)));
    });
    assert_eq!(exporter.stats().pushes, 1);
}

#[test]
fn a_flood_of_reads_that_nobody_takes_is_answered_as_busy_and_others_are_served() {
    let (folder, known) = folder();
    let mut config = exporter_config();
    config.waiting_bytes_max = 1 << 20;
    let (mut net, reader, exporter) = rig(folder.path(), config, reader_config(&["0"]));
    let messenger = reader.messenger().clone();
    // 300,000 bytes, of which a call takes so many.
    let of = NeedleCall { len: 200_000, ..needle(&known[10]) };
    let (served, busy) = (Cell::new(0), Cell::new(0));
    net.run(async {
        let connection = enter(&messenger).await;
        let flood = join_all((0..100).map(|_| async {
            match ask(&messenger, connection, &of, Some(200_000)).await {
                Ok(found) => served.set(served.get() + u32::from(found.placed > 0)),
                Err(absence) => {
                    assert_eq!(absence, Absence::Busy);
                    busy.set(busy.get() + 1);
                }
            }
        }));
        let wanted = wanted(&reader, 3, &known[9]);
        let other = reader.read(&wanted);
        let (_, read) = futures_util::future::join(flood, other).await;
        assert_eq!(read.unwrap().len(), 70_001);
    });
    assert!(served.get() > 0 && busy.get() > 0, "{served:?} {busy:?}");
    assert_eq!(exporter.stats().busy, busy.get());
}

/// What a liar answers.
type Lie = Box<dyn FnMut(&Asked, &NeedleCall) -> Answer<NeedleReply>>;

/// An exporter that says what it is told to.
struct Liar {
    page: CataloguePage,
    reply: RefCell<Lie>,
    key: SegmentReply,
    asked: Cell<u64>,
}

#[async_trait(?Send)]
impl Service<Challenge> for Liar {
    async fn serve(self: Rc<Self>, _asked: Asked, _hello: Hello) -> Answer<Option<ChallengeReply>> {
        let (version, wants_proof, push_bytes_max, nonce) = (1, false, u64::MAX, [0; 32]);
        Answer::of(Some(ChallengeReply { version, wants_proof, push_bytes_max, nonce }))
    }
}

#[async_trait(?Send)]
impl Service<Catalogue> for Liar {
    async fn serve(self: Rc<Self>, _asked: Asked, _from: u32) -> Answer<CataloguePage> {
        Answer::of(self.page.clone())
    }
}

#[async_trait(?Send)]
impl Service<ReadNeedle> for Liar {
    async fn serve(self: Rc<Self>, asked: Asked, call: NeedleCall) -> Answer<NeedleReply> {
        self.asked.set(self.asked.get() + 1);
        (self.reply.borrow_mut())(&asked, &call)
    }
}

#[async_trait(?Send)]
impl Service<ReachSegment> for Liar {
    async fn serve(self: Rc<Self>, _asked: Asked, _segment: u32) -> Answer<SegmentReply> {
        Answer::of(self.key.clone())
    }
}

fn found(whole_bytes: u64, placed: u64, crc32c: u32, grant: Result<Grant, Ungranted>) -> Box<NeedleFound> {
    let about = About {
        whole_bytes,
        flags: Flags(0),
        checksum: 0,
        last_modified_s: None,
        append_at_ns: None,
        ttl: None,
        name: None,
        mime: None,
    };
    let which = Which { generation: 1, offset_bytes: 8, size_bytes: 100 };
    Box::new(NeedleFound { which, placed, crc32c, about, grant })
}

fn lied(
    key: SegmentReply,
    reply: impl FnMut(&Asked, &NeedleCall) -> Answer<NeedleReply> + 'static,
) -> (Net, Reader, Rc<Liar>) {
    let standing = |volume| Standing { volume, version: 3, revision: 0, change: 1 };
    // It never ends, and it never gets any further.
    let page = CataloguePage { volumes: vec![standing(3)], more: true };
    let reply: RefCell<Lie> = RefCell::new(Box::new(reply));
    let liar = Rc::new(Liar { page, reply, key, asked: Cell::new(0) });
    let theirs = Rc::clone(&liar);
    let begin = Box::new(move |messenger| {
        let services = Services::new()
            .with::<Challenge>(Rc::clone(&theirs))
            .with::<Catalogue>(Rc::clone(&theirs))
            .with::<ReadNeedle>(Rc::clone(&theirs))
            .with::<ReachSegment>(Rc::clone(&theirs));
        LocalMessenger::new(messenger, services)
    });
    let net = Net::new(1, vec![begin]);
    let reader = Reader::new(net.client(), reader_config(&["0"]), nonces(1), None);
    (net, reader, liar)
}

fn any(reader: &Reader) -> Wanted {
    Wanted::whole(3, 1, 2, reader.messenger().now() + 300 * MS)
}

#[test]
fn lengths_that_cannot_be_allocate_nothing_and_end_the_read() {
    for whole in [u64::MAX, 1 << 40, (256 << 20) + 1] {
        let (mut net, reader, liar) =
            lied(None, move |_, _| Answer::of(Ok(found(whole, 0, 0, Err(Ungranted::Cold)))));
        let error = net.run(reader.read(&any(&reader))).expect_err("it cannot be");
        assert_eq!(error, NotRead::Absent(Absence::TooLong));
        assert_eq!(liar.asked.get(), 1);
    }
}

#[test]
fn bytes_that_are_not_what_their_sum_says_are_seen_by_nobody() {
    let send = |sum_is_wrong: bool| {
        move |asked: &Asked, _: &NeedleCall| {
            let lease = asked.messenger.lease(5000).unwrap();
            lease.write(0, &[7; 5000]);
            let sum = crc32c::crc32c(&[7; 5000]) ^ u32::from(sum_is_wrong);
            let reply = Ok(found(5000, 5000, sum, Err(Ungranted::Cold)));
            Answer { reply, data: Some(Data::all(lease)), way: None }
        }
    };
    let (mut net, reader, _) = lied(None, send(true));
    let error = net.run(reader.read(&any(&reader))).expect_err("the sum is another");
    assert!(matches!(error, NotRead::Corrupt(_) | NotRead::TimedOut(_)), "{error}");
    assert!(reader.stats().corrupt > 1, "it was tried again: {:?}", reader.stats());
    // The twin: without the lie it is read.
    let (mut net, reader, _) = lied(None, send(false));
    assert_eq!(net.run(reader.read(&any(&reader))).unwrap().to_vec(), [7; 5000]);
}

#[test]
fn an_exporter_that_promises_and_never_sends_is_given_up() {
    let (mut net, reader, liar) = lied(None, |_, _| Answer::of(Ok(found(100, 0, 0, Err(Ungranted::Cold)))));
    let error = net.run(reader.read(&any(&reader))).expect_err("nothing comes");
    assert!(matches!(error, NotRead::Corrupt(_) | NotRead::TimedOut(_)), "{error}");
    assert!(liar.asked.get() < 50, "not for ever: {}", liar.asked.get());
}

#[test]
fn grants_that_lie_are_dropped_and_the_needle_is_pushed() {
    let grants = [
        Grant { segment: 0, at: 0, record_bytes: 128, version: 3, seal: 1, for_ms: 1000 },
        Grant {
            segment: u32::MAX,
            at: u64::MAX,
            record_bytes: u32::MAX,
            version: 3,
            seal: 1,
            for_ms: u32::MAX,
        },
        Grant { segment: 1, at: 0, record_bytes: 1, version: 77, seal: 1, for_ms: 1 },
    ];
    for (grant, keys) in grants.into_iter().flat_map(|grant| [(grant, false), (grant, true)]) {
        let key = wavetank_contract::RemoteKey::from_bytes(&[0xab; 40]).filter(|_| keys);
        let (mut net, reader, _) = lied(key, move |asked, call| {
            if call.only_grant {
                return Answer::of(Ok(found(10, 0, 0, Ok(grant))));
            }
            let lease = asked.messenger.lease(10).unwrap();
            lease.write(0, &[7; 10]);
            let reply = Ok(found(10, 10, crc32c::crc32c(&[7; 10]), Ok(grant)));
            Answer { reply, data: Some(Data::all(lease)), way: None }
        });
        for _ in 0..3 {
            let found = net.run(reader.read(&any(&reader))).unwrap();
            assert_eq!((found.to_vec(), found.path), (vec![7; 10], wavetank_exchange::Path::Pushed));
        }
        let pulled = Wanted { mode: Mode::Pull, ..any(&reader) };
        let error = net.run(reader.read(&pulled)).expect_err("there is nothing to pull");
        assert!(matches!(error, NotRead::NotPulled(_)), "{error}");
        assert_eq!(reader.stats().connections, 1, "no READ was posted that could break it");
    }
}
