//! A lab over devices of this machine, in real time.

use std::fmt;

use wavetank_contract::{Backend, Instant};

use super::{Cause, Lab, LabError, RealTime, Skip, Sleeper, Waited, Wire};

/// Opens the device of a node.
pub type Opener<D> = Box<dyn FnMut(u16) -> Result<D, String>>;

/// Devices of this machine.
pub struct DeviceLab<D> {
    name: String,
    time: RealTime,
    open: Opener<D>,
    wire: Option<Wire>,
}

impl<D: Backend> DeviceLab<D> {
    /// A lab that opens its devices with `open`.
    pub fn new(name: impl Into<String>, open: Opener<D>) -> DeviceLab<D> {
        DeviceLab { name: name.into(), time: RealTime::start(), open, wire: None }
    }

    /// The same, with a wire that may be disturbed.
    pub fn with_wire(self, wire: Wire) -> DeviceLab<D> {
        DeviceLab { wire: Some(wire), ..self }
    }
}

impl<D> fmt::Debug for DeviceLab<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLab").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<D: Backend> Lab for DeviceLab<D> {
    type Device = D;

    fn name(&self) -> &str {
        &self.name
    }

    fn open(&mut self, node: u16) -> Result<D, LabError> {
        (self.open)(node).map_err(|why| LabError { lab: self.name.clone(), node, why })
    }

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn wait(&mut self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited {
        self.time.wait(sleepers, until)
    }

    fn inject(&mut self, cause: Cause) -> Result<(), Skip> {
        match &mut self.wire {
            Some(wire) => wire.inject(cause),
            None => Err(Skip("no wire to disturb: give --wire va,vb".to_owned())),
        }
    }

    fn undo(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.undo();
        }
    }
}
