//! The jobs: starts them, follows them, and starts another where one was lost with its seed.

use std::error::Error;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wavetank_harness::messenger::SWARM_VERSION;
use wavetank_harness::swarm::tally::{Seeds, Tally, Told};

use super::bar::Bar;
use super::lines::Line;
use super::worker::{Share, again_by_seed};
use super::{Args, Over, goes_on, messenger};
use crate::clock::Clock;

/// Jobs that may be lost before something else must be wrong.
const LOST_MAX: u64 = 100;

/// How often clocks are looked at.
const LOOK_NS: i64 = 200_000_000;

/// Longest line of a job.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Runs these seeds. What they came to, and whether somebody interrupted it.
pub(super) fn run(args: &Args, seeds: Seeds) -> Result<(Tally, bool), Box<dyn Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let jobs = args.jobs.min(seeds.count).max(1);
    let mut tally = Tally::default();
    if args.over == Over::Messenger {
        tally.swarm = SWARM_VERSION.to_owned();
    }
    let mut fleet = Fleet { args, tally, over: Vec::new(), lost: 0, jobs: Vec::new() };
    for index in 0..jobs {
        let share = Share { seeds: seeds.shard(index, jobs), lost: Vec::new() };
        let job = fleet.start(share)?;
        fleet.jobs.push(job);
    }
    let bar = Bar::new(seeds.count);
    while !fleet.jobs.is_empty() && goes_on(args, &fleet.tally) && !interrupted.load(Ordering::Relaxed) {
        fleet.wait()?;
        fleet.listen(&interrupted)?;
        bar.show(fleet.begun(), fleet.tally.failed_total());
    }
    bar.done();
    let stopped = interrupted.load(Ordering::Relaxed);
    let Fleet { mut tally, mut over, .. } = fleet;
    over.sort();
    tally.seeds = if tally.runs == seeds.count { vec![seeds] } else { over };
    Ok((tally, stopped))
}

struct Fleet<'a> {
    args: &'a Args,
    tally: Tally,
    /// Seeds in the tally.
    over: Vec<Seeds>,
    lost: u64,
    jobs: Vec<Job>,
}

struct Job {
    child: Child,
    stdout: ChildStdout,
    /// What it said that is no whole line yet.
    said: Vec<u8>,
    /// What is not in the tally yet.
    share: Share,
    /// The seed it is at, and since when.
    at: Option<u64>,
    since: Clock,
    /// Seeds it began since its last tally.
    begun: u64,
    hung: bool,
    ended: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fleet<'_> {
    fn start(&self, share: Share) -> Result<Job, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sim", "--worker", &share.to_text(), "--out"]).arg(&self.args.out);
        command.args(["--over", self.args.over.name()]);
        command.args(["--repeat-every", &self.args.repeat_every.to_string()]);
        command.args(self.args.canary.then_some("--canary"));
        command.args(self.args.keep_going.then_some("--keep-going"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("a job has no stdout")?;
        let since = Clock::start();
        Ok(Job {
            child,
            stdout,
            said: Vec::new(),
            share,
            at: None,
            since,
            begun: 0,
            hung: false,
            ended: false,
        })
    }

    /// Waits until a job says something, or it is time to look at the clock.
    fn wait(&self) -> Result<(), Box<dyn Error>> {
        let mut fds: Vec<PollFd<'_>> =
            self.jobs.iter().map(|job| PollFd::from_borrowed_fd(job.stdout.as_fd(), PollFlags::IN)).collect();
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: LOOK_NS })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads whatever the jobs said.
    fn listen(&mut self, interrupted: &AtomicBool) -> Result<(), Box<dyn Error>> {
        let limit_s = self.args.seed_timeout.0 as f64 / 1e9;
        for job in &mut self.jobs {
            let said = job.listen()?;
            for (seeds, tally) in said {
                add(&mut self.over, job.share.seeds.take(seeds));
                job.share.seeds = job.share.seeds.skip(seeds);
                self.tally.join(tally);
            }
            if !job.hung && job.since.wall_s() > limit_s {
                job.hung = true;
                job.child.kill()?;
            }
        }
        let (ended, running) = std::mem::take(&mut self.jobs).into_iter().partition(|job| job.ended);
        self.jobs = running;
        for job in ended {
            if !interrupted.load(Ordering::Relaxed) {
                self.bury(job)?;
            }
        }
        Ok(())
    }

    /// A job has ended: its share is over, or its seed took it along.
    fn bury(&mut self, mut job: Job) -> Result<(), Box<dyn Error>> {
        let status = job.child.wait()?;
        if status.success() {
            return Ok(());
        }
        self.lost += 1;
        if status.code() == Some(2) || self.lost == LOST_MAX {
            return Err(format!("a job ended with {status} and left its seeds undone").into());
        }
        let Some(seed) = job.at else {
            // Between two seeds: none of them is to blame.
            let job = self.start(job.share.clone())?;
            self.jobs.push(job);
            return Ok(());
        };
        let (check, what) = match job.hung {
            true => ("hung", format!("it was not over after {}", self.args.seed_timeout)),
            false => ("died", format!("its process ended with {status}")),
        };
        let again = match self.args.over {
            Over::Engine => again_by_seed(seed),
            Over::Messenger => messenger::again(seed),
        };
        self.tally.add_lost(Told { seed, check: check.to_owned(), what, again });
        if goes_on(self.args, &self.tally) {
            let mut share = job.share.clone();
            share.lost.push(seed);
            let job = self.start(share)?;
            self.jobs.push(job);
        }
        Ok(())
    }

    /// Seeds that were begun.
    fn begun(&self) -> u64 {
        self.tally.runs + self.jobs.iter().map(|job| job.begun).sum::<u64>()
    }
}

/// Adds what is over, to what came right before it if that is there.
fn add(over: &mut Vec<Seeds>, more: Seeds) {
    match over.iter_mut().find(|part| part.step == more.step && part.skip(part.count).start == more.start) {
        Some(part) => part.count += more.count,
        None => over.push(more),
    }
}

impl Job {
    /// What it has said since: seeds that are over, and their tally.
    fn listen(&mut self) -> Result<Vec<(u64, Tally)>, Box<dyn Error>> {
        let mut fds = [PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 65_536];
        let read = self.stdout.read(&mut buffer)?;
        self.ended = read == 0;
        self.said.extend_from_slice(&buffer[..read]);
        if self.said.len() > LINE_BYTES_MAX {
            return Err(format!("a job says more than {LINE_BYTES_MAX} bytes on a line").into());
        }
        let whole = self.said.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.said.drain(..whole).collect();
        let mut tallies = Vec::new();
        for line in String::from_utf8_lossy(&lines).lines() {
            self.since = Clock::start();
            match Line::parse(line) {
                Some(Line::At(seed)) => {
                    self.at = Some(seed);
                    self.begun += 1;
                }
                Some(Line::Tally(seeds, tally)) => {
                    (self.at, self.begun) = (None, 0);
                    tallies.push((seeds, *tally));
                }
                None => return Err(format!("a job says {line:?}").into()),
            }
        }
        Ok(tallies)
    }
}
