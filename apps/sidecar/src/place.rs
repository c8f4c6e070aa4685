//! Where volume servers are: `HOST:PORT`, and which of them may be asked.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest `HOST:PORT`: a name of 253 bytes (RFC 1035) and a port of five digits.
const LEN_MAX: usize = 259;

/// A server's `HOST:PORT`, in small letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(String);

impl Place {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// Whether it is this machine by its address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    /// `HOST:PORT`, or a URL of it without a path: nothing else is followed to anywhere.
    fn from_str(text: &str) -> Result<Place, &'static str> {
        let text = text.strip_prefix("http://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let (host, port) = text.rsplit_once(':').ok_or("there is no port; it is HOST:PORT")?;
        if text.len() > LEN_MAX || host.is_empty() {
            return Err("there is no host, or a very long one; it is HOST:PORT");
        }
        let digits = port.bytes().all(|digit| digit.is_ascii_digit());
        if !digits || port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err() {
            return Err("the port is none; it is HOST:PORT with a port from 1 to 65535");
        }
        let name =
            |host: &str| host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if !name(host) && v6.is_none_or(|host| host.parse::<Ipv6Addr>().is_err()) {
            return Err("the host is no name and no address; it is HOST:PORT, over http");
        }
        Ok(Place(format!("{}:{}", host.to_ascii_lowercase(), port.trim_start_matches('0'))))
    }
}

/// Which servers may be asked that no master lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// None.
    #[default]
    Listed,
    /// These; a pattern without a port is of a host.
    Also(Vec<String>),
    /// Any: whoever can reach the sidecar can make it ask any server for a needle.
    Any,
}

impl Allowed {
    /// From what an operator says: `any`, `HOST` or `HOST:PORT`.
    pub fn new(patterns: &[String]) -> Allowed {
        match patterns {
            [] => Allowed::Listed,
            patterns if patterns.iter().any(|pattern| pattern == "any") => Allowed::Any,
            patterns => Allowed::Also(patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect()),
        }
    }

    /// Whether this one may be asked.
    pub fn holds(&self, place: &Place) -> bool {
        match self {
            Allowed::Listed => false,
            Allowed::Also(patterns) => patterns.iter().any(|p| p == place.as_str() || p == place.host()),
            Allowed::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port_and_nothing_more() {
        for text in ["http://Volume-1:8080/", "volume-1:8080", "VOLUME-1:08080"] {
            assert_eq!(text.parse::<Place>().unwrap().as_str(), "volume-1:8080");
        }
        assert_eq!("[::1]:80".parse::<Place>().unwrap().host(), "[::1]");
        for text in [
            "",
            "a",
            "a:",
            ":80",
            "a:0",
            "a:65536",
            "a:+8",
            "https://a:80",
            "http://a:80/path",
            "a@b:80",
            "a:80?x",
            "a:80#x",
            "http://http://a:80",
            "a b:80",
            "[a]:80",
            "::1:80",
            "a:80/../b:80",
            "\u{e4}:80",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert!(format!("{}:80", "x".repeat(300)).parse::<Place>().is_err());
    }

    #[test]
    fn this_machine_is_known_by_its_address() {
        let is = |text: &str| text.parse::<Place>().unwrap().is_loopback();
        assert!(is("localhost:1") && is("127.3.2.1:1") && is("[::1]:1"));
        assert!(!is("localhost.example:1") && !is("10.0.0.1:1"));
    }

    #[test]
    fn what_is_allowed_is_a_host_or_a_port_of_it() {
        let allowed = Allowed::new(&["A:80".to_owned(), "b".to_owned()]);
        let holds = |text: &str| allowed.holds(&text.parse().unwrap());
        assert!(holds("a:80") && holds("b:1") && !holds("a:81") && !holds("c:80"));
        assert!(!Allowed::default().holds(&"a:80".parse().unwrap()));
        assert!(Allowed::new(&["any".to_owned()]).holds(&"z:1".parse().unwrap()));
    }
}
