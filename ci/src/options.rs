//! What a step that runs groups of tests on devices can be told.

/// Which groups, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Options {
    /// Runs only these groups
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Lists the groups and runs none
    #[arg(long)]
    pub(crate) list: bool,
    /// Guests at a time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) jobs: Option<u8>,
    /// On this machine's own kernel, without a guest. Needs root, and leaves its network changed until it is booted
    /// again: for machines that are thrown away
    #[arg(long, conflicts_with = "jobs")]
    pub(crate) native: bool,
    /// Installs what that takes: packages, and the running kernel's extra modules
    #[arg(long, requires = "native")]
    pub(crate) install: bool,
}
