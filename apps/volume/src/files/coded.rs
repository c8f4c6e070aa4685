//! A volume as shards with `.ecx` and `.ecj`: opening what is here, and following the journal of deletions.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::opening::{Stamp, io_error, look, open_file, read_superblock, read_vif, source_error};
use super::{FilesError, Followed, Freshness, Loaded, OpenOptions};
use crate::shards::{ShardLayout, Shards};
use crate::source::Source;
use crate::width::{WidthEvidence, detect};
use crate::{
    Index, NeedleId, ReplicaPlacement, SuperBlock, SuperBlockError, Ttl, Version, Vif, VifError, Volume,
};

/// Where the files of an erasure-coded volume are looked for.
#[derive(Debug, Clone)]
pub struct CodedPaths {
    /// What all their names begin with: `[collection_]id`.
    pub name: String,
    /// The directories that may hold shards, index, journal and `.vif`, in this order.
    pub dirs: Vec<PathBuf>,
}

impl CodedPaths {
    fn find(&self, extension: &str) -> Option<PathBuf> {
        let name = format!("{}.{extension}", self.name);
        self.dirs.iter().map(|dir| dir.join(&name)).find(|path| path.exists())
    }

    /// The common name, in the first directory.
    pub(super) fn path(&self) -> PathBuf {
        self.dirs.first().cloned().unwrap_or_default().join(&self.name)
    }
}

/// The files of an erasure-coded volume.
#[derive(Debug)]
pub(super) struct CodedFiles {
    pub(super) paths: CodedPaths,
    name_path: PathBuf,
    pub(super) ecx_path: PathBuf,
    ecx_stamp: Stamp,
    ecj: Option<(PathBuf, Stamp)>,
    /// How much of the journal is in the index.
    taken_bytes: u64,
    pub(super) shards: Arc<Shards>,
    shard_paths: Vec<PathBuf>,
    pub(super) evidence: WidthEvidence,
}

fn shard_paths(paths: &CodedPaths) -> Vec<(usize, PathBuf)> {
    let all = 0..Vif::SHARDS_MAX as usize;
    all.filter_map(|number| Some((number, paths.find(&format!("ec{number:02}"))?))).collect()
}

pub(super) fn load(paths: &CodedPaths, options: &OpenOptions) -> Result<(CodedFiles, Loaded), FilesError> {
    let path = paths.path();
    let missing =
        |extension: &str| io_error(&path.with_added_extension(extension), io::ErrorKind::NotFound.into());
    let vif_path = options.vif_path.clone().or_else(|| paths.find("vif"));
    let vif = vif_path.as_deref().map_or_else(|| Ok(Vif::default()), read_vif)?;
    let layout = match vif.shards {
        Some((data_shards, parity_shards)) => ShardLayout { data_shards, parity_shards, ..options.layout },
        None => options.layout,
    };
    let ecx_path = paths.find("ecx").ok_or_else(|| missing("ecx"))?;
    let ecx = open_file(&ecx_path)?;
    let ecx_stamp = Stamp::of_file(&ecx, &ecx_path)?;

    let mut files = vec![None; layout.shards() as usize];
    let mut lens = Vec::new();
    let found = shard_paths(paths);
    for (number, shard_path) in &found {
        let Some(place) = files.get_mut(*number) else { continue };
        let file = open_file(shard_path)?;
        lens.push(Stamp::of_file(&file, shard_path)?.len_bytes);
        *place = Some((Arc::new(file), lens.last().copied().unwrap_or(0)));
    }
    // A shard that is still being copied is shorter than the others, and not taken.
    let shard_len_bytes = lens.into_iter().max().ok_or_else(|| missing("ec00"))?;
    let files = files.into_iter();
    let files =
        files.map(|file| file.filter(|(_, len)| *len == shard_len_bytes).map(|(file, _)| file)).collect();
    let shards = Shards::new(layout, files, shard_len_bytes, vif.dat_len_bytes).map_err(|_| {
        let (data, parity) = (layout.data_shards.into(), layout.parity_shards.into());
        let vif_path = vif_path.clone().unwrap_or_else(|| path.clone());
        FilesError::Vif { vif_path, fault: VifError::Shards { data, parity } }
    })?;
    let shards = Arc::new(shards);
    let source = Source::Shards(Arc::clone(&shards));
    let dat_len_bytes = shards.dat_len_bytes();
    let superblock = superblock(&source, &path, dat_len_bytes, vif.version)?;

    let (width, evidence) = match options.offset_width.or(vif.offset_width) {
        Some(width) => (width, WidthEvidence::Told),
        None => detect(&ecx, &source, &superblock, dat_len_bytes)
            .map_err(|fault| source_error(&path, fault))?
            .map_err(|fault| FilesError::Width { idx_path: ecx_path.clone(), fault })?,
    };
    let index = Index::read(&ecx, width, options.needles_max)
        .map_err(|fault| FilesError::Log { idx_path: ecx_path.clone(), fault })?;
    let volume = Volume::assemble(superblock, index, dat_len_bytes).map_err(|fault| FilesError::Index {
        dat_path: path.clone(),
        idx_path: ecx_path.clone(),
        fault,
    })?;
    let ecj = match paths.find("ecj") {
        None => None,
        Some(ecj_path) => look(&ecj_path)?.map(|stamp| (ecj_path, stamp)),
    };
    let shard_paths = found.into_iter().map(|(_, path)| path).collect();
    let paths = paths.clone();
    let mut files = CodedFiles {
        paths,
        name_path: path,
        ecx_path,
        ecx_stamp,
        ecj,
        taken_bytes: 0,
        shards,
        shard_paths,
        evidence,
    };
    let mut loaded = Loaded { source, volume };
    files.take_up(&mut loaded.volume)?;
    Ok((files, loaded))
}

/// The superblock, which is in the first shard like everything else. Where that is out of reach the `.vif` says the
/// version, else it is the current one, as upstream has it. Source: `weed/storage/erasure_coding/ec_volume.go`.
fn superblock(
    source: &Source,
    path: &Path,
    dat_len_bytes: u64,
    version: Option<Version>,
) -> Result<SuperBlock, FilesError> {
    let assumed = SuperBlock {
        version: version.unwrap_or(Version::V3),
        replica_placement: ReplicaPlacement(0),
        ttl: Ttl::default(),
        compaction_revision: 0,
        extra_len_bytes: 0,
    };
    match read_superblock(source, path, dat_len_bytes) {
        Ok(read) => Ok(SuperBlock { version: version.unwrap_or(read.version), ..read }),
        Err(FilesError::Shards { .. }) => Ok(assumed),
        Err(FilesError::SuperBlock { fault: SuperBlockError::Version { .. }, .. }) if version.is_some() => {
            Ok(assumed)
        }
        Err(error) => Err(error),
    }
}

impl CodedFiles {
    pub(super) fn name_path(&self) -> &Path {
        &self.name_path
    }

    /// What a server changed: it appends ids to the journal, or works the journal into the index and removes it.
    pub(super) fn glance(&self) -> Result<Freshness, FilesError> {
        let ecx_now =
            look(&self.ecx_path)?.ok_or_else(|| io_error(&self.ecx_path, io::ErrorKind::NotFound.into()))?;
        let same = ecx_now.is_same_file(&self.ecx_stamp) && ecx_now.len_bytes == self.ecx_stamp.len_bytes;
        if !same {
            return Ok(Freshness::Replaced);
        }
        let Some((ecj_path, stamp)) = &self.ecj else {
            let begun = self.paths.find("ecj").is_some();
            return Ok(if begun { Freshness::Replaced } else { Freshness::Current });
        };
        Ok(match look(ecj_path)? {
            Some(now) if now.is_same_file(stamp) && now.len_bytes >= self.taken_bytes => {
                if now.len_bytes >= self.taken_bytes + 8 { Freshness::Grown } else { Freshness::Current }
            }
            _ => Freshness::Replaced,
        })
    }

    /// The same, and whether shards came or went.
    pub(super) fn freshness(&self) -> Result<Freshness, FilesError> {
        let now: Vec<PathBuf> = shard_paths(&self.paths).into_iter().map(|(_, path)| path).collect();
        if now != self.shard_paths {
            return Ok(Freshness::Replaced);
        }
        self.glance()
    }

    /// Takes up what the journal has grown by.
    pub(super) fn take_up(&mut self, volume: &mut Volume) -> Result<Followed, FilesError> {
        let Some((ecj_path, _)) = &self.ecj else { return Ok(Followed::Current) };
        let failed = |fault| io_error(ecj_path, fault);
        let ecj: File = open_file(ecj_path)?;
        let mut chunk = [0; 4096];
        let mut entries = 0;
        loop {
            let count = match ecj.read_at(&mut chunk, self.taken_bytes) {
                Ok(count) => count,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => return Err(failed(fault)),
            };
            let (ids, _) = chunk[..count].as_chunks::<8>();
            if ids.is_empty() {
                let held_back = 0;
                return Ok(if entries == 0 {
                    Followed::Current
                } else {
                    Followed::Grown { entries, held_back }
                });
            }
            for id in ids {
                volume
                    .delete(NeedleId(u64::from_be_bytes(*id)))
                    .map_err(|fault| FilesError::Log { idx_path: ecj_path.clone(), fault })?;
            }
            self.taken_bytes += ids.len() as u64 * 8;
            entries += ids.len() as u64;
        }
    }

    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        let ecx = look(&self.ecx_path).ok().flatten();
        let shards = shard_paths(&self.paths).into_iter().map(|(_, path)| look(&path).ok().flatten());
        std::iter::once(ecx).chain(shards).collect()
    }
}
