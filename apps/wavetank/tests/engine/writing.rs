//! Needles that are read while somebody writes, deletes and vacuums them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wavetank_client::{Code, Options, Wanted};
use wavetank_volume::{Cookie, NeedleId, NewNeedle, VolumeOnDisk, VolumeWriter, WriterOptions};

use crate::dice::{Dice, mixed};
use crate::pair::{Site, TRANSPORTS};
use crate::voices::{Got, Voice};
use crate::waiting::{pause, show, within};

const VOLUME: u32 = 9;
const NEEDLES: u64 = 40;

/// How old a read may be: what is pulled follows the files within 50 ms, and machines are loaded.
const STALE: Duration = Duration::from_secs(2);

/// A writing of a needle, or its deletion, and when it was begun and done.
#[derive(Clone, Copy, Debug)]
struct Writing {
    content: Option<u64>,
    begun: Instant,
    done: Instant,
}

fn content(id: u64, generation: u64) -> Vec<u8> {
    let seed = mixed(id << 32 | generation);
    (0..16 + seed % 20_000).map(|at| mixed(seed + at / 8).to_le_bytes()[at as usize % 8]).collect()
}

fn wanted(id: u64) -> Wanted {
    Wanted { volume: VOLUME, needle: id, cookie: id as u32, timeout_ns: 5_000_000_000, ..Wanted::default() }
}

/// Whether an answer is of a writing that was there at some time between these.
fn judge(got: &Got, wanted: &Wanted, all: &[Writing], from: Instant, to: Instant) -> Result<(), String> {
    let until = |at: usize| all.get(at + 1).map(|next| next.done);
    let may = |at: usize| all[at].begun <= to && until(at).is_none_or(|until| until + STALE >= from);
    let there: Vec<_> = (0..all.len()).filter(|at| may(*at)).map(|at| all[at].content).collect();
    let good = match got {
        Got::Bytes(bytes, _) => there.iter().flatten().any(|generation| {
            let whole = content(wanted.needle, *generation);
            let part = whole.get(wanted.offset as usize..).unwrap_or_default();
            let len = if wanted.len == 0 { part.len() } else { part.len().min(wanted.len as usize) };
            part[..len] == bytes[..]
        }),
        Got::No(Code::Deleted | Code::Missing) => there.contains(&None),
        // A range may begin past the end of a newer writing.
        Got::No(Code::PastEnd) => there
            .iter()
            .flatten()
            .any(|generation| content(wanted.needle, *generation).len() as u64 <= wanted.offset),
        Got::No(Code::Busy | Code::TimedOut) => true,
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("{got:?} for {wanted:?}, and there were {there:?}")) }
}

type History = Vec<Mutex<Vec<Writing>>>;

fn read_for_ever(name: &str, reader: &crate::daemon::Daemon, history: &History, over: &AtomicBool) -> u64 {
    let mut voice = Voice::connect(name, &reader.socket, &Options::default()).unwrap();
    let (mut dice, mut reads) = (Dice::new(name.len() as u64), 0);
    while !over.load(Ordering::Acquire) {
        let id = dice.below(NEEDLES);
        let mut wanted = wanted(id);
        if dice.below(3) == 0 {
            (wanted.offset, wanted.len) = (dice.below(300), dice.within(1, 9000));
        }
        let from = Instant::now();
        let got = voice.read(&wanted);
        let to = Instant::now();
        // Whoever writes holds it until it is told what was written.
        let all = history[id as usize].lock().unwrap().clone();
        judge(&got, &wanted, &all, from, to).unwrap_or_else(|why| panic!("{name}: {why}"));
        reads += 1;
    }
    reads
}

fn write(disk: &mut VolumeOnDisk, history: &History, id: u64, deletes: bool) {
    let mut all = history[id as usize].lock().unwrap();
    let generation = all.len() as u64;
    let begun = Instant::now();
    let (needle, cookie) = (NeedleId(id), Cookie(id as u32));
    if deletes {
        disk.writer.delete(needle, cookie, 1).unwrap();
    } else {
        disk.writer.put(&NewNeedle::new(needle, cookie, &content(id, generation))).unwrap();
    }
    disk.flush().unwrap();
    all.push(Writing { content: (!deletes).then_some(generation), begun, done: Instant::now() });
}

fn written_meanwhile(transport: &'static str) {
    let site = Site::new(transport, &[]);
    let writer = VolumeWriter::new(WriterOptions::default());
    let mut disk = VolumeOnDisk::create(writer, site.volumes(), &VOLUME.to_string()).unwrap();
    let history: History = (0..NEEDLES).map(|_| Mutex::default()).collect();
    (0..NEEDLES).for_each(|id| write(&mut disk, &history, id, false));
    let exporter = site.exporter(0);
    let reader = site.reader("reader", &exporter.address(), &[]);
    let over = AtomicBool::new(false);
    let (mut dice, mut done, mut longest) = (Dice::new(3), [0; 3], Duration::ZERO);
    let reads: u64 = std::thread::scope(|scope| {
        let (reader, history, over) = (&reader, &history, &over);
        let _over = Over(over);
        let readers =
            ["socket", "ring"].map(|name| scope.spawn(move || read_for_ever(name, reader, history, over)));
        let mut voice = Voice::connect("tokio", &reader.socket, &Options::default()).unwrap();
        for _ in 0..300 {
            let id = dice.below(NEEDLES);
            let what = [0, 0, 0, 0, 0, 0, 1, 1, 2][dice.below(9) as usize];
            done[what] += 1;
            match what {
                2 => disk.vacuum().unwrap().swap().unwrap(),
                what => {
                    write(&mut disk, history, id, what == 1);
                    let (from, last) =
                        (Instant::now(), *history[id as usize].lock().unwrap().last().unwrap());
                    let found = within(STALE * 5, || match (voice.read(&wanted(id)), last.content) {
                        (Got::Bytes(bytes, _), Some(generation)) => {
                            (bytes == content(id, generation)).then_some(())
                        }
                        (Got::No(Code::Deleted | Code::Missing), None) => Some(()),
                        _ => None,
                    });
                    assert!(found.is_some(), "{transport}: {last:?} of {id} is never seen");
                    longest = longest.max(from.elapsed());
                }
            }
            pause(Duration::from_millis(dice.below(10)));
        }
        over.store(true, Ordering::Release);
        readers.into_iter().map(|reading| reading.join().unwrap()).sum()
    });
    let metrics = reader.metrics();
    let [wrote, deleted, vacuumed] = done;
    show(&format!(
        "{transport}: {reads} reads ({} pulled, {} pushed) beside {wrote} writings, {deleted} deletions and {vacuumed} vacuums; \
         new within {} ms\n",
        metrics.reads("pull"),
        metrics.reads("push"),
        longest.as_millis()
    ));
    assert!(metrics.reads("pull") > 0 && metrics.reads("push") > 0);
}

/// Ends readers, however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn what_is_written_deleted_and_vacuumed_meanwhile_is_never_wrong_and_is_found() {
    TRANSPORTS.into_iter().for_each(written_meanwhile);
}

/// Twin.
#[test]
fn a_writing_that_is_too_old_or_never_was_is_told() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    let of = |content, from| Writing { content, begun: at(from), done: at(from + 1) };
    let all = [of(Some(0), 0), of(Some(1), 100), of(None, 10_000)];
    let bytes = |generation| Got::Bytes(content(4, generation), None);
    let told = |got: &Got, from, to| judge(got, &wanted(4), &all, at(from), at(to)).is_err();
    assert!(!told(&bytes(0), 50, 60) && !told(&bytes(0), 150, 160) && !told(&bytes(1), 150, 160));
    assert!(told(&bytes(0), 5000, 5001), "too old");
    assert!(told(&bytes(1), 50, 60), "not written yet");
    assert!(told(&bytes(7), 50, 60), "never written");
    assert!(told(&Got::No(Code::Deleted), 5000, 5001), "not deleted yet");
    assert!(!told(&Got::No(Code::Missing), 20_000, 20_001) && told(&bytes(1), 20_000, 20_001));
}
