//! UCX devices: `tcp`, `tcp/lo`, `shm`, `self`, `rc/rxe0:1`.

use wavetank_engine::{Port, PortConfig, RdmaContext};
use wavetank_ucx::{Transport, UcxConfig, UcxDevice};

use super::{Devices, Named, Protocol};

impl From<Protocol> for wavetank_ucx::Protocol {
    fn from(protocol: Protocol) -> wavetank_ucx::Protocol {
        match protocol {
            Protocol::Auto => wavetank_ucx::Protocol::Auto,
            Protocol::Eager => wavetank_ucx::Protocol::Eager,
            Protocol::Rndv => wavetank_ucx::Protocol::Rendezvous,
        }
    }
}

impl Named for UcxDevice {
    type Config = UcxConfig;

    fn configs(asked: &Devices) -> Result<Vec<UcxConfig>, String> {
        let protocol = asked.protocol.map(wavetank_ucx::Protocol::from).unwrap_or_default();
        let mut configs: Vec<UcxConfig> = Vec::new();
        for name in &asked.names {
            let config: UcxConfig = name.parse().map_err(|error| format!("--device {name}: {error}"))?;
            if let Some(first) = configs.first().filter(|first| first.transport != config.transport) {
                return Err(format!(
                    "--device {},{name}: devices of different transports do not reach each other; name two of one",
                    first.name()
                ));
            }
            configs.push(UcxConfig { protocol, ..config });
        }
        Ok(configs)
    }

    fn open_device(config: &UcxConfig) -> Result<UcxDevice, String> {
        UcxDevice::open(config).map_err(|error| error.to_string())
    }

    fn share(&self, config: &UcxConfig) -> Result<Option<UcxDevice>, String> {
        match config.transport {
            Transport::Loopback => self.twin().map(Some).map_err(|error| error.to_string()),
            _ => Ok(None),
        }
    }

    fn into_context(self, config: PortConfig) -> RdmaContext {
        Port::new(self, config).into()
    }
}

#[cfg(test)]
mod tests {
    use wavetank_engine::BackendKind;

    use super::*;

    fn configs(names: &[&str], protocol: Option<Protocol>) -> Result<Vec<UcxConfig>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        UcxDevice::configs(&Devices { backend: BackendKind::Ucx, names, protocol })
    }

    #[test]
    fn every_device_is_asked_for_the_protocol() {
        let found = configs(&["tcp/lo", "tcp/eth0"], Some(Protocol::Rndv)).expect("good names");
        let told: Vec<_> = found.iter().map(|config| (config.name(), config.protocol)).collect();
        let rendezvous = wavetank_ucx::Protocol::Rendezvous;
        assert_eq!(told, [("tcp/lo".to_owned(), rendezvous), ("tcp/eth0".to_owned(), rendezvous)]);
        assert_eq!(configs(&["self"], None).map(|found| found[0].protocol), Ok(Default::default()));
    }

    #[test]
    fn devices_that_could_not_reach_each_other_are_refused() {
        let error = configs(&["tcp", "shm"], None).expect_err("refused");
        assert!(error.starts_with("--device tcp,shm: devices of different transports"), "{error}");
    }
}
