//! What an exporter says of a needle that it does not serve: told apart inside, and as SeaweedFS answers it outside.

use thiserror::Error;

macro_rules! absences {
    ($($(#[$doc:meta])* $name:ident = $code:literal: $text:literal, $status:literal, $last:literal;)*) => {
        /// Why a needle, or a part of it, is not there to be read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
        #[non_exhaustive]
        pub enum Absence {
            $($(#[$doc])* #[error($text)] $name,)*
            /// Something that this version does not know.
            #[error("the exporter gives a reason that this version does not know: {0}")]
            Unknown(u8),
        }

        impl Absence {
            /// Every reason there is.
            pub const ALL: &[Absence] = &[$(Absence::$name),*];

            /// Its number on the wire. 0 is none.
            pub const fn to_wire(self) -> u8 {
                match self {
                    $(Absence::$name => $code,)*
                    Absence::Unknown(code) => code,
                }
            }

            /// From its number.
            pub const fn from_wire(code: u8) -> Absence {
                match code {
                    $($code => Absence::$name,)*
                    code => Absence::Unknown(code),
                }
            }

            /// What a volume server answers over HTTP in the same case.
            pub const fn http_status(self) -> u16 {
                match self {
                    $(Absence::$name => $status,)*
                    Absence::Unknown(_) => 502,
                }
            }

            /// Whether another exporter of the same volume would say the same.
            pub const fn is_last_word(self) -> bool {
                match self {
                    $(Absence::$name => $last,)*
                    Absence::Unknown(_) => false,
                }
            }
        }
    };
}

absences! {
    /// The volume is not among those of this exporter.
    NotExported = 1: "the volume is not exported here; look it up again", 404, false;
    /// The index never heard of the needle. A replica that lags behind says so too.
    Missing = 2: "there is no such needle in the volume", 404, false;
    /// It was deleted.
    Deleted = 3: "the needle was deleted", 404, true;
    /// Its time to live is over.
    Expired = 4: "the needle's time to live is over", 404, true;
    /// It has another cookie.
    WrongCookie = 5: "the cookie is not the needle's", 404, true;
    /// The range begins past the needle's end.
    OutOfRange = 6: "the range begins past the end of the needle", 416, true;
    /// Its bytes are not those that were written.
    Damaged = 7: "the needle's record is damaged here; another replica may have it whole", 500, false;
    /// It is another version of the needle than the one that was begun with.
    Stale = 8: "the needle was written anew while it was read in pieces; read it again", 503, false;
    /// The exporter has no memory for it, or too much to do.
    Busy = 9: "the exporter has too much to do now; try again", 503, false;
    /// The file system failed.
    Unreadable = 10: "the exporter's file system does not give the record", 500, false;
    /// Compressed data that cannot be inflated, or not within the limits.
    Compression = 11: "the needle says that it is gzip, and cannot be inflated within the exporter's limits", 500, false;
    /// The call makes no sense.
    Malformed = 12: "the exporter cannot read the call; its version may be another", 502, false;
    /// The needle is longer than this side takes.
    TooLong = 13: "the needle is longer than the limit", 507, true;
}

impl Absence {
    /// Whether the same exporter may have an answer in a moment.
    pub const fn is_transient(self) -> bool {
        matches!(self, Absence::Busy | Absence::Stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_what_volume_servers_do_not_tell_apart_looks_alike() {
        for absence in Absence::ALL {
            assert_eq!(Absence::from_wire(absence.to_wire()), *absence);
            assert_ne!(absence.to_wire(), 0);
        }
        assert_eq!(Absence::from_wire(200), Absence::Unknown(200));
        for alike in [Absence::Missing, Absence::Deleted, Absence::Expired, Absence::WrongCookie] {
            assert_eq!(alike.http_status(), 404, "{alike}");
        }
    }
}
