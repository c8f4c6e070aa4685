//! Turns a volume into shards, for tests.

use std::fs;
use std::io;
use std::path::Path;

use reed_solomon_erasure::galois_8::ReedSolomon;

use super::VolumeWriter;
use crate::entry::LogEntry;
use crate::{Index, OffsetWidth, ShardLayout, Vif};

/// Codes a `.dat`: as many shards as the layout has, data before parity, all of one length.
///
/// Source: `weed/storage/erasure_coding/ec_encoder.go`.
///
/// # Errors
///
/// [`EncodeError`] for a layout that cannot be.
pub fn encode_shards(dat: &[u8], layout: &ShardLayout) -> Result<Vec<Vec<u8>>, EncodeError> {
    let refused = EncodeError { layout: *layout };
    let code =
        ReedSolomon::new(layout.data_shards as usize, layout.parity_shards as usize).map_err(|_| refused)?;
    if layout.large_block_bytes == 0 || layout.small_block_bytes == 0 {
        return Err(refused);
    }
    let len = layout.shard_len_bytes(dat.len() as u64) as usize;
    let mut shards = vec![vec![0; len]; layout.shards() as usize];
    let large_rows = layout.large_rows(dat.len() as u64);
    let mut rest = dat;
    for piece in layout.pieces(0..dat.len() as u64, large_rows) {
        let (part, after) = rest.split_at(piece.len_bytes as usize);
        let at = piece.offset_bytes as usize;
        shards[piece.shard][at..at + part.len()].copy_from_slice(part);
        rest = after;
    }
    if len > 0 {
        code.encode(&mut shards).map_err(|_| refused)?;
    }
    Ok(shards)
}

/// The `.ecx` (or `.sdx`) of an `.idx`: its live entries in order of id.
///
/// Source: `weed/storage/erasure_coding/ec_encoder.go`, `weed/storage/needle_map_sorted_file.go`.
#[must_use]
pub fn sorted_index(idx: &[u8], width: OffsetWidth) -> Vec<u8> {
    let mut sorted = Vec::new();
    for entry in Index::parse(idx, width).live() {
        let (id, offset_bytes, size) = (entry.id, entry.offset_bytes, entry.size_bytes as i32);
        LogEntry { id, offset_bytes, size }.append_to(&mut sorted, width);
    }
    sorted
}

impl VolumeWriter {
    /// Writes `<dir>/<name>.ec00` and so on, `.ecx` and `.vif`, and neither `.dat` nor `.idx`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] within an [`io::Error`], or what the file system reports.
    pub fn write_coded_to(&self, dir: impl AsRef<Path>, name: &str, layout: &ShardLayout) -> io::Result<()> {
        let path = |extension: &str| dir.as_ref().join(format!("{name}.{extension}"));
        let shards = encode_shards(self.dat(), layout).map_err(io::Error::other)?;
        for (number, shard) in shards.iter().enumerate() {
            fs::write(path(&format!("ec{number:02}")), shard)?;
        }
        let width = self.options().offset_width;
        fs::write(path("ecx"), sorted_index(self.idx(), width))?;
        let vif = Vif {
            version: Some(self.options().version),
            offset_width: Some(width),
            dat_len_bytes: Some(self.dat().len() as u64),
            shards: Some((layout.data_shards, layout.parity_shards)),
            ..Vif::default()
        };
        fs::write(path("vif"), vif.to_json())
    }
}

impl Vif {
    /// The file as a server writes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut root = serde_json::Map::new();
        if let Some(remote) = &self.remote {
            root.insert("files".into(), serde_json::json!([{ "backendType": remote }]));
        }
        if let Some(version) = self.version {
            root.insert("version".into(), version.byte().into());
        }
        if let Some(width) = self.offset_width {
            root.insert("bytesOffset".into(), (width.entry_len_bytes() - 12).into());
        }
        // 64-bit numbers are strings in protobuf's JSON.
        if let Some(len) = self.dat_len_bytes {
            root.insert("datFileSize".into(), len.to_string().into());
        }
        if let Some(at) = self.expires_at_s {
            root.insert("expireAtSec".into(), at.to_string().into());
        }
        if let Some((data, parity)) = self.shards {
            let config = serde_json::json!({ "dataShards": data, "parityShards": parity });
            root.insert("ecShardConfig".into(), config);
        }
        serde_json::Value::Object(root).to_string()
    }
}

/// A layout that cannot be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{layout:?}: there must be data and parity shards, 256 at most, and blocks of some length")]
pub struct EncodeError {
    /// The layout.
    pub layout: ShardLayout,
}
