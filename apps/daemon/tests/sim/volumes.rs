//! What volumes hold, who writes them, and what a reader may see of that.

use std::path::Path;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_ipc::{Code, Details};
use wavetank_volume::{
    Cookie, NeedleId, NewNeedle, Ttl, Version, VolumeOnDisk, VolumeWriter, WriterOptions, crc32c_raw,
};

use crate::net::MS;
use crate::rig::{EPOCH_NS, FOLLOW_MS, gzip, pattern};
use crate::seen::Seen;
use crate::truth::Histories;

/// Of another engine, and written all the time.
pub(crate) const FAR: u32 = 7;
/// Of another engine, with what is odd, and never written.
pub(crate) const ODD: u32 = 8;
/// Of the daemon itself, and written all the time.
pub(crate) const HOME: u32 = 9;
/// Nobody's.
pub(crate) const NOBODYS: u32 = 99;

/// Needles that are written.
pub(crate) const NEEDLES: u64 = 6;

/// In [`ODD`]: damaged on disk, over its time, and one with all that may be told.
pub(crate) const DAMAGED: u64 = 1;
pub(crate) const EXPIRED: u64 = 2;
pub(crate) const NAMED: u64 = 4;
/// In each: longer than one read may have.
pub(crate) const LONG: u64 = 30;

/// Bytes that one read may have.
pub(crate) const TRANSFER_BYTES_MAX: u64 = 128 << 10;

/// What was overwritten may be seen for so long: until the exporter has looked, and its look has taken effect.
const STALE_NS: u64 = FOLLOW_MS * MS + MS;

/// A needle as it was once written.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) bytes: Vec<u8>,
    details: Details,
}

/// A range that a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) volume: u32,
    pub(crate) needle: u64,
    pub(crate) cookie: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// What a client was told.
#[derive(Debug)]
pub(crate) enum Outcome {
    Found { bytes: Vec<u8>, crc: u32, whole_len: u64, details: Option<Details> },
    Refused { code: Code, detail: u64 },
}

pub(crate) fn cookie(volume: u32, needle: u64) -> u32 {
    volume << 16 | 0x7000 | needle as u32
}

/// All volumes, and what they were when.
#[derive(Debug)]
pub(crate) struct Volumes {
    far: Histories<Writing>,
    odd: Histories<Writing>,
    home: Histories<Writing>,
    disks: [(u32, VolumeOnDisk); 2],
    dice: Seeded,
    writes_left: u64,
    next_at: Instant,
    /// When the daemon began nothing more, and when it was there again.
    drained: Option<(Instant, Instant)>,
}

fn writing(bytes: &[u8], stored: &[u8], name: Option<&str>) -> Rc<Writing> {
    let details = Details {
        flags: 0,
        last_modified_s: name.map(|_| 1_699_999_000),
        etag: Some(crc32c_raw(stored)),
        mime: name.map(|_| "application/x-sim".into()),
        name: name.map(Into::into),
    };
    Rc::new(Writing { bytes: bytes.to_vec(), details })
}

fn put(
    writer: &mut VolumeWriter,
    volume: u32,
    id: u64,
    now: Instant,
    data: &[u8],
    name: Option<&str>,
) -> u64 {
    let needle = NewNeedle {
        name: name.map(str::as_bytes),
        mime: name.map(|_| &b"application/x-sim"[..]),
        last_modified_s: name.map(|_| 1_699_999_000),
        append_at_ns: EPOCH_NS + now.0,
        ..NewNeedle::new(NeedleId(id), Cookie(cookie(volume, id)), data)
    };
    writer.put(&needle).unwrap().offset_bytes
}

impl Volumes {
    /// Writes all of them: of the other engine into one folder, of the daemon into another.
    pub(crate) fn create(far_dir: &Path, home_dir: &Path, seed: u64, writes: u64) -> Volumes {
        let mut dice = Seeded::new(seed ^ 0x5e);
        let version = [Version::V2, Version::V3][dice.choose(Site::Swarm, 2) as usize];
        let begin = |volume: u32, dir: &Path, histories: &mut Histories<Writing>| {
            let mut writer = VolumeWriter::new(WriterOptions { version, ..WriterOptions::default() });
            for id in 1..=NEEDLES {
                let bytes = pattern(u64::from(volume) * 100 + id, 4000 + id as usize);
                put(&mut writer, volume, id, Instant::ZERO, &bytes, None);
                histories.set(id, Instant::ZERO, Some(writing(&bytes, &bytes, None)));
            }
            put_long(&mut writer, volume, histories);
            (volume, VolumeOnDisk::create(writer, dir, &volume.to_string()).unwrap())
        };
        let (mut far, mut home) = (Histories::default(), Histories::default());
        let disks = [begin(FAR, far_dir, &mut far), begin(HOME, home_dir, &mut home)];
        let odd = odd(version, far_dir);
        Volumes { far, odd, home, disks, dice, writes_left: writes, next_at: Instant(5 * MS), drained: None }
    }

    fn of(&self, volume: u32) -> Option<&Histories<Writing>> {
        match volume {
            FAR => Some(&self.far),
            ODD => Some(&self.odd),
            HOME => Some(&self.home),
            _ => None,
        }
    }

    /// What a volume server does. Answers when it does more.
    pub(crate) fn turn(&mut self, now: Instant, seen: &mut Seen<'_>) -> Instant {
        while self.writes_left > 0 && self.next_at <= now {
            self.writes_left -= 1;
            self.next_at = now + (1 + self.dice.choose(Site::Swarm, 16)) * MS;
            self.write(now, seen);
        }
        if self.writes_left > 0 { self.next_at } else { Instant::FAR }
    }

    fn write(&mut self, now: Instant, seen: &mut Seen<'_>) {
        let dice = &mut self.dice;
        let (volume, disk) = &mut self.disks[dice.choose(Site::Swarm, 2) as usize];
        let histories = if *volume == FAR { &mut self.far } else { &mut self.home };
        let id = 1 + dice.choose(Site::Swarm, NEEDLES);
        match dice.choose(Site::Swarm, 10) {
            0..=5 => {
                let len = [0, 300, 3000, 5000, 20_000, 60_000][dice.choose(Site::Swarm, 6) as usize];
                let bytes = pattern(self.writes_left * 1000 + id, len);
                let packed = (len > 0 && dice.choose(Site::Swarm, 4) == 0).then(|| gzip(&bytes));
                let data = packed.as_deref().unwrap_or(&bytes);
                let needle = NewNeedle {
                    compressed: packed.is_some(),
                    append_at_ns: EPOCH_NS + now.0,
                    ..NewNeedle::new(NeedleId(id), Cookie(cookie(*volume, id)), data)
                };
                disk.writer.put(&needle).unwrap();
                if dice.choose(Site::Swarm, 3) == 0 {
                    // Part of the record, and the rest a little later, before the index.
                    let part = dice.choose(Site::Swarm, 1 + data.len() as u64) as usize;
                    disk.flush_dat(part).unwrap();
                }
                disk.flush().unwrap();
                histories.set(id, now, Some(writing(&bytes, data, None)));
                seen.tell("write: put");
            }
            6..=7 => {
                disk.writer.delete(NeedleId(id), Cookie(cookie(*volume, id)), EPOCH_NS + now.0).unwrap();
                disk.flush().unwrap();
                histories.set(id, now, None);
                seen.tell("write: delete");
            }
            _ => {
                disk.vacuum().unwrap().swap().unwrap();
                seen.tell("write: vacuum");
            }
        }
    }

    /// The daemon begins nothing more.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.drained.get_or_insert((now, Instant::FAR));
    }

    /// Another daemon is there.
    pub(crate) fn restart(&mut self, now: Instant) {
        if let Some((_, until)) = &mut self.drained {
            *until = now.min(*until);
        }
    }

    /// Whether an outcome may be, of a wish that was told at `from` and answered now.
    pub(crate) fn judge(
        &self,
        wish: &Wish,
        from: Instant,
        now: Instant,
        outcome: &Outcome,
    ) -> Result<(), String> {
        if matches!(outcome, Outcome::Refused { code: Code::ShuttingDown, .. }) {
            let drained = self.drained.is_some_and(|(at, until)| at <= now && from < until);
            return if drained { Ok(()) } else { Err("it was not going down".into()) };
        }
        let earliest = Instant(from.0.saturating_sub(STALE_NS));
        let Some(histories) = self.of(wish.volume) else { return no_volume(outcome) };
        let possible = histories.between(wish.needle, earliest, now);
        let there = || possible.iter().flatten();
        let Wish { volume, needle, offset, len, .. } = *wish;
        let (is_cookie, is_odd) = (wish.cookie == cookie(volume, needle), volume == ODD);
        match outcome {
            Outcome::Found { bytes, crc, whole_len, details } => {
                if !is_cookie {
                    return Err("a needle was found with a cookie that is not its own".into());
                }
                if is_odd && [DAMAGED, EXPIRED].contains(&needle) {
                    return Err("a needle was found that is damaged or over its time".into());
                }
                if bytes.len() as u64 > TRANSFER_BYTES_MAX {
                    return Err(format!("{} bytes, which is more than one read may have", bytes.len()));
                }
                if *crc != crc32c_raw(bytes) {
                    return Err("a checksum that is not the bytes'".into());
                }
                let fits = |writing: &&Rc<Writing>| {
                    let whole = &writing.bytes;
                    let start = (offset as usize).min(whole.len());
                    let end = if len == 0 { whole.len() } else { whole.len().min(start + len as usize) };
                    let told = details.as_ref().is_none_or(|told| {
                        // What stands where an empty needle's checksum would be is nobody's matter.
                        whole.is_empty() || (Details { flags: 0, ..told.clone() }) == writing.details
                    });
                    whole[start..end] == **bytes && *whole_len == whole.len() as u64 && told
                };
                if there().any(|writing| fits(&writing)) {
                    return Ok(());
                }
                let was = |(at, writing): &(Instant, Option<Rc<Writing>>)| {
                    (*at, writing.as_ref().map(|writing| (writing.bytes.len(), writing.details.etag)))
                };
                let all: Vec<_> = histories.of(needle).iter().map(was).collect();
                let len = bytes.len();
                Err(format!(
                    "bytes that were not there: {len} of {whole_len}, {details:?}; there was {all:?}"
                ))
            }
            Outcome::Refused { code, detail } => {
                let is = |allowed: bool, why: &str| {
                    if allowed { Ok(()) } else { Err(format!("{code}, and {why}")) }
                };
                match code {
                    Code::Missing | Code::Deleted => {
                        is(possible.iter().any(Option::is_none), "it was there all the time")
                    }
                    Code::WrongCookie => is(!is_cookie, "the cookie was right"),
                    Code::Expired => is(is_odd && needle == EXPIRED, "its time was not over"),
                    Code::Damaged => is(is_odd && needle == DAMAGED, "it is whole"),
                    Code::PastEnd => {
                        let behind = |writing: &Rc<Writing>| {
                            offset >= writing.bytes.len() as u64
                                && (*detail == 0 || *detail == writing.bytes.len() as u64)
                        };
                        is(there().any(behind), "it never ended there")
                    }
                    Code::TooLong => {
                        let long = there().any(|writing| writing.bytes.len() as u64 > TRANSFER_BYTES_MAX);
                        is(len > TRANSFER_BYTES_MAX || long, "it was not too long")
                    }
                    Code::PeerGone | Code::TimedOut | Code::DeviceGone => {
                        is(volume != HOME, "the volume is the daemon's own")
                    }
                    Code::Busy => Ok(()),
                    other => Err(format!("{other}, which is not to be said of a read")),
                }
            }
        }
    }

    /// The length of a needle as it is now. `None`: it is not there.
    pub(crate) fn len_now(&self, volume: u32, needle: u64) -> Option<u64> {
        let (_, last) = self.of(volume)?.of(needle).last()?;
        last.as_ref().map(|writing| writing.bytes.len() as u64)
    }
}

fn no_volume(outcome: &Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Refused {
            code:
                Code::NotExported
                | Code::PeerGone
                | Code::TimedOut
                | Code::Busy
                | Code::TooLong
                | Code::DeviceGone,
            ..
        } => Ok(()),
        other => Err(format!("{other:?} of a volume that nobody has")),
    }
}

/// A needle that is longer than one read may have.
fn put_long(writer: &mut VolumeWriter, volume: u32, histories: &mut Histories<Writing>) {
    let long = pattern(u64::from(volume) * 100 + LONG, TRANSFER_BYTES_MAX as usize + 50_000);
    put(writer, volume, LONG, Instant::ZERO, &long, None);
    histories.set(LONG, Instant::ZERO, Some(writing(&long, &long, None)));
}

/// The volume with what is odd.
fn odd(version: Version, dir: &Path) -> Histories<Writing> {
    let mut histories = Histories::default();
    let mut writer = VolumeWriter::new(WriterOptions { version, ..WriterOptions::default() });
    let whole = pattern(801, 3000);
    let damaged_at = put(&mut writer, ODD, DAMAGED, Instant::ZERO, &whole, None);
    histories.set(DAMAGED, Instant::ZERO, Some(writing(&whole, &whole, None)));
    let expired = NewNeedle {
        ttl: Some(Ttl::from_bytes([1, 1])),
        last_modified_s: Some(EPOCH_NS / 1_000_000_000 - 120),
        append_at_ns: EPOCH_NS - 120_000_000_000,
        ..NewNeedle::new(NeedleId(EXPIRED), Cookie(cookie(ODD, EXPIRED)), &whole)
    };
    writer.put(&expired).unwrap();
    histories.set(EXPIRED, Instant::ZERO, Some(writing(&whole, &whole, None)));
    put_long(&mut writer, ODD, &mut histories);
    let named = pattern(804, 9000);
    put(&mut writer, ODD, NAMED, Instant::ZERO, &named, Some("named.bin"));
    histories.set(NAMED, Instant::ZERO, Some(writing(&named, &named, Some("named.bin"))));
    let path = writer.write_to(dir, &ODD.to_string()).unwrap();
    let mut dat = std::fs::read(&path).unwrap();
    // Behind the header and the length: the middle of the data.
    dat[damaged_at as usize + 20 + 1500] ^= 4;
    std::fs::write(&path, dat).unwrap();
    histories
}
