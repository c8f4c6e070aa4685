//! Devices of libibverbs: `rxe0`, `mlx5_0`.

use wavetank_engine::{Port, PortConfig, RdmaContext};
use wavetank_verbs::{VerbsConfig, VerbsDevice};

use super::{Devices, Named};

impl Named for VerbsDevice {
    type Config = VerbsConfig;

    fn configs(asked: &Devices) -> Result<Vec<VerbsConfig>, String> {
        Ok(asked.names.iter().map(|name| VerbsConfig::new(name.as_str())).collect())
    }

    fn open_device(config: &VerbsConfig) -> Result<VerbsDevice, String> {
        VerbsDevice::open(config).map_err(|error| error.to_string())
    }

    fn into_context(self, config: PortConfig) -> RdmaContext {
        Port::new(self, config).into()
    }
}
