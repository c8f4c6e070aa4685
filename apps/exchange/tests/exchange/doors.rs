//! Who is let in, and what those hear who are not.

use std::cell::Cell;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_exchange::calls::{
    Catalogue, Challenge, ChallengeReply, Hello, NeedleCall, Prove, ReachSegment, ReadNeedle, VERSION_MAX,
};
use wavetank_exchange::{Absence, NotRead, PROOF_BYTES};
use wavetank_messenger::{ConnectionId, LocalMessenger, Message, Policy, RequestError, frame::Failure};
use wavetank_rpc::{Answer, Asked, Call, CallError, Carried, Service, Services, call};
use wavetank_volume::Version;

use crate::net::{MS, Net};
use crate::rig::{Known, exporter_config, key, nonces, reader_config, rig, serve, volume, wanted};

fn folder() -> (tempfile::TempDir, Vec<Known>) {
    let folder = tempfile::tempdir().unwrap();
    let (writer, known) = volume(Version::V3, 3);
    writer.write_to(&folder, "3").unwrap();
    (folder, known)
}

const UNHEARD: CallError = CallError::NoReply(RequestError::Failed(Failure::Unanswered));

async fn dial(messenger: &LocalMessenger) -> ConnectionId {
    let (connection, connecting) = messenger.connect("0", None, Policy::LossyClient).unwrap();
    connecting.await.unwrap();
    connection
}

async fn ask<K: Call>(
    messenger: &LocalMessenger,
    connection: ConnectionId,
    request: &K::Request,
) -> Result<K::Reply, CallError> {
    let until = messenger.now() + 50 * MS;
    Ok(call::<K, _>(messenger, connection, request, Carried::default(), until).await?.reply)
}

const HELLO: Hello = Hello { version_min: 1, version_max: 1, has_key: true, nonce: [9; 32] };

const NEEDLE: NeedleCall = NeedleCall {
    volume: 3,
    id: 1,
    cookie: 0x1001,
    offset: 0,
    len: 0,
    wants_grant: true,
    only_grant: false,
    only: None,
    doubts: false,
};

#[test]
fn keys_that_differ_or_are_not_there_on_both_sides_keep_engines_apart_and_the_error_says_how() {
    let (folder, known) = folder();
    let cases = [
        (Some(1), Some(2), "it has another key than this engine", 1),
        (Some(1), None, "it wants a key, and this engine has none", 0),
        (None, Some(2), "it has no key, and this engine trusts only who has its own", 0),
    ];
    for (theirs, ours, says, refused) in cases {
        let mut config = exporter_config();
        config.key = theirs.map(key);
        let mut reading = reader_config(&["0"]);
        reading.key = ours.map(key);
        let (mut net, reader, exporter) = rig(folder.path(), config, reading);
        let error = net.run(reader.read(&wanted(&reader, 3, &known[0]))).expect_err("they differ");
        assert_eq!(error, NotRead::NotAdmitted { peer: "0".into(), text: says });
        assert_eq!(exporter.stats().refused, refused);
        assert_eq!(exporter.stats().pushes, 0);
        assert_eq!(reader.peers()[0].2, [], "nothing was learned");
    }
}

#[test]
fn another_key_is_wanted_of_whoever_comes_next_and_who_is_in_stays() {
    let (folder, known) = folder();
    let mut config = exporter_config();
    config.key = Some(key(1));
    let mut reading = reader_config(&["0"]);
    reading.key = Some(key(1));
    let (mut net, reader, exporter) = rig(folder.path(), config, reading);
    let read = |net: &mut Net| net.run(reader.read(&wanted(&reader, 3, &known[0]))).map(|found| found.len());
    assert!(read(&mut net).is_ok());
    exporter.set_key(Some(key(2)));
    assert!(read(&mut net).is_ok(), "the connection is there");
    let all: Vec<_> = reader.messenger().with(|messenger| messenger.connections().collect());
    all.into_iter().for_each(|connection| assert!(reader.messenger().close(connection, "")));
    net.run_ms(100);
    assert!(matches!(read(&mut net), Err(NotRead::NotAdmitted { .. })));
    reader.set_key(Some(key(2)));
    assert!(read(&mut net).is_ok());
}

#[test]
fn who_was_not_let_in_hears_what_is_heard_of_calls_that_nobody_knows() {
    let (folder, _) = folder();
    let mut config = exporter_config();
    config.key = Some(key(1));
    let (mut net, reader, exporter) = rig(folder.path(), config, reader_config(&[]));
    let messenger = reader.messenger().clone();
    net.run(async {
        let connection = dial(&messenger).await;
        for stage in 0..3 {
            assert_eq!(ask::<Catalogue>(&messenger, connection, &0).await, Err(UNHEARD), "{stage}");
            assert_eq!(ask::<ReadNeedle>(&messenger, connection, &NEEDLE).await, Err(UNHEARD), "{stage}");
            assert_eq!(ask::<ReachSegment>(&messenger, connection, &0).await, Err(UNHEARD), "{stage}");
            let unknown = Message::new(0x1234, b"", messenger.now() + 50 * MS);
            let unknown = messenger.request(connection, unknown, None).unwrap().await;
            assert_eq!(unknown.expect_err("nobody knows it").why, RequestError::Failed(Failure::Unanswered));
            // Challenged, and with a proof that is none, it is no better.
            match stage {
                0 => drop(ask::<Challenge>(&messenger, connection, &HELLO).await.unwrap().unwrap()),
                _ => assert_eq!(ask::<Prove>(&messenger, connection, &[7; PROOF_BYTES]).await, Err(UNHEARD)),
            }
        }
    });
    assert_eq!((exporter.stats().refused, exporter.stats().admitted), (1, 0), "a challenge is for one try");
    assert_eq!(exporter.stats().unheard, 12);
}

/// An exporter in the middle that keeps a proof it heard.
struct Eavesdropper {
    heard: Cell<Option<[u8; PROOF_BYTES]>>,
    nonce: Cell<[u8; 32]>,
    answer: Option<[u8; PROOF_BYTES]>,
}

#[async_trait(?Send)]
impl Service<Challenge> for Eavesdropper {
    async fn serve(self: Rc<Self>, _asked: Asked, _hello: Hello) -> Answer<Option<ChallengeReply>> {
        let (version, push_bytes_max, nonce) = (VERSION_MAX, 1 << 20, self.nonce.get());
        Answer::of(Some(ChallengeReply { version, wants_proof: true, push_bytes_max, nonce }))
    }
}

#[async_trait(?Send)]
impl Service<Prove> for Eavesdropper {
    async fn serve(
        self: Rc<Self>,
        _asked: Asked,
        proof: [u8; PROOF_BYTES],
    ) -> Answer<Option<[u8; PROOF_BYTES]>> {
        self.heard.set(Some(proof));
        Answer::of(self.answer)
    }
}

#[test]
fn a_proof_that_was_overheard_opens_nothing_and_an_exporter_that_proves_nothing_is_not_read_from() {
    let (folder, known) = folder();
    let mut config = exporter_config();
    config.key = Some(key(1));
    let (exporter, seen) = serve(folder.path(), config);
    let fake = Rc::new(Eavesdropper {
        heard: Cell::default(),
        nonce: Cell::new([3; 32]),
        answer: Some([0; PROOF_BYTES]),
    });
    let theirs = Rc::clone(&fake);
    let between = Box::new(move |messenger| {
        let services =
            Services::new().with::<Challenge>(Rc::clone(&theirs)).with::<Prove>(Rc::clone(&theirs));
        LocalMessenger::new(messenger, services)
    });
    let mut net = Net::new(1, vec![exporter, between]);
    let mut reading = reader_config(&["1"]);
    reading.key = Some(key(1));
    let reader = wavetank_exchange::Reader::new(net.client(), reading, nonces(1), None);
    let error = net.run(reader.read(&wanted(&reader, 3, &known[0]))).expect_err("it has no key");
    let text = "it did not prove that it has the key";
    assert_eq!(error, NotRead::NotAdmitted { peer: "1".into(), text });
    let proof = fake.heard.get().expect("the reader has proved");
    let messenger = net.client();
    net.run(async {
        let connection = dial(&messenger).await;
        ask::<Challenge>(&messenger, connection, &HELLO).await.unwrap().unwrap();
        assert_eq!(ask::<Prove>(&messenger, connection, &proof).await, Err(UNHEARD));
        assert_eq!(ask::<Catalogue>(&messenger, connection, &0).await, Err(UNHEARD));
    });
    assert_eq!(seen.borrow().as_ref().unwrap().stats().admitted, 0);
}

#[test]
fn a_peer_that_guesses_is_cut_off_and_others_are_served() {
    let (folder, known) = folder();
    let mut config = exporter_config();
    config.key = Some(key(1));
    let mut reading = reader_config(&["0"]);
    reading.key = Some(key(1));
    let (mut net, reader, exporter) = rig(folder.path(), config, reading);
    let messenger = reader.messenger().clone();
    net.run(async {
        let connection = dial(&messenger).await;
        for guess in 0..3 {
            ask::<Challenge>(&messenger, connection, &HELLO).await.unwrap().unwrap();
            let _ = ask::<Prove>(&messenger, connection, &[guess; PROOF_BYTES]).await;
        }
        messenger.sleep_until(messenger.now() + 5 * MS).await;
        assert!(!messenger.with(|messenger| messenger.is_established(connection)), "after three guesses");
        reader.read(&wanted(&reader, 3, &known[0])).await.unwrap();
    });
    assert_eq!((exporter.stats().refused, exporter.stats().admitted), (3, 1));
}

#[test]
fn versions_that_do_not_meet_are_told_and_let_nobody_in() {
    let (folder, _) = folder();
    let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&[]));
    let messenger = reader.messenger().clone();
    net.run(async {
        let connection = dial(&messenger).await;
        for (version_min, version_max, chosen) in [(2, 9, 0), (0, 0, 0), (9, 1, 0), (1, 200, 1), (0, 1, 1)] {
            let hello = Hello { version_min, version_max, ..HELLO };
            let reply = ask::<Challenge>(&messenger, connection, &hello).await.unwrap().unwrap();
            assert_eq!(reply.version, chosen, "{hello:?}");
            let open = ask::<Catalogue>(&messenger, connection, &0).await;
            assert_eq!(open.is_ok(), chosen > 0, "{hello:?}: {open:?}");
        }
    });
    assert_eq!(exporter.stats().admitted, 2);
}

#[test]
fn garbage_of_every_call_is_answered_or_not_and_harms_nobody() {
    let (folder, known) = folder();
    let (mut net, reader, _) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    let messenger = reader.messenger().clone();
    net.run(async {
        let connection = dial(&messenger).await;
        ask::<Challenge>(&messenger, connection, &HELLO).await.unwrap().unwrap();
        let good = ReadNeedle::encode_request(&NEEDLE);
        for r#type in [Catalogue::TYPE, ReadNeedle::TYPE, ReachSegment::TYPE, Challenge::TYPE, Prove::TYPE] {
            let mut fronts = vec![Vec::new(), vec![1], vec![1; 1024], vec![0xff; 77], good[..20].to_vec()];
            fronts.extend((0..good.len() * 8).step_by(5).map(|bit| {
                let mut front = good.clone();
                front[bit / 8] ^= 1 << (bit % 8);
                front
            }));
            for front in fronts {
                let message = Message::new(r#type, &front, messenger.now() + 50 * MS);
                let asked = messenger.request(connection, message, None).unwrap().await;
                let Ok(reply) = asked else { continue };
                let mut buffer = [0; _];
                let front = reply.front(&mut buffer);
                if r#type == ReadNeedle::TYPE {
                    assert_eq!(ReadNeedle::decode_reply(front).unwrap(), Err(Absence::Malformed));
                }
            }
        }
        assert!(messenger.with(|messenger| messenger.is_established(connection)));
        reader.read(&wanted(&reader, 3, &known[0])).await.unwrap();
    });
}
