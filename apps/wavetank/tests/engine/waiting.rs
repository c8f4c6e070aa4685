//! Time in tests: real, with deadlines, and never tight.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take before a test gives up: machines are loaded.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Rests for a moment.
#[expect(clippy::disallowed_methods, reason = "processes are waited for, and nothing here is simulated")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until there is something, for so long.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + limit;
    loop {
        if let Some(there) = look() {
            return Some(there);
        }
        if Instant::now() >= until {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    assert!(within(PATIENCE, || look().then_some(())).is_some(), "not within {PATIENCE:?}: {what}");
}

/// Whatever a test wants to show: not by a macro, whose lines are hidden where a test passes.
pub(crate) fn show(text: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
