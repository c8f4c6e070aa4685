//! What became of what was asked for: lanes, and the way of each kind of work.

use std::fmt;

use crate::config::{Protocol, Transport, UcxConfig};
use crate::lanes::{self, Lane, Step};

/// How one kind of work goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub way: String,
    /// The reason.
    pub why: &'static str,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.why)
    }
}

/// What a connection goes over, how each kind of work goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked for: `tcp/lo`.
    pub asked: String,
    /// The version of UCX.
    pub version: String,
    /// What UCX chose. Empty: this version does not say.
    pub lanes: Vec<Lane>,
    /// How UCX would send messages, by length, were it up to UCX.
    pub steps: Vec<Step>,
    /// SEND.
    pub send: Choice,
    /// READ and WRITE.
    pub one_sided: Choice,
    /// Compare-and-swap and fetch-and-add.
    pub atomic: Choice,
}

impl Explanation {
    /// `page`: what UCX prints of the endpoint. `mapped`: the peer's control words are mapped here.
    pub(crate) fn new(config: &UcxConfig, version: String, page: &str, mapped: bool) -> Explanation {
        let served = |why| Choice { way: "served by the peer's device".to_owned(), why };
        let direct = |way: &str, why| Choice { way: way.to_owned(), why };
        let (one_sided, atomic) = match config.transport {
            Transport::Tcp => {
                let why = "over TCP UCX has the peer's CPU do it as well, and believes any address and key; the device checks";
                (served(why), served(why))
            }
            Transport::Loopback => {
                let why = "there is no other process whose memory could be reached";
                (served(why), served(why))
            }
            Transport::Shm if mapped => (
                direct(
                    "by loads and stores",
                    "memory that the device allocated is mapped by both; other memory is served",
                ),
                direct(
                    "by atomic instructions",
                    "on words that both map; in other memory the peer does them",
                ),
            ),
            Transport::Shm => {
                let why = "the words that tell whether the peer lives cannot be mapped, so nothing of it is";
                (served(why), served(why))
            }
            Transport::Rc => {
                let why = "both are registered with adapters";
                (direct("by the adapter", why), direct("by the adapter", why))
            }
        };
        let send = match config.protocol {
            Protocol::Auto => {
                Choice { way: "as UCX chooses by length".to_owned(), why: "the protocol is auto" }
            }
            Protocol::Eager => Choice { way: "with the message".to_owned(), why: "the protocol is eager" },
            Protocol::Rendezvous => {
                Choice { way: "fetched by the receiver".to_owned(), why: "the protocol is rndv" }
            }
        };
        Explanation {
            asked: config.name(),
            version,
            lanes: lanes::read(page),
            steps: lanes::steps(page),
            send,
            one_sided,
            atomic,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| if items.is_empty() { "unsaid".to_owned() } else { items.join(", ") };
        let lanes = list(self.lanes.iter().map(ToString::to_string).collect());
        let steps = list(self.steps.iter().map(ToString::to_string).collect());
        writeln!(f, "{} over UCX {}", self.asked, self.version)?;
        writeln!(f, "lanes: {lanes}")?;
        writeln!(f, "lengths: {steps}")?;
        writeln!(f, "SEND {}", self.send)?;
        writeln!(f, "READ and WRITE {}", self.one_sided)?;
        write!(f, "atomics {}", self.atomic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_line_by_line() {
        let page = include_str!("lanes/posix-1.13.txt");
        let config: UcxConfig = "shm".parse().expect("a device");
        let told = Explanation::new(&config, "1.13.1".to_owned(), page, true).to_string();
        for line in [
            "shm over UCX 1.13.1",
            "lanes: posix/memory for amo am am_bw keepalive",
            "lengths: from 0 egr/short, from 93 egr/bcopy, from 8256 rndv",
            "SEND as UCX chooses by length: the protocol is auto",
        ] {
            assert!(told.lines().any(|told| told == line), "{line:?} is missing from {told}");
        }
        assert!(told.contains("READ and WRITE by loads and stores"), "{told}");
        let unmapped = Explanation::new(&config, String::new(), "", false).to_string();
        assert!(
            unmapped.contains("lanes: unsaid") && unmapped.contains("READ and WRITE served"),
            "{unmapped}"
        );
    }
}
