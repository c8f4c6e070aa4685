//! How a message's data travels, and why.

/// A way for a message's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// With the message, through the peer's receive buffers.
    Eager,
    /// The message says where the data is; the receiver READs it, then says that it has it.
    Read,
    /// The message says how much there is; the receiver says where to, the sender WRITEs it, then says that it is there.
    Write,
    /// The data is a reply's, and its request said where to put it: the sender WRITEs it there, and the reply follows.
    Sink,
}

impl Way {
    /// Every way.
    pub const ALL: [Way; 4] = [Way::Eager, Way::Read, Way::Write, Way::Sink];

    /// Its name in flags and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Eager => "eager",
            Way::Read => "read",
            Way::Write => "write",
            Way::Sink => "sink",
        }
    }

    /// The way of this name.
    pub fn from_name(name: &str) -> Option<Way> {
        Way::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// Why a way was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// There is no data.
    NoData,
    /// The message asked for it.
    Asked,
    /// It is not longer than `eager_bytes_max`, and fits the peer's receive buffers.
    Small,
    /// It is longer, and the peer may READ it where it is.
    InReach,
    /// It is longer, and where it is the peer may not READ.
    OutOfReach,
    /// It is longer, and `prefer_write` says so.
    Preferred,
    /// It is a longer reply, and its request gave memory for it.
    HasSink,
}

impl Why {
    /// Every reason.
    pub const ALL: [Why; 7] =
        [Why::NoData, Why::Asked, Why::Small, Why::InReach, Why::OutOfReach, Why::Preferred, Why::HasSink];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Why::NoData => "there is no data",
            Why::Asked => "the message asked for it",
            Why::Small => "not longer than eager_bytes_max",
            Why::InReach => "longer than eager_bytes_max, in memory that the peer may read",
            Why::OutOfReach => "longer than eager_bytes_max, in memory that the peer may not read",
            Why::Preferred => "longer than eager_bytes_max, and prefer_write is set",
            Why::HasSink => "longer than eager_bytes_max, and the request gave memory for it",
        }
    }
}

/// What was chosen for a message, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// The way.
    pub way: Way,
    /// The reason.
    pub why: Why,
}

/// What a choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) len: u64,
    pub(crate) asked: Option<Way>,
    /// The longest data that fits the peer's receive buffers with this front.
    pub(crate) room: u64,
    pub(crate) eager_bytes_max: u64,
    pub(crate) prefer_write: bool,
    /// The data is where the peer may READ it.
    pub(crate) in_reach: bool,
    /// The request gave memory for so much.
    pub(crate) sink: Option<u64>,
}

impl Question {
    /// `None`: what was asked for cannot be.
    pub(crate) fn answer(self) -> Option<Chosen> {
        let chosen = |way, why| Some(Chosen { way, why });
        if self.len == 0 {
            return chosen(Way::Eager, Why::NoData);
        }
        let fits_sink = self.sink.is_some_and(|room| self.len <= room);
        if let Some(way) = self.asked {
            let possible = match way {
                Way::Eager => self.len <= self.room,
                Way::Read => self.in_reach,
                Way::Write => true,
                Way::Sink => fits_sink,
            };
            return if possible { chosen(way, Why::Asked) } else { None };
        }
        if self.len <= self.eager_bytes_max.min(self.room) {
            return chosen(Way::Eager, Why::Small);
        }
        match (fits_sink, self.in_reach, self.prefer_write) {
            (true, ..) => chosen(Way::Sink, Why::HasSink),
            (_, true, false) => chosen(Way::Read, Why::InReach),
            (_, true, true) => chosen(Way::Write, Why::Preferred),
            (_, false, _) => chosen(Way::Write, Why::OutOfReach),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: Question = Question {
        len: 100,
        asked: None,
        room: 1000,
        eager_bytes_max: 500,
        prefer_write: false,
        in_reach: false,
        sink: None,
    };

    #[test]
    fn each_way_is_chosen_for_its_reason() {
        let cases = [
            (Question { len: 0, ..Q }, Way::Eager, Why::NoData),
            (Q, Way::Eager, Why::Small),
            (Question { len: 501, ..Q }, Way::Write, Why::OutOfReach),
            (Question { len: 501, in_reach: true, ..Q }, Way::Read, Why::InReach),
            (Question { len: 501, in_reach: true, prefer_write: true, ..Q }, Way::Write, Why::Preferred),
            (Question { len: 501, in_reach: true, sink: Some(501), ..Q }, Way::Sink, Why::HasSink),
            (Question { len: 501, sink: Some(500), ..Q }, Way::Write, Why::OutOfReach),
            (Question { len: 400, room: 300, ..Q }, Way::Write, Why::OutOfReach),
            (Question { len: 700, asked: Some(Way::Eager), ..Q }, Way::Eager, Why::Asked),
        ];
        for (question, way, why) in cases {
            assert_eq!(question.answer(), Some(Chosen { way, why }), "{question:?}");
        }
        for asked in [Way::Read, Way::Sink] {
            assert_eq!(Question { asked: Some(asked), ..Q }.answer(), None);
        }
        assert_eq!(Question { len: 1001, asked: Some(Way::Eager), ..Q }.answer(), None);
    }
}
