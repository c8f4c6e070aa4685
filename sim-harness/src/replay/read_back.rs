//! Memory of another process: what it holds at the end is read over the wire, and swept like any other.

use wavetank_contract::{Access, EpId, Instant, MrId, Op, PdId, QpState, Region, RegionSpec, RemoteRegion};
use wavetank_engine::{RdmaOps, TransferSpec};

use super::Replay;
use super::place::Home;
use crate::check::Check;
use crate::pattern;
use crate::report::{ReadBack, RegionRead};
use crate::world::Ran;

/// Bytes of one READ of the sweep: what has to come within one deadline.
const PIECE_BYTES: u64 = 4 << 20;

/// Marks the transfers of the sweep.
const READ_BACK: u64 = 1 << 62;

impl<C: RdmaOps> Replay<C> {
    /// Reads every region of other processes whole, one after another, and sweeps what came. `None` when there is none.
    pub(super) fn read_back(&mut self) -> Option<ReadBack> {
        let mut read_back = ReadBack::default();
        let suspects = self.suspects();
        for index in 0..self.places.len() {
            let Home::Elsewhere { whole_bytes } = self.places[index].home else { continue };
            let (name, id, len) = {
                let place = &self.places[index];
                (place.name.clone(), place.id, place.len)
            };
            let mut read = RegionRead { name, digest: None };
            let now = self.world.now();
            match self.fetch(id, whole_bytes) {
                Ok((memory, mr)) => {
                    read_back.bytes += len;
                    if let Some((check, what)) = self.places[index].sweep(&memory, &suspects) {
                        self.mismatches += 1;
                        let name = &read.name;
                        self.failures.add(check, now, || format!("region {name}, read at the end: {what}"));
                    }
                    read.digest = Some(pattern::digest(&memory, whole_bytes));
                    if let Err(error) = self.world.nodes[0].driver.context().deregister(mr) {
                        self.failures.add(Check::Leak, now, || {
                            format!("memory of the sweep stays registered: {error}")
                        });
                    }
                }
                Err(why) => {
                    let name = &read.name;
                    self.failures.add(Check::Success, now, || {
                        format!("region {name} could not be read at the end, and was not swept: {why}")
                    });
                }
            }
            read_back.regions.push(read);
        }
        (!read_back.regions.is_empty()).then_some(read_back)
    }

    /// READs a region of another process into memory of its own, which is registered.
    fn fetch(&mut self, region: u32, whole_bytes: u64) -> Result<(Region, MrId), String> {
        if self.world.is_forsaken() {
            // What a mapping of its memory still holds is nobody's any more.
            return Err("the memory server is gone".to_owned());
        }
        let (ep, remote) = self.way_to(region).ok_or("no connection is left")?;
        let remote = RemoteRegion { len: whole_bytes, ..remote };
        let context = self.world.nodes[0].driver.context();
        let memory = context.allocate(&RegionSpec::new(whole_bytes)).map_err(|error| error.to_string())?;
        let mr =
            context.register(&memory, PdId::default(), Access::LOCAL).map_err(|error| error.to_string())?;
        // What does not arrive is seen as such.
        pattern::poison_chunks(&memory, 0, whole_bytes as usize, 1);
        let mut at = 0;
        while at < whole_bytes {
            let len = PIECE_BYTES.min(whole_bytes - at);
            let op = Op::Read { remote: remote.at(at, len).ok_or("a range outside the region")? };
            let read = self.read_piece(ep, op, (&memory, mr), at, len);
            if let Err(why) = read {
                // It goes with its lease, once the device has done with both.
                let _ = self.world.nodes[0].driver.context().deregister(mr);
                return Err(format!("bytes {at} to {}: {why}", at + len));
            }
            at += len;
        }
        Ok((memory, mr))
    }

    /// A connection that still works, and the region as it is reached from there.
    fn way_to(&mut self, region: u32) -> Option<(EpId, RemoteRegion)> {
        (0..self.connections.len()).find_map(|index| {
            let connection = self.connections.get(index);
            let (ep, remote) = (connection.poster.1, *connection.remotes.get(&region)?);
            let state = self.world.nodes[0].driver.context().state(ep);
            (state == Some(QpState::Rts)).then_some((ep, remote))
        })
    }

    fn read_piece(
        &mut self,
        ep: EpId,
        op: Op,
        (memory, mr): (&Region, MrId),
        at: u64,
        len: u64,
    ) -> Result<(), String> {
        let now = self.world.now();
        let lease = memory.lease(at, len).ok_or("its memory is in use")?;
        let deadline = self.world.patience_ns().map_or(Instant::FAR, |ns| now + ns);
        let spec = TransferSpec { ep, op, lease, mr, len, deadline, session: None, tag: READ_BACK };
        self.world.progressed();
        self.world.nodes[0].driver.submit(now, spec).map_err(|error| error.to_string())?;
        self.world.touch(0);
        loop {
            if self.world.run(Instant::FAR) == Ran::Stuck {
                return Err("nothing happens any more".to_owned());
            }
            // What else may end here failed long ago.
            while let Some(finished) = self.world.nodes[0].driver.take_finished() {
                if finished.tag != READ_BACK {
                    continue;
                }
                return match finished.result {
                    Ok(done) if done == len => Ok(()),
                    Ok(done) => Err(format!("{done} bytes came")),
                    Err(error) => Err(error.to_string()),
                };
            }
        }
    }
}
