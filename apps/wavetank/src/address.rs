//! `HOST:PORT` on the command line, and finding it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// A host by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wanted = "HOST:PORT is wanted, such as 127.0.0.1:7471, [::1]:7471 or storage-3:7471";
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("there is no port: {wanted}"));
        };
        if host.is_empty() || host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(format!("{host:?} is no host: {wanted}"));
        }
        port.parse::<u16>().map_err(|_| format!("{port:?} is no port (0 to 65535): {wanted}"))?;
        Ok(Address(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// What the system says it is.
    pub(crate) async fn find(&self, limit: Duration) -> Result<SocketAddr, String> {
        let found = timeout(limit, lookup_host(&self.0)).await;
        let found =
            found.map_err(|_| format!("{self}: nobody said who that is within {} ms", limit.as_millis()))?;
        let mut found = found.map_err(|error| format!("{self}: there is no such host: {error}"))?;
        found.next().ok_or_else(|| format!("{self}: this host has no address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_wanted() {
        for good in ["127.0.0.1:7471", "[::1]:0", "storage-3:65535"] {
            assert_eq!(good.parse::<Address>().map(|address| address.to_string()), Ok(good.to_owned()));
        }
        let error = |text: &str| text.parse::<Address>().expect_err("refused");
        assert!(error("storage-3").contains("there is no port"));
        assert!(error("storage-3:").contains("\"\" is no port"));
        assert!(error("storage-3:65536").contains("is no port"));
        assert!(error(":7471").contains("is no host"));
        assert!(error("::1:7471").contains("is no host"));
    }
}
