//! The networks a guest can have. Each is a script in `ci/guest/nets`, which says what it is.

use std::fmt;

use clap::ValueEnum;

/// A network and the devices on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Net {
    /// Modules are loaded, and there is no device
    Bare,
    /// rxe0 at 10.9.9.1, on an interface that leads nowhere: it talks to itself
    OneRxe,
    /// rxe0 at 10.7.0.1 and rxe1 at 10.7.0.2, with a cable between them that tc can disturb
    TwoRxe,
    /// siw0 at 10.9.9.1 (soft-iWARP: connected by rdma_cm only), talking to itself
    Siw,
    /// siw0 at 10.7.0.1 and siw1 at 10.7.0.2, with a cable between them
    TwoSiw,
}

impl Net {
    /// The script that makes it, relative to `ci/guest`.
    pub(crate) fn script(self) -> String {
        format!("nets/{self}.sh")
    }

    /// Whether it needs siw.ko, which Debian's kernel does not bring.
    pub(crate) fn needs_siw(self) -> bool {
        matches!(self, Net::Siw | Net::TwoSiw)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Net::Bare => "bare",
            Net::OneRxe => "one-rxe",
            Net::TwoRxe => "two-rxe",
            Net::Siw => "siw",
            Net::TwoSiw => "two-siw",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_net_has_its_script_and_the_name_it_is_chosen_by() {
        for net in Net::value_variants() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest").join(net.script());
            assert!(script.is_file(), "{}", script.display());
            assert_eq!(Net::from_str(&net.to_string(), false), Ok(*net));
        }
    }
}
