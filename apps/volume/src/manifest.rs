//! Chunk manifests: a needle whose data is the list of the needles that hold a file.

use serde_json::Value;

/// Where the chunks of a file are. Fetching them is the caller's: they may be on other servers.
///
/// Source: `weed/operation/chunked_file.go`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkManifest {
    /// File name.
    pub name: String,
    /// MIME type.
    pub mime: String,
    /// Length of the file.
    pub len_bytes: u64,
    /// In order of their offset.
    pub chunks: Vec<Chunk>,
}

/// One piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Volume, needle and cookie: `3,01637037d6`.
    pub file_id: String,
    /// Where it begins in the file.
    pub offset_bytes: u64,
    /// Its length.
    pub len_bytes: u64,
}

impl ChunkManifest {
    /// The longest manifest that is parsed.
    pub const LEN_BYTES_MAX: usize = 16 << 20;
    /// The most chunks one may list.
    pub const CHUNKS_MAX: usize = 200_000;
    const FILE_ID_BYTES_MAX: usize = 256;

    /// Parses the content of a needle whose flags say [`crate::Flags::is_chunk_manifest`], decompressed.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], with what to look at.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > Self::LEN_BYTES_MAX {
            return Err(ManifestError::TooLong { len_bytes: json.len() });
        }
        let root: Value =
            serde_json::from_slice(json).map_err(|fault| ManifestError::Json(fault.to_string()))?;
        let text = |name| root.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let listed = match root.get("chunks") {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(listed)) => listed,
            Some(_) => return Err(ManifestError::Json("chunks is no list".to_owned())),
        };
        if listed.len() > Self::CHUNKS_MAX {
            return Err(ManifestError::TooMany { chunks: listed.len() });
        }
        let mut chunks = Vec::with_capacity(listed.len());
        for (number, chunk) in listed.iter().enumerate() {
            let fault = |what| ManifestError::Chunk { number, what };
            let file_id = chunk.get("fid").and_then(Value::as_str).ok_or(fault("fid is no text"))?;
            if file_id.is_empty() || file_id.len() > Self::FILE_ID_BYTES_MAX {
                return Err(fault("fid is empty or too long"));
            }
            let offset_bytes = number_of(chunk, "offset").ok_or(fault("offset is no number from 0 up"))?;
            let len_bytes = number_of(chunk, "size").ok_or(fault("size is no number from 0 up"))?;
            offset_bytes.checked_add(len_bytes).ok_or(fault("offset and size go past what any file has"))?;
            chunks.push(Chunk { file_id: file_id.to_owned(), offset_bytes, len_bytes });
        }
        chunks.sort_by_key(|chunk| chunk.offset_bytes);
        let len_bytes =
            number_of(&root, "size").ok_or(ManifestError::Json("size is no number from 0 up".to_owned()))?;
        Ok(Self { name: text("name"), mime: text("mime"), len_bytes, chunks })
    }
}

/// Absent means 0: the servers leave zeroes out.
fn number_of(object: &Value, name: &str) -> Option<u64> {
    object.get(name).map_or(Some(0), Value::as_u64).filter(|number| i64::try_from(*number).is_ok())
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON it should be.
    #[error("the chunk manifest is damaged: {0}; write the file again, or restore it from another replica")]
    Json(String),
    /// It is too long.
    #[error("a chunk manifest of {len_bytes} bytes; {} are read at most", ChunkManifest::LEN_BYTES_MAX)]
    TooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// It lists too many chunks.
    #[error("a chunk manifest of {chunks} chunks; {} are read at most", ChunkManifest::CHUNKS_MAX)]
    TooMany {
        /// How many.
        chunks: usize,
    },
    /// One chunk is not what it should be.
    #[error(
        "chunk {number} of the manifest: {what}; write the file again, or restore it from another replica"
    )]
    Chunk {
        /// Counted from 0.
        number: usize,
        /// What is wrong.
        what: &'static str,
    },
}
