//! The client: reads everything, and compares it with the file.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use wavetank_client::blocking::Client;
use wavetank_client::{Code, Options, ReadError, ReadPath, Wanted};
use wavetank_contract::{Choices as _, Seeded, Site};
use wavetank_volume::{Ask, NeedleId, OpenOptions, Outcome, Store, StoreDirectory, VolumeId};

use super::judged::{Judged, Name};
use crate::clock::Clock;

/// Submissions of the ring.
const RING_ENTRIES: u32 = 64;

/// How often each needle is read whole: what is asked for again is granted.
const ROUNDS: u32 = 3;

/// A needle as its file has it.
struct Known {
    volume: u32,
    id: u64,
    cookie: u32,
    bytes: Vec<u8>,
}

/// Reads every needle of every volume of a folder through the engine at a socket.
pub(super) fn all(folder: &Path, socket: &Path, seed: u64) -> Result<Judged, Box<dyn Error>> {
    let directory = StoreDirectory::new(folder);
    let mut store = Store::open(vec![directory], OpenOptions::default());
    let mut over_socket = Client::connect(socket, &options(None))?;
    let mut over_ring = Client::connect(socket, &options(Some(RING_ENTRIES)))?;
    if !over_socket.welcome().simulated {
        return Err("the engine does not say that its NICs are simulated".into());
    }
    let mut judged = Judged::default();
    let mut choices = Seeded::new(seed);
    let ids: Vec<VolumeId> = store.volumes().map(|(name, _)| name.id).collect();
    if ids.is_empty() {
        let why: Vec<String> = store.refusals().iter().map(ToString::to_string).collect();
        let folder: PathBuf = folder.to_owned();
        return Err(
            format!("{}: no volume in there can be read; {}", folder.display(), why.join("; ")).into()
        );
    }
    for volume in ids {
        judged.volumes += 1;
        let Some(files) = store.volume(volume) else { continue };
        let needles: Vec<NeedleId> = files.volume().entries().map(|entry| entry.id).collect();
        for id in needles {
            let ask = Ask { cookie: None, ..Ask::whole(id, wavetank_volume::Cookie(0), Clock::unix_ns()) };
            let mut bytes = Vec::new();
            let cookie = match files.read_into(&ask, &mut bytes)? {
                Outcome::Found(content) => content.located.cookie,
                Outcome::Empty(located) => located.cookie,
                // Expired, damaged: there is nothing to compare with.
                _ => continue,
            };
            judged.needles += 1;
            let known = Known { volume: volume.0, id: id.0, cookie: cookie.0, bytes };
            for _ in 0..ROUNDS {
                read(&mut judged, &mut over_socket, &known, None, "whole, socket");
            }
            read(&mut judged, &mut over_ring, &known, None, "whole, ring");
            if let Some(range) = draw(&mut choices, known.bytes.len() as u64) {
                read(&mut judged, &mut over_socket, &known, Some(range.clone()), "part, socket");
                read(&mut judged, &mut over_ring, &known, Some(range), "part, ring");
            }
            absent(&mut judged, &mut over_socket, &known);
        }
    }
    Ok(judged)
}

fn options(ring: Option<u32>) -> Options {
    Options { name: "demo".to_owned(), ring, ..Options::default() }
}

/// Part of a needle.
fn draw(choices: &mut Seeded, len: u64) -> Option<Range<u64>> {
    let start = choices.choose(Site::WorkloadOp, len.checked_sub(1)?.max(1));
    let left = len - start;
    Some(start..start + 1 + choices.choose(Site::WorkloadOp, left))
}

fn read(
    judged: &mut Judged,
    client: &mut Client,
    known: &Known,
    range: Option<Range<u64>>,
    what: &'static str,
) {
    let Known { volume, id, cookie, bytes } = known;
    let expected = match &range {
        Some(range) => &bytes[range.start as usize..range.end as usize],
        None => bytes,
    };
    let (offset, len) = range.map_or((0, 0), |range| (range.start, range.end - range.start));
    let wanted = Wanted { volume: *volume, needle: *id, cookie: *cookie, offset, len, ..Wanted::default() };
    let began = Clock::start();
    let outcome = client.read(&wanted);
    let ns = began.wall_ns();
    match outcome {
        Ok(lent) if lent.as_ref() == expected && lent.found().whole_len == bytes.len() as u64 => {
            let path = match lent.found().path {
                ReadPath::Local => "file",
                ReadPath::Pull => "pull",
                ReadPath::Push => "push",
            };
            judged.took(Name { what, path }, expected.len() as u64, ns);
        }
        Ok(lent) => judged.is_wrong(format!(
            "needle {volume},{id:x}{cookie:08x} from byte {offset}: {} bytes came that are not the {} of the file",
            lent.as_ref().len(),
            expected.len()
        )),
        Err(why) => judged.is_wrong(format!("needle {volume},{id:x}{cookie:08x} from byte {offset}: {why}")),
    }
}

/// What is not there is said not to be there, and why.
fn absent(judged: &mut Judged, client: &mut Client, known: &Known) {
    let Known { volume, id, cookie, .. } = known;
    let right = Wanted { volume: *volume, needle: *id, cookie: *cookie, ..Wanted::default() };
    let wrong_cookie = Wanted { cookie: cookie ^ 1, ..right.clone() };
    let no_needle = Wanted { needle: u64::MAX - id, ..right };
    for (wanted, code) in [(wrong_cookie, Code::WrongCookie), (no_needle, Code::Missing)] {
        match client.read(&wanted) {
            Err(ReadError::Refused(refusal)) if refusal.code == code => judged.absent += 1,
            other => judged.is_wrong(format!(
                "needle {volume},{:x} with cookie {:08x}: {code:?} was to be answered, not {other:?}",
                wanted.needle, wanted.cookie
            )),
        }
    }
}
