//! Real files.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use wavetank_rpc::{ChunkError, FileStore, FolderDisk, Waits};

use crate::rig::{open, pattern, read, remove, wait, whole, write, written};

/// How a child is told its folder.
const FOLDER: &str = "WAVETANK_RPC_TEST_FOLDER";

fn here(root: &Path) -> FileStore {
    open(Rc::new(FolderDisk::open(root, Waits::Here).expect("a folder")))
}

fn chunk_file(root: &Path) -> std::path::PathBuf {
    let shards = fs::read_dir(root).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = shards.filter(|path| path.is_dir()).flat_map(|shard| fs::read_dir(shard).expect("a shard"));
    files.map(|entry| entry.expect("an entry").path()).next().expect("a file")
}

#[test]
fn files_keep_what_was_written_for_who_opens_them_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = Vec::new();
    for sequence in 0..6 {
        let store = here(folder.path());
        let data = pattern(sequence, 70_000);
        let offset = sequence * 30_001;
        assert_eq!(write(&store, sequence, offset, &data, sequence % 2 == 0), Ok(()));
        expected = written(&expected, offset, &data);
        assert_eq!(whole(&store).as_ref(), Ok(&expected));
        assert_eq!(wait(store.flush()), Ok(()));
    }
    let store = here(folder.path());
    assert_eq!(whole(&store).as_ref(), Ok(&expected));
    assert_eq!(read(&store, 12_345, 100_000).as_deref(), Ok(&expected[12_345..112_345]));
    assert_eq!(write(&store, 0, 0, &pattern(0, 70_000), true), Ok(()));
    assert_eq!(whole(&store), Ok(expected), "a repeat is recognised after restarts");
    assert_eq!(remove(&store, 50, true), Ok(()));
    assert_eq!(whole(&here_again(store, folder.path())), Ok(Vec::new()));
}

fn here_again(store: FileStore, root: &Path) -> FileStore {
    drop(store);
    here(root)
}

#[test]
fn one_process_has_the_folder_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = FolderDisk::open(folder.path(), Waits::Here).expect("a folder");
    let second = FolderDisk::open(folder.path(), Waits::Here).expect_err("it is taken");
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    assert!(FolderDisk::open(folder.path(), Waits::Here).is_ok());
}

#[test]
fn a_folder_opened_for_reading_is_read_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = pattern(0, 5000);
    assert_eq!(write(&here(folder.path()), 0, 0, &data, true), Ok(()));
    let file = chunk_file(folder.path());
    let mut bytes = fs::read(&file).expect("bytes");
    bytes.extend_from_slice(&[7; 5000]);
    fs::write(&file, &bytes).expect("a torn end");
    let store = open(Rc::new(FolderDisk::open_read_only(folder.path()).expect("a folder")));
    assert_eq!(whole(&store), Ok(data));
    assert_eq!(write(&store, 1, 0, &[1], true), Err(ChunkError::ReadOnly));
    assert_eq!(remove(&store, 2, true), Err(ChunkError::ReadOnly));
    assert!(fs::read(&file).expect("bytes") == bytes);
}

#[test]
fn a_file_that_rots_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(write(&here(folder.path()), 0, 0, &pattern(0, 9000), true), Ok(()));
    let file = chunk_file(folder.path());
    let mut bytes = fs::read(&file).expect("bytes");
    bytes[8192 + 4096 + 17] ^= 0x10;
    fs::write(&file, bytes).expect("rotten");
    let store = here(folder.path());
    assert_eq!(read(&store, 0, 9000), Err(ChunkError::CorruptAtRest { offset: 4096 }));
    assert!(read(&store, 0, 4096).is_ok());
}

#[cfg(feature = "tokio")]
#[test]
fn the_thread_goes_on_while_the_pool_waits_for_the_disk() {
    use crate::rig::{KEY, lease, order};
    use wavetank_rpc::ChunkStore;
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let waits = Waits::OnPool(runtime.handle().clone());
    let store = open(Rc::new(FolderDisk::open(folder.path(), waits).expect("a folder")));
    let data = pattern(0, 5000);
    let lease = lease(5000);
    lease.write(0, &data);
    let order = order(KEY, 0, 0, &data, true);
    let mut writing = tokio_test::task::spawn(store.write(&order, &lease, 0));
    assert!(writing.poll().is_pending(), "one look never waits for a disk");
    assert_eq!(whole(&store).as_ref(), Ok(&data), "others go on, and see the write");
    assert_eq!(runtime.block_on(writing), Ok(()));
    assert_eq!(whole(&here_again(store, folder.path())), Ok(data));
}

#[test]
fn what_was_answered_before_a_kill_is_there_after_it() {
    for round in 0..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "folder::the_child_that_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut answered = None;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        while answered < Some(20 + round * 13) {
            let line = lines.next().expect("the child goes on").expect("text");
            answered = line.strip_prefix("answered ").and_then(|n| n.parse::<u64>().ok()).or(answered);
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        // What it said between our look and its end counts too.
        for line in lines.map_while(Result::ok) {
            answered = line.strip_prefix("answered ").and_then(|n| n.parse().ok()).or(answered);
        }
        let answered = answered.expect("some");
        let store = here(folder.path());
        let found = whole(&store).expect("no damage");
        let after =
            |count| (0..count).fold(Vec::new(), |old, n| written(&old, n % 9 * 2000, &pattern(n, 9000)));
        assert!(
            found == after(answered + 1) || found == after(answered + 2),
            "write {answered} was answered, and what is there is not of it or the next"
        );
    }
}

#[test]
#[ignore = "started, and killed, by what_was_answered_before_a_kill_is_there_after_it"]
fn the_child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        panic!("{FOLDER} is not set: this is not a test to be run by itself");
    };
    let store = here(Path::new(&folder));
    for n in 0.. {
        assert_eq!(write(&store, n, n % 9 * 2000, &pattern(n, 9000), true), Ok(()));
        writeln!(io::stdout().lock(), "answered {n}").expect("a parent");
    }
}
