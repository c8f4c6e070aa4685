//! What is asked for: the parameters of a request, as the mount and as people write them.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::file_id::FileId;

/// Parameters that are looked at; upstream has a dozen.
const PARAMETERS_MAX: usize = 64;

/// A parameter that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("parameter {name}: {why}")]
pub struct BadParameter {
    /// Its name.
    pub name: &'static str,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl BadParameter {
    pub(crate) fn new(name: &'static str, why: impl Into<String>) -> BadParameter {
        BadParameter { name, why: why.into() }
    }
}

/// The parameters of a URL. Values may be percent-encoded or not: `,`, `:` and `/` stand for themselves, as in what the mount sends.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, Vec<u8>)>);

impl Parameters {
    /// Parses what follows the `?`.
    ///
    /// # Errors
    /// Too many of them.
    pub fn parse(query: &str) -> Result<Parameters, BadParameter> {
        let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(BadParameter::new(
                "?",
                format!("{} parameters; at most {PARAMETERS_MAX}", pairs.len()),
            ));
        }
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (String::from_utf8_lossy(&decode(name)).into_owned(), decode(value))
        };
        Ok(Parameters(pairs.into_iter().map(pair).collect()))
    }

    /// The first of that name that says something. Control characters are in no value.
    ///
    /// # Errors
    /// It is no text.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, BadParameter> {
        let Some((_, value)) = self.0.iter().find(|(called, value)| called == name && !value.is_empty())
        else {
            return Ok(None);
        };
        match str::from_utf8(value) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(Some(text)),
            Ok(_) => Err(BadParameter::new(name, "holds a control character")),
            Err(_) => Err(BadParameter::new(name, "is no UTF-8")),
        }
    }

    /// A number from 0 to that type's largest, decimal or with `0x`.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: TryFrom<u64>>(&self, name: &'static str) -> Result<Option<T>, BadParameter> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        let signed = digits.starts_with(['+', '-']);
        let number =
            u64::from_str_radix(digits, radix).ok().filter(|_| !signed).and_then(|n| n.try_into().ok());
        let bits = 8 * size_of::<T>();
        let why = || format!("{text:?} is no number of {bits} bits, decimal or with 0x");
        number.map(Some).ok_or_else(|| BadParameter::new(name, why()))
    }

    /// The needle: by `file_id`, or by `volume`, `needle` and `cookie`.
    ///
    /// # Errors
    /// Neither is there, or it is none.
    pub fn file(&self) -> Result<FileId, BadParameter> {
        if let Some(text) = self.text("file_id")? {
            return FileId::from_str(text)
                .map_err(|why| BadParameter::new("file_id", format!("{text:?} is {why}")));
        }
        let missing = |name| BadParameter::new(name, "is required, unless there is a file_id");
        Ok(FileId {
            volume: self.number("volume")?.ok_or_else(|| missing("volume"))?,
            needle: self.number("needle")?.ok_or_else(|| missing("needle"))?,
            cookie: self.number("cookie")?.ok_or_else(|| missing("cookie"))?,
        })
    }
}

/// Which bytes of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From an offset, so many bytes or, for 0, to the end; answered with 200.
    Window {
        /// First byte.
        offset: u64,
        /// Bytes at most; 0 is to the end.
        len: u64,
    },
    /// From an offset, so many bytes or to the end; answered with 206.
    From {
        /// First byte.
        offset: u64,
        /// Bytes at most; 0 is to the end.
        len: u64,
    },
    /// The last bytes; answered with 206.
    Last {
        /// How many.
        len: u64,
    },
}

/// A request to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The needle.
    pub file: FileId,
    /// Which bytes of it.
    pub part: Part,
    /// The volume server that the client would ask.
    pub volume_server: Option<String>,
}

impl ReadRequest {
    /// From the parameters, and the `Range` header if there is one.
    ///
    /// # Errors
    /// The parameter that cannot be, by name.
    pub fn new(parameters: &Parameters, range: Option<&str>) -> Result<ReadRequest, BadParameter> {
        let file = parameters.file()?;
        let (offset, len) = (parameters.number("offset")?, parameters.number::<u64>("size")?);
        let part = match range.and_then(range_header) {
            Some(_) if offset.is_some() || len.is_some() => {
                return Err(BadParameter::new(
                    "Range",
                    "is instead of offset and size: give one or the other",
                ));
            }
            Some(part) => part,
            None => Part::Window { offset: offset.unwrap_or(0), len: len.unwrap_or(0) },
        };
        if let Part::Window { offset, len } = part
            && offset.checked_add(len).is_none()
        {
            return Err(BadParameter::new("size", format!("{offset} and {len} bytes end behind 2^64")));
        }
        let volume_server = parameters.text("volume_server")?.map(str::to_owned);
        Ok(ReadRequest { file, part, volume_server })
    }
}

/// A range of bytes as RFC 9110 14.1.2 has it. What is none, or several, is as if it were not there: the RFC lets us.
fn range_header(text: &str) -> Option<Part> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    // Numbers of more than 64 bits are behind every end.
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => Some(Part::Last { len: number(last)? }),
        (first, "") => Some(Part::From { offset: number(first)?, len: 0 }),
        (first, last) => {
            let (offset, last) = (number(first)?, number(last)?);
            let len = last.checked_sub(offset)?.saturating_add(1);
            Some(Part::From { offset, len: len.min(u64::MAX - offset) })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn request(query: &str, range: Option<&str>) -> Result<ReadRequest, BadParameter> {
        ReadRequest::new(&Parameters::parse(query)?, range)
    }

    #[test]
    fn a_mount_s_request_is_read_encoded_or_not() {
        let file = FileId { volume: 3, needle: 1, cookie: 0x6370_37d6 };
        let part = Part::Window { offset: 16, len: 4096 };
        let volume_server = Some("http://10.0.0.1:8080".to_owned());
        let wanted = ReadRequest { file, part, volume_server };
        for query in [
            "file_id=3,01637037d6&offset=16&size=4096&volume_server=http://10.0.0.1:8080",
            "file_id=3%2C01637037d6&offset=16&size=4096&volume_server=http%3A%2F%2F10.0.0.1%3A8080",
            "volume=3&needle=1&cookie=1668298710&size=0x1000&offset=16&volume_server=http://10.0.0.1:8080",
            "&&volume=3&needle=0x1&cookie=0x637037d6&size=4096&offset=16&offset=9&volume_server=http://10.0.0.1:8080&x",
        ] {
            assert_eq!(request(query, None).as_ref(), Ok(&wanted), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (query, name) in [
            ("", "volume"),
            ("volume=3", "needle"),
            ("volume=3&needle=1", "cookie"),
            ("volume=18446744073709551616&needle=1&cookie=1", "volume"),
            ("volume=4294967296&needle=1&cookie=1", "volume"),
            ("volume=3&needle=18446744073709551616&cookie=1", "needle"),
            ("volume=3&needle=1&cookie=-1", "cookie"),
            ("volume=3&needle=1&cookie=%2B1", "cookie"),
            ("file_id=3", "file_id"),
            ("file_id=3,01637037d6%00", "file_id"),
            ("file_id=%ff", "file_id"),
            ("file_id=3,01637037d6&offset=18446744073709551616", "offset"),
            ("file_id=3,01637037d6&size=1.5", "size"),
            ("file_id=3,01637037d6&size=1&offset=18446744073709551615", "size"),
            ("file_id=3,01637037d6&volume_server=http://a%0d%0ab", "volume_server"),
            (&"&a=b".repeat(65), "?"),
        ] {
            assert_eq!(request(query, None).unwrap_err().name, name, "{query}");
        }
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        let of = |range| request("file_id=3,01637037d6", Some(range)).unwrap().part;
        let whole = Part::Window { offset: 0, len: 0 };
        for (range, part) in [
            ("bytes=0-0", Part::From { offset: 0, len: 1 }),
            ("bytes=5-", Part::From { offset: 5, len: 0 }),
            ("bytes=-5", Part::Last { len: 5 }),
            ("Bytes = 5-9 ", Part::From { offset: 5, len: 5 }),
            ("bytes=0-18446744073709551616", Part::From { offset: 0, len: u64::MAX }),
            ("bytes=9-5", whole),
            ("bytes=0-1,3-4", whole),
            ("bytes=", whole),
            ("bytes=-", whole),
            ("bytes=+1-2", whole),
            ("lines=1-2", whole),
        ] {
            assert_eq!(of(range), part, "{range}");
        }
        let both = request("file_id=3,01637037d6&size=1", Some("bytes=0-0"));
        assert_eq!(both.unwrap_err().name, "Range");
    }
}
