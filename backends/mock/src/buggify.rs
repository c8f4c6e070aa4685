//! Whether engines over the simulated NICs do what is legal but rare.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use wavetank_contract::{Buggify, Choices, Site};

/// At a site that is on, it is done once in this many times.
const ONE_IN: u64 = 4;

/// Answers engines. Off until it is told sites and given choices.
#[derive(Default)]
pub(crate) struct Oracle {
    on: Cell<bool>,
    asked: RefCell<Option<Asked>>,
}

struct Asked {
    sites: BTreeSet<Buggify>,
    choices: Box<dyn Choices>,
}

impl Oracle {
    pub(crate) fn set(&self, sites: BTreeSet<Buggify>, choices: Box<dyn Choices>) {
        self.on.set(!sites.is_empty());
        self.asked.replace(Some(Asked { sites, choices }));
    }

    /// Whether to do it now.
    #[inline]
    pub(crate) fn says(&self, site: Buggify) -> bool {
        self.on.get() && self.ask(site)
    }

    #[cold]
    fn ask(&self, site: Buggify) -> bool {
        match &mut *self.asked.borrow_mut() {
            Some(Asked { sites, choices }) if sites.contains(&site) => {
                choices.choose(Site::Buggify(site), ONE_IN) == ONE_IN - 1
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oracle({})", if self.on.get() { "on" } else { "off" })
    }
}
