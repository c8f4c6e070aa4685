//! Programs by chance: mostly right, with one thing wrong here and there.

mod draw;
mod work;

use wavetank_contract::{Access, Choices, Mtu, QpState};

use super::model::{Known, Model};
use super::program::{ConnectionPlan, End, NODES, Program, RegionId, RegionPlan, Step};
use draw::Draw;
use work::Works;

/// Bytes of a region.
const REGION_BYTES: u32 = 4096;

/// What both devices take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pieces of a work.
    pub pieces: u32,
    /// Inline bytes.
    pub inline_bytes: u32,
    /// Steps of a program, about.
    pub steps: u64,
}

/// Draws a program.
pub fn generate(limits: Limits, choices: &mut dyn Choices) -> Program {
    let mut draw = Draw(choices);
    let mut program = stage_set(&mut draw);
    let steps = 3 + draw.below(limits.steps.max(4) - 3) as usize;
    let mut works = Works::new(limits);
    while program.steps.len() < steps {
        let model = after(&program);
        let next = match draw.below(100) {
            0..78 => works.draw(&program, &model, &mut draw),
            78..88 => vec![Step::Settle],
            _ => control(&program, &model, &works, &mut draw).into_iter().collect(),
        };
        next.iter().filter(|step| !matches!(step, Step::Post(_))).for_each(|step| works.note(step));
        program.steps.extend(next);
    }
    // What nobody uses costs time on devices.
    program.without_unused()
}

fn after(program: &Program) -> Model<'_> {
    let mut model = Model::new(program);
    program.steps.iter().for_each(|step| model.step(step));
    model
}

fn stage_set(draw: &mut Draw<'_>) -> Program {
    let mut program = Program::default();
    let mut letters = 'a'..='z';
    for node in 0..NODES {
        let mut add = |pd, access| {
            let id: RegionId = letters.next().unwrap_or('z');
            program.regions.insert(id, RegionPlan { node, pd, len: REGION_BYTES, access });
        };
        add(0, Access::ALL);
        add(0, some_rights(draw));
        if draw.one_in(2) {
            add(draw.below(2) as u16, some_rights(draw));
        }
        if draw.one_in(3) {
            add(1, Access::ALL);
        }
    }
    for id in 0..1 + draw.weighted(&[6, 3, 1]) {
        let mut access = [Access::ALL; NODES];
        if draw.one_in(4) {
            access[draw.below(2) as usize] = some_rights(draw);
        }
        let pd = if draw.one_in(8) { [draw.below(2) as u16, draw.below(2) as u16] } else { [0, 0] };
        let mtu = [Mtu::B256, Mtu::B512, Mtu::B1024][draw.below(3) as usize];
        let plan = ConnectionPlan {
            pd,
            access,
            mtu,
            // Short for those that wait for nothing, long for a guest that is emulated on a busy machine.
            timeout: 10,
            retry_cnt: 4,
            rnr_retry: draw.below(2) as u8,
            rnr_timer: [12, 10, 8][draw.below(3) as usize],
        };
        program.connections.insert(id, plan);
    }
    program
}

/// Rights that a device grants, with one of the remote ones at least.
fn some_rights(draw: &mut Draw<'_>) -> Access {
    match draw.below(6) {
        0 => Access::REMOTE_READ,
        1 => Access { remote_read: true, ..Access::LOCAL },
        2 => Access { remote_write: true, ..Access::LOCAL },
        3 => Access { remote_atomic: true, ..Access::LOCAL },
        4 => Access { remote_atomic: false, ..Access::ALL },
        _ => Access::ALL,
    }
}

/// A step that is no post.
fn control(program: &Program, model: &Model<'_>, works: &Works, draw: &mut Draw<'_>) -> Option<Step> {
    let ends: Vec<End> = program.ends().collect();
    let end = *draw.of(&ends)?;
    let regions: Vec<RegionId> = program.regions.keys().copied().collect();
    let region = *draw.of(&regions)?;
    Some(match draw.below(12) {
        0..3 if model.is_registered(region) => Step::Deregister(region),
        0..4 => Step::Register(region),
        4..8 if works.is_spoilt(end.connection) => Step::Reconnect(end.connection),
        4 => Step::Reconnect(end.connection),
        5 | 6 if model.state(end) == Known::Held => Step::Move(end, QpState::Rts),
        5..8 => Step::Move(end, QpState::Sqd),
        8 | 9 => Step::Move(end, QpState::Err),
        10 => Step::Move(end, QpState::Reset),
        _ => Step::Close(end),
    })
}
