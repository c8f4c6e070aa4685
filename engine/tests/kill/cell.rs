//! The cells of the matrix.

use std::fmt;

use crate::node::{Device, Patience};

/// What happens to the peer, and what tells us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGKILL. The endpoint would wait for ever: death must be noticed.
    Kill,
    /// SIGSTOP. The endpoint has patience for half a second.
    Stop,
    /// SIGSTOP. The endpoint would wait for ever: the deadline of each transfer ends it.
    StopLate,
}

impl Ending {
    pub(crate) const ALL: [Ending; 3] = [Ending::Kill, Ending::Stop, Ending::StopLate];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Ending::Kill => "kill",
            Ending::Stop => "stop",
            Ending::StopLate => "stop+deadline",
        }
    }

    pub(crate) const fn signal(self) -> &'static str {
        if let Ending::Kill = self { "kill" } else { "stop" }
    }

    pub(crate) const fn patience(self) -> Patience {
        if let Ending::Stop = self { Patience::Short } else { Patience::Endless }
    }
}

/// Where the memory comes from that the work reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The device's own: over shared memory peers reach it by themselves.
    Alloc,
    /// Any: the other end serves it.
    Heap,
}

impl From {
    pub(crate) const fn name(self) -> &'static str {
        if let From::Alloc = self { "alloc" } else { "heap" }
    }
}

/// At which step the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    BeforeConnect,
    /// The victim has connected its end, we have not.
    ConnectingTheirs,
    /// We have, and the victim does at the last moment.
    ConnectingOurs,
    /// Nothing is under way; then everything is tried.
    Idle,
    Get(From),
    Put(From),
    Send,
    /// Messages that meet no receive.
    SendUnmet,
    /// The victim was stopped before: more messages than its queue has room for.
    Full,
    /// WRITEs have left, and nobody says that they arrived.
    Flush(From),
    PeerCloses,
    WeClose(From),
    /// The victim READs from us, WRITEs to us, sends to us.
    ServeGet(From),
    ServePut(From),
    ServeSend,
    /// Whether memory is reached without the CPU of its owner.
    OneSided(From),
    /// Many connections, each of which asks for memory once the victim has its signal.
    Served,
    /// What the checks must find if it is there.
    Lies,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::BeforeConnect => f.write_str("before connect"),
            Step::ConnectingTheirs => f.write_str("connecting/theirs"),
            Step::ConnectingOurs => f.write_str("connecting/ours"),
            Step::Idle => f.write_str("idle"),
            Step::Get(from) => write!(f, "get/{}", from.name()),
            Step::Put(from) => write!(f, "put/{}", from.name()),
            Step::Send => f.write_str("send"),
            Step::SendUnmet => f.write_str("send/unmet"),
            Step::Full => f.write_str("full"),
            Step::Flush(from) => write!(f, "flush/{}", from.name()),
            Step::PeerCloses => f.write_str("peer closes"),
            Step::WeClose(from) => write!(f, "we close/{}", from.name()),
            Step::ServeGet(from) => write!(f, "serve get/{}", from.name()),
            Step::ServePut(from) => write!(f, "serve put/{}", from.name()),
            Step::ServeSend => f.write_str("serve send"),
            Step::OneSided(from) => write!(f, "one-sided/{}", from.name()),
            Step::Served => f.write_str("served"),
            Step::Lies => f.write_str("lies"),
        }
    }
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) step: Step,
    pub(crate) ending: Ending,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.step, self.ending.name())
    }
}

/// The devices: each is a process with cells of its own.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = Vec::new();
    for transport in ["tcp", "shm"] {
        for protocol in ["auto", "eager", "rndv"] {
            devices.push(Device { transport: transport.to_owned(), protocol: protocol.to_owned() });
        }
    }
    devices
}

/// What a device is put through. How bytes travel matters for data, not for connections.
pub(crate) fn cells(device: &Device) -> Vec<Cell> {
    let mut steps = Vec::new();
    let froms: &[From] = if device.transport == "shm" { &[From::Alloc, From::Heap] } else { &[From::Heap] };
    if device.protocol == "auto" {
        steps.extend([Step::BeforeConnect, Step::ConnectingTheirs, Step::ConnectingOurs]);
        steps.extend([Step::Idle, Step::PeerCloses]);
        steps.extend(froms.iter().flat_map(|from| [Step::Flush(*from), Step::WeClose(*from)]));
        steps.push(Step::Full);
    } else {
        steps
            .extend(froms.iter().flat_map(|from| [Step::Get(*from), Step::Put(*from), Step::WeClose(*from)]));
        steps.extend(froms.iter().flat_map(|from| [Step::ServeGet(*from), Step::ServePut(*from)]));
        steps.extend([Step::Send, Step::SendUnmet, Step::Full, Step::ServeSend]);
    }
    let cell = |step: &Step| Ending::ALL.map(|ending| Cell { step: *step, ending });
    let mut cells: Vec<Cell> = steps.iter().flat_map(cell).collect();
    if device.protocol == "auto" {
        let stopped = froms.iter().map(|from| Step::OneSided(*from)).chain([Step::Lies]);
        cells.extend(stopped.map(|step| Cell { step, ending: Ending::Stop }));
        if device.transport == "shm" {
            // A stopped peer's memory is served, so the check that a dead one's is not can fail.
            cells.extend([Ending::Kill, Ending::Stop].map(|ending| Cell { step: Step::Served, ending }));
        }
    }
    cells
}
