//! A disk in memory that can lose its power, fill up, refuse and rot.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_rpc::{Disk, DiskFile, Name};

/// Something a file was told and that is not durable yet.
#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Op>,
    /// Ops that are no longer pending.
    synced: usize,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<Name, usize>,
    durable_names: BTreeMap<Name, usize>,
    /// Each is all names as they were after one change.
    pending_names: Vec<BTreeMap<Name, usize>>,
    /// Changes of names that are no longer pending.
    synced_names: usize,
    /// Syncs take a while.
    slow: bool,
    changes: u64,
    /// After so many changes nothing works any more.
    dies_after: Option<u64>,
    /// Files are not made longer than this in all.
    space: Option<usize>,
    fails_sync: bool,
    refuses: Option<i32>,
    renames: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeDisk(Rc<RefCell<State>>);

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(offset, data) => {
            let end = *offset as usize + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset as usize..end].copy_from_slice(data);
        }
        Op::Len(len) => bytes.resize(*len as usize, 0),
    }
}

impl State {
    fn change(&mut self) -> io::Result<()> {
        if let Some(errno) = self.refuses {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if self.dies_after.is_some_and(|after| self.changes >= after) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.changes += 1;
        Ok(())
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<Name, usize>)) -> io::Result<()> {
        self.change()?;
        change(&mut self.names);
        self.pending_names.push(self.names.clone());
        Ok(())
    }
}

impl FakeDisk {
    /// The power is lost. Every write that was not synced is there, or not, or in part; names are as after some change.
    /// `choose` answers with a number below its argument.
    pub(crate) fn lose_power(&self, choose: &mut dyn FnMut(usize) -> usize) -> FakeDisk {
        let state = self.0.borrow();
        let names = match choose(state.pending_names.len() + 1) {
            0 => state.durable_names.clone(),
            n => state.pending_names[n - 1].clone(),
        };
        let mut inodes = Vec::new();
        for inode in &state.inodes {
            let mut bytes = inode.durable.clone();
            for op in &inode.pending {
                match (choose(3), op) {
                    (0, op) => apply(&mut bytes, op),
                    (1, _) => {}
                    (_, Op::Write(offset, data)) => {
                        let cut = [1, 64, 512, data.len() / 2, data.len() - 1][choose(5)].min(data.len());
                        apply(&mut bytes, &Op::Write(*offset, data[..cut].to_vec()));
                    }
                    (_, Op::Len(_)) => {}
                }
            }
            inodes.push(Inode { live: bytes.clone(), durable: bytes, ..Inode::default() });
        }
        FakeDisk(Rc::new(RefCell::new(State {
            inodes,
            durable_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    /// As it is: a process ended and another goes on.
    pub(crate) fn copy(&self) -> FakeDisk {
        let state = self.0.borrow();
        let (inodes, names) = (state.inodes.clone(), state.names.clone());
        let (durable_names, pending_names) = (state.durable_names.clone(), state.pending_names.clone());
        FakeDisk(Rc::new(RefCell::new(State {
            inodes,
            names,
            durable_names,
            pending_names,
            ..State::default()
        })))
    }

    pub(crate) fn pending(&self) -> usize {
        let state = self.0.borrow();
        state.inodes.iter().map(|inode| inode.pending.len()).sum()
    }

    pub(crate) fn die_after(&self, changes: u64) {
        let mut state = self.0.borrow_mut();
        state.dies_after = Some(state.changes + changes);
    }

    pub(crate) fn set_space(&self, space: Option<usize>) {
        self.0.borrow_mut().space = space;
    }

    pub(crate) fn refuse(&self, errno: Option<i32>) {
        self.0.borrow_mut().refuses = errno;
    }

    pub(crate) fn slow_down(&self) {
        self.0.borrow_mut().slow = true;
    }

    pub(crate) fn fail_sync(&self) {
        self.0.borrow_mut().fails_sync = true;
    }

    pub(crate) fn renames(&self) -> u64 {
        self.0.borrow().renames
    }

    /// The length of the one file there is.
    pub(crate) fn only_len(&self) -> usize {
        let state = self.0.borrow();
        assert_eq!(state.names.len(), 1, "{:?}", state.names);
        state.names.values().map(|at| state.inodes[*at].live.len()).sum()
    }

    pub(crate) fn files(&self) -> usize {
        self.0.borrow().names.len()
    }

    /// What is in the one file there is rots, or is cut.
    pub(crate) fn damage(&self, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.borrow_mut();
        let at = *state.names.values().next().expect("a file");
        damage(&mut state.inodes[at].live);
    }

    /// Somebody else's file.
    pub(crate) fn plant(&self, name: Name, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.inodes.push(Inode { live: bytes.to_vec(), durable: bytes.to_vec(), ..Inode::default() });
        let at = state.inodes.len() - 1;
        state.names.insert(name, at);
    }

    pub(crate) fn only_name(&self) -> Name {
        self.0.borrow().names.keys().next().expect("a file").clone()
    }
}

#[async_trait(?Send)]
impl Disk for FakeDisk {
    fn is_writable(&self) -> bool {
        true
    }

    fn list(&self) -> io::Result<Vec<(Name, u64)>> {
        let state = self.0.borrow();
        Ok(state.names.iter().map(|(n, at)| (n.clone(), state.inodes[*at].live.len() as u64)).collect())
    }

    fn open(&self, name: &Name) -> io::Result<Option<Rc<dyn DiskFile>>> {
        let at = self.0.borrow().names.get(name).copied();
        Ok(at.map(|at| Rc::new(FakeFile { disk: self.clone(), at }) as Rc<dyn DiskFile>))
    }

    fn create(&self, name: &Name) -> io::Result<Rc<dyn DiskFile>> {
        let mut state = self.0.borrow_mut();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = state.inodes.len();
        state.rename(|names| _ = names.insert(name.clone(), at))?;
        state.inodes.push(Inode::default());
        Ok(Rc::new(FakeFile { disk: self.clone(), at }))
    }

    fn rename(&self, from: &Name, to: &Name) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let at = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.renames += 1;
        state.rename(|names| {
            names.remove(from);
            names.insert(to.clone(), at);
        })
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(|names| _ = names.remove(name))
    }

    async fn sync_shard(&self, _: u8) -> io::Result<()> {
        // Of one shard only; the tests have one chunk each. What comes after the call is not promised.
        let (before, names, slow) = {
            let mut state = self.0.borrow_mut();
            state.change()?;
            (state.synced_names + state.pending_names.len(), state.names.clone(), state.slow)
        };
        take_a_while(slow).await;
        let mut state = self.0.borrow_mut();
        if let Some(count) = before.checked_sub(state.synced_names) {
            state.durable_names = names;
            state.pending_names.drain(..count);
            state.synced_names += count;
        }
        Ok(())
    }
}

/// Ends with the third look.
async fn take_a_while(slow: bool) {
    let mut looks = if slow { 2 } else { 0 };
    std::future::poll_fn(|_| {
        if looks == 0 {
            return std::task::Poll::Ready(());
        }
        looks -= 1;
        std::task::Poll::Pending
    })
    .await;
}

struct FakeFile {
    disk: FakeDisk,
    at: usize,
}

impl FakeFile {
    fn tell(&self, op: Op) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        state.change()?;
        let inode = &mut state.inodes[self.at];
        apply(&mut inode.live, &op);
        inode.pending.push(op);
        Ok(())
    }
}

#[async_trait(?Send)]
impl DiskFile for FakeFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.borrow().inodes[self.at].live.len() as u64)
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let state = self.disk.0.borrow();
        let live = &state.inodes[self.at].live;
        let from = live.get(offset as usize..offset as usize + to.len());
        to.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let space = self.disk.0.borrow().space;
        let len = self.len_bytes()? as usize;
        // A file that grows past what is left takes the part that fits.
        let room = space.map_or(usize::MAX, |space| space.max(len).saturating_sub(offset as usize));
        if from.len() > room {
            self.tell(Op::Write(offset, from[..room].to_vec()))?;
            return Err(io::Error::from_raw_os_error(28));
        }
        self.tell(Op::Write(offset, from.to_vec()))
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.tell(Op::Len(len_bytes))
    }

    async fn sync(&self) -> io::Result<()> {
        let (before, slow) = {
            let mut state = self.disk.0.borrow_mut();
            if state.fails_sync {
                return Err(io::Error::from_raw_os_error(5));
            }
            state.change()?;
            let inode = &state.inodes[self.at];
            (inode.synced + inode.pending.len(), state.slow)
        };
        take_a_while(slow).await;
        let mut state = self.disk.0.borrow_mut();
        let inode = &mut state.inodes[self.at];
        let count = before.saturating_sub(inode.synced);
        for op in inode.pending.drain(..count) {
            apply(&mut inode.durable, &op);
        }
        inode.synced += count;
        Ok(())
    }
}
