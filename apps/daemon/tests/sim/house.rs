//! The daemon without its sockets: the real reading, the real conversations, and around them what the shell of sockets does with
//! tasks and descriptors, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_contract::{Instant, MrId, Others, Pages, Region, SharedMemory};
use wavetank_daemon::ipc::{Ask, ClientLimits, Commons, Conversation, Passed, Peer, ReadKey};
use wavetank_daemon::meters::Meters;
use wavetank_daemon::reading::Reading;
use wavetank_daemon::reads::{About, Found, NotRead, Reads, Wanted};
use wavetank_engine::memory::Arena;
use wavetank_exchange::{Exporter, ExporterConfig, LocalHome, Mode, Reader, ReaderConfig, StoreShelf};
use wavetank_ipc::ring::{EngineRing, ring_bytes};
use wavetank_messenger::{LocalMessenger, Policy};
use wavetank_rpc::crc32c_of;

use crate::lie::Lie;
use crate::net::{Begin, MS};
use crate::rig::{EPOCH_NS, key, nonces, reader_config};
use crate::volumes::TRANSFER_BYTES_MAX;
use crate::wire::{Heard, Wire, ring, rings};

/// Memory that peers write, and memory for what is read from files here.
pub(crate) const EXPOSED_BYTES: u64 = 2 << 20;
const SCRATCH_BYTES: u64 = 512 << 10;

/// How often sessions are looked through.
const SWEEP_NS: u64 = 20 * MS;

/// What clients may have: little, so that all of it runs out.
pub(crate) fn limits() -> ClientLimits {
    ClientLimits {
        requests_max: 6,
        leases_max: 8,
        ring_entries_max: 16,
        ring_burst: 4,
        outbox_bytes_max: 4 << 10,
        stall_ns: 40 * MS,
        half_frame_ns: 30 * MS,
        read_ns_max: 150 * MS,
        read_ns: 60 * MS,
        sessions_max: 3,
        session_ns_max: 80 * MS,
        session_ns: 50 * MS,
        ..ClientLimits::default()
    }
}

/// Reads, and lies now and then if it is to.
struct Lying {
    reading: Reading,
    lie: Lie,
    count: Cell<u64>,
}

#[async_trait(?Send)]
impl Reads for Lying {
    async fn read(&self, wanted: Wanted) -> Result<Found, NotRead> {
        let outcome = self.reading.read(wanted).await;
        self.count.set(self.count.get() + 1);
        match (outcome, self.count.get() % 4) {
            (Ok(found), 0) => self.alter(found),
            (outcome, _) => outcome,
        }
    }

    fn about(&self) -> About {
        self.reading.about()
    }

    fn arena(&self) -> &SharedMemory {
        self.reading.arena()
    }
}

impl Lying {
    fn alter(&self, mut found: Found) -> Result<Found, NotRead> {
        let Some(lease) = &found.lease else { return Ok(found) };
        let mut bytes = vec![0; found.len as usize];
        lease.read(found.at, &mut bytes);
        match self.lie {
            Lie::FlipsByte | Lie::FlipsByteAndSum => bytes[found.len as usize / 2] ^= 1,
            Lie::TearsBytes => bytes[found.len as usize / 2..].fill(0),
            Lie::LengthensWhole => found.whole_len += 1,
            Lie::ChangesDetails => found.details.etag = Some(7),
            Lie::KeepsMemory => std::mem::forget(lease.hold()),
            Lie::DeniesNeedles => return Err(NotRead::Missing),
            Lie::BlamesItself => return Err(NotRead::Internal("planted".into())),
            _ => {}
        }
        lease.write(found.at, &bytes);
        if matches!(self.lie, Lie::FlipsByteAndSum | Lie::TearsBytes) {
            found.crc32c = crc32c_of(lease, found.at, found.len);
        }
        Ok(found)
    }
}

type Task = Pin<Box<dyn Future<Output = Result<Found, NotRead>>>>;

/// A client's place.
struct Seat {
    conversation: Conversation,
    tasks: BTreeMap<ReadKey, Task>,
    ring: Option<SharedMemory>,
}

/// One life of the daemon.
pub(crate) struct House {
    reads: Rc<Lying>,
    pub(crate) commons: Commons,
    scratch: Rc<RefCell<Arena>>,
    /// The memory that peers write.
    exposed: Region,
    seats: BTreeMap<u64, Seat>,
    sweep_at: Instant,
    lie: Lie,
    /// Reads that nobody ended.
    kept: Vec<Task>,
    /// A loan that is written to, when there is one.
    scribbled: bool,
}

/// Where the daemon of the present life is handed over.
pub(crate) type Slot = Rc<RefCell<Option<House>>>;

fn reading_config() -> ReaderConfig {
    ReaderConfig {
        key: Some(key(4)),
        grants_max: 5,
        hint_port: None,
        attempt_ns: 40 * MS,
        // As the engine has it: no part is longer than what a client may have.
        needle_bytes_max: TRANSFER_BYTES_MAX,
        piece_bytes: TRANSFER_BYTES_MAX,
        ..reader_config(&["0", "1"])
    }
}

/// How a daemon begins that has a folder of its own, and exports it to others too.
pub(crate) fn begin(home: &Path, exporting: ExporterConfig, seed: u64, lie: Lie) -> (Begin, Slot) {
    let slot = Slot::default();
    let (home, theirs, lives): (PathBuf, Slot, Cell<u64>) =
        (home.to_path_buf(), Rc::clone(&slot), Cell::new(0));
    let begin = Box::new(move |mut messenger: wavetank_messenger::Messenger| {
        lives.set(lives.get() + 1);
        let len = EXPOSED_BYTES + SCRATCH_BYTES;
        let shared = SharedMemory::create("sim-arena", len, Others::Read, Pages::Plain).unwrap();
        let whole = shared.region(SCRATCH_BYTES).unwrap();
        let part = |at, len| Region::within(whole.lease(at, len).unwrap(), 4096).unwrap();
        let (exposed, scratch) = (part(0, EXPOSED_BYTES), part(EXPOSED_BYTES, SCRATCH_BYTES));
        let scratch = Rc::new(RefCell::new(Arena::new(scratch, MrId(u32::MAX)).unwrap()));
        messenger.expose_from(exposed.clone()).unwrap();
        let shelf = StoreShelf::open(std::slice::from_ref(&home));
        let exporter = Exporter::new(shelf, exporting.clone(), nonces(5000 + lives.get()));
        let messenger = LocalMessenger::new(messenger, exporter.gate(exporter.services()));
        messenger.bind(Some(Policy::StatelessServer));
        messenger.spawn(Rc::clone(&exporter).upkeep(messenger.clone()));
        let local = Rc::new(LocalHome::new(exporter, Rc::clone(&scratch)));
        let reader =
            Reader::new(messenger.clone(), reading_config(), nonces(seed + lives.get() * 7), Some(local));
        let about = About {
            device: "sim0".into(),
            backend: "mock".into(),
            simulated: true,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            vendor_id: 0,
            port_gid: String::new(),
            port_lid: 0,
        };
        let mut words = Seeded::new(seed ^ lives.get() << 32);
        let chance = move || words.choose(Site::Swarm, u64::MAX);
        let commons = Commons::new(about.clone(), len, limits(), "arena".into(), EPOCH_NS, chance);
        let (mode, meters, clock) = (Mode::Auto, Meters::default(), messenger.clone());
        let time = move || clock.now();
        let reading = Reading::new(reader, shared, Rc::clone(&scratch), about, mode, meters, time);
        let reads = Rc::new(Lying { reading, lie, count: Cell::new(0) });
        *theirs.borrow_mut() = Some(House {
            reads,
            commons,
            scratch,
            exposed,
            seats: BTreeMap::new(),
            sweep_at: messenger.now() + SWEEP_NS,
            lie,
            kept: Vec::new(),
            scribbled: false,
        });
        messenger
    });
    (begin, slot)
}

impl House {
    pub(crate) fn arena(&self) -> &SharedMemory {
        self.reads.arena()
    }

    pub(crate) fn drain(&self) {
        self.reads.reading.drain();
    }

    /// The memory that peers write, to be looked at when everything is gone.
    pub(crate) fn exposed(&self) -> Region {
        self.exposed.clone()
    }

    pub(crate) fn welcome(&mut self, number: u64, uid: u32) {
        let peer = Peer { pid: number as i32, uid, gid: uid };
        let conversation = Conversation::new(self.commons.clone(), peer);
        self.seats.insert(number, Seat { conversation, tasks: BTreeMap::new(), ring: None });
    }

    /// What is not as if no client had ever been here.
    pub(crate) fn left_over(&mut self) -> Vec<String> {
        let stats = self.commons.stats();
        let reading = &self.reads.reading;
        let mut left = Vec::new();
        for (what, count) in [
            ("connections that are not over", stats.connections_now.get()),
            ("sessions that are not over", stats.sessions_now.get()),
            ("loans that are not over", stats.leases_now.get()),
            ("rings that are not over", stats.rings_now.get()),
            ("reads that go on", reading.under_way()),
        ] {
            if count > 0 {
                left.push(format!("{count} {what}"));
            }
        }
        if !self.scratch.borrow_mut().is_whole() {
            left.push("memory that is not back: of what is read here".into());
        }
        left
    }

    /// What of other engines' connections is not: one that is closed gives its peer a while to hear of it.
    pub(crate) fn left_over_of_peers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let there = self.reads.reading.reader().messenger().with(|messenger| messenger.outstanding());
        if there.requests + there.moves + there.outgoing > 0 {
            left.push(format!("calls that are not over: {there:?}"));
        }
        if there.pool_leases > 0 {
            left.push(format!("memory that is not back: {there:?}"));
        }
        left
    }

    /// Lets the daemon do what is due. Answers when it has to come back.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        wires: &mut BTreeMap<u64, Wire>,
        dice: &mut Seeded,
    ) -> Instant {
        let mut awake = false;
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_NS;
            if self.lie != Lie::KeepsSessions {
                self.commons.expire(now);
            }
        }
        let House { reads, seats, lie, .. } = self;
        for (number, seat) in &mut *seats {
            let wire = wires.get_mut(number).expect("a seat has a wire");
            let mut desk = Desk { reads, now, wire, dice, lie: *lie };
            awake |= desk.serve(seat);
        }
        // The loop polls rings whenever it is awake, and says that it sleeps before it does.
        for (number, seat) in &mut *seats {
            let wire = wires.get_mut(number).expect("a seat has a wire");
            let mut desk = Desk { reads, now, wire, dice, lie: *lie };
            if awake {
                seat.conversation.ring_is_polled();
            }
            while awake && (desk.poll_ring(seat) || !seat.conversation.ring_sleeps()) {}
        }
        let over: Vec<u64> = seats
            .iter()
            .filter(|(_, seat)| seat.conversation.is_over().is_some())
            .map(|(key, _)| *key)
            .collect();
        for number in over {
            let Some(mut seat) = seats.remove(&number) else { continue };
            wires.get_mut(&number).expect("a seat has a wire").down.close(now);
            if *lie == Lie::KeepsReads {
                self.kept.extend(std::mem::take(&mut seat.tasks).into_values());
            }
            if *lie == Lie::KeepsConversations {
                std::mem::forget(seat);
            }
        }
        if *lie == Lie::WritesIntoLoans && !self.scribbled && self.commons.stats().leases_now.get() > 2 {
            self.scribbled = true;
            self.exposed.write(0, &vec![0x55; EXPOSED_BYTES as usize]);
        }
        let wakes = seats.iter().map(|(number, seat)| {
            let wire = &wires[number];
            let heard = if seat.conversation.wants_bytes() { wire.up.next_at() } else { Instant::FAR };
            seat.conversation.wake().min(heard).min(wire.bell_up.unwrap_or(Instant::FAR))
        });
        wakes.fold(self.sweep_at, Instant::min)
    }
}

/// What the shell of sockets does for one client.
struct Desk<'a> {
    reads: &'a Rc<Lying>,
    now: Instant,
    wire: &'a mut Wire,
    dice: &'a mut Seeded,
    lie: Lie,
}

impl Desk<'_> {
    /// All that is due for a client. Answers whether anything was.
    fn serve(&mut self, seat: &mut Seat) -> bool {
        let mut any = false;
        while seat.conversation.wants_bytes() {
            match self.wire.up.hear(self.now) {
                Some(Heard::Bytes(bytes, _)) => seat.conversation.heard(self.now, &bytes),
                Some(Heard::End) => seat.conversation.left(),
                None => break,
            }
            any = true;
            self.drive(seat);
        }
        if seat.conversation.wake() <= self.now {
            any = true;
            seat.conversation.tick(self.now);
            self.drive(seat);
        }
        let mut context = Context::from_waker(Waker::noop());
        let keys: Vec<ReadKey> = seat.tasks.keys().copied().collect();
        for key in keys {
            let Some(task) = seat.tasks.get_mut(&key) else { continue };
            if let Poll::Ready(answer) = task.as_mut().poll(&mut context) {
                any = true;
                seat.tasks.remove(&key);
                seat.conversation.answered(self.now, key, answer);
                self.drive(seat);
            }
        }
        if rings(&mut self.wire.bell_up, self.now) {
            any = true;
        }
        // There may be room again.
        self.drive(seat);
        any
    }

    fn poll_ring(&mut self, seat: &mut Seat) -> bool {
        let any = seat.conversation.turn_ring(self.now);
        if any {
            self.drive(seat);
        }
        any
    }

    /// Does what a conversation asks for, and sends what it has to say.
    fn drive(&mut self, seat: &mut Seat) {
        self.asks(seat);
        while let Some((passed, bytes)) = seat.conversation.to_send() {
            if self.wire.client_gone {
                seat.conversation.left();
                break;
            }
            let count = bytes.len().min(self.wire.down.room());
            if count == 0 {
                break;
            }
            let clone = |memory: &SharedMemory| memory.fd().try_clone_to_owned().unwrap();
            let descriptors = match passed {
                None => Vec::new(),
                Some(Passed::Arena) => vec![clone(self.reads.arena())],
                Some(Passed::Ring) => vec![clone(seat.ring.as_ref().expect("it was made"))],
            };
            self.wire.down.put(self.now, self.dice, &bytes[..count], descriptors);
            seat.conversation.sent(self.now, count);
            self.asks(seat);
        }
        if seat.conversation.take_ring_wake() && self.lie != Lie::LosesBell {
            ring(&mut self.wire.bell_down, self.now, self.dice);
        }
    }

    fn asks(&mut self, seat: &mut Seat) {
        while let Some(ask) = seat.conversation.take_ask() {
            match ask {
                Ask::Read { key, wanted } => {
                    let reads = Rc::clone(self.reads);
                    let mut task: Task = Box::pin(async move { reads.read(wanted).await });
                    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(answer) => seat.conversation.answered(self.now, key, answer),
                        Poll::Pending => drop(seat.tasks.insert(key, task)),
                    }
                }
                Ask::Cancel { key } => drop(seat.tasks.remove(&key)),
                Ask::Ring { entries } => {
                    let bytes = ring_bytes(entries).expect("a size of a ring");
                    let memory =
                        SharedMemory::create("sim-ring", bytes, Others::Write, Pages::Plain).unwrap();
                    seat.ring = Some(memory.clone());
                    let ring = EngineRing::create(memory, entries).ok_or_else(|| "no ring".to_owned());
                    seat.conversation.ring_made(ring);
                }
            }
        }
    }
}
