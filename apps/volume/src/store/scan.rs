//! What the directories of a volume server hold, by the names of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{StoreDirectory, VolumeId, VolumeName};

/// Files of one name in one directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the store's directories, by number.
    pub(super) directory: usize,
    /// The name as it stands there: `07` and `7` are the same volume.
    pub(super) file_name: String,
}

/// What there is of one volume.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Places with a `.dat`, or a `.vif` or `.note` and an index without one.
    pub(super) plain: BTreeMap<Place, VolumeName>,
    /// Places with an `.ecx`.
    pub(super) coded: BTreeMap<Place, VolumeName>,
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) volumes: BTreeMap<VolumeId, Traces>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

pub(super) fn scan(directories: &[StoreDirectory]) -> Scan {
    let mut scan = Scan::default();
    for (number, directory) in directories.iter().enumerate() {
        // Extensions by name, over both directories of a pair.
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let dirs = [Some(&directory.dir), directory.idx_dir.as_ref()];
        for dir in dirs.into_iter().flatten() {
            if let Err(fault) = list(dir, &mut found) {
                scan.unreadable.push((dir.clone(), fault));
            }
        }
        for (file_name, extensions) in found {
            let Some(name) = VolumeName::parse(&file_name) else { continue };
            let has = |extension: &str| extensions.contains(extension);
            let place = Place { directory: number, file_name };
            let is_elsewhere = (has("vif") || has("note")) && (has("idx") || has("sdx"));
            let is_plain = has("dat") || (is_elsewhere && !has("ecx"));
            if !is_plain && !has("ecx") {
                continue;
            }
            let traces = scan.volumes.entry(name.id).or_default();
            if is_plain {
                traces.plain.insert(place, name);
            } else {
                traces.coded.insert(place, name);
            }
        }
    }
    scan
}

fn list(dir: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) -> io::Result<()> {
    const TOLD: [&str; 6] = ["dat", "idx", "sdx", "vif", "note", "ecx"];
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        // Names of volumes are plain text; others are not the server's.
        let Some((name, extension)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        if TOLD.contains(&extension) {
            found.entry(name.to_owned()).or_default().insert(extension.to_owned());
        }
    }
    Ok(())
}
