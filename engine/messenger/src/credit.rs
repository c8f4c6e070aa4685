//! Credits: how many frames may be sent to a peer, and how many it may send to us.
//!
//! Both sides count from the beginning of the connection, so that no count can be lost: what is granted travels as a total.
//! The last credit is for frames that give credits back, and the one before it for what the peer waits for: replies, releases,
//! grants. Without the first, two sides that have used all of theirs would wait for each other for ever: so a frame that takes it
//! brings at least one. Without the second, two sides that hold each other's requests would. So whoever is full stops new work
//! alone, by leaving the peer two.

use wavetank_contract::planted::{self, Bug};

/// Fewest credits a connection works with.
pub const CREDITS_MIN: u32 = 4;

/// What we may send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credits {
    granted: u32,
    sent: u32,
    window: u32,
}

impl Credits {
    /// At the beginning: what the peer said in its hello.
    pub(crate) fn new(granted: u32, window: u32) -> Credits {
        Credits { granted, sent: 0, window }
    }

    /// Frames that may be sent now, if they begin something.
    pub(crate) fn for_work(&self) -> u32 {
        self.left().saturating_sub(2)
    }

    /// Frames that may be sent now, if the peer waits for them.
    pub(crate) fn for_answers(&self) -> u32 {
        self.left().saturating_sub(1)
    }

    /// Frames that may be sent now, if they give credits back.
    pub(crate) fn left(&self) -> u32 {
        self.granted.wrapping_sub(self.sent)
    }

    /// Uses one. There has to be one left.
    pub(crate) fn spend(&mut self) {
        debug_assert!(self.left() > 0, "a frame was sent without a credit");
        self.sent = self.sent.wrapping_add(1);
    }

    /// Gives some back that were never used. There have to be as many left.
    pub(crate) fn give_back(&mut self, count: u32) {
        debug_assert!(self.left() >= count, "more was given back than there was");
        self.sent = self.sent.wrapping_add(count);
    }

    /// The peer's total. False: it grants more than it can have posted.
    pub(crate) fn hear(&mut self, granted: u32) -> bool {
        let more = granted.wrapping_sub(self.granted);
        if more > self.window || granted.wrapping_sub(self.sent) > self.window {
            return false;
        }
        self.granted = granted;
        true
    }
}

/// What the peer may send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// Receives posted since the beginning.
    granted: u32,
    /// What the peer was told of them.
    told: u32,
    /// Frames that came.
    came: u32,
    /// Messages the application has not let go of; replies are none, it asked for those.
    pub(crate) held: u32,
    /// Messages on their way to it.
    pub(crate) arriving: u32,
    /// So much waits to be sent to the peer that it is not to ask for more.
    pub(crate) stopped: bool,
    /// The peer may need credits: it has used some for more than a word about credits, or says so.
    pub(crate) wanted: bool,
    /// Receives to keep posted, less what is held.
    pub(crate) size: u32,
}

impl Window {
    pub(crate) fn new(size: u32) -> Window {
        Window { size, ..Window::default() }
    }

    /// Receives that are posted.
    pub(crate) fn posted(&self) -> u32 {
        self.granted.wrapping_sub(self.came)
    }

    /// Receives to post now.
    pub(crate) fn missing(&self) -> u32 {
        // Two stay whatever is held: without them nothing could tell us that the peer lives, or give us credits.
        let load = if self.stopped { self.size } else { self.load() };
        self.size.saturating_sub(load).max(2).saturating_sub(self.posted())
    }

    /// Messages the application has, or will have.
    pub(crate) fn load(&self) -> u32 {
        self.held + self.arriving
    }

    pub(crate) fn post(&mut self, count: u32) {
        self.granted = self.granted.wrapping_add(count);
    }

    /// A frame came. False: the peer had no credit for it.
    pub(crate) fn take(&mut self) -> bool {
        if self.posted() == 0 || self.told.wrapping_sub(self.came) == 0 {
            return false;
        }
        self.came = self.came.wrapping_add(1);
        true
    }

    /// The peer gives credits back. False: it never had so many.
    pub(crate) fn take_back(&mut self, count: u32) -> bool {
        if count > self.told.wrapping_sub(self.came) {
            return false;
        }
        self.came = self.came.wrapping_add(count);
        true
    }

    /// Nothing more comes of what was granted. Answers how much that was.
    pub(crate) fn forfeit(&mut self) -> u32 {
        let left = self.posted();
        (self.granted, self.told) = (self.came, self.came);
        left
    }

    /// The total to tell the peer; it is told now.
    pub(crate) fn tell(&mut self) -> u32 {
        self.told = self.granted;
        self.wanted = false;
        self.granted.wrapping_sub(u32::from(planted::is(Bug::KeepCredit) && self.came > 8))
    }

    /// Credits that the peer does not know of.
    pub(crate) fn owed(&self) -> u32 {
        self.granted.wrapping_sub(self.told)
    }

    /// Frames that the peer may still send, as far as it was told.
    pub(crate) fn peer_has(&self) -> u32 {
        self.told.wrapping_sub(self.came)
    }

    /// Whether the peer is to be told of its credits by a frame of their own. Half of what it can have is told in time, and not for
    /// every frame. A peer that can begin nothing is told at once if it may want to; otherwise once it can say nothing: two
    /// sides that told each other of every credit would never stop.
    pub(crate) fn is_due(&self) -> bool {
        let (owed, peer_has) = (self.owed(), self.peer_has());
        owed > 0 && (owed >= (self.size / 2).max(2) || peer_has == 0 || self.wanted && peer_has <= 2)
    }
}

/// Both sides of the flow control of one connection, as one of them sees it: see
/// [`Messenger::flow`](crate::Messenger::flow).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Frames that the peer has granted, since the connection was made.
    pub granted: u32,
    /// Frames sent.
    pub sent: u32,
    /// Frames that the peer was told it may send.
    pub told: u32,
    /// Frames that came.
    pub came: u32,
    /// Receives that are posted.
    pub posted: u32,
    /// Receives that are to be posted, as soon as there is memory for them.
    pub missing: u32,
    /// Messages that the user has not let go of.
    pub held: u32,
}

impl Flow {
    pub(crate) fn new(credits: &Credits, window: &Window) -> Flow {
        Flow {
            granted: credits.granted,
            sent: credits.sent,
            told: window.told,
            came: window.came,
            posted: window.posted(),
            missing: window.missing(),
            held: window.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_credit_is_for_giving_credits_back() {
        let mut credits = Credits::new(4, 16);
        for left in (1..4).rev() {
            credits.spend();
            assert_eq!((credits.left(), credits.for_answers()), (left, left - 1));
            assert_eq!(credits.for_work(), left.saturating_sub(2));
        }
    }

    #[test]
    fn credits_that_are_given_back_count_as_used_on_both_sides() {
        let (mut credits, mut window) = (Credits::new(16, 64), Window::new(16));
        window.post(16);
        window.tell();
        credits.spend();
        assert!(window.take());
        credits.give_back(11);
        assert!(window.take_back(11));
        assert_eq!((credits.left(), window.posted(), window.missing()), (4, 4, 12));
        assert!(!window.take_back(5), "it has four");
        assert_eq!((window.forfeit(), window.posted()), (4, 0));
        assert!(!window.take());
    }

    #[test]
    fn totals_wrap_and_more_than_the_window_is_not_believed() {
        let mut credits = Credits { granted: u32::MAX - 1, sent: u32::MAX - 3, window: 8 };
        assert_eq!(credits.left(), 2);
        assert!(credits.hear(3) && credits.left() == 7);
        assert!(!credits.hear(13), "ten more than a window of 8 can have");
        assert!(!credits.hear(2), "totals do not shrink");
        assert_eq!(credits.left(), 7);
    }

    #[test]
    fn a_frame_without_a_credit_is_noticed_and_held_messages_shrink_the_window() {
        let mut window = Window::new(8);
        assert_eq!(window.missing(), 8);
        window.post(8);
        assert!(!window.take(), "the peer was not told yet");
        assert_eq!(window.tell(), 8);
        assert!((0..8).all(|_| window.take()) && !window.take());
        window.held = 7;
        assert_eq!(window.missing(), 2);
        window.post(2);
        assert!(window.is_due(), "it can say nothing any more");
        assert_eq!(window.tell(), 10);
        assert!(window.take());
        window.post(1);
        assert!(!window.is_due(), "it has one for us, and may not want more");
        window.wanted = true;
        assert!(window.is_due());
    }
}
