//! Bodies of volume servers' answers: never longer than was asked for, never shorter than was said.

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_RANGE, HeaderMap};

use super::{Asked, FetchError, Fetched, details, is_gzip, is_joined, text};

/// Room that is made in advance on a server's word.
const ROOM_MAX: u64 = 1 << 20;

/// A 206: exactly the range that its head says, which has to be within the one that was asked for.
pub(super) async fn part(
    headers: &HeaderMap,
    content: Incoming,
    asked: Asked,
) -> Result<Fetched, FetchError> {
    let wrong = |why: String| Err(FetchError::Wrong(why));
    if is_gzip(headers)? {
        return wrong("a part of compressed bytes".to_owned());
    }
    let Some(range) = text(headers, &CONTENT_RANGE) else {
        return wrong("206 without Content-Range".to_owned());
    };
    let Some((first, last, whole_len)) = content_range(range) else {
        return wrong(format!("Content-Range {range:?}"));
    };
    let wanted_last = match asked.len {
        0 => whole_len.map_or(u64::MAX, |len| len.saturating_sub(1)),
        len => asked.offset.saturating_add(len) - 1,
    };
    // The range may end sooner only where the content does.
    let ends = last == wanted_last || whole_len.is_some_and(|len| last < wanted_last && last + 1 == len);
    if first != asked.offset || !ends {
        return wrong(format!(
            "bytes {first} to {last} where {} to {wanted_last} were asked for",
            asked.offset
        ));
    }
    let len = last - first + 1;
    if len > asked.bytes_max {
        return Err(FetchError::TooLong { max: asked.bytes_max });
    }
    let bytes = collect(content, len, None).await.map_err(|why| match why {
        FetchError::TooLong { .. } => {
            FetchError::Wrong(format!("more than the {len} bytes that were promised"))
        }
        other => other,
    })?;
    if bytes.len() as u64 != len {
        return wrong(format!("{} bytes where {len} were promised", bytes.len()));
    }
    Ok(Fetched { bytes, whole_len, details: details(headers), checked: false })
}

/// A 200: the whole content, cut to the range here.
pub(super) async fn whole(
    headers: &HeaderMap,
    content: Incoming,
    asked: Asked,
) -> Result<Fetched, FetchError> {
    let said = content.size_hint().exact();
    let gzip = is_gzip(headers)?;
    let details = details(headers);
    // Where the checksum is not looked at, what follows the range need not come.
    let enough = match asked.len {
        len if len != 0 && !asked.whole() && !gzip => Some(asked.offset.saturating_add(len)),
        _ => None,
    };
    let most = enough.unwrap_or(u64::MAX).min(said.unwrap_or(u64::MAX));
    if most > asked.bytes_max && said.is_some() {
        return Err(FetchError::TooLong { max: asked.bytes_max });
    }
    let stored = collect(content, asked.bytes_max, enough).await?;
    let complete =
        enough.is_none_or(|enough| (stored.len() as u64) < enough) || said == Some(stored.len() as u64);
    let mut checked = false;
    if asked.whole() && !is_joined(headers) {
        match details.etag {
            Some(etag) if etag != crc32c::crc32c(&stored) => return Err(FetchError::Damaged),
            Some(_) => checked = true,
            None => {}
        }
    }
    if asked.verified && !checked {
        return Err(FetchError::Wrong(
            "it says no checksum of the needle, and one is needed here".to_owned(),
        ));
    }
    let content = if gzip { inflate(stored, asked.bytes_max)? } else { stored };
    let whole_len = if complete { Some(content.len() as u64) } else { said };
    let len = content.len() as u64;
    if asked.offset >= len && asked.offset > 0 {
        return Err(FetchError::PastEnd { whole_len });
    }
    let end = match asked.len {
        0 => len,
        wanted => asked.offset.saturating_add(wanted).min(len),
    };
    // Both are at most the content's length, which is that of memory.
    let bytes = content.slice(asked.offset as usize..end as usize);
    Ok(Fetched { bytes, whole_len, details, checked })
}

/// Takes at most `max` bytes, and no more than `enough`.
async fn collect(mut content: Incoming, max: u64, enough: Option<u64>) -> Result<Bytes, FetchError> {
    let said = content.size_hint().exact();
    let room = said.unwrap_or(0).min(max).min(ROOM_MAX);
    let mut bytes = BytesMut::with_capacity(room as usize);
    while let Some(frame) = content.frame().await {
        let frame = frame.map_err(|why| FetchError::Gone(format!("its answer broke off: {why}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() as u64 + data.len() as u64 > max {
            let all_there = enough.is_some_and(|enough| enough <= max);
            match all_there {
                true => bytes.extend_from_slice(&data[..(max - bytes.len() as u64) as usize]),
                // Who does not say how much it is may go on for ever; a volume server says.
                false if said.is_none() => {
                    return Err(FetchError::Wrong(format!(
                        "it goes on behind {max} bytes, and does not say how far"
                    )));
                }
                false => return Err(FetchError::TooLong { max }),
            }
        } else {
            bytes.extend_from_slice(&data);
        }
        if enough.is_some_and(|enough| bytes.len() as u64 >= enough) {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// Decompresses, up to a limit whatever goes in.
fn inflate(stored: Bytes, max: u64) -> Result<Bytes, FetchError> {
    let mut content = Vec::new();
    let mut decoder = MultiGzDecoder::new(&stored[..]).take(max + 1);
    match decoder.read_to_end(&mut content) {
        Ok(_) if content.len() as u64 > max => Err(FetchError::TooLong { max }),
        Ok(_) => Ok(content.into()),
        Err(why) => Err(FetchError::Wrong(format!("it is not the gzip that it says: {why}"))),
    }
}

/// First and last byte, and of how many: `bytes 0-99/200`, `bytes 0-99/*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let whole = match whole {
        "*" => None,
        len => Some(len.parse::<u64>().ok().filter(|len| last < *len)?),
    };
    (first <= last && last < u64::MAX).then_some((first, last, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_cannot_be_is_none() {
        assert_eq!(content_range("bytes 0-99/200"), Some((0, 99, Some(200))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5, 5, None)));
        for text in [
            "",
            "bytes",
            "bytes 5-4/9",
            "bytes 0-9/9",
            "bytes 0-/9",
            "bytes */9",
            "lines 0-1/2",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
