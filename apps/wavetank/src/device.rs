//! Devices of this machine, opened for the nodes of a run.

use wavetank_engine::{BackendKind, PortConfig, RdmaContext};

/// Devices by name; nodes take them in turn.
#[derive(Clone, Debug)]
pub(crate) struct Devices {
    backend: BackendKind,
    names: Vec<String>,
}

impl Devices {
    /// What `--backend` and `--device` ask for; `None` is the simulated network.
    pub(crate) fn asked(backend: BackendKind, names: &[String]) -> Result<Option<Devices>, String> {
        backend.require_built().map_err(|error| error.to_string())?;
        match (backend, names) {
            (BackendKind::Mock, []) => Ok(None),
            (BackendKind::Mock, [name, ..]) => Err(format!(
                "--device {name} names a real device, and --backend is mock; add --backend verbs"
            )),
            (_, []) => Err(format!(
                "--backend {backend} needs to be told which device: --device rxe0, or --device rxe0,rxe1 for the two \
                 sides (`rdma link` lists them)"
            )),
            (_, names) => Ok(Some(Devices { backend, names: names.to_vec() })),
        }
    }

    /// Opens the device of a node.
    pub(crate) fn open(&self, node: u16, config: PortConfig) -> Result<RdmaContext, String> {
        open(self.backend, self.name(node), config)
    }

    /// The name of a node's device.
    pub(crate) fn name(&self, node: u16) -> &str {
        let index = usize::from(node) % self.names.len().max(1);
        self.names.get(index).map_or("", String::as_str)
    }
}

fn open(backend: BackendKind, name: &str, config: PortConfig) -> Result<RdmaContext, String> {
    match backend {
        #[cfg(feature = "verbs")]
        BackendKind::Verbs => {
            let device = wavetank_verbs::VerbsDevice::open(&wavetank_verbs::VerbsConfig::new(name));
            Ok(wavetank_engine::Port::new(device.map_err(|error| error.to_string())?, config).into())
        }
        other => {
            let _ = config;
            Err(format!("the {other} backend opens no device {name:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mock_has_no_devices_and_a_backend_that_is_not_built_is_refused() {
        assert!(Devices::asked(BackendKind::Mock, &[]).is_ok_and(|devices| devices.is_none()));
        let error = Devices::asked(BackendKind::Mock, &["rxe0".to_owned()]).expect_err("refused");
        assert!(error.contains("--backend verbs"), "{error}");
        let error = Devices::asked(BackendKind::Ucx, &["x".to_owned()]).expect_err("not built");
        assert!(error.contains("feature `ucx`"), "{error}");
    }

    #[test]
    fn nodes_take_devices_in_turn() {
        let names = ["rxe0", "rxe1"].map(str::to_owned).to_vec();
        let devices = Devices { backend: BackendKind::Verbs, names };
        assert_eq!([0, 1, 2].map(|node| devices.name(node)), ["rxe0", "rxe1", "rxe0"]);
    }
}
