//! Reading a needle from a volume server by HTTP, and believing as little of the answer as can be checked.

mod body;

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED, LOCATION,
};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::client::{Answer, HttpClient, client, get, told};
use crate::clock::unix_s;
use crate::engine::Details;
use crate::file_id::FileId;
use crate::place::Place;

/// How often one server sends on to another.
const REDIRECTS_MAX: usize = 3;

/// What is asked of a volume server.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The needle.
    pub file: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is to the end.
    pub len: u64,
    /// Whether the whole needle is fetched, whatever the range, and has to pass its checksum.
    pub verified: bool,
    /// Most bytes that are taken into memory.
    pub bytes_max: u64,
}

impl Asked {
    fn whole(&self) -> bool {
        self.verified || (self.offset == 0 && self.len == 0)
    }
}

/// Bytes from a volume server.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The bytes of the range, as many as the needle has of them.
    pub bytes: Bytes,
    /// Length of the whole content, if it was said.
    pub whole_len: Option<u64>,
    /// What is known of the needle. Its flags are not: the server has undone what they stand for.
    pub details: Details,
    /// Whether the whole needle came and passed its checksum.
    pub checked: bool,
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("{0}")]
    Gone(String),
    /// Not within its time.
    #[error("it took too long")]
    TimedOut,
    /// A status that says nothing about the needle.
    #[error("it answered {0}")]
    Status(u16),
    /// An answer that contradicts itself or the question.
    #[error("its answer is not right: {0}")]
    Wrong(String),
    /// The bytes are not those that its own checksum is of.
    #[error("the bytes do not have the checksum that it says")]
    Damaged,
    /// It has no such needle.
    #[error("it has no such needle")]
    Missing,
    /// The range begins past the end.
    #[error("the range begins past the end")]
    PastEnd {
        /// Length of the content, if it was said.
        whole_len: Option<u64>,
    },
    /// It wants to be shown an authorization, or another one.
    #[error("it wants another authorization")]
    Unauthorized,
    /// It has too much to do.
    #[error("it has too much to do")]
    Busy,
    /// More bytes than one answer may have.
    #[error("more than {max} bytes")]
    TooLong {
        /// What one may have.
        max: u64,
    },
    /// It sends on to another server.
    #[error("it sends on to {0}")]
    Elsewhere(Place),
}

impl FetchError {
    /// A word for headers, logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            FetchError::Gone(_) => "gone",
            FetchError::TimedOut => "timed-out",
            FetchError::Status(_) => "status",
            FetchError::Wrong(_) => "wrong-answer",
            FetchError::Damaged => "damaged",
            FetchError::Missing => "missing",
            FetchError::PastEnd { .. } => "past-end",
            FetchError::Unauthorized => "unauthorized",
            FetchError::Busy => "busy",
            FetchError::TooLong { .. } => "too-long",
            FetchError::Elsewhere(_) => "elsewhere",
        }
    }

    /// Whether it says that the server does not work, rather than something about the needle.
    pub fn is_of_server(&self) -> bool {
        matches!(
            self,
            FetchError::Gone(_) | FetchError::TimedOut | FetchError::Status(500..) | FetchError::Wrong(_)
        )
    }
}

/// Fetches, over connections that are kept.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: HttpClient,
}

impl Fetcher {
    /// One that gives up connecting after so long.
    pub fn new(connect: Duration) -> Fetcher {
        Fetcher { client: client(connect) }
    }

    /// Reads from one server. Whoever asks follows where it sends on to, if that is allowed.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        place: &Place,
        asked: Asked,
        authorization: Option<&str>,
        deadline: Instant,
    ) -> Result<Fetched, FetchError> {
        let mut headers = Vec::new();
        if asked.whole() {
            // Compressed needles come as they are stored, which is what the checksum is of.
            headers.push(("accept-encoding", "gzip".to_owned()));
        } else {
            headers.push(("accept-encoding", "identity".to_owned()));
            let last = match asked.len {
                0 => String::new(),
                len => (asked.offset.saturating_add(len) - 1).to_string(),
            };
            headers.push(("range", format!("bytes={}-{last}", asked.offset)));
        }
        if let Some(word) = authorization {
            headers.push(("authorization", format!("Bearer {word}")));
        }
        let request = get(place.as_str(), &format!("/{}", asked.file), &headers)
            .map_err(|why| FetchError::Gone(why.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|why| FetchError::Gone(told(&why)))?;
            read(answer, asked).await
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(FetchError::TimedOut))
    }

    /// The most servers that may be asked in a row because one sends on to the next.
    pub fn redirects_max() -> usize {
        REDIRECTS_MAX
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn read(answer: Answer, asked: Asked) -> Result<Fetched, FetchError> {
    let (head, content) = answer.into_parts();
    let headers = &head.headers;
    match head.status {
        StatusCode::OK => body::whole(headers, content, asked).await,
        StatusCode::PARTIAL_CONTENT if !asked.whole() => body::part(headers, content, asked).await,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let range = text(headers, &CONTENT_RANGE);
            let whole_len =
                range.and_then(|range| range.strip_prefix("bytes */")).and_then(|len| len.parse().ok());
            match whole_len {
                // An empty needle has no range at all, but what is asked for is all of it.
                Some(0) if asked.offset == 0 => {
                    Ok(Fetched { bytes: Bytes::new(), whole_len, details: details(headers), checked: false })
                }
                Some(len) if len > asked.offset => {
                    Err(FetchError::Wrong(format!("byte {} of {len} is past the end", asked.offset)))
                }
                whole_len => Err(FetchError::PastEnd { whole_len }),
            }
        }
        StatusCode::NOT_FOUND => Err(FetchError::Missing),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Unauthorized),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(FetchError::Busy),
        status if status.is_redirection() => {
            let to = text(headers, &LOCATION).ok_or(FetchError::Status(status.as_u16()))?;
            // Only where to: what to ask there is for us to say.
            let place = to.strip_prefix("http://").and_then(|to| to.split(['/', '?', '#']).next());
            let place = place.and_then(|place| place.parse().ok());
            let odd =
                || FetchError::Wrong(format!("it redirects to {to:?}, which is no volume server over http"));
            Err(place.map_or_else(odd, FetchError::Elsewhere))
        }
        status => Err(FetchError::Status(status.as_u16())),
    }
}

/// What the head says of a needle.
fn details(headers: &HeaderMap) -> Details {
    Details {
        flags: 0,
        last_modified_s: text(headers, &LAST_MODIFIED).and_then(unix_s),
        etag: text(headers, &ETAG).and_then(etag),
        mime: text(headers, &CONTENT_TYPE).map(str::to_owned),
        name: None,
    }
}

/// A checksum: eight hexadecimal digits in quotes. Other tags are somebody else's.
fn etag(tag: &str) -> Option<u32> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_crc = digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_crc.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether the server compressed the body, which it does only with what it stores so.
fn is_gzip(headers: &HeaderMap) -> Result<bool, FetchError> {
    match text(headers, &CONTENT_ENCODING) {
        None | Some("identity") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => Err(FetchError::Wrong(format!("it encodes as {other:?}, which nobody asked for"))),
    }
}

/// Whether the server joined the content from chunks: its tag is not of the content then.
fn is_joined(headers: &HeaderMap) -> bool {
    headers.get("x-file-store").is_some_and(|store| store == "chunked")
}
