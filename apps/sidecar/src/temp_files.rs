//! Answers in files, for a mount on the same machine: each has a name of its own, one user, and a short life.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use tokio::time::Instant;
use uuid::Uuid;

/// What the names of ours begin and end with.
const PREFIX: &str = "wavetank-";
const SUFFIX: &str = ".tmp";

/// Files at once.
const FILES_MAX: usize = 4096;

/// Where files go, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempConfig {
    /// The folder; it is made if it is not there, for this user alone.
    pub folder: PathBuf,
    /// Answers that are longer go into a file.
    pub above_bytes: u64,
    /// Bytes in files at once.
    pub bytes_max: u64,
    /// Files that nobody has removed by then are.
    pub life: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<String, (u64, Instant)>,
    bytes: u64,
}

/// The files.
#[derive(Clone, Debug)]
pub struct TempFiles {
    config: Arc<TempConfig>,
    folder: Arc<File>,
    kept: Arc<Mutex<Kept>>,
}

/// Why a file is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRemoved {
    /// It is not one of ours: outside of the folder, or by another name.
    NotOurs,
    /// The system refuses.
    Failed(Errno),
}

impl TempFiles {
    /// Opens the folder, and removes what an earlier life left there.
    ///
    /// # Errors
    /// It cannot be made, or others may write there.
    pub fn open(config: TempConfig) -> io::Result<TempFiles> {
        DirBuilder::new().recursive(true).mode(0o700).create(&config.folder)?;
        let config = TempConfig { folder: config.folder.canonicalize()?, ..config };
        let folder = File::open(&config.folder)?;
        let metadata = folder.metadata()?;
        if metadata.mode() & 0o022 != 0 {
            let why = format!("others may write to {}: chmod go-w it", config.folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let files = TempFiles { config: Arc::new(config), folder: Arc::new(folder), kept: Arc::default() };
        for entry in std::fs::read_dir(&files.config.folder)? {
            if let Some(name) = entry?.file_name().to_str().filter(|name| is_ours(name)) {
                let _ = unlinkat(&*files.folder, name, AtFlags::empty());
            }
        }
        Ok(files)
    }

    /// Writes an answer, if it is long enough and there is room. Blocks.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, frames: &[Bytes], now: Instant) -> io::Result<Option<PathBuf>> {
        let len: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
        let name = format!("{PREFIX}{}{SUFFIX}", Uuid::new_v4().simple());
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let full = kept.files.len() >= FILES_MAX || kept.bytes + len > self.config.bytes_max;
            if len <= self.config.above_bytes || full {
                return Ok(None);
            }
            kept.bytes += len;
            kept.files.insert(name.clone(), (len, now));
        }
        let written = self.write_new(&name, frames);
        if written.is_err() {
            let _ = self.remove_named(&name);
        }
        written.map(|()| Some(self.config.folder.join(name)))
    }

    fn write_new(&self, name: &str, frames: &[Bytes]) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&*self.folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        frames.iter().try_for_each(|frame| file.write_all(frame))
    }

    /// Removes one of ours by its path. One that is not there is removed.
    ///
    /// # Errors
    /// [`NotRemoved`].
    pub fn remove(&self, path: &str) -> Result<(), NotRemoved> {
        // The folder is open: nothing on the way there can be exchanged, and a name has no way in it.
        let path = Path::new(path);
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_ours(name));
        let name = name.filter(|name| path == self.config.folder.join(name)).ok_or(NotRemoved::NotOurs)?;
        if path.as_os_str().len() != self.config.folder.join(name).as_os_str().len() {
            return Err(NotRemoved::NotOurs);
        }
        self.remove_named(name).map_err(NotRemoved::Failed)
    }

    fn remove_named(&self, name: &str) -> Result<(), Errno> {
        match unlinkat(&*self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((len, _)) = kept.files.remove(name) {
                    kept.bytes -= len;
                }
                Ok(())
            }
            Err(why) => Err(why),
        }
    }

    /// Removes what nobody has removed in time. Blocks.
    pub fn sweep(&self, now: Instant) {
        let old: Vec<String> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = |(_, (_, at)): &(&String, &(u64, Instant))| {
                now.saturating_duration_since(*at) >= self.config.life
            };
            kept.files.iter().filter(is_old).map(|(name, _)| name.clone()).collect()
        };
        for name in old {
            let _ = self.remove_named(&name);
        }
    }

    /// Removes all of them: whoever serves goes down.
    pub fn clear(&self) {
        let names: Vec<String> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.files.keys().cloned().collect()
        };
        for name in names {
            let _ = self.remove_named(&name);
        }
    }

    /// How often to sweep.
    pub fn sweep_every(&self) -> Duration {
        self.config.life / 2
    }

    /// How many files there are, and of how many bytes.
    pub fn kept(&self) -> (u64, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.files.len() as u64, kept.bytes)
    }
}

/// Whether a name is one that only this program gives.
fn is_ours(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn opened(bytes_max: u64) -> (tempfile::TempDir, TempFiles) {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("answers");
        let config = TempConfig { folder, above_bytes: 4, bytes_max, life: Duration::from_secs(30) };
        (outer, TempFiles::open(config).unwrap())
    }

    fn write(files: &TempFiles, text: &'static str) -> Option<PathBuf> {
        files.write(&[Bytes::from_static(text.as_bytes())], Instant::now()).unwrap()
    }

    #[test]
    fn equal_answers_have_files_of_their_own_for_one_user() {
        let (_outer, files) = opened(100);
        let (one, two) = (write(&files, "hello").unwrap(), write(&files, "hello").unwrap());
        assert_ne!(one, two);
        assert_eq!(std::fs::read(&one).unwrap(), b"hello");
        assert_eq!(std::fs::metadata(&one).unwrap().mode() & 0o777, 0o600);
        assert_eq!(files.kept(), (2, 10));
        assert_eq!(files.remove(one.to_str().unwrap()), Ok(()));
        assert_eq!(files.remove(one.to_str().unwrap()), Ok(()), "again is no fault");
        assert_eq!((files.kept(), one.exists(), two.exists()), ((1, 5), false, true));
        files.clear();
        assert_eq!((files.kept(), two.exists()), ((0, 0), false));
    }

    #[test]
    fn short_answers_and_those_without_room_are_not_written() {
        let (_outer, files) = opened(12);
        assert_eq!(write(&files, "four"), None);
        assert!(write(&files, "hello").is_some() && write(&files, "hello").is_some());
        assert_eq!(write(&files, "hello"), None);
    }

    #[test]
    fn only_our_own_files_in_the_folder_are_removed() {
        let (outer, files) = opened(100);
        let ours = write(&files, "hello").unwrap();
        let name = ours.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = ours.parent().unwrap().to_path_buf();
        let outside = outer.path().join(&name);
        File::create_new(&outside).unwrap();
        File::create_new(folder.join("other")).unwrap();
        std::os::unix::fs::symlink(outer.path(), folder.join("way")).unwrap();
        for path in [
            outside.clone(),
            folder.join("other"),
            folder.join("way").join(&name),
            folder.join("..").join(&name),
            folder.join("x").join("..").join(&name),
            folder.join(".").join(&name),
            PathBuf::from(&name),
            PathBuf::from("/etc/passwd"),
            folder.clone(),
            PathBuf::new(),
        ] {
            assert_eq!(files.remove(path.to_str().unwrap()), Err(NotRemoved::NotOurs), "{}", path.display());
        }
        assert!(outside.exists() && ours.exists() && folder.join("other").exists());

        // A link by one of our names is removed, not what it points to.
        let link = folder.join(format!("{PREFIX}{}{SUFFIX}", "0".repeat(32)));
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        assert_eq!(files.remove(link.to_str().unwrap()), Ok(()));
        assert!(outside.exists() && !link.exists());
    }

    #[test]
    fn what_is_left_is_swept_and_what_an_earlier_life_left_as_well() {
        let (outer, files) = opened(100);
        let (old, now) = (write(&files, "hello").unwrap(), Instant::now());
        files.sweep(now + Duration::from_secs(29));
        assert!(old.exists());
        files.sweep(now + Duration::from_secs(31));
        assert_eq!((old.exists(), files.kept()), (false, (0, 0)));

        let left = write(&files, "hello").unwrap();
        let config = TempConfig { folder: outer.path().join("answers"), ..(*files.config).clone() };
        TempFiles::open(config).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("open");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let config = TempConfig { folder, above_bytes: 4, bytes_max: 1, life: Duration::from_secs(1) };
        assert!(TempFiles::open(config).unwrap_err().to_string().contains("chmod"));
    }
}
