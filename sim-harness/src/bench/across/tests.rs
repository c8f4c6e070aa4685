//! Both sides of every cell on the simulated NIC, turn about.

use std::os::unix::net::UnixStream;

use wavetank_contract::Quiet;
use wavetank_engine::bootstrap::Role;
use wavetank_engine::{BackendKind, Port, PortConfig, RdmaContext};
use wavetank_mock::{Fabric, MockNic, Profile};

use super::client::{Client, Figures};
use super::meeting::Meeting;
use super::play::post_receives;
use super::server::Server;
use super::{Bare, Cell, Engine, Measure, Station};
use crate::bench::PairError;

fn cell(measure: Measure, bytes: u32) -> Cell {
    Cell { measure, bytes, count: 300, warm_up: 20, window: 8 }
}

/// Runs a cell with a station of the test's for each side.
fn run<S: Station>(cell: Cell, open: impl Fn(MockNic) -> Result<S, PairError>) -> Result<Figures, PairError> {
    let mut fabric = Fabric::new(Profile::CX6);
    let (one, other) = (fabric.add_node(), fabric.add_node());
    let mut stations = [open(one)?, open(other)?];
    let (ours, theirs) = UnixStream::pair()?;
    let mut streams = [ours, theirs];
    streams.iter().try_for_each(|stream| stream.set_nonblocking(true))?;
    let roles = [Role::Dialer, Role::Listener];
    let mut meetings = [0, 1].map(|side| Meeting::new(&mut stations[side], roles[side], BackendKind::Mock));
    let mut met = [false; 2];
    for _ in 0..1000 {
        for side in [0, 1] {
            let receives = cell.receives(side == 0);
            met[side] = met[side]
                || meetings[side].step(&mut stations[side], &mut streams[side], fabric.now(), |station| {
                    post_receives(station, receives)
                })?;
        }
        fabric.step(&mut Quiet);
    }
    assert_eq!(met, [true; 2], "they have met");
    let [ours, theirs] = stations;
    let (mut client, mut server) = (Client::new(ours, cell), Server::new(theirs, cell));
    let mut figures = None;
    for count in [cell.warm_up, cell.count] {
        let each = figures.as_ref().map_or(1, |figures| client.each(figures));
        client.begin(count, each, || fabric.now());
        figures = None;
        for _ in 0..1_000_000 {
            server.step(fabric.now())?;
            figures = client.step(|| fabric.now())?;
            if figures.is_some() {
                break;
            }
            fabric.step(&mut Quiet);
        }
        assert!(figures.is_some(), "{cell:?} came to an end");
    }
    let at_client = cell.measure.kind() == wavetank_contract::OpKind::Read;
    let held = if at_client { client.station.buffers().holds() } else { server.station.buffers().holds() };
    assert!(held, "{cell:?} brought what was sent");
    client.station.close();
    server.station.close();
    figures.ok_or_else(|| PairError("no figures".to_owned()))
}

#[test]
fn every_cell_comes_to_an_end_through_engine_and_backend_alike() {
    for measure in Measure::ALL {
        for bytes in [1, 8, 4096, 65_536] {
            let cell = cell(measure, bytes);
            let engine = run(cell, |nic| {
                Engine::open(RdmaContext::from(Port::new(nic, PortConfig::default())), &cell)
            });
            let bare = run(cell, |nic| Bare::open(nic, &cell));
            let (engine, bare) = (engine.expect("through the engine"), bare.expect("through the backend"));
            // Time is the fabric's, and the engine takes none of it.
            for figures in [engine, bare] {
                // One way of the profile takes 850 ns.
                let floor = if measure.is_bandwidth() { 1.0 } else { 850.0 };
                assert!(figures.median_ns >= floor && figures.mean_ns >= floor, "{cell:?}: {figures:?}");
                assert!(figures.bytes_per_s > 0.0, "{cell:?}: {figures:?}");
            }
        }
    }
}

#[test]
fn a_measure_has_the_name_it_is_found_by() {
    assert!(Measure::ALL.into_iter().all(|measure| Measure::named(measure.name()) == Some(measure)));
    assert_eq!(Measure::named("am"), None);
}
