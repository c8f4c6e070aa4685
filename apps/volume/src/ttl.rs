//! Time to live, as two bytes on disk: a count and a unit.

/// How long a needle or a volume's needles live.
///
/// Source: `weed/storage/needle/volume_ttl.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ttl {
    /// How many units; 0 = no limit.
    pub count: u8,
    /// 0 none, 1 minute, 2 hour, 3 day, 4 week, 5 month of 30 days, 6 year of 365 days. Other codes mean no limit.
    pub unit_code: u8,
}

impl Ttl {
    /// Reads the two bytes.
    #[must_use]
    pub fn from_bytes([count, unit_code]: [u8; 2]) -> Self {
        Self { count, unit_code }
    }

    /// The two bytes on disk.
    #[must_use]
    pub fn bytes(self) -> [u8; 2] {
        [self.count, self.unit_code]
    }

    /// The whole span in minutes; 0 = lives forever.
    #[must_use]
    pub fn minutes(self) -> u32 {
        const HOUR: u32 = 60;
        const DAY: u32 = 24 * HOUR;
        let unit = match self.unit_code {
            1 => 1,
            2 => HOUR,
            3 => DAY,
            4 => 7 * DAY,
            5 => 30 * DAY,
            6 => 365 * DAY,
            _ => 0,
        };
        // At most 255 years of minutes: 134 million.
        u32::from(self.count) * unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_has_its_length_and_an_unknown_one_has_none() {
        let expected = [0, 1, 60, 1440, 10_080, 43_200, 525_600, 0];
        for (unit_code, minutes) in (0..).zip(expected) {
            assert_eq!(Ttl::from_bytes([2, unit_code]).minutes(), 2 * minutes, "unit {unit_code}");
        }
        assert_eq!(Ttl { count: 255, unit_code: 6 }.minutes(), 134_028_000);
    }
}
