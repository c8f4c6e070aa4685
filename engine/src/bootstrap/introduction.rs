//! Who takes part: what each side says of itself before anything else.

use core::fmt;
use core::num::NonZeroU64;

use super::error::BootstrapError;
use super::message::Hello;
use super::text::Said;
use crate::context::BackendKind;

/// One life of one process. Another life of the same process has another, so that a message of an earlier one is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(NonZeroU64);

impl InstanceId {
    /// A name of the caller's choice. `None` for 0, which stands for "whoever you are".
    pub const fn new(id: u64) -> Option<InstanceId> {
        match NonZeroU64::new(id) {
            Some(id) => Some(InstanceId(id)),
            None => None,
        }
    }

    /// A name nobody else has, from the system's entropy. Chance of its own, and so for the edge of a program only: not for
    /// what is simulated.
    ///
    /// # Errors
    /// The system has no entropy.
    #[cfg(feature = "tokio")]
    pub fn random() -> Result<InstanceId, BootstrapError> {
        loop {
            let id = getrandom::u64().map_err(|error| BootstrapError::NoEntropy(error.to_string()))?;
            if let Some(id) = InstanceId::new(id) {
                return Ok(id);
            }
        }
    }

    /// As one number. Never 0.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

/// The versions of the exchange that one side speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl VersionRange {
    /// What this build speaks.
    pub const SPOKEN: VersionRange = VersionRange { min: 1, max: 1 };

    /// The newest version that both speak.
    pub fn agreed(self, other: VersionRange) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// Which side of a handshake one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks first.
    Dialer,
    /// Answers.
    Listener,
}

impl Role {
    /// The other one.
    pub const fn other(self) -> Role {
        match self {
            Role::Dialer => Role::Listener,
            Role::Listener => Role::Dialer,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Dialer => "dialer",
            Role::Listener => "listener",
        }
    }
}

/// What we say of ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// This life of this process.
    pub instance: InstanceId,
    /// Which backend the endpoints are of. Addresses of one mean nothing to another.
    pub backend: BackendKind,
    /// The device, for the peer's log: [`Caps::name`](wavetank_contract::Caps::name). Cut at 64 bytes.
    pub device: String,
    /// What the application can do, one bit each, in its own numbering. Both sides learn what both have.
    pub features: u64,
    /// Versions we speak.
    pub versions: VersionRange,
}

impl Introduction {
    /// Longest device name, in bytes.
    pub const DEVICE_BYTES_MAX: usize = 64;

    /// With no features, and every version this build speaks.
    pub fn new(instance: InstanceId, backend: BackendKind, device: &str) -> Introduction {
        Introduction { instance, backend, device: device.into(), features: 0, versions: VersionRange::SPOKEN }
    }
}

impl Introduction {
    /// As it travels.
    pub(super) fn hello(&self, role: Role) -> Hello {
        Hello {
            versions: self.versions,
            role,
            features: self.features,
            backend: Said::from(self.backend.name()),
            device: Said::from(&*self.device),
        }
    }

    /// Decides whether a peer fits us in this role.
    pub(super) fn meet(&self, role: Role, from: u64, hello: Hello) -> Result<Peer, BootstrapError> {
        let instance = match InstanceId::new(from) {
            Some(instance) if instance != self.instance => instance,
            _ => return Err(BootstrapError::Itself(self.instance)),
        };
        if hello.role == role {
            return Err(BootstrapError::SameRole(role));
        }
        let (ours, theirs) = (self.versions, hello.versions);
        let version = ours.agreed(theirs).ok_or(BootstrapError::Version { ours, theirs })?;
        if hello.backend.as_str() != self.backend.name() {
            return Err(BootstrapError::Backend { ours: self.backend.name(), theirs: hello.backend });
        }
        Ok(Peer { instance, device: hello.device, features: self.features & hello.features, version })
    }
}

/// The peer, once it introduced itself and fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// This life of its process.
    pub instance: InstanceId,
    /// Its device, for the log.
    pub device: Said,
    /// Features that both sides have.
    pub features: u64,
    /// The version both use from here on.
    pub version: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_agreed_upon_from_both_sides_or_none_is() {
        let all = || (1..6).flat_map(|min| (min..6).map(move |max| VersionRange { min, max }));
        for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
            let common = (1..6).rev().find(|v| [a, b].iter().all(|r| (r.min..=r.max).contains(v)));
            assert_eq!((a.agreed(b), b.agreed(a)), (common, common), "{a} and {b}");
        }
    }

    #[test]
    fn no_instance_is_called_0() {
        assert_eq!(InstanceId::new(0), None);
        assert_eq!(InstanceId::new(7).map(InstanceId::get), Some(7));
    }
}
