//! Why a case did not pass.

use std::fmt::Display;

use crate::lab::Skip;

/// What ends a case before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A promise was not kept. The text holds no time and no address: quirks are recognised by it.
    Failed(String),
    /// The lab cannot do what the case needs.
    Skipped(String),
}

/// How a case, or a step of one, ended.
pub(super) type Ended = Result<(), Stop>;

impl From<Skip> for Stop {
    fn from(skip: Skip) -> Stop {
        Stop::Skipped(skip.0)
    }
}

/// For calls that no backend may refuse here.
pub(super) trait OrFail<T> {
    /// Names the call that was refused.
    fn or_fail(self, call: impl Display) -> Result<T, Stop>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, call: impl Display) -> Result<T, Stop> {
        self.map_err(|error| Stop::Failed(format!("{call} was refused: {error}")))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, call: impl Display) -> Result<T, Stop> {
        self.ok_or_else(|| Stop::Failed(format!("{call} answered nothing")))
    }
}

/// Ends the case as failed.
macro_rules! fail {
    ($($text:tt)*) => {
        return ::core::result::Result::Err($crate::kit::stop::Stop::Failed(format!($($text)*)))
    };
}

/// Ends the case as failed, unless.
macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            $crate::kit::stop::fail!($($text)*)
        }
    };
}

pub(super) use {ensure, fail};
