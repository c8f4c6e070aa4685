//! Drawing works: for each one its memory, its place, and perhaps one thing that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::{Access, OpKind, QpState};

use super::draw::Draw;
use super::{Limits, REGION_BYTES};
use crate::judge::model::Model;
use crate::judge::program::{
    End, Key, LocalData, Piece, Place, Post, Program, RegionId, Step, Verb, pattern_word,
};

/// What a work of a program can have wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Key,
    OldKey,
    /// Past the end by one byte, or far, or before the start.
    Place,
    /// Another region than one that fits: of another domain, without the right, deregistered.
    AnyRegion,
    Misaligned,
    LocalPiece,
    LocalRegion,
    ShortReceive,
    NoReceive,
}

/// Where memory was used since all was settled, so that works seldom disturb each other.
pub(super) struct Works {
    limits: Limits,
    used: BTreeMap<RegionId, u32>,
    /// The connection and node that is sending, mostly.
    active: Option<End>,
    latest: Option<Place>,
    /// What the latest READ or atomic fills, and whose it was: a fenced work may pass it on.
    filled: Option<(End, Piece)>,
    /// Connections that are dead by now, most likely.
    spoilt: BTreeSet<usize>,
}

impl Works {
    pub(super) fn new(limits: Limits) -> Works {
        Works {
            limits,
            used: BTreeMap::new(),
            active: None,
            latest: None,
            filled: None,
            spoilt: BTreeSet::new(),
        }
    }

    /// Takes note of a step that is no post: all is settled before it.
    pub(super) fn note(&mut self, step: &Step) {
        self.used.clear();
        self.active = None;
        match step {
            Step::Reconnect(connection) => drop(self.spoilt.remove(connection)),
            Step::Close(end) | Step::Move(end, QpState::Err | QpState::Reset) => {
                self.spoilt.insert(end.connection);
            }
            _ => {}
        }
    }

    /// Whether a connection is dead by now, most likely.
    pub(super) fn is_spoilt(&self, connection: usize) -> bool {
        self.spoilt.contains(&connection)
    }

    /// A work, with the receive before it that it needs.
    pub(super) fn draw(&mut self, program: &Program, model: &Model<'_>, draw: &mut Draw<'_>) -> Vec<Step> {
        let ends: Vec<End> = program.ends().collect();
        let up: Vec<End> = ends.iter().copied().filter(|end| !self.is_spoilt(end.connection)).collect();
        let Some(any) = (if up.is_empty() || draw.one_in(8) { draw.of(&ends) } else { draw.of(&up) }) else {
            return Vec::new();
        };
        let end =
            self.active.filter(|end| !draw.one_in(4) && !self.is_spoilt(end.connection)).unwrap_or(*any);
        self.active = Some(end);
        let wrong = match draw.below(100) {
            0..82 => Wrong::Nothing,
            82 | 83 => Wrong::Key,
            84 => Wrong::OldKey,
            85..88 => Wrong::Place,
            88..91 => Wrong::AnyRegion,
            91 => Wrong::Misaligned,
            92 | 93 => Wrong::LocalPiece,
            94 | 95 => Wrong::LocalRegion,
            96 | 97 => Wrong::ShortReceive,
            _ => Wrong::NoReceive,
        };
        let mtu = program.connections.get(&end.connection).map_or(256, |c| c.mtu.bytes());
        let verb = match draw.weighted(&[25, 25, 22, 10, 10, 8]) {
            0 => Verb::Write,
            1 => Verb::Send,
            2 => Verb::Read,
            3 => Verb::Swap { compare: draw.below(4), swap: draw.below(1 << 40) },
            4 => Verb::Add { add: if draw.one_in(4) { u64::MAX } else { draw.below(1 << 40) } },
            _ => Verb::Recv,
        };
        let imm = matches!(verb, Verb::Send | Verb::Write) && draw.one_in(3);
        let mut post = Post {
            end,
            verb,
            data: LocalData::Pieces(Vec::new()),
            remote: None,
            imm: imm.then(|| draw.below(1 << 32) as u32),
            signalled: !draw.one_in(5),
            fence: draw.one_in(6),
        };
        if post.is_recv() {
            (post.signalled, post.fence) = (true, false);
        }
        let atomic = post.kind().is_atomic();
        let len = if atomic { 8 } else { draw.len(mtu) };
        post.data = self.local(program, model, &post, len, wrong, draw);
        let len = post.len_bytes();
        if !matches!(verb, Verb::Recv | Verb::Send) {
            post.remote = Some(self.remote(program, model, &post, len, wrong, draw));
            self.match_compare(program, model, &mut post, draw);
        }
        if wrong != Wrong::Nothing {
            // What follows at once is flushed: some of that, and then something else.
            self.doom(end.connection, draw);
        }
        let mut steps = Vec::new();
        if post.is_message() && wrong != Wrong::NoReceive {
            let receive = self.receive(program, model, &post, len, wrong, draw);
            steps.push(Step::Post(receive));
        }
        steps.push(Step::Post(post));
        steps
    }

    fn doom(&mut self, connection: usize, draw: &mut Draw<'_>) {
        if draw.one_in(2) {
            self.spoilt.insert(connection);
        }
    }

    fn receive(
        &mut self,
        program: &Program,
        model: &Model<'_>,
        post: &Post,
        len: u32,
        wrong: Wrong,
        draw: &mut Draw<'_>,
    ) -> Post {
        let blank = Post {
            end: post.end.peer(),
            verb: Verb::Recv,
            data: LocalData::Pieces(Vec::new()),
            remote: None,
            imm: None,
            signalled: true,
            fence: false,
        };
        let room = match wrong {
            Wrong::ShortReceive => draw.below(u64::from(len).max(1)) as u32,
            _ if draw.one_in(2) => len,
            _ => len + draw.below(100) as u32,
        };
        let wrong = if draw.one_in(40) { Wrong::LocalPiece } else { Wrong::Nothing };
        let data = self.local(program, model, &blank, room, wrong, draw);
        Post { data, ..blank }
    }

    /// A free part of a region, mostly; now and then one that may be in use.
    fn part(&mut self, region: RegionId, len: u32, align: u32, draw: &mut Draw<'_>) -> u32 {
        let room = REGION_BYTES.saturating_sub(len);
        let used = self.used.entry(region).or_default();
        let at = used.next_multiple_of(align) + align * draw.below(4) as u32;
        if draw.one_in(12) || at > room {
            return draw.below(u64::from(room) + 1) as u32 / align * align;
        }
        *used = at + len;
        at
    }

    fn local(
        &mut self,
        program: &Program,
        model: &Model<'_>,
        post: &Post,
        len: u32,
        wrong: Wrong,
        draw: &mut Draw<'_>,
    ) -> LocalData {
        if len <= self.limits.inline_bytes && matches!(post.verb, Verb::Send | Verb::Write) && draw.one_in(5)
        {
            return LocalData::Inline(len);
        }
        let pd = program.connections.get(&post.end.connection).map_or(0, |c| c.pd[post.end.node]);
        let of_node = program.regions.iter().filter(|(_, r)| r.node == post.end.node);
        let right: Vec<RegionId> = of_node
            .clone()
            .filter(|(id, r)| r.pd == pd && r.access.local_write && model.is_registered(**id))
            .map(|(id, _)| *id)
            .collect();
        let all: Vec<RegionId> = of_node.map(|(id, _)| *id).collect();
        let any = wrong == Wrong::LocalRegion || right.is_empty();
        let Some(&region) = draw.of(if any { &all } else { &right }) else {
            return LocalData::Pieces(Vec::new());
        };
        if let Some((end, piece)) = self.filled.filter(|_| post.fence && !post.kind().fills_local())
            && end == post.end
            && draw.one_in(2)
        {
            return LocalData::Pieces(vec![Piece { len: piece.len.min(len), ..piece }]);
        }
        let cut = if post.kind().is_atomic() { vec![len] } else { draw.cut(len, self.limits.pieces.min(4)) };
        let mut pieces: Vec<Piece> = cut
            .into_iter()
            .map(|len| Piece { region, offset: self.part(region, len, 1, draw), len })
            .collect();
        if wrong == Wrong::LocalPiece
            && let Some(last) = pieces.last_mut()
        {
            last.offset = REGION_BYTES - last.len.min(REGION_BYTES) + 1 + 100 * draw.below(2) as u32;
        }
        if post.kind().is_read_or_atomic() {
            self.filled = pieces.first().map(|piece| (post.end, *piece));
        }
        LocalData::Pieces(pieces)
    }

    fn remote(
        &mut self,
        program: &Program,
        model: &Model<'_>,
        post: &Post,
        len: u32,
        wrong: Wrong,
        draw: &mut Draw<'_>,
    ) -> Place {
        let peer = post.end.peer();
        let pd = program.connections.get(&peer.connection).map_or(0, |c| c.pd[peer.node]);
        let kind = post.kind();
        let has = |access: Access| match kind {
            OpKind::Read => access.remote_read,
            OpKind::CompareSwap | OpKind::FetchAdd => access.remote_atomic,
            _ => access.remote_write,
        };
        let of_peer = program.regions.iter().filter(|(_, r)| r.node == peer.node);
        let right: Vec<RegionId> = of_peer
            .clone()
            .filter(|(id, r)| r.pd == pd && has(r.access) && model.is_registered(**id))
            .map(|(id, _)| *id)
            .collect();
        let all: Vec<RegionId> = of_peer.map(|(id, _)| *id).collect();
        let any = wrong == Wrong::AnyRegion || right.is_empty();
        let region = draw.of(if any { &all } else { &right }).copied().unwrap_or('a');
        let align = if kind.is_atomic() { 8 } else { 1 };
        let mut offset = i64::from(self.part(region, len, align, draw));
        if draw.one_in(7)
            && let Some(latest) = self.latest.filter(|l| l.region == region)
        {
            offset = latest.offset / i64::from(align) * i64::from(align);
        }
        let end = i64::from(REGION_BYTES) - i64::from(len);
        match wrong {
            Wrong::Nothing if draw.one_in(10) => offset = end.max(0) / i64::from(align) * i64::from(align),
            Wrong::Place => {
                offset = [end + 1, end + i64::from(align), 1 << 20, -1, -8][draw.below(5) as usize]
            }
            Wrong::Misaligned if kind.is_atomic() => offset += 1 + draw.below(7) as i64,
            _ => {}
        }
        let key = match wrong {
            Wrong::Key => Key::Never,
            Wrong::OldKey if model.life(region) > 0 => Key::Old,
            _ => Key::Latest,
        };
        let place = Place { region, offset, key };
        if wrong == Wrong::Nothing {
            self.latest = Some(place);
        }
        place
    }

    /// Half of the compare-and-swaps compare with what is there, if nothing has changed it.
    fn match_compare(&self, program: &Program, model: &Model<'_>, post: &mut Post, draw: &mut Draw<'_>) {
        if let (Verb::Swap { compare, .. }, Some(place)) = (&mut post.verb, post.remote)
            && program.regions.contains_key(&place.region)
            && draw.one_in(2)
        {
            let word = (place.offset.clamp(0, REGION_BYTES.into()) / 8) as u32;
            *compare = pattern_word(place.region, model.life(place.region), word);
        }
    }
}
