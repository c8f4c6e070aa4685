//! `.vif`: what the server notes about a volume beside its files. JSON as protobuf writes it.

use serde_json::Value;

use crate::{OffsetWidth, UnknownOffsetWidth, Version};

/// The part of a `.vif` that a reader needs.
///
/// Source: `weed/storage/volume_info/volume_info.go`, `weed/pb/volume_server.proto` (VolumeInfo).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vif {
    /// Where the `.dat` is when it is not here: the first remote file's backend and key.
    pub remote: Option<String>,
    /// Record layout; of use for erasure-coded volumes, whose superblock may be out of reach.
    pub version: Option<Version>,
    /// Width of the offsets in the index; `None` in files older than the field.
    pub offset_width: Option<OffsetWidth>,
    /// Length of the `.dat` that was erasure-coded.
    pub dat_len_bytes: Option<u64>,
    /// When the server is to remove the volume, in Unix seconds.
    pub expires_at_s: Option<u64>,
    /// Data and parity shards, where they are not 10 and 4.
    pub shards: Option<(u32, u32)>,
}

impl Vif {
    /// The longest `.vif` that is read. Real ones are a few hundred bytes.
    pub const LEN_BYTES_MAX: u64 = 1 << 20;

    /// Parses the file. Keys may be spelled as protobuf's JSON does it, as in the schema, or as older servers did;
    /// 64-bit numbers may be strings.
    ///
    /// # Errors
    ///
    /// [`VifError`], naming the key.
    pub fn parse(json: &[u8]) -> Result<Self, VifError> {
        let root: Value = serde_json::from_slice(json).map_err(|fault| VifError::Json(fault.to_string()))?;
        if !root.is_object() {
            return Err(VifError::Json("it is no object".to_owned()));
        }
        let remote = match key(&root, &["files"]) {
            Some(Value::Array(files)) => files.first().map(|file| {
                let text =
                    |names: &[&str]| key(file, names).and_then(Value::as_str).unwrap_or("?").to_owned();
                format!("{} {}", text(&["backendType", "backend_type"]), text(&["key"]))
            }),
            _ => None,
        };
        let version = match number(&root, &["version"])?.filter(|version| *version != 0) {
            None => None,
            Some(found) => {
                let version = u8::try_from(found).ok().and_then(Version::from_byte);
                Some(version.ok_or(VifError::Number { key: "version", found: found.to_string() })?)
            }
        };
        let offset_width = match number(&root, &["bytesOffset", "bytes_offset", "BytesOffset"])?.unwrap_or(0)
        {
            0 => None,
            found => Some(OffsetWidth::from_vif(u32::try_from(found).unwrap_or(u32::MAX))?),
        };
        let dat_len_bytes =
            number(&root, &["datFileSize", "dat_file_size", "DatFileSize"])?.filter(|len| *len != 0);
        let expires_at_s =
            number(&root, &["expireAtSec", "expire_at_sec", "ExpireAtSec", "DestroyTime", "destroyTime"])?
                .filter(|at| *at != 0);
        let shards = match key(&root, &["ecShardConfig", "ec_shard_config", "EcShardConfig"]) {
            None => None,
            Some(config) => {
                let data = number(config, &["dataShards", "data_shards"])?.unwrap_or(0);
                let parity = number(config, &["parityShards", "parity_shards"])?.unwrap_or(0);
                match (u32::try_from(data), u32::try_from(parity)) {
                    (Ok(0), Ok(0)) => None,
                    (Ok(d @ 1..), Ok(p @ 1..)) if d.saturating_add(p) <= Self::SHARDS_MAX => Some((d, p)),
                    _ => return Err(VifError::Shards { data, parity }),
                }
            }
        };
        Ok(Self { remote, version, offset_width, dat_len_bytes, expires_at_s, shards })
    }

    /// The most shards a volume may have. Source: `weed/storage/erasure_coding/ec_encoder.go`.
    pub const SHARDS_MAX: u32 = 32;
}

fn key<'v>(object: &'v Value, names: &[&str]) -> Option<&'v Value> {
    names.iter().find_map(|name| object.get(name)).filter(|value| !value.is_null())
}

fn number(object: &Value, names: &[&'static str]) -> Result<Option<u64>, VifError> {
    let Some(value) = key(object, names) else { return Ok(None) };
    let found = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let key = names.first().copied().unwrap_or_default();
    found
        .map(Some)
        .ok_or_else(|| VifError::Number { key, found: value.to_string().chars().take(40).collect() })
}

/// Why a `.vif` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VifError {
    /// It is no JSON object.
    #[error(
        "{0}; the .vif holds one JSON object: remove it if it is damaged, and the server will write it again"
    )]
    Json(String),
    /// It is too long.
    #[error("{len_bytes} bytes; a .vif has at most {}: check what this file is", Vif::LEN_BYTES_MAX)]
    TooLong {
        /// Its length.
        len_bytes: u64,
    },
    /// A number is none, or out of range.
    #[error("{key} is {found}; a number that fits is needed there: check the .vif")]
    Number {
        /// The key.
        key: &'static str,
        /// What stands there.
        found: String,
    },
    /// The offset width does not exist.
    #[error(transparent)]
    OffsetWidth(#[from] UnknownOffsetWidth),
    /// Shard counts that cannot be.
    #[error(
        "{data} data and {parity} parity shards; each is at least 1 and both together at most {}: check the .vif",
        Vif::SHARDS_MAX
    )]
    Shards {
        /// Data shards it names.
        data: u64,
        /// Parity shards it names.
        parity: u64,
    },
}
