//! What an operator wants to know of memory, in one value.

use core::fmt;

use wavetank_contract::{Pages, PagesGot};

use super::arena::ArenaStats;
use super::cache::CacheStats;
use super::extent::ExtentStats;

/// How all memory of an engine is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Our own: what works of ours use.
    pub arena: Option<ArenaStats>,
    /// What peers may reach.
    pub extents: Option<ExtentStats>,
    /// Users' own buffers.
    pub cache: Option<CacheStats>,
}

/// A line for each.
impl fmt::Display for MemoryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(arena) = &self.arena {
            write!(f, "arena    {arena}")?;
            between = "\n";
        }
        if let Some(extents) = &self.extents {
            write!(f, "{between}extents  {extents}")?;
            between = "\n";
        }
        if let Some(cache) = &self.cache {
            write!(f, "{between}cache    {cache}")?;
            between = "\n";
        }
        if between.is_empty() { f.write_str("no memory") } else { Ok(()) }
    }
}

impl fmt::Display for ArenaStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} in use (at most {}) by {} leases, {} pages",
            Human(self.leased_bytes),
            Human(self.total_bytes),
            Human(self.leased_bytes_max),
            self.leases,
            self.pages
        )
    }
}

impl fmt::Display for ExtentStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in use in {} extents, {} free, {} retiring, of {} (at most {}); pages: {} huge, {} transparent, {} plain; \
             {} refused",
            Human(self.in_use_bytes),
            self.extents,
            Human(self.free_bytes),
            Human(self.retiring_bytes),
            Human(self.limit_bytes),
            Human(self.total_bytes_max),
            Human(self.huge_bytes),
            Human(self.transparent_bytes),
            Human(self.plain_bytes),
            self.refusals
        )
    }
}

impl fmt::Display for CacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {} registrations (at most {}), {} retiring; {} hits, {} misses, {} evicted, {} invalidated, {} retried, \
             {} refused",
            Human(self.bytes),
            self.count,
            Human(self.bytes_max_seen),
            self.retiring,
            self.hits,
            self.misses,
            self.evictions,
            self.invalidations,
            self.retries,
            self.refusals
        )
    }
}

/// Bytes for people: with at most one place after the point.
struct Human(u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        let Some(last) = (0..UNITS.len()).rev().find(|unit| self.0 >> (10 * (unit + 1)) > 0) else {
            return write!(f, "{} B", self.0);
        };
        let shift = 10 * (last + 1);
        let tenths = (u128::from(self.0) * 10) >> shift;
        match tenths % 10 {
            0 => write!(f, "{} {}", tenths / 10, UNITS[last]),
            tenth => write!(f, "{}.{tenth} {}", tenths / 10, UNITS[last]),
        }
    }
}

/// Says in the log which pages memory got: once with why and what to do, if they are worse than asked for; `again` if that was
/// said before.
pub(super) fn log_pages(what: &'static str, got: &PagesGot, again: bool) {
    if got.is_short() && !again {
        tracing::warn!(what, len_bytes = got.len_bytes, pages = got.kind.name(), "{what}: {got}");
    } else if got.asked == Pages::Huge {
        tracing::debug!(what, len_bytes = got.len_bytes, pages = got.kind.name(), "{what}: {got}");
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::PageKind;

    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};
    use wavetank_contract::pages::NoPages;

    use super::*;

    /// What was said in the log.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(Level, String)>>>);

    struct Message(String);

    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().expect("no panic").push((*event.metadata().level(), message.0));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_log_says_once_why_pages_are_worse_than_asked_for_and_what_to_do() {
        let log = Log::default();
        let got = PagesGot {
            len_bytes: 4 << 20,
            asked: Pages::Huge,
            kind: PageKind::Transparent,
            no_huge: Some(NoPages::Pool { errno: 12 }),
            no_transparent: None,
        };
        let had = PagesGot { kind: PageKind::Huge, no_huge: None, ..got };
        let nobody_asked = PagesGot { asked: Pages::Plain, ..got };
        tracing::subscriber::with_default(log.clone(), || {
            log_pages("arena", &got, false);
            log_pages("arena", &got, true);
            log_pages("arena", &had, false);
            log_pages("arena", &nobody_asked, false);
        });
        let said = log.0.lock().expect("no panic");
        assert_eq!(
            said.iter().map(|line| line.0).collect::<Vec<_>>(),
            [Level::WARN, Level::DEBUG, Level::DEBUG]
        );
        for part in
            ["arena: 4194304 bytes in transparent pages", "sysctl vm.nr_hugepages=N", "2 for this region"]
        {
            assert!(said[0].1.contains(part), "{part} in {}", said[0].1);
        }
    }

    #[test]
    fn bytes_are_written_as_people_write_them() {
        let said = |bytes| Human(bytes).to_string();
        assert_eq!([said(0), said(1023), said(1024), said(1536)], ["0 B", "1023 B", "1 KiB", "1.5 KiB"]);
        assert_eq!([said(2 << 20), said(u64::MAX)], ["2 MiB", "16777215.9 TiB"]);
    }

    #[test]
    fn each_kind_of_memory_has_a_line_and_none_has_one_too() {
        assert_eq!(MemoryStats::default().to_string(), "no memory");
        let arena = ArenaStats {
            total_bytes: 4 << 20,
            leased_bytes: 8192,
            free_bytes: (4 << 20) - 8192,
            leased_bytes_max: 1 << 20,
            leases: 2,
            pages: PageKind::Transparent,
        };
        let extents =
            ExtentStats { in_use_bytes: 2 << 20, extents: 1, refusals: 3, ..ExtentStats::default() };
        let cache = CacheStats { hits: 9, misses: 1, count: 1, bytes: 4096, ..CacheStats::default() };
        let stats = MemoryStats { arena: Some(arena), extents: Some(extents), cache: Some(cache) };
        let said = stats.to_string();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "arena    8 KiB of 4 MiB in use (at most 1 MiB) by 2 leases, transparent pages");
        assert!(lines[1].contains("2 MiB in use in 1 extents") && lines[1].ends_with("3 refused"));
        assert!(lines[2].contains("9 hits, 1 misses"));
    }
}
