//! Global identifiers: the addresses of a port, and which of them connections go out from.

use std::fmt;
use std::net::Ipv6Addr;

/// A global identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    fn ip(self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }

    fn is_null(self) -> bool {
        // A subnet prefix alone identifies nobody.
        self.0[8..] == [0; 8]
    }

    fn is_ipv4(self) -> bool {
        self.ip().to_ipv4_mapped().is_some()
    }

    fn is_link_local(self) -> bool {
        self.ip().is_unicast_link_local()
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// What packets from a GID look like (`enum ibv_gid_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidKind {
    /// InfiniBand.
    Ib,
    /// RoCE version 1: Ethernet frames that no router passes on.
    RoceV1,
    /// RoCE version 2: UDP.
    RoceV2,
    /// Neither the library nor sysfs said.
    Unknown,
}

impl GidKind {
    /// The kind behind a number of `enum ibv_gid_type`.
    pub(crate) fn from_number(number: u32) -> GidKind {
        match number {
            0 => GidKind::Ib,
            1 => GidKind::RoceV1,
            2 => GidKind::RoceV2,
            _ => GidKind::Unknown,
        }
    }

    /// The kind behind a line of `/sys/class/infiniband/DEV/ports/P/gid_attrs/types/I`.
    pub(crate) fn from_sysfs(line: &str) -> GidKind {
        match line.trim() {
            // One name for InfiniBand and the first RoCE; the link layer tells them apart.
            "IB/RoCE v1" => GidKind::RoceV1,
            "RoCE v2" => GidKind::RoceV2,
            _ => GidKind::Unknown,
        }
    }
}

impl fmt::Display for GidKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GidKind::Ib => "InfiniBand",
            GidKind::RoceV1 => "RoCE v1",
            GidKind::RoceV2 => "RoCE v2",
            GidKind::Unknown => "unknown kind",
        })
    }
}

/// One entry of a port's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GidEntry {
    /// Its place in the table.
    pub index: u32,
    /// The GID.
    pub gid: Gid,
    /// Its kind.
    pub kind: GidKind,
}

/// Which GID connections go out from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GidChoice {
    /// The best: RoCE v2 with an IPv4 address, then a routable IPv6 one, then a link-local one.
    #[default]
    Best,
    /// This index of the table, whatever its kind.
    Index(u32),
}

/// What was decided of one entry, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GidVerdict {
    /// The entry.
    pub entry: GidEntry,
    /// Whether it could be used.
    pub usable: bool,
    /// Whether it is the one in use.
    pub chosen: bool,
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for GidVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GidEntry { index, gid, kind } = self.entry;
        let verdict = match (self.chosen, self.usable) {
            (true, _) => "chosen",
            (false, true) => "usable",
            (false, false) => "refused",
        };
        write!(f, "GID {index} {gid} ({kind}): {verdict}, {}", self.reason)
    }
}

/// Looks at every entry and chooses one, if there is one to choose. `ethernet` is the port's link layer.
pub(crate) fn judge(
    entries: &[GidEntry],
    ethernet: bool,
    choice: GidChoice,
) -> (Option<GidEntry>, Vec<GidVerdict>) {
    let mut best: Option<(u8, usize)> = None;
    let mut verdicts: Vec<GidVerdict> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let (rank, reason) = rank(entry, ethernet, choice);
            if let Some(rank) = rank
                && best.is_none_or(|(least, _)| rank < least)
            {
                best = Some((rank, at));
            }
            GidVerdict { entry: *entry, usable: rank.is_some(), chosen: false, reason }
        })
        .collect();
    let chosen = best.map(|(_, at)| {
        verdicts[at].chosen = true;
        entries[at]
    });
    (chosen, verdicts)
}

/// How good an entry is, 0 the best, and why; `None` when it cannot be used.
fn rank(entry: &GidEntry, ethernet: bool, choice: GidChoice) -> (Option<u8>, &'static str) {
    let GidEntry { index, gid, kind } = *entry;
    if gid.is_null() {
        return (None, "it is empty");
    }
    if index > 255 {
        // sgid_index of struct ibv_global_route has 8 bits.
        return (None, "its index is past 255, which a queue pair cannot name");
    }
    match (choice, kind) {
        (GidChoice::Index(asked), _) if asked == index => (Some(0), "asked for by its index"),
        (GidChoice::Index(_), _) => (None, "another index was asked for"),
        (GidChoice::Best, _) if !ethernet => (Some(0), "InfiniBand: the first is as good as any"),
        (GidChoice::Best, GidKind::RoceV2) if gid.is_ipv4() => {
            (Some(0), "RoCE v2 over IPv4 is routed everywhere")
        }
        (GidChoice::Best, GidKind::RoceV2) if gid.is_link_local() => {
            (Some(2), "RoCE v2, but a link-local address reaches its own segment only")
        }
        (GidChoice::Best, GidKind::RoceV2) => (Some(1), "RoCE v2 over IPv6"),
        (GidChoice::Best, GidKind::RoceV1 | GidKind::Ib) => {
            (None, "RoCE v1 is not routed, and peers that prefer v2 do not hear it; ask by index to use it")
        }
        (GidChoice::Best, GidKind::Unknown) => (None, "its kind is not known; ask by index to use it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32, ip: &str, kind: GidKind) -> GidEntry {
        let ip: Ipv6Addr = ip.parse().expect("an address");
        GidEntry { index, gid: Gid(ip.octets()), kind }
    }

    fn table() -> Vec<GidEntry> {
        vec![
            entry(0, "fe80::1", GidKind::RoceV1),
            entry(1, "fe80::1", GidKind::RoceV2),
            entry(2, "::ffff:10.7.0.1", GidKind::RoceV1),
            entry(3, "2001:db8::1", GidKind::RoceV2),
            entry(4, "::ffff:10.7.0.1", GidKind::RoceV2),
            entry(5, "fe80::", GidKind::RoceV2),
            entry(300, "::ffff:10.7.0.2", GidKind::RoceV2),
            entry(6, "::ffff:10.7.0.3", GidKind::Unknown),
        ]
    }

    #[test]
    fn ipv4_over_roce_v2_is_preferred_then_routable_ipv6_then_link_local() {
        let mut left = table();
        for expected in [4, 3, 1] {
            let (chosen, verdicts) = judge(&left, true, GidChoice::Best);
            assert_eq!(chosen.map(|e| e.index), Some(expected));
            assert_eq!(verdicts.iter().filter(|v| v.chosen).count(), 1);
            left.retain(|e| e.index != expected);
        }
        let (chosen, verdicts) = judge(&left, true, GidChoice::Best);
        assert_eq!(chosen, None);
        assert!(verdicts.iter().all(|v| !v.usable && !v.reason.is_empty()));
    }

    #[test]
    fn an_index_asked_for_is_taken_whatever_its_kind_unless_it_is_empty_or_too_high() {
        let index = |i| judge(&table(), true, GidChoice::Index(i)).0.map(|e| e.index);
        assert_eq!(index(0), Some(0));
        assert_eq!(index(6), Some(6));
        assert_eq!(index(5), None);
        assert_eq!(index(300), None);
        assert_eq!(index(77), None);
    }

    #[test]
    fn on_infiniband_the_first_gid_is_taken() {
        let entries = [entry(0, "fe80::5", GidKind::Ib), entry(1, "fe80::6", GidKind::Ib)];
        assert_eq!(judge(&entries, false, GidChoice::Best).0.map(|e| e.index), Some(0));
    }

    #[test]
    fn a_verdict_says_address_kind_and_reason() {
        let (_, verdicts) = judge(&table(), true, GidChoice::Best);
        assert_eq!(
            verdicts[4].to_string(),
            "GID 4 ::ffff:10.7.0.1 (RoCE v2): chosen, RoCE v2 over IPv4 is routed everywhere"
        );
        assert!(verdicts[0].to_string().contains("refused, RoCE v1 is not routed"));
    }

    #[test]
    fn sysfs_lines_and_library_numbers_name_the_same_kinds() {
        assert_eq!(GidKind::from_sysfs("RoCE v2\n"), GidKind::from_number(2));
        assert_eq!(GidKind::from_sysfs("IB/RoCE v1\n"), GidKind::from_number(1));
        assert_eq!(GidKind::from_sysfs("surprise"), GidKind::from_number(9));
    }
}
