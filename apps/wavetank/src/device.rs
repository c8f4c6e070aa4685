//! Devices of this machine, opened by name for the nodes of a run. Which backend they are of matters here and nowhere else.

#[cfg(feature = "ucx")]
mod ucx;
#[cfg(feature = "verbs")]
mod verbs;

use std::error::Error;

use clap::ValueEnum;
use wavetank_contract::Backend;
use wavetank_engine::{BackendKind, PortConfig, RdmaContext};

/// How messages travel over UCX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// UCX chooses by length.
    Auto,
    /// With the message itself.
    Eager,
    /// The receiver is told first, and fetches the bytes.
    Rndv,
}

impl Protocol {
    /// As it is asked for.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::Eager => "eager",
            Protocol::Rndv => "rndv",
        }
    }
}

/// A backend whose devices have names.
pub(crate) trait Named: Backend + Sized + 'static {
    /// Everything that is asked of one device.
    type Config: Clone + 'static;

    /// Reads what is asked for, a device at a time.
    fn configs(asked: &Devices) -> Result<Vec<Self::Config>, String>;

    /// Opens a device.
    fn open_device(config: &Self::Config) -> Result<Self, String>;

    /// Another handle on this device, for the peer of one that reaches no device but itself.
    fn share(&self, _config: &Self::Config) -> Result<Option<Self>, String> {
        Ok(None)
    }

    /// The device as the engine has it.
    fn into_context(self, config: PortConfig) -> RdmaContext;
}

/// Something to do with devices, whichever backend they are of.
pub(crate) trait Task {
    /// What comes of it.
    type Done;

    /// Does it. [`opener`] makes devices of `configs`.
    fn on<D: Named>(self, configs: &[D::Config]) -> Result<Self::Done, Box<dyn Error>>;
}

/// Opens the devices of one lab or run: nodes take them in turn. Where a device reaches no other, the nodes after 0 share
/// that of node 0, which is opened first.
pub(crate) fn opener<D: Named>(configs: &[D::Config]) -> impl FnMut(u16) -> Result<D, String> + use<D> {
    let configs = configs.to_vec();
    let mut shared: Option<D> = None;
    move |node| {
        let config = configs.get(usize::from(node) % configs.len().max(1)).ok_or("no device is named")?;
        if let (Some(first), 1..) = (&shared, node) {
            return first.share(config)?.ok_or_else(|| "a device is no longer shared".to_owned());
        }
        let device = D::open_device(config)?;
        shared = device.share(config)?;
        Ok(device)
    }
}

/// Opens the device of a node as a context.
pub(crate) type Contexts = Box<dyn FnMut(u16, PortConfig) -> Result<RdmaContext, String>>;

/// Devices by name; nodes take them in turn.
#[derive(Clone, Debug)]
pub(crate) struct Devices {
    backend: BackendKind,
    names: Vec<String>,
    #[cfg_attr(not(feature = "ucx"), allow(dead_code, reason = "UCX alone has protocols"))]
    protocol: Option<Protocol>,
}

impl Devices {
    /// What `--backend`, `--device` and `--protocol` ask for; `None` is the simulated network.
    pub(crate) fn asked(
        backend: BackendKind,
        names: &[String],
        protocol: Option<Protocol>,
    ) -> Result<Option<Devices>, Box<dyn Error>> {
        if backend != BackendKind::Mock {
            return Devices::named("--backend", backend, names, protocol).map(Some);
        }
        no_protocol("--backend", backend, protocol)?;
        match names {
            [] => Ok(None),
            [name, ..] => Err(format!(
                "--device {name} names a real device, and --backend is mock; add --backend verbs or ucx"
            )
            .into()),
        }
    }

    /// The devices that `--device` names. `option` is the one that says of which backend.
    pub(crate) fn named(
        option: &str,
        backend: BackendKind,
        names: &[String],
        protocol: Option<Protocol>,
    ) -> Result<Devices, Box<dyn Error>> {
        backend.require_built()?;
        no_protocol(option, backend, protocol)?;
        if names.is_empty() {
            let choice = match backend {
                BackendKind::Ucx => {
                    "--device tcp, tcp/lo, shm, self or rc/rxe0:1, or --device tcp/lo,tcp/lo for the two sides \
                     (`ucx_info -d` lists them)"
                }
                _ => "--device rxe0, or --device rxe0,rxe1 for the two sides (`rdma link` lists them)",
            };
            return Err(format!("{option} {backend} needs to be told which device: {choice}").into());
        }
        let devices = Devices { backend, names: names.to_vec(), protocol };
        devices.give(Understood)?;
        Ok(devices)
    }

    /// Gives the devices to whoever does something with them.
    pub(crate) fn give<T: Task>(&self, task: T) -> Result<T::Done, Box<dyn Error>> {
        match self.backend {
            #[cfg(feature = "verbs")]
            BackendKind::Verbs => on::<wavetank_verbs::VerbsDevice, T>(self, task),
            #[cfg(feature = "ucx")]
            BackendKind::Ucx => on::<wavetank_ucx::UcxDevice, T>(self, task),
            other => {
                other.require_built()?;
                let _ = task;
                Err(format!("the {other} backend has no devices to open").into())
            }
        }
    }

    /// What opens the devices of one run.
    pub(crate) fn contexts(&self) -> Result<Contexts, Box<dyn Error>> {
        self.give(AsContexts)
    }

    /// Their backend.
    pub(crate) fn backend(&self) -> BackendKind {
        self.backend
    }

    /// The name of a node's device.
    pub(crate) fn name(&self, node: u16) -> &str {
        let index = usize::from(node) % self.names.len().max(1);
        self.names.get(index).map_or("", String::as_str)
    }

    /// What a lab of them is called.
    pub(crate) fn lab(&self) -> String {
        format!("{}/{}", self.backend, self.name(0))
    }
}

/// Refuses a protocol for a backend that has none.
pub(crate) fn no_protocol(
    option: &str,
    backend: BackendKind,
    protocol: Option<Protocol>,
) -> Result<(), String> {
    match protocol {
        Some(_) if backend != BackendKind::Ucx => Err(format!(
            "--protocol is of UCX, and {option} is {backend}; leave it out, or give {option} ucx"
        )),
        _ => Ok(()),
    }
}

fn on<D: Named, T: Task>(devices: &Devices, task: T) -> Result<T::Done, Box<dyn Error>> {
    task.on::<D>(&D::configs(devices)?)
}

/// Nothing but reading the names: what is wrong with one is said before anything runs.
struct Understood;

impl Task for Understood {
    type Done = ();

    fn on<D: Named>(self, _: &[D::Config]) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

/// Devices in ports of the engine.
struct AsContexts;

impl Task for AsContexts {
    type Done = Contexts;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<Contexts, Box<dyn Error>> {
        let mut open = opener::<D>(configs);
        Ok(Box::new(move |node, config| Ok(open(node)?.into_context(config))))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use wavetank_engine::Port;
    use wavetank_mock::{Fabric, MockNic, Profile};

    use super::*;

    /// Whether devices reach only themselves, and how many were opened and shared.
    #[derive(Clone, Default)]
    pub(crate) struct Counted {
        alone: bool,
        opened: Rc<Cell<u32>>,
        shared: Rc<Cell<u32>>,
    }

    impl Named for MockNic {
        type Config = Counted;

        fn configs(_: &Devices) -> Result<Vec<Counted>, String> {
            Ok(Vec::new())
        }

        fn open_device(config: &Counted) -> Result<MockNic, String> {
            config.opened.set(config.opened.get() + 1);
            Ok(Fabric::new(Profile::IDEAL).add_node())
        }

        fn share(&self, config: &Counted) -> Result<Option<MockNic>, String> {
            config.shared.set(config.shared.get() + u32::from(config.alone));
            Ok(config.alone.then(|| Fabric::new(Profile::IDEAL).add_node()))
        }

        fn into_context(self, config: PortConfig) -> RdmaContext {
            Port::new(self, config).into()
        }
    }

    #[test]
    fn nodes_share_the_device_of_node_0_where_it_reaches_no_other() {
        for (alone, opened) in [(false, 5), (true, 2)] {
            let counted = Counted { alone, ..Counted::default() };
            let mut open = opener::<MockNic>(std::slice::from_ref(&counted));
            // Node 0 comes anew with each lab.
            for node in [0, 1, 2, 0, 1] {
                assert!(open(node).is_ok());
            }
            assert_eq!(counted.opened.get(), opened);
            assert_eq!(counted.shared.get() > 0, alone);
        }
        assert!(opener::<MockNic>(&[])(0).is_err_and(|error| error == "no device is named"));
    }

    fn refused(backend: BackendKind, names: &[&str], protocol: Option<Protocol>) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Devices::asked(backend, &names, protocol).expect_err("refused").to_string()
    }

    #[test]
    fn the_mock_has_no_devices_and_a_backend_that_is_not_built_is_refused() {
        assert!(Devices::asked(BackendKind::Mock, &[], None).is_ok_and(|devices| devices.is_none()));
        let error = refused(BackendKind::Mock, &["rxe0"], None);
        assert!(error.contains("--backend verbs or ucx"), "{error}");
        for kind in BackendKind::ALL.into_iter().filter(|kind| kind.require_built().is_err()) {
            let error = refused(kind, &["x"], Some(Protocol::Auto));
            assert!(error.contains(&format!("feature `{kind}`")), "{error}");
        }
    }

    #[test]
    fn a_protocol_is_of_ucx_alone() {
        let error = refused(BackendKind::Mock, &[], Some(Protocol::Eager));
        assert!(error.contains("--protocol is of UCX, and --backend is mock"), "{error}");
    }

    #[test]
    fn nodes_take_devices_in_turn() {
        let names = ["rxe0", "rxe1"].map(str::to_owned).to_vec();
        let devices = Devices { backend: BackendKind::Verbs, names, protocol: None };
        assert_eq!([0, 1, 2].map(|node| devices.name(node)), ["rxe0", "rxe1", "rxe0"]);
        assert_eq!(devices.lab(), "verbs/rxe0");
    }
}
