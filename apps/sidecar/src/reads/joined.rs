//! A file whose needle lists the needles that hold it: each read by the same ways, joined in order.

use futures_util::stream::{StreamExt as _, iter};
use tokio::time::Instant;
use wavetank_volume::{ChunkManifest, ManifestError};

use super::{Range, ReadError, Reads, Served, Way};
use crate::attempts::Attempts;
use crate::file_id::FileId;

/// Chunks that are read at once for one answer.
const AT_ONCE: usize = 4;

/// Chunks that one answer may be joined from.
const CHUNKS_MAX: usize = 4096;

/// A part of a chunk.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    file: FileId,
    offset: u64,
    len: u64,
}

impl Reads {
    /// Reads a range of the file.
    pub(super) async fn joined(
        &self,
        range: &Range,
        deadline: Instant,
        attempts: &mut Attempts,
    ) -> Result<Served, ReadError> {
        let list = self.needle(&Range { offset: 0, len: 0, ..range.clone() }, deadline, attempts).await;
        let list = match list {
            Ok(list) if list.details.is_chunk_manifest() => list,
            // The engine went away between two reads. A volume server joins files by itself, so that its bytes are the file's.
            Ok(_) | Err(ReadError::TooLong { .. }) => {
                let served = self.needle(range, deadline, attempts).await?;
                return match served.way {
                    Way::Http => Ok(served),
                    _ => Err(ReadError::Busy {
                        why: "the needle is being changed".to_owned(),
                        retry_after_s: 1,
                    }),
                };
            }
            Err(why) => return Err(why),
        };
        let manifest = ChunkManifest::parse(&list.frames.concat()).map_err(damaged)?;
        let pieces = pieces(&manifest, range.offset, range.len, self.limits.bytes_max)?;
        let mut reads = iter(pieces)
            .map(|piece| async move {
                let mut attempts = Attempts::default();
                let range = Range { file: piece.file, offset: piece.offset, len: piece.len, hint: None };
                let served = self.needle(&range, deadline, &mut attempts).await;
                (piece, served, attempts)
            })
            .buffered(AT_ONCE);
        let mut joined = Served {
            frames: Vec::new(),
            len: 0,
            offset: range.offset,
            whole_len: Some(manifest.len_bytes),
            way: list.way,
            checked: true,
            details: list.details,
        };
        while let Some((piece, served, tried)) = reads.next().await {
            attempts.join(tried);
            let served = served.map_err(|why| of_chunk(&piece, why))?;
            if served.details.is_chunk_manifest() {
                return Err(ReadError::Damaged(format!("chunk {} is itself a list of chunks", piece.file)));
            }
            if served.len != piece.len {
                let (have, due) = (served.len, piece.len);
                return Err(ReadError::Damaged(format!("chunk {} has {have} bytes of {due}", piece.file)));
            }
            joined.frames.extend(served.frames);
            joined.len += served.len;
            joined.way = joined.way.max(served.way);
            joined.checked &= served.checked;
        }
        joined.details.flags &= !0x80;
        joined.details.mime = Some(manifest.mime).filter(|mime| !mime.is_empty());
        joined.details.name = Some(manifest.name).filter(|name| !name.is_empty());
        Ok(joined)
    }
}

fn damaged(why: ManifestError) -> ReadError {
    ReadError::Damaged(why.to_string())
}

/// A chunk that is not there is no file that is not there.
fn of_chunk(piece: &Piece, why: ReadError) -> ReadError {
    match why {
        ReadError::NotFound(_) | ReadError::PastEnd { .. } => {
            ReadError::Damaged(format!("chunk {}: {why}", piece.file))
        }
        other => other,
    }
}

/// What to read for a range, in order and without a gap.
fn pieces(manifest: &ChunkManifest, offset: u64, len: u64, bytes_max: u64) -> Result<Vec<Piece>, ReadError> {
    let whole = manifest.len_bytes;
    if offset > 0 && offset >= whole {
        return Err(ReadError::PastEnd { whole_len: Some(whole) });
    }
    let end = if len == 0 { whole } else { offset.saturating_add(len).min(whole) };
    if end - offset > bytes_max {
        return Err(ReadError::TooLong { max: bytes_max });
    }
    let (mut pieces, mut at) = (Vec::new(), offset);
    for chunk in &manifest.chunks {
        let chunk_end = chunk.offset_bytes.saturating_add(chunk.len_bytes);
        if at >= end || chunk_end <= at {
            continue;
        }
        // Chunks that overlap would leave open whose bytes are the file's.
        let overlaps = !pieces.is_empty() && chunk.offset_bytes < at;
        if chunk.offset_bytes > at || overlaps {
            break;
        }
        let file = chunk
            .file_id
            .parse()
            .map_err(|why| ReadError::Damaged(format!("{:?} is {why}", chunk.file_id)))?;
        let piece_len = chunk_end.min(end) - at;
        pieces.push(Piece { file, offset: at - chunk.offset_bytes, len: piece_len });
        at += piece_len;
        if pieces.len() > CHUNKS_MAX {
            return Err(ReadError::TooLong { max: at - offset });
        }
    }
    match at >= end {
        true => Ok(pieces),
        false => {
            Err(ReadError::Damaged(format!("the chunks that are listed leave byte {at} of {whole} open")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn manifest(chunks: &[(u64, u64)], size: u64) -> ChunkManifest {
        let chunk = |(n, (offset, len)): (usize, &(u64, u64))| {
            format!(r#"{{"fid":"3,{:x}00000001","offset":{offset},"size":{len}}}"#, n + 1)
        };
        let chunks: Vec<_> = chunks.iter().enumerate().map(chunk).collect();
        let text = format!(r#"{{"name":"a","size":{size},"chunks":[{}]}}"#, chunks.join(","));
        ChunkManifest::parse(text.as_bytes()).unwrap()
    }

    fn read(manifest: &ChunkManifest, offset: u64, len: u64) -> Result<Vec<(u64, u64, u64)>, ReadError> {
        let pieces = pieces(manifest, offset, len, 1000)?;
        Ok(pieces.iter().map(|piece| (piece.file.needle, piece.offset, piece.len)).collect())
    }

    #[test]
    fn a_range_is_mapped_over_chunks() {
        let three = manifest(&[(0, 10), (10, 10), (20, 5)], 25);
        assert_eq!(read(&three, 0, 0), Ok(vec![(1, 0, 10), (2, 0, 10), (3, 0, 5)]));
        assert_eq!(read(&three, 9, 2), Ok(vec![(1, 9, 1), (2, 0, 1)]));
        assert_eq!(read(&three, 20, 100), Ok(vec![(3, 0, 5)]));
        assert_eq!(read(&three, 25, 1), Err(ReadError::PastEnd { whole_len: Some(25) }));
        assert_eq!(read(&manifest(&[], 0), 0, 0), Ok(vec![]));
    }

    #[test]
    fn gaps_and_overlaps_are_damage_and_not_zeroes() {
        for (chunks, size) in
            [(&[(0, 10), (11, 9)][..], 20), (&[(0, 10), (9, 11)], 20), (&[(0, 10)], 20), (&[], 1)]
        {
            let said = read(&manifest(chunks, size), 0, 0);
            assert!(matches!(said, Err(ReadError::Damaged(_))), "{chunks:?}: {said:?}");
        }
        assert!(matches!(read(&manifest(&[(0, 2000)], 2000), 0, 0), Err(ReadError::TooLong { .. })));
    }
}
