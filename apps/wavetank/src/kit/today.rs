//! What day it is, by the system's clock: the only thing the kit asks of the calendar, and an argument to it.

use rustix::time::{ClockId, clock_gettime};
use wavetank_harness::kit::Date;

/// Today, in universal time. `None` beyond the year 9999.
pub(super) fn today() -> Option<Date> {
    let seconds = clock_gettime(ClockId::Realtime).tv_sec;
    // A clock before 1970 was never set: everything is in the future then, and nothing has expired.
    Date::from_days(u64::try_from(seconds).unwrap_or(0) / 86_400)
}
