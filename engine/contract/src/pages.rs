//! Pages: which are preferred for a region, which it got, and why not the better ones.
//!
//! A device walks tables of pages as a CPU does, and pinning counts pages: 2 MiB pages make both 512 times shorter. No
//! behaviour depends on them: they are a matter of cost, so that a simulated run is the same with any.

use core::fmt;

/// Bytes of a huge page. Others (1 GiB on x86_64) are not asked for.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Where the kernel says whether transparent huge pages may be asked for.
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The same for memory that processes share.
const TRANSPARENT_SHARED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Longest answer of that file that is looked at.
const TRANSPARENT_BYTES_MAX: u64 = 256;

/// Which pages memory is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pages {
    /// Whatever the system's allocator gives.
    #[default]
    Plain,
    /// Pages of 2 MiB from the pool that was set aside for them; if that has none, transparent ones; if the kernel gives none,
    /// plain ones. [`Region::pages`](crate::Region::pages) says which, and why.
    Huge,
}

/// Which pages memory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// 2 MiB each, for certain: from the pool of `vm.nr_hugepages`.
    Huge,
    /// Aligned and advised, so that the kernel uses 2 MiB pages where it has them. It does not say where it had.
    Transparent,
    /// Small ones, as far as anybody knows: memory of a library has them too, if that says nothing else.
    Plain,
}

impl PageKind {
    /// Every kind, the best first.
    pub const ALL: [PageKind; 3] = [PageKind::Huge, PageKind::Transparent, PageKind::Plain];

    /// Its name in tables and logs.
    pub const fn name(self) -> &'static str {
        match self {
            PageKind::Huge => "huge",
            PageKind::Transparent => "transparent",
            PageKind::Plain => "plain",
        }
    }
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why memory has no pages of a better kind than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPages {
    /// Shorter than one huge page.
    TooShort,
    /// The pool of huge pages has not enough free ones, or this process may not have them (`errno` of mmap(2), or of
    /// madvise(2) with MADV_POPULATE_WRITE).
    Pool {
        /// What the kernel answered.
        errno: i32,
    },
    /// The administrator switched transparent huge pages off, or the kernel has none.
    TransparentOff,
    /// The kernel refused the advice.
    Advice {
        /// What madvise(2) answered.
        errno: i32,
    },
    /// The backend's library allocates by itself, and does not say what it got: UCX's shared memory tries huge pages unless
    /// UCX_POSIX_HUGETLB_MODE and UCX_SYSV_HUGETLB_MODE are `n`.
    Library,
}

/// The pages of a region, and why they are not better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagesGot {
    /// Bytes of the region.
    pub len_bytes: u64,
    /// Which were preferred.
    pub asked: Pages,
    /// Which they are.
    pub kind: PageKind,
    /// Why they are not huge, if that was asked for.
    pub no_huge: Option<NoPages>,
    /// Why they are not transparent either.
    pub no_transparent: Option<NoPages>,
}

impl PagesGot {
    pub(crate) const fn plain(len_bytes: u64) -> PagesGot {
        let (asked, kind) = (Pages::Plain, PageKind::Plain);
        PagesGot { len_bytes, asked, kind, no_huge: None, no_transparent: None }
    }

    /// Whether worse pages were had than asked for.
    pub fn is_short(&self) -> bool {
        self.asked == Pages::Huge && self.kind != PageKind::Huge
    }

    /// What would get the better pages, if anything would.
    fn mend(&self) -> Option<String> {
        match self.no_huge? {
            NoPages::Pool { .. } => {
                let pages = self.len_bytes.div_ceil(HUGE_PAGE_BYTES);
                Some(format!(
                    "`sysctl vm.nr_hugepages=N` sets huge pages aside: {pages} for this region, on top of those in use \
                     (HugePages_Total and HugePages_Free of /proc/meminfo)"
                ))
            }
            NoPages::TooShort => {
                Some(format!("regions of {HUGE_PAGE_BYTES} bytes and more can have huge pages"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for NoPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |errno: &i32| std::io::Error::from_raw_os_error(*errno);
        match self {
            NoPages::TooShort => f.write_str("it is shorter than one huge page"),
            NoPages::Pool { errno } => write!(f, "the pool of huge pages gave none: {}", told(errno)),
            NoPages::TransparentOff => write!(f, "{TRANSPARENT} does not allow them"),
            NoPages::Advice { errno } => write!(f, "madvise(2) answered: {}", told(errno)),
            NoPages::Library => f.write_str(
                "the backend's library allocates it, with huge pages if it sees fit, and does not say",
            ),
        }
    }
}

/// The kind; and if it was not what was asked for, why, and what to do.
impl fmt::Display for PagesGot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} pages", self.len_bytes, self.kind)?;
        if let Some(why) = self.no_huge {
            write!(f, "; not huge: {why}")?;
        }
        if let Some(why) = self.no_transparent.filter(|why| Some(*why) != self.no_huge) {
            write!(f, "; not transparent: {why}")?;
        }
        match self.mend() {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

/// Whether transparent huge pages may be asked for.
pub(crate) fn transparent_allowed() -> bool {
    allowed_by(TRANSPARENT)
}

/// The same for memory that processes share.
pub(crate) fn transparent_shared_allowed() -> bool {
    allowed_by(TRANSPARENT_SHARED)
}

fn allowed_by(file: &str) -> bool {
    use std::io::Read as _;
    let mut text = String::new();
    let read =
        std::fs::File::open(file).and_then(|file| file.take(TRANSPARENT_BYTES_MAX).read_to_string(&mut text));
    read.is_ok() && allows(&text)
}

/// What the file says: the choice in force is in brackets.
fn allows(text: &str) -> bool {
    ["[always]", "[madvise]", "[advise]", "[within_size]", "[force]"]
        .iter()
        .any(|choice| text.contains(choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_choice_in_brackets_counts() {
        assert!(allows("always [madvise] never\n"));
        assert!(allows("[always] madvise never\n"));
        assert!(!allows("always madvise [never]\n"));
        assert!(!allows(""));
    }

    #[test]
    fn who_gets_worse_pages_learns_why_and_what_to_do() {
        let got = PagesGot {
            len_bytes: 5 << 20,
            asked: Pages::Huge,
            kind: PageKind::Plain,
            no_huge: Some(NoPages::Pool { errno: 12 }),
            no_transparent: Some(NoPages::TransparentOff),
        };
        assert!(got.is_short());
        let said = got.to_string();
        for part in ["in plain pages", "Cannot allocate memory", TRANSPARENT, "vm.nr_hugepages", "3 for this"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
        let plain = PagesGot::plain(4096);
        assert!(!plain.is_short());
        assert_eq!(plain.to_string(), "4096 bytes in plain pages");
    }
}
