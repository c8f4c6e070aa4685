//! What is measured.

use wavetank_contract::OpKind;

/// What one cell of the table is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Half of what it takes until a SEND is answered by one: each side posts when a receive of its own completes.
    MessageLatency,
    /// A window of SENDs, to receives that are posted anew as they complete.
    MessageBandwidth,
    /// One READ at a time.
    ReadLatency,
    /// A window of READs.
    ReadBandwidth,
    /// Half of what it takes until a WRITE is answered by one: each side looks at the last byte of its own memory.
    WriteLatency,
    /// A window of WRITEs.
    WriteBandwidth,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 6] = [
        Measure::MessageLatency,
        Measure::MessageBandwidth,
        Measure::ReadLatency,
        Measure::ReadBandwidth,
        Measure::WriteLatency,
        Measure::WriteBandwidth,
    ];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Measure::MessageLatency => "am-lat",
            Measure::MessageBandwidth => "am-bw",
            Measure::ReadLatency => "get-lat",
            Measure::ReadBandwidth => "get-bw",
            Measure::WriteLatency => "put-lat",
            Measure::WriteBandwidth => "put-bw",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| measure.name() == name)
    }

    /// Whether its figure is bytes per second; nanoseconds otherwise.
    pub const fn is_bandwidth(self) -> bool {
        matches!(self, Measure::MessageBandwidth | Measure::ReadBandwidth | Measure::WriteBandwidth)
    }

    /// Whether each operation is answered by one, so that half of a round is measured.
    pub const fn is_ping_pong(self) -> bool {
        matches!(self, Measure::MessageLatency | Measure::WriteLatency)
    }

    /// What the client posts.
    pub const fn kind(self) -> OpKind {
        match self {
            Measure::MessageLatency | Measure::MessageBandwidth => OpKind::Send,
            Measure::ReadLatency | Measure::ReadBandwidth => OpKind::Read,
            Measure::WriteLatency | Measure::WriteBandwidth => OpKind::Write,
        }
    }
}

/// One cell: both sides are told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is measured.
    pub measure: Measure,
    /// Bytes of each operation.
    pub bytes: u32,
    /// Operations that count.
    pub count: u32,
    /// Operations before the clock counts.
    pub warm_up: u32,
    /// Operations in flight, for bandwidth.
    pub window: u16,
}

/// Operations of one side that a ping-pong may have unfinished: an answer comes before what was answered has completed here.
const PING_PONG_SLOTS: u16 = 4;

impl Cell {
    /// What a side has in flight at most, of its own operations.
    pub(super) const fn sends(&self) -> u16 {
        match self.measure {
            Measure::MessageLatency | Measure::WriteLatency => PING_PONG_SLOTS,
            Measure::ReadLatency => 1,
            _ => self.window,
        }
    }

    /// Receives that a side keeps posted. Twice what may be in flight, so that none is waited for.
    pub(super) const fn receives(&self, client: bool) -> u16 {
        match self.measure {
            Measure::MessageLatency => PING_PONG_SLOTS,
            Measure::MessageBandwidth if !client => self.window.saturating_mul(2),
            _ => 0,
        }
    }

    /// Places in memory that a side needs.
    pub(super) const fn slots(&self) -> u16 {
        let (sends, receives) = (self.sends(), self.receives(false));
        if sends > receives { sends } else { receives }
    }
}
