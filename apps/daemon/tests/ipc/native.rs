//! Our own protocol and its rings.

use wavetank_client::{Client, Code, ReadError, Wanted};
use wavetank_daemon::bench::{WHOLE_LEN, byte, crc};
use wavetank_daemon::ipc::ClientLimits;

use super::{Place, client, options, wanted};

fn check(bytes: &[u8], needle: u64, offset: u64) {
    for (at, found) in (offset..).zip(bytes) {
        assert_eq!(*found, byte(needle, at), "at {at} of needle {needle}");
    }
}

#[test]
fn bytes_are_lent_through_socket_and_ring_and_go_back() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    for ring in [None, Some(64)] {
        let mut client = client(&engine, ring);
        assert!(client.welcome().simulated);
        client.ping().unwrap();
        for (offset, len, expected) in
            [(0, 0, WHOLE_LEN), (5, 4096, 4096), (WHOLE_LEN - 3, 100, 3), (WHOLE_LEN, 9, 0)]
        {
            let server = Some("volume-server:8080".to_owned());
            let lent = client.read(&Wanted { server, ..wanted(3, 77, offset, len) }).unwrap();
            assert_eq!(lent.as_ref().len() as u64, expected);
            check(lent.as_ref(), 77, offset);
            let found = lent.found();
            assert_eq!((found.crc32c, found.whole_len), (crc(77, offset, expected), WHOLE_LEN));
            assert_eq!(found.details.name.as_deref(), Some("volume-server:8080"));
            assert_eq!(found.details.mime.as_deref(), Some("text/plain"));
        }
        client.ping().unwrap();
        if ring.is_some() {
            client.ping_ring().unwrap();
        }
        assert_eq!(
            engine.with(|server, pattern| (server.stats().leases_now.get(), pattern.leases())),
            (0, 0)
        );
    }
    let (socket, ring) = engine.with(|s, _| (s.stats().reads_native.get(), s.stats().reads_ring.get()));
    assert_eq!((socket, ring), (4, 4));
}

#[test]
fn what_is_not_there_is_told_with_its_code() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    for ring in [None, Some(8)] {
        let mut client = client(&engine, ring);
        let mut code = |wanted: Wanted| {
            let ReadError::Refused(refusal) = client.read(&wanted).unwrap_err() else { panic!() };
            (refusal.code, refusal.detail)
        };
        assert_eq!(code(wanted(3, 0, 0, 0)), (Code::Missing, 0));
        assert_eq!(code(wanted(3, 1, 0, 0)), (Code::Deleted, 0));
        assert_eq!(code(Wanted { cookie: 9, ..wanted(3, 2, 0, 0) }), (Code::WrongCookie, 0));
        assert_eq!(code(wanted(3, 2, WHOLE_LEN + 1, 0)), (Code::PastEnd, WHOLE_LEN));
        assert_eq!(code(wanted(3, 2, 0, u64::MAX)), (Code::TooLong, WHOLE_LEN));
        assert_eq!(code(wanted(3, 2, u64::MAX, 1)), (Code::PastEnd, WHOLE_LEN));
        let timed = Wanted { timeout_ns: 20_000_000, ..wanted(9_999, 2, 0, 0) };
        assert_eq!(code(timed), (Code::TimedOut, 0));
    }
}

#[test]
fn replies_come_in_any_order_and_cancelled_reads_give_back() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    for ring in [None, Some(8)] {
        let mut client = client(&engine, ring);
        let slow = client.start(&wanted(1_050, 2, 0, 10)).unwrap();
        let fast = client.start(&wanted(3, 3, 0, 10)).unwrap();
        let never = client.start(&wanted(9_999, 4, 0, 10)).unwrap();
        let unwanted = client.start(&wanted(1_001, 5, 0, 10)).unwrap();
        check(client.finish(fast).unwrap().as_ref(), 3, 0);
        client.cancel(never);
        client.cancel(unwanted);
        check(client.finish(slow).unwrap().as_ref(), 2, 0);
        client.ping().unwrap();
        assert_eq!(
            engine.with(|server, pattern| (server.stats().leases_now.get(), pattern.leases())),
            (0, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_of_a_runtime_with_threads_share_a_client() {
    let place = Place::new();
    let engine = place.engine(ClientLimits::default());
    for ring in [None, Some(16)] {
        let client = Client::connect(engine.path(), &options(ring)).await.unwrap();
        client.ping().await.unwrap();
        let tasks: Vec<_> = (2..42u64)
            .map(|needle| {
                let client = client.clone();
                tokio::spawn(async move {
                    for round in 0..10 {
                        let volume = if needle % 7 == 0 { 1_002 } else { 3 };
                        let lent = client.read(wanted(volume, needle, round * 100, 1000)).await.unwrap();
                        check(lent.as_ref(), needle, round * 100);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let slow = client.read(wanted(9_999, 2, 0, 0));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), slow).await.is_err());
        client.ping().await.unwrap();
        if ring.is_some() {
            client.ping_ring().await.unwrap();
        }
        assert_eq!(
            engine.with(|server, _| (server.stats().leases_now.get(), server.stats().cancels.get() > 0)),
            (0, true)
        );
    }
}
