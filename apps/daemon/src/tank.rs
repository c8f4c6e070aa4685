//! The tank: both ends on simulated NICs in this process, in real time.
//!
//! A NIC's packets take the time that the latency profile says, by the clock that everything else goes by, so that timeouts and
//! keepalive mean what they mean on a device. Virtual time follows real time; what is due is done, and nothing is done early.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;
use wavetank_contract::{Instant, Quiet, Wake};
use wavetank_engine::{Port, PortConfig, RdmaContext};
use wavetank_messenger::{ALONE_NS, Bell, Beside, LocalMessenger, Within};
use wavetank_mock::{Fabric, Profile};

/// The longest sleep: should a wake-up be lost, no longer than this.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Sleeps shorter than this are spent looking around: tokio's timer knows whole milliseconds.
const SLEEP_NS_MIN: u64 = 2_000_000;

/// Turns between two looks at sockets and other tasks, while there is something to do.
const TURNS: u32 = 64;

/// See the module.
#[derive(Debug)]
pub struct Tank {
    fabric: Fabric,
    messengers: Vec<LocalMessenger>,
    lines: Within,
    bell: Bell,
}

impl Default for Tank {
    fn default() -> Tank {
        Tank::new(Profile::CX6)
    }
}

impl Tank {
    /// A network with nobody on it.
    pub fn new(profile: Profile) -> Tank {
        Tank {
            fabric: Fabric::new(profile),
            messengers: Vec::new(),
            lines: Within::new(),
            bell: Bell::default(),
        }
    }

    /// A NIC on the network. Messengers are added in the order of their NICs.
    pub fn context(&mut self) -> RdmaContext {
        Port::new(self.fabric.add_node(), PortConfig::default()).into()
    }

    /// A messenger over a NIC of this network. Others call it by its number, from 0 on.
    pub fn add(&mut self, messenger: LocalMessenger) -> usize {
        self.messengers.push(messenger);
        self.messengers.len() - 1
    }

    /// Those that were added.
    pub fn messengers(&self) -> &[LocalMessenger] {
        &self.messengers
    }

    /// Wakes its loop from another task.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Lets time pass until a future is over. `now` is real time, from any beginning on; `beside` is turned with the messengers.
    pub async fn run<T>(
        &mut self,
        now: impl Fn() -> Instant,
        spin: Duration,
        beside: &mut impl Beside,
        until: impl Future<Output = T>,
    ) -> T {
        let spin_ns = u64::try_from(spin.as_nanos()).unwrap_or(u64::MAX);
        let mut until = pin!(until);
        let (mut busy_until, mut last) = (Instant::ZERO, Instant::ZERO);
        let mut turns = 0;
        loop {
            let time = now();
            let mut any = beside.turn(time) | self.flow(time);
            for messenger in &self.messengers {
                any |= messenger.spin(time);
            }
            any |= self.lines.carry(time, &mut self.messengers);
            if let Poll::Ready(value) = poll_fn(|context| Poll::Ready(until.as_mut().poll(context))).await {
                return value;
            }
            if any {
                (busy_until, last) = (time + spin_ns, time);
            }
            turns += 1;
            if time < busy_until {
                if time.since_ns(last) >= ALONE_NS {
                    std::thread::yield_now();
                }
                if turns >= TURNS || beside.has_tasks() {
                    turns = 0;
                    yield_now().await;
                }
                continue;
            }
            turns = 0;
            let Some(wake) = self.wake(now()) else {
                yield_now().await;
                continue;
            };
            let rest_ns = wake.since_ns(now());
            if rest_ns < SLEEP_NS_MIN {
                yield_now().await;
                continue;
            }
            let rest = Duration::from_nanos(rest_ns).min(SLEEP_MAX);
            let over = match beside.sleep() {
                true => self.rest(wake, rest, until.as_mut()).await,
                false => None,
            };
            beside.wake();
            if let Some(value) = over {
                return value;
            }
        }
    }

    /// Everything that is due on the network. Answers whether there was anything.
    fn flow(&mut self, time: Instant) -> bool {
        let mut any = false;
        while self.fabric.next_at(&mut Quiet).is_some_and(|at| at <= time) {
            self.fabric.step_one(&mut Quiet);
            any = true;
        }
        if time > self.fabric.now() {
            self.fabric.advance_to(time);
        }
        any
    }

    /// When there is something to do again; `None` is now.
    fn wake(&mut self, time: Instant) -> Option<Instant> {
        let mut wake = Instant::FAR;
        for messenger in &self.messengers {
            match messenger.turn(time) {
                Wake::Now => return None,
                Wake::At(at) | Wake::Notified { until: at } => wake = wake.min(at),
                Wake::Idle => {}
            }
        }
        if self.lines.carry(time, &mut self.messengers) {
            return None;
        }
        Some(self.fabric.next_at(&mut Quiet).map_or(wake, |at| wake.min(at)))
    }

    /// Waits until it is time, or a task has something to do, or the future is over.
    async fn rest<T>(
        &self,
        wake: Instant,
        rest: Duration,
        mut until: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut slept = pin!(sleep(rest));
        let mut rung = pin!(self.bell.rung());
        let mut first = true;
        poll_fn(|context| {
            if let Poll::Ready(value) = until.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            let over = slept.as_mut().poll(context).is_ready() | rung.as_mut().poll(context).is_ready();
            // The future may have asked for something in here, which no turn has seen.
            let asked = self.messengers.iter().any(|messenger| {
                messenger.with(|messenger| messenger.has_work())
                    || messenger.next_alarm() < wake
                    || messenger.is_woken(context)
            });
            if over || asked || !std::mem::take(&mut first) { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}
