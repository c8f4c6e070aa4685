//! Cases: what is tried, and what a device has to promise for it.

use std::fmt;

use wavetank_contract::Caps;

use super::bench::Bench;
use super::engines::Engines;
use super::group::Group;
use super::need::Need;
use super::stop::Ended;
use crate::lab::Lab;

/// What a case does.
pub(super) enum Body<L: Lab> {
    /// With bare devices.
    Raw(fn(&mut Bench<'_, L>) -> Ended),
    /// With an engine over each device.
    Driven(fn(&mut Engines<'_, L>) -> Ended),
}

/// One case, for one kind of lab. The same cases exist for every kind.
pub struct Case<L: Lab> {
    pub(super) group: Group,
    pub(super) name: &'static str,
    pub(super) needs: &'static [Need],
    pub(super) body: Body<L>,
}

impl<L: Lab> Case<L> {
    /// What it is about.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What holds: a sentence, and its name everywhere.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What has to be promised for it.
    pub fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// Whether a filter (a group, or a case) asks for it.
    pub fn is_meant_by(&self, filter: &str) -> bool {
        self.group.name() == filter || self.name == filter
    }

    /// What a device that promises this does not have, if anything.
    pub fn missing(&self, caps: &Caps) -> Option<&'static str> {
        self.needs.iter().find_map(|need| need.missing(caps))
    }
}

impl<L: Lab> fmt::Debug for Case<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({} {})", self.group, self.name)
    }
}

/// Makes a case of a function with bare devices.
macro_rules! raw {
    ($group:ident, $name:ident $(, $need:ident)*) => {
        $crate::kit::case::Case {
            group: $crate::kit::group::Group::$group,
            name: stringify!($name),
            needs: &[$($crate::kit::need::Need::$need),*],
            body: $crate::kit::case::Body::Raw($name::<L>),
        }
    };
}

/// Makes a case of a function with engines.
macro_rules! driven {
    ($group:ident, $name:ident $(, $need:ident)*) => {
        $crate::kit::case::Case {
            group: $crate::kit::group::Group::$group,
            name: stringify!($name),
            needs: &[$($crate::kit::need::Need::$need),*],
            body: $crate::kit::case::Body::Driven($name::<L>),
        }
    };
}

pub(super) use {driven, raw};
