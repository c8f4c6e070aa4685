//! What is asked for, and what is found: the same over the socket and through a ring.

/// Longest hint of a server, in bytes: `HOST:PORT` with a name of 253 (RFC 1035) and a port of 5.
pub const SERVER_BYTES_MAX: usize = 259;

/// Longest name or type of a needle, in bytes: SeaweedFS stores the length of either in one.
pub const TEXT_BYTES_MAX: usize = 255;

/// A range of a needle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The volume's number.
    pub volume: u32,
    /// The needle's number.
    pub needle: u64,
    /// Its cookie.
    pub cookie: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is to the end.
    pub len: u64,
    /// `HOST:PORT` of the volume's server: a hint.
    pub server: Option<String>,
    /// Nanoseconds it may take; 0 is what the engine gives by itself.
    pub timeout_ns: u64,
}

/// By which way bytes came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPath {
    /// From files of this machine.
    #[default]
    Local,
    /// Read out of the server's memory.
    Pull,
    /// Written into ours by the server.
    Push,
}

impl ReadPath {
    /// On the wire.
    pub const fn number(self) -> u8 {
        match self {
            ReadPath::Local => 0,
            ReadPath::Pull => 1,
            ReadPath::Push => 2,
        }
    }

    /// From the wire.
    pub const fn from_number(number: u8) -> Option<ReadPath> {
        match number {
            0 => Some(ReadPath::Local),
            1 => Some(ReadPath::Pull),
            2 => Some(ReadPath::Push),
            _ => None,
        }
    }
}

/// What a web server needs to know of a needle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Flags as stored; without the compressed one, if that was undone.
    pub flags: u8,
    /// When it was written, in Unix seconds.
    pub last_modified_s: Option<u64>,
    /// CRC32-C of the whole needle as stored, which SeaweedFS uses as its ETag.
    pub etag: Option<u32>,
    /// MIME type.
    pub mime: Option<Box<str>>,
    /// Name.
    pub name: Option<Box<str>>,
}

/// Bytes that were found, and where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// First byte in the shared arena; 0 if there is none.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Names this loan: whoever gives it back says so. 0: nothing was lent, for there is no byte.
    pub generation: u64,
    /// Length of the whole needle.
    pub whole_len: u64,
    /// CRC32-C of the bytes.
    pub crc32c: u32,
    /// By which way they came.
    pub path: ReadPath,
    /// What is known of the needle.
    pub details: Details,
}

impl Details {
    /// Which parts are there, as bits.
    pub(crate) fn known(&self) -> u8 {
        u8::from(self.last_modified_s.is_some())
            | u8::from(self.etag.is_some()) << 1
            | u8::from(self.mime.is_some()) << 2
            | u8::from(self.name.is_some()) << 3
    }

    /// The reverse.
    pub(crate) fn from_known(
        known: u8,
        flags: u8,
        last_modified_s: u64,
        etag: u32,
        mime: &str,
        name: &str,
    ) -> Details {
        Details {
            flags,
            last_modified_s: (known & 1 != 0).then_some(last_modified_s),
            etag: (known & 2 != 0).then_some(etag),
            mime: (known & 4 != 0).then(|| mime.into()),
            name: (known & 8 != 0).then(|| name.into()),
        }
    }
}
