//! Why there are no bytes, as numbers that stay what they are.

use core::fmt;

/// Upstream's classes of errors: what an operator has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The request itself.
    Request,
    /// A session of the upstream protocol.
    Session,
    /// Limits.
    Capacity,
    /// Who asks.
    Security,
    /// Time, or a peer.
    Network,
    /// A device, or data that it moved.
    Rdma,
    /// The protocol.
    Ipc,
    /// Us.
    Internal,
}

impl Category {
    /// As upstream writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Request => "request",
            Category::Session => "session",
            Category::Capacity => "capacity",
            Category::Security => "security",
            Category::Network => "network",
            Category::Rdma => "rdma",
            Category::Ipc => "ipc",
            Category::Internal => "internal",
        }
    }

    /// Whether asking again may help, as upstream has it for its classes.
    pub const fn is_recoverable(self) -> bool {
        matches!(
            self,
            Category::Network | Category::Capacity | Category::Session | Category::Ipc | Category::Rdma
        )
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $category:ident;)*) => {
        /// An outcome other than bytes. Numbers and names stay what they are; new ones may come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// By number. A number that this version does not know is an internal error to it.
            pub const fn from_number(number: u16) -> Option<Code> {
                match number { $($number => Some(Code::$name),)* _ => None }
            }

            /// The name that travels in the upstream protocol.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// Its class.
            pub const fn category(self) -> Category {
                match self { $(Code::$name => Category::$category,)* }
            }
        }
    };
}

codes! {
    /// No such needle, or no such volume.
    Missing = 1, "NEEDLE_NOT_FOUND", Request;
    /// It was deleted.
    Deleted = 2, "NEEDLE_DELETED", Request;
    /// Its time to live is over.
    Expired = 3, "NEEDLE_EXPIRED", Request;
    /// It is there, with another cookie.
    WrongCookie = 4, "WRONG_COOKIE", Security;
    /// The range begins past the end. The detail is the whole length.
    PastEnd = 5, "PAST_END", Request;
    /// More bytes than one read may have. The detail is the limit.
    TooLong = 6, "TOO_LONG", Request;
    /// A checksum says that the bytes are not those that were stored.
    Damaged = 7, "DAMAGED", Rdma;
    /// The volume's server lets nobody read it by RDMA.
    NotExported = 8, "NOT_EXPORTED", Request;
    /// The volume's server went away.
    PeerGone = 9, "PEER_GONE", Network;
    /// The device went away.
    DeviceGone = 10, "DEVICE_GONE", Rdma;
    /// Not within its time.
    TimedOut = 11, "TIMED_OUT", Network;
    /// As many at once as there may be, or no memory now. The detail is the limit, if it is one.
    Busy = 12, "BUSY", Capacity;
    /// Whoever asked wanted it no more.
    Cancelled = 13, "CANCELLED", Request;
    /// Our own fault.
    Internal = 14, "INTERNAL", Internal;
    /// The bytes cannot be understood.
    Malformed = 32, "MALFORMED", Ipc;
    /// No version that both sides speak. The detail is the engine's: the newest times 2^16, plus the oldest.
    UnknownVersion = 33, "UNKNOWN_VERSION", Ipc;
    /// An id, a name or a ring that is already in use, or one that never was.
    WrongName = 34, "WRONG_NAME", Request;
    /// A message that this side does not take.
    Unsupported = 35, "UNSUPPORTED_MESSAGE", Request;
    /// The engine is going down.
    ShuttingDown = 36, "SHUTTING_DOWN", Ipc;
}

impl Code {
    /// On the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether asking again may help.
    pub const fn is_recoverable(self) -> bool {
        self.category().is_recoverable()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_one_code_and_none_is_0() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
        }
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), Code::from_number(0)), (Code::ALL.len(), None));
    }
}
