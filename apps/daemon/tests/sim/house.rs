//! The daemon without its sockets: the real reading, the real conversations, and around them what the shell of sockets does with
//! tasks and descriptors, in virtual time.

mod desk;
mod lying;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_contract::{Instant, MrId, Others, Pages, Region, SharedMemory};
use wavetank_daemon::ipc::{ClientLimits, Commons, Conversation, Peer};
use wavetank_daemon::meters::Meters;
use wavetank_daemon::reading::Reading;
use wavetank_daemon::reads::{About, Reads as _};
use wavetank_engine::memory::Arena;
use wavetank_exchange::{Exporter, ExporterConfig, LocalHome, Mode, Reader, ReaderConfig, StoreShelf};
use wavetank_messenger::{LocalMessenger, Policy};

use self::desk::{Desk, Seat, Task};
use self::lying::Lying;
use crate::lie::Lie;
use crate::net::{Begin, MS};
use crate::rig::{EPOCH_NS, key, nonces, reader_config};
use crate::volumes::TRANSFER_BYTES_MAX;
use crate::wire::Wire;

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
