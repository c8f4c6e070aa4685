//! A folder for what is needed for a while.

use std::error::Error;
use std::path::{Path, PathBuf};

/// A folder that goes when this does.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new one, with its purpose in its name.
    pub(crate) fn new(purpose: &str) -> Result<Scratch, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("wavetank-{purpose}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is not worth failing for.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
