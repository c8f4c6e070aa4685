//! One side from the first byte of the exchange to the last, in real time.

use std::io::{ErrorKind, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use wavetank_contract::{Instant, OpKind};
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::Role;

use super::super::pair::PairError;
use super::cell::{Cell, Measure};
use super::client::{Client, Figures};
use super::meeting::Meeting;
use super::server::Server;
use super::station::Station;
use crate::lab::RealTime;

/// Turns without news between two looks at clock and stream.
const PATIENT_TURNS: u32 = 1024;

/// Which side one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that measures.
    Client,
    /// The one that answers.
    Server,
}

/// Measures a cell, or answers one that does. `patience_ns` is how long the whole of it may take.
///
/// # Errors
/// Whatever fails, wrong bytes, and time that is up.
pub fn play<S: Station>(
    mut station: S,
    side: Side,
    cell: &Cell,
    backend: BackendKind,
    mut stream: UnixStream,
    patience_ns: u64,
) -> Result<Option<Figures>, PairError> {
    let time = RealTime::start();
    let limit = time.now() + patience_ns;
    stream.set_nonblocking(true)?;
    let role = if side == Side::Client { Role::Dialer } else { Role::Listener };
    let mut meeting = Meeting::new(&mut station, role, backend);
    let receives = cell.receives(side == Side::Client);
    while !meeting.step(&mut station, &mut stream, time.now(), |station| post_receives(station, receives))? {
        in_time(time.now(), limit, "met the peer")?;
    }
    match side {
        Side::Client => {
            let mut client = Client::new(station, *cell);
            let figures = measure(&mut client, cell, &time, limit)?;
            stream.shutdown(Shutdown::Write)?;
            // The peer looks at its memory first: what we close may end what it has.
            while !is_over(&mut stream)? {
                client.station.spin(time.now())?;
                in_time(time.now(), limit, "heard that the peer is done")?;
            }
            let held = cell.measure.kind() == OpKind::Write
                || cell.measure == Measure::MessageBandwidth
                || client.station.buffers().holds();
            client.station.close();
            sound(cell, held)?;
            Ok(Some(figures))
        }
        Side::Server => {
            let mut server = Server::new(station, *cell);
            serve(&mut server, &mut stream, &time, limit)?;
            let held = cell.measure.kind() == OpKind::Read || server.station.buffers().holds();
            server.station.close();
            sound(cell, held)?;
            Ok(None)
        }
    }
}

/// Posts the receives that the peer may send to.
pub(super) fn post_receives<S: Station>(station: &mut S, count: u16) -> Result<(), PairError> {
    (0..count).try_for_each(|slot| station.post(Instant::ZERO, OpKind::Recv, slot))?;
    station.push(Instant::ZERO)
}

fn measure<S: Station>(
    client: &mut Client<S>,
    cell: &Cell,
    time: &RealTime,
    limit: Instant,
) -> Result<Figures, PairError> {
    let mut figures = None;
    for count in [cell.warm_up.max(1), cell.count.max(1)] {
        let each = figures.as_ref().map_or(1, |figures| client.each(figures));
        client.begin(count, each, || time.now());
        figures = loop {
            if let Some(figures) = client.step(|| time.now())? {
                break Some(figures);
            }
            if !client.is_patient() {
                in_time(client.now(), limit, "finished")?;
            }
        };
    }
    figures.ok_or_else(|| PairError("nothing was measured".to_owned()))
}

fn serve<S: Station>(
    server: &mut Server<S>,
    stream: &mut UnixStream,
    time: &RealTime,
    limit: Instant,
) -> Result<(), PairError> {
    let mut now = time.now();
    let mut idle = 0u32;
    loop {
        idle = if server.step(now)? { 0 } else { idle + 1 };
        if idle == PATIENT_TURNS {
            (now, idle) = (time.now(), 0);
            if is_over(stream)? {
                return Ok(());
            }
            in_time(now, limit, "heard that the client is done")?;
        }
    }
}

/// Whether the peer has ended its side of the stream.
fn is_over(stream: &mut UnixStream) -> Result<bool, PairError> {
    match stream.read(&mut [0; 16]) {
        Ok(0) => Ok(true),
        Ok(_) => Err(PairError("the peer talks out of turn".to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        // A peer that left without reading our last message.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn in_time(now: Instant, limit: Instant, what: &str) -> Result<(), PairError> {
    if now < limit { Ok(()) } else { Err(PairError(format!("this side has not {what} in {limit}"))) }
}

fn sound(cell: &Cell, held: bool) -> Result<(), PairError> {
    let (kind, bytes) = (cell.measure.kind().name(), cell.bytes);
    if held { Ok(()) } else { Err(PairError(format!("a {kind} of {bytes} bytes brought wrong bytes"))) }
}
