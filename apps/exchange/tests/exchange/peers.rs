//! Which engine is asked: several that export, one that a caller names, and this engine itself.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::{MrId, Region, RegionSpec};
use wavetank_engine::memory::Arena;
use wavetank_exchange::{
    Absence, Exporter, LocalHome, Mode, NotRead, Path, PeerConfig, Reader, ReaderConfig, StoreShelf, Wanted,
    Why,
};
use wavetank_mock::LinkFaults;
use wavetank_volume::Version;

use crate::net::{Fault, MS, Net};
use crate::rig::{Known, Truth, exporter_config, nonces, reader_config, serve, volume, wanted};

/// Two exporters: both have volume 1, each has one of its own, 2 and 3.
fn two() -> ([tempfile::TempDir; 2], Net, Vec<Known>) {
    let folders = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let (writer, known) = volume(Version::V3, 1);
    for (folder, own) in folders.iter().zip(["2", "pictures_3"]) {
        writer.write_to(folder, "1").unwrap();
        writer.write_to(folder, own).unwrap();
    }
    let begins = folders.iter().map(|folder| serve(folder.path(), exporter_config()).0).collect();
    (folders, Net::new(1, begins), known)
}

fn reader(net: &Net, peers: &[&str]) -> Reader {
    Reader::new(net.client(), reader_config(peers), nonces(1), None)
}

#[test]
fn a_volume_is_found_with_whoever_has_it_and_one_that_nobody_has_is_told_as_such() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0", "1"]);
    for (volume, peer) in [(3, "1"), (2, "0"), (3, "1")] {
        let found = net.run(reader.read(&wanted(&reader, volume, &known[5]))).unwrap();
        assert_eq!(found.peer.as_deref(), Some(peer));
    }
    let error = net.run(reader.read(&wanted(&reader, 9, &known[5]))).expect_err("nobody has it");
    assert_eq!(error, NotRead::NotExported { volume: 9, tried: 2 });
}

#[test]
fn a_reader_that_is_told_other_peers_parts_from_those_that_it_is_not_told_again() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0"]);
    let read = |net: &mut Net, volume| net.run(reader.read(&wanted(&reader, volume, &known[5])));
    assert_eq!(read(&mut net, 1).unwrap().peer.as_deref(), Some("0"));
    let at = |address: &str| PeerConfig { address: address.into(), name: None };
    reader.set_peers(&[at("0"), at("1")]);
    assert_eq!(read(&mut net, 1).unwrap().peer.as_deref(), Some("0"));
    assert_eq!(read(&mut net, 3).unwrap().peer.as_deref(), Some("1"));
    assert_eq!(reader.stats().connections, 2, "the first peer's connection stays");
    reader.set_peers(&[at("1")]);
    assert_eq!(read(&mut net, 1).unwrap().peer.as_deref(), Some("1"));
    assert!(matches!(read(&mut net, 2), Err(NotRead::NotExported { tried: 1, .. })));
    net.run_ms(100);
    let left = reader.messenger().with(|messenger| messenger.connections().count());
    assert_eq!((reader.stats().connections, left), (2, 1), "the former peer's connection ends");
}

#[test]
fn a_peer_that_is_left_while_it_is_called_keeps_no_connection() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0"]);
    net.happen(Fault::Lines(true));
    let hurried = Wanted { deadline: reader.messenger().now() + MS, ..wanted(&reader, 1, &known[5]) };
    assert!(net.run(reader.read(&hurried)).is_err(), "nobody waits for the call any more");
    reader.set_peers(&[]);
    net.happen(Fault::Heal);
    net.run_ms(10_000);
    assert_eq!(reader.messenger().with(|messenger| messenger.connections().count()), 0);
}

#[test]
fn a_dead_exporter_is_passed_over_and_asked_again_when_it_is_back() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0", "1"]);
    let whole = |reader: &Reader| Wanted {
        deadline: reader.messenger().now() + 2000 * MS,
        ..wanted(reader, 1, &known[5])
    };
    assert_eq!(net.run(reader.read(&whole(&reader))).unwrap().peer.as_deref(), Some("0"));
    net.happen(Fault::Links(0, LinkFaults { loss_one_in: 1, ..LinkFaults::default() }));
    assert_eq!(net.run(reader.read(&whole(&reader))).unwrap().peer.as_deref(), Some("1"));
    net.happen(Fault::Heal);
    net.run_ms(100);
    // What only that one has.
    let own = Wanted { volume: 2, ..whole(&reader) };
    assert_eq!(net.run(reader.read(&own)).unwrap().peer.as_deref(), Some("0"));
    net.happen(Fault::Restart(0));
    assert_eq!(net.run(reader.read(&Wanted { volume: 2, ..whole(&reader) })).unwrap().len(), 4096);
    assert!(reader.stats().connections >= 3, "{:?}", reader.stats());
}

#[test]
fn nobody_there_is_a_peer_that_is_gone_or_a_deadline_never_an_absence() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0"]);
    net.happen(Fault::Lines(true));
    let error = net.run(reader.read(&wanted(&reader, 1, &known[5]))).expect_err("nobody answers");
    assert!(matches!(error, NotRead::PeerGone { .. } | NotRead::TimedOut(_)), "{error}");
    assert!([502, 504].contains(&error.http_status()));
    net.happen(Fault::Heal);
    net.run_ms(100);
    assert!(net.run(reader.read(&wanted(&reader, 1, &known[5]))).is_ok());
}

#[test]
fn the_engine_beside_a_named_volume_server_is_asked_first_if_callers_may_name_one() {
    let (_folders, net, known) = two();
    let named = |port| {
        let config = ReaderConfig { hint_port: port, peers_max: 3, ..reader_config(&["0"]) };
        let reader = Reader::new(net.client(), config, nonces(1), None);
        for server in
            ["http://10.0.0.7:8080", "10.0.0.7:8080", "no port", "a b:1", ":8080", "10.0.0.8:1", "10.0.0.9:1"]
        {
            let wanted = Wanted { server: Some(server.into()), ..wanted(&reader, 1, &known[0]) };
            reader.explain(&wanted);
        }
        reader.peers().into_iter().map(|(address, ..)| address).collect::<Vec<_>>()
    };
    assert_eq!(named(Some(18515)), ["0", "10.0.0.7:18515", "10.0.0.8:18515"], "bounded, and no nonsense");
    assert_eq!(named(None), ["0"]);
}

#[test]
fn a_peer_with_another_name_than_was_configured_is_not_read_from() {
    let (_folders, mut net, known) = two();
    let peers = vec![PeerConfig { address: "0".into(), name: Some(99) }];
    let reader = Reader::new(net.client(), ReaderConfig { peers, ..reader_config(&[]) }, nonces(1), None);
    let error = net.run(reader.read(&wanted(&reader, 1, &known[5]))).expect_err("somebody else answers");
    assert!(matches!(error, NotRead::NotAdmitted { .. }), "{error}");
}

#[test]
fn what_this_engine_exports_itself_is_read_from_the_file_into_the_arena() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, all) = volume(Version::V3, 4);
    writer.write_to(&folder, "4").unwrap();
    let (_folders, mut net, known) = two();
    let exporter =
        Exporter::new(StoreShelf::open(&[folder.path().to_path_buf()]), exporter_config(), nonces(5));
    let region = Region::allocate(&RegionSpec::new(4 << 20)).unwrap();
    let arena = Rc::new(RefCell::new(Arena::new(region.clone(), MrId(0)).unwrap()));
    let home = Rc::new(LocalHome::new(exporter, Rc::clone(&arena)));
    let reader = Reader::new(net.client(), reader_config(&["0"]), nonces(1), Some(home));
    for known in &all {
        for (offset, len) in [(0, None), (1, Some(500))] {
            let wanted = Wanted { offset, len, ..wanted(&reader, 4, known) };
            match (net.run(reader.read(&wanted)), &known.truth) {
                (Ok(found), Truth::There(bytes)) => {
                    let from = (offset as usize).min(bytes.len());
                    let to = len.map_or(bytes.len(), |len| bytes.len().min(from + len as usize));
                    assert!(found.to_vec() == bytes[from..to], "{wanted:?}");
                    assert_eq!((found.path, found.why), (Path::Local, Why::Here));
                    assert!(found.parts.iter().all(|part| part.lease.region().same_as(&region)));
                }
                (Err(NotRead::Absent(Absence::OutOfRange)), Truth::There(bytes)) => assert!(bytes.len() <= 1),
                (Err(NotRead::Absent(Absence::Deleted)), Truth::Deleted)
                | (Err(NotRead::Absent(Absence::Expired)), Truth::Expired) => {}
                (outcome, truth) => panic!("{wanted:?}: {outcome:?} {truth:?}"),
            }
        }
    }
    assert!(arena.borrow_mut().is_whole(), "everything is back");
    // What is not here comes from elsewhere; what is here can not be pulled from itself.
    assert_eq!(net.run(reader.read(&wanted(&reader, 2, &known[5]))).unwrap().path, Path::Pushed);
    let pulled = Wanted { mode: Mode::Pull, ..wanted(&reader, 4, &all[5]) };
    assert!(matches!(net.run(reader.read(&pulled)), Err(NotRead::NotExported { .. })));
}

#[test]
fn a_reader_that_is_dropped_while_it_connects_is_gone_with_all_it_has() {
    let (folder, (_folders, mut net, known)) = (tempfile::tempdir().unwrap(), two());
    let exporter =
        Exporter::new(StoreShelf::open(&[folder.path().to_path_buf()]), exporter_config(), nonces(5));
    let region = Region::allocate(&RegionSpec::new(4 << 20)).unwrap();
    let arena = Rc::new(RefCell::new(Arena::new(region, MrId(0)).unwrap()));
    let home = Rc::new(LocalHome::new(exporter, arena));
    let reader = Reader::new(net.client(), reader_config(&["0"]), nonces(1), Some(home.clone()));
    let another = reader.clone();
    net.happen(Fault::Links(0, LinkFaults { loss_one_in: 1, ..LinkFaults::default() }));
    let soon = Wanted { deadline: reader.messenger().now() + MS, ..wanted(&reader, 1, &known[5]) };
    net.run(reader.read(&soon)).expect_err("nobody can be reached");
    drop(reader);
    assert!(Rc::strong_count(&home) > 1, "somebody has the reader still");
    // The connection that it makes has the reader, and the reader has the connection that it makes.
    drop(another);
    assert_eq!(Rc::strong_count(&home), 1);
}

#[test]
fn a_device_that_is_gone_is_told_from_peers_that_are() {
    let (_folders, mut net, known) = two();
    let reader = reader(&net, &["0"]);
    net.run(reader.read(&wanted(&reader, 1, &known[5]))).unwrap();
    net.fabric.remove_device(2);
    for _ in 0..2 {
        let error = net.run(reader.read(&wanted(&reader, 1, &known[5]))).expect_err("nothing works any more");
        assert_eq!(error, NotRead::DeviceGone);
    }
}
