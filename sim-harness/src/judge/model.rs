//! What can be told of a program without running it: which regions are registered, which posts cannot go wrong.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::{Access, OpKind, QpState};

use super::program::{End, Key, Piece, Post, Program, RegionId, Step};

/// What is known before a step.
#[derive(Clone, Debug)]
pub(crate) struct Model<'a> {
    program: &'a Program,
    /// Registered regions.
    registered: BTreeSet<RegionId>,
    /// How often each was registered.
    lives: BTreeMap<RegionId, u32>,
    states: BTreeMap<End, Known>,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// In RTS, and nothing it was given can have failed.
    Up,
    /// In SQD: sends wait.
    Held,
    /// In ERR, or perhaps so: something may have failed.
    Doubtful,
    /// In RESET.
    Reset,
    /// Closed.
    Closed,
}

impl<'a> Model<'a> {
    pub(crate) fn new(program: &'a Program) -> Model<'a> {
        Model {
            program,
            registered: program.regions.keys().copied().collect(),
            lives: program.regions.keys().map(|id| (*id, 0)).collect(),
            states: program.ends().map(|end| (end, Known::Up)).collect(),
        }
    }

    pub(crate) fn is_registered(&self, region: RegionId) -> bool {
        self.registered.contains(&region)
    }

    pub(crate) fn life(&self, region: RegionId) -> u32 {
        self.lives.get(&region).copied().unwrap_or(0)
    }

    pub(crate) fn state(&self, end: End) -> Known {
        self.states.get(&end).copied().unwrap_or(Known::Closed)
    }

    /// Takes note of a step.
    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Settle => {}
            Step::Deregister(region) => {
                self.registered.remove(region);
            }
            Step::Register(region) => {
                if self.registered.insert(*region) {
                    *self.lives.entry(*region).or_default() += 1;
                }
            }
            Step::Move(end, to) => self.move_to(*end, *to),
            Step::Close(end) => {
                self.states.insert(*end, Known::Closed);
                self.doubt(end.peer());
            }
            Step::Reconnect(connection) => {
                for node in [0, 1] {
                    let end = End { connection: *connection, node };
                    if self.state(end) != Known::Closed {
                        self.states.insert(end, Known::Up);
                    }
                }
                for node in [0, 1] {
                    let end = End { connection: *connection, node };
                    if self.state(end.peer()) == Known::Closed {
                        self.doubt(end);
                    }
                }
            }
            Step::Post(post) => {
                if !post.is_recv() && !self.cannot_fail(post) {
                    self.doubt(post.end);
                    self.doubt(post.end.peer());
                }
            }
        }
    }

    fn move_to(&mut self, end: End, to: QpState) {
        let now = self.state(end);
        let then = match (now, to) {
            (Known::Closed, _) => Known::Closed,
            (_, QpState::Reset) => Known::Reset,
            (_, QpState::Err) => Known::Doubtful,
            (Known::Up, QpState::Sqd) => Known::Held,
            (Known::Held, QpState::Rts) => Known::Up,
            _ => now,
        };
        self.states.insert(end, then);
        if matches!(then, Known::Reset | Known::Doubtful) {
            self.doubt(end.peer());
        }
    }

    fn doubt(&mut self, end: End) {
        if let Some(known) = self.states.get_mut(&end)
            && matches!(known, Known::Up | Known::Held)
        {
            *known = Known::Doubtful;
        }
    }

    /// Whether a local piece of a work is not one the device may use for it.
    pub(crate) fn is_locally_wrong(&self, post: &Post) -> bool {
        let pd = self.program.connections.get(&post.end.connection).map(|c| c.pd[post.end.node]);
        let fills = post.kind().fills_local();
        let fits = |piece: &Piece| {
            piece.len == 0
                || self.is_registered(piece.region)
                    && self.program.regions.get(&piece.region).is_some_and(|region| {
                        Some(region.pd) == pd
                            && (region.access.local_write || !fills)
                            && u64::from(piece.offset) + u64::from(piece.len) <= u64::from(region.len)
                    })
        };
        !post.pieces().iter().all(fits)
    }

    /// Whether a one-sided work succeeds whatever else goes on. Messages never count: they depend on receives.
    pub(crate) fn cannot_fail(&self, post: &Post) -> bool {
        let up = [post.end, post.end.peer()].iter().all(|end| self.state(*end) == Known::Up);
        up && !post.is_message() && !self.is_locally_wrong(post) && self.is_remotely_right(post)
    }

    fn is_remotely_right(&self, post: &Post) -> bool {
        let (Some(place), Some(connection)) =
            (&post.remote, self.program.connections.get(&post.end.connection))
        else {
            return post.remote.is_none();
        };
        let peer = post.end.peer();
        let Some(region) = self.program.regions.get(&place.region) else { return false };
        let right = |access: Access| match post.kind() {
            OpKind::Read => access.remote_read,
            OpKind::CompareSwap | OpKind::FetchAdd => access.remote_atomic,
            _ => access.remote_write,
        };
        let inside = place.offset >= 0
            && place.offset.saturating_add(i64::from(post.len_bytes())) <= i64::from(region.len);
        place.key == Key::Latest
            && self.is_registered(place.region)
            && region.node == peer.node
            && region.pd == connection.pd[peer.node]
            && right(region.access)
            && right(connection.access[peer.node])
            && inside
            && (!post.kind().is_atomic() || place.offset % 8 == 0)
    }
}
