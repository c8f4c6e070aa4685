//! A trial of one transport: two devices in this process, connected, and a few bytes each way.

use wavetank_contract::{
    Access, Backend, Completions, CqId, Data, EndpointSpec, EpId, MrId, Op, PdId, QpState, Region,
    RegionSpec, RemoteAddr, Sge, Status, Work, WorkId,
};

use crate::config::{Transport, UcxConfig};
use crate::device::UcxDevice;
use crate::error::DeviceError;
use crate::explanation::Explanation;
use crate::watch::now_ns;

/// How long a step may take.
const PATIENCE_NS: u64 = 10_000_000_000;

/// What is sent, written and read.
const WORDS: [u64; 3] = [0x5741_5645_5441_4e4b, 0x0123_4567_89ab_cdef, 0xfeed_face_cafe_f00d];

/// Where in a region each of them is.
const PLACES: [u64; 3] = [0, 64, 128];

/// Why it did not work.
#[derive(Debug)]
pub(super) enum Failure {
    /// A device cannot be opened.
    Device(DeviceError),
    /// It can, and something else went wrong.
    Trial(String),
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Failure {
        Failure::Device(error)
    }
}

/// One end.
struct Side {
    device: UcxDevice,
    region: Region,
    mr: MrId,
    cq: CqId,
    ep: EpId,
}

impl Side {
    fn new(mut device: UcxDevice) -> Result<Side, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let region = device.allocate(&RegionSpec::new(4096)).map_err(|e| text(&e))?;
        let mr = device.register(&region, PdId::default(), Access::ALL).map_err(|e| text(&e))?;
        let cq = device.open_cq(16).map_err(|e| text(&e))?;
        let spec = EndpointSpec { send_depth: 4, recv_depth: 4, timeout: 20, ..EndpointSpec::new(cq) };
        let ep = device.open(&spec).map_err(|e| text(&e))?;
        Ok(Side { device, region, mr, cq, ep })
    }

    fn post(&mut self, op: Op, place: u64) -> Result<(), String> {
        let piece = [Sge { mr: self.mr, len: 8, offset: place }];
        let work = Work { id: WorkId(place), op, data: Data::Pieces(&piece), signalled: true, fence: false };
        self.device.post(self.ep, &work).map_err(|error| error.to_string())?;
        self.device.ring(self.ep).map_err(|error| error.to_string())
    }

    /// Polls. Whether a work ended.
    fn poll(&mut self) -> Result<usize, String> {
        let mut found = Completions::with_capacity(4);
        let count = self.device.poll(self.cq, &mut found);
        match found.as_slice().iter().find(|completion| completion.status != Status::Success) {
            Some(completion) => Err(format!("a work ended as {:?}", completion.status)),
            None => Ok(count),
        }
    }

    fn word(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.region.read(place, &mut bytes);
        u64::from_ne_bytes(bytes)
    }
}

/// Opens, connects, sends, writes, reads, and compares.
pub(super) fn run(config: &UcxConfig) -> Result<Explanation, Failure> {
    let one = UcxDevice::open(config)?;
    let other = match config.transport {
        Transport::Loopback => one.twin()?,
        _ => UcxDevice::open(config)?,
    };
    exchange(one, other).map_err(Failure::Trial)
}

fn exchange(one: UcxDevice, other: UcxDevice) -> Result<Explanation, String> {
    let mut sides = [Side::new(one)?, Side::new(other)?];
    for (here, there) in [(0, 1), (1, 0)] {
        let address = sides[there].device.address(sides[there].ep).ok_or("an endpoint has no address")?;
        let ep = sides[here].ep;
        sides[here].device.connect(ep, &address).map_err(|error| error.to_string())?;
    }
    until(&mut sides, "they did not connect", |sides, _| {
        let states = [0, 1].map(|side: usize| sides[side].device.state(sides[side].ep));
        match states.contains(&Some(QpState::Err)) {
            true => Err("they did not connect: one is in ERR".to_owned()),
            false => Ok(states == [Some(QpState::Rts); 2]),
        }
    })?;
    let explanation = sides[0].device.explain(sides[0].ep).ok_or("a connection cannot be told of")?;
    let key = sides[1].device.export(sides[1].mr).map_err(|error| error.to_string())?;
    let ep = sides[0].ep;
    let memory = sides[0].device.import(ep, &key).map_err(|error| error.to_string())?;
    let [sent, written, read] = PLACES;
    let at = |place: u64| RemoteAddr { rkey: memory.rkey, addr: memory.addr + place };
    for (side, place, word) in [(0, sent, WORDS[0]), (0, written, WORDS[1]), (1, read, WORDS[2])] {
        sides[side].region.write(place, &word.to_ne_bytes());
    }
    sides[1].post(Op::Recv, sent)?;
    sides[0].post(Op::Send { imm: None }, sent)?;
    sides[0].post(Op::Write { remote: at(written), imm: None }, written)?;
    sides[0].post(Op::Read { remote: at(read) }, read)?;
    until(&mut sides, "8 bytes did not arrive", |_, ended| Ok(ended == 4))?;
    let [a, b] = &sides;
    for ((side, place), word) in [(b, sent), (b, written), (a, read)].into_iter().zip(WORDS) {
        if side.word(place) != word {
            return Err(format!("{word:#x} arrived as {:#x}", side.word(place)));
        }
    }
    for side in &mut sides {
        side.device.close(side.ep);
    }
    Ok(explanation)
}

/// Polls both sides until something is the case. `holds` is told how many works ended.
fn until(
    sides: &mut [Side; 2],
    what: &str,
    holds: impl Fn(&[Side; 2], usize) -> Result<bool, String>,
) -> Result<(), String> {
    let (end, mut ended) = (now_ns().saturating_add(PATIENCE_NS), 0);
    while !holds(sides, ended)? {
        for side in sides.iter_mut() {
            ended += side.poll()?;
        }
        if now_ns() > end {
            return Err(format!("{what} within {} s", PATIENCE_NS / 1_000_000_000));
        }
    }
    Ok(())
}
