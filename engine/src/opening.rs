//! Devices of this machine, opened by name, whichever backend they are of.

use thiserror::Error;

use crate::context::{BackendKind, BackendNotBuilt, RdmaContext};
use crate::port::PortConfig;

/// Why a device was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenDeviceError {
    /// This build cannot.
    #[error(transparent)]
    NotBuilt(#[from] BackendNotBuilt),
    /// The simulated NIC is no device of this machine.
    #[error("the mock has no device {0:?}: its NICs are nodes of a simulated network in one process")]
    Simulated(String),
    /// The backend says no.
    #[error("{kind} device {name:?}: {why}")]
    Refused {
        /// The backend.
        kind: BackendKind,
        /// The device.
        name: String,
        /// Its words.
        why: String,
    },
}

impl RdmaContext {
    /// Opens a device of this machine: `rxe0` of verbs, `tcp/lo`, `shm` or `rc/rxe0:1` of UCX. Nothing stands in for a backend
    /// that is not built.
    ///
    /// # Errors
    /// [`OpenDeviceError`].
    #[allow(unused_variables, reason = "not every backend is in every build")]
    pub fn open_device(
        kind: BackendKind,
        name: &str,
        config: PortConfig,
    ) -> Result<RdmaContext, OpenDeviceError> {
        kind.require_built()?;
        #[allow(unused)]
        let refused = |why: String| OpenDeviceError::Refused { kind, name: name.to_owned(), why };
        match kind {
            #[cfg(feature = "verbs")]
            BackendKind::Verbs => {
                let device = wavetank_verbs::VerbsDevice::open(&wavetank_verbs::VerbsConfig::new(name));
                Ok(crate::port::Port::new(device.map_err(|error| refused(error.to_string()))?, config).into())
            }
            #[cfg(feature = "ucx")]
            BackendKind::Ucx => {
                let ucx: wavetank_ucx::UcxConfig =
                    name.parse().map_err(|error| refused(format!("{error}")))?;
                let device = wavetank_ucx::UcxDevice::open(&ucx);
                Ok(crate::port::Port::new(device.map_err(|error| refused(error.to_string()))?, config).into())
            }
            _ => Err(OpenDeviceError::Simulated(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_is_refused_by_name_and_nothing_stands_in_for_it() {
        for kind in BackendKind::ALL {
            let refused = RdmaContext::open_device(kind, "no such/device", PortConfig::default());
            let said = refused.map(drop).expect_err("it is not there").to_string();
            let expected = if kind.require_built().is_ok() { "no such/device" } else { "cargo feature" };
            assert!(said.contains(expected), "{kind}: {said}");
        }
    }
}
