//! The folder `target/guest`: things that take long to make, each whole or absent, and safe from a second run.
//!
//! An entry is made beside its place and renamed into it, so a run that is interrupted leaves nothing that counts. It
//! carries the recipe it was made by; another recipe makes it anew. Whoever uses an entry holds a shared lock on it, so
//! that nobody replaces it meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::step::Failure;
use crate::workspace::Workspace;

/// The file in an entry that says what it was made by. Written last.
const RECIPE: &str = "RECIPE";

/// The folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// An entry that stays as it is while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    _lock: File,
}

impl Held {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// In the workspace's own `target`, whatever `CARGO_TARGET_DIR` says: it is large, and shared by all of them.
    pub(crate) fn of(workspace: &Workspace) -> Store {
        Store { folder: workspace.root().join("target/guest") }
    }

    /// The folder itself, made if need be.
    pub(crate) fn folder(&self) -> Result<&Path, Failure> {
        fs::create_dir_all(&self.folder).map_err(|e| at(&self.folder, &e))?;
        Ok(&self.folder)
    }

    /// The entry, as it is or as `make` makes it in the folder it is given.
    pub(crate) fn provide(
        &self,
        name: &str,
        recipe: &str,
        make: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Held, Failure> {
        let path = self.folder()?.join(name);
        let lock_path = self.folder.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(|e| at(&lock_path, &e))?;
        let wrong = |e| at(&lock_path, &e);
        let waiting =
            |for_what: &str| println!("    waiting for another run that {for_what} {}", path.display());
        if lock.try_lock_shared().is_err() {
            waiting("makes");
            lock.lock_shared().map_err(wrong)?;
        }
        if !is_whole(&path, recipe) {
            lock.unlock().map_err(wrong)?;
            if lock.try_lock().is_err() {
                waiting("makes or uses");
                lock.lock().map_err(wrong)?;
            }
            if !is_whole(&path, recipe) {
                replace(&path, recipe, make)?;
            }
            // Between the two nobody can hold the lock for longer than it takes to see that the entry is whole.
            lock.unlock().map_err(wrong)?;
            lock.lock_shared().map_err(wrong)?;
        }
        Ok(Held { path, _lock: lock })
    }
}

fn is_whole(path: &Path, recipe: &str) -> bool {
    fs::read_to_string(path.join(RECIPE)).is_ok_and(|r| r == recipe)
}

fn replace(
    path: &Path,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let half = path.with_extension("part");
    for old in [&half, &path.to_path_buf()] {
        remove(old)?;
    }
    fs::create_dir_all(&half).map_err(|e| at(&half, &e))?;
    make(&half)?;
    fs::write(half.join(RECIPE), recipe).map_err(|e| at(&half, &e))?;
    fs::rename(&half, path).map_err(|e| at(path, &e))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(at(path, &e)),
        _ => Ok(()),
    }
}

/// A file's trouble, with its name.
pub(crate) fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store { folder: folder.path().join("guest") };
        (folder, store)
    }

    fn writes(text: &'static str) -> impl FnOnce(&Path) -> Result<(), Failure> {
        move |folder| fs::write(folder.join("text"), text).map_err(|e| at(folder, &e))
    }

    fn text(held: &Held) -> String {
        fs::read_to_string(held.path().join("text")).expect("the entry's file")
    }

    #[test]
    fn an_entry_is_made_once() {
        let (_folder, store) = store();
        assert_eq!(text(&store.provide("tree", "1", writes("first")).expect("made")), "first");
        assert_eq!(text(&store.provide("tree", "1", writes("again")).expect("found")), "first");
    }

    #[test]
    fn another_recipe_makes_it_anew_with_nothing_left_of_the_old() {
        let (_folder, store) = store();
        let old = |folder: &Path| fs::write(folder.join("old"), "").map_err(|e| at(folder, &e));
        drop(store.provide("tree", "1", old));
        let held = store.provide("tree", "2", writes("second")).expect("made");
        assert_eq!(text(&held), "second");
        assert!(!held.path().join("old").exists());
    }

    #[test]
    fn what_was_interrupted_does_not_count() {
        let (_folder, store) = store();
        let half = |folder: &Path| writes("half")(folder).and(Err(Failure("cut off".into())));
        assert!(matches!(store.provide("tree", "1", half), Err(Failure(why)) if why == "cut off"));
        assert_eq!(text(&store.provide("tree", "1", writes("whole")).expect("made")), "whole");
    }

    #[test]
    fn an_entry_without_its_recipe_does_not_count() {
        let (_folder, store) = store();
        let path = store.provide("tree", "1", writes("first")).expect("made").path().to_path_buf();
        fs::remove_file(path.join(RECIPE)).expect("it was there");
        assert_eq!(text(&store.provide("tree", "1", writes("second")).expect("made")), "second");
    }

    #[test]
    fn an_entry_in_use_is_locked_against_replacement_and_may_be_shared() {
        let (_folder, store) = store();
        let held = store.provide("tree", "1", writes("first")).expect("made");
        let lock = File::open(store.folder.join("tree.lock")).expect("the lock");
        assert!(lock.try_lock().is_err(), "it could be replaced");
        assert!(lock.try_lock_shared().is_ok());
        drop((held, lock));
        let lock = File::open(store.folder.join("tree.lock")).expect("the lock");
        assert!(lock.try_lock().is_ok(), "nobody uses it any more");
    }
}
