//! Sizes, durations and rates as people write them. Whole numbers throughout: no float decides a size.
//!
//! Each type parses with [`str::parse`] and prints itself back in the largest unit that needs at most three
//! decimals, so that printing and parsing agree exactly.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `512`, `512B`, `4KiB`, `64MiB`, `1GiB`, `1TiB`. Units are binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A duration in nanoseconds: `150ns`, `20us`, `1.5ms`, `3s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// A rate of arrivals: `500/s`, `250k/s`, `1M/s`, `1G/s`. Units are decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerSecond(pub u64);

/// A throughput in bytes per second: `800MiB/s`, `1GiB/s`. Units are binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSecond(pub u64);

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not a number with a unit of this kind.
    #[error("not {wanted}")]
    Malformed {
        /// What would be right, with an example.
        wanted: &'static str,
    },
    /// A fraction of the smallest unit.
    #[error("not a whole number of {smallest}")]
    Fraction {
        /// The smallest unit.
        smallest: &'static str,
    },
    /// Past what 64 bits hold.
    #[error("past 2^64 - 1 {smallest}")]
    TooLarge {
        /// The smallest unit.
        smallest: &'static str,
    },
}

/// One family of units, smallest first. The first unit is also what a printed number falls back to.
struct Family {
    units: &'static [(&'static str, u64)],
    /// What a number without a unit means, for families where that is clear.
    bare: bool,
    smallest: &'static str,
    wanted: &'static str,
}

const BYTES: Family = Family {
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)],
    bare: true,
    smallest: "bytes",
    wanted: "a size: write bytes, or a number with KiB, MiB, GiB or TiB, as in \"64MiB\"",
};

const NANOS: Family = Family {
    units: &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)],
    bare: false,
    smallest: "nanoseconds",
    wanted: "a duration: write a number with ns, us, ms or s, as in \"20us\"",
};

const PER_SECOND: Family = Family {
    units: &[("/s", 1), ("k/s", 1_000), ("M/s", 1_000_000), ("G/s", 1_000_000_000)],
    bare: false,
    smallest: "arrivals per second",
    wanted: "a rate: write a number with /s, k/s or M/s, as in \"250k/s\"",
};

const BYTES_PER_SECOND: Family = Family {
    units: &[("B/s", 1), ("KiB/s", 1 << 10), ("MiB/s", 1 << 20), ("GiB/s", 1 << 30), ("TiB/s", 1 << 40)],
    bare: false,
    smallest: "bytes per second",
    wanted: "a throughput: write a number with B/s, KiB/s, MiB/s or GiB/s, as in \"1GiB/s\"",
};

impl Family {
    fn parse(&self, text: &str) -> Result<u64, UnitError> {
        let malformed = UnitError::Malformed { wanted: self.wanted };
        let too_large = UnitError::TooLarge { smallest: self.smallest };
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit = unit.trim_start_matches(' ');
        let scale = match self.units.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() && self.bare => 1,
            None => return Err(malformed),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(malformed);
        }
        let whole: u64 = whole.parse().map_err(|_| too_large)?;
        // 2^40 divides 10^k only for k up to 40, and no unit needs more than 12 decimals to name one byte.
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 12 {
            return Err(UnitError::Fraction { smallest: self.smallest });
        }
        let denominator = 10u128.pow(fraction.len() as u32);
        let numerator: u128 =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| malformed)? };
        let scaled = (u128::from(whole) * denominator + numerator) * u128::from(scale);
        if !scaled.is_multiple_of(denominator) {
            return Err(UnitError::Fraction { smallest: self.smallest });
        }
        u64::try_from(scaled / denominator).map_err(|_| too_large)
    }

    fn print(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            |scale: u64| value >= scale && (u128::from(value) * 1000).is_multiple_of(u128::from(scale));
        let (unit, scale) = *self.units.iter().rev().find(|(_, s)| fits(*s)).unwrap_or(&self.units[0]);
        let (whole, rest) = (value / scale, u128::from(value % scale) * 1000 / u128::from(scale));
        if rest == 0 {
            return write!(f, "{whole}{unit}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{whole}.{}{unit}", decimals.trim_end_matches('0'))
    }
}

macro_rules! quantity {
    ($name:ident, $family:ident) => {
        impl FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<$name, UnitError> {
                $family.parse(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $family.print(self.0, f)
            }
        }
    };
}

quantity!(Bytes, BYTES);
quantity!(Nanos, NANOS);
quantity!(PerSecond, PER_SECOND);
quantity!(BytesPerSecond, BYTES_PER_SECOND);
