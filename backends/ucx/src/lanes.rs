//! What UCX chose for a connection, read from the page it prints of it (`ucp_ep_print_info`): there is no call that says it.

use std::fmt;

use crate::config::Transport;

/// A lane of a connection: a transport on a device, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// As UCX names it: `tcp`, `posix`, `self`, `rc_verbs`.
    pub transport: String,
    /// `lo`, `memory`, `rxe0:1`.
    pub device: String,
    /// `am` carries messages, `amo` atomics, `rma_bw` fetches; `keepalive` and `wireup` are UCX's own business.
    pub uses: Vec<String>,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} for {}", self.transport, self.device, self.uses.join(" "))
    }
}

/// From a length on, messages go in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The shortest, in bytes.
    pub from: u64,
    /// In UCX's words: `egr/short`, `egr/zcopy`, `rndv`, `zero-copy`.
    pub how: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} {}", self.from, self.how)
    }
}

/// The lanes on a page. Empty: the page says none, or is of a UCX that writes it in another way.
pub(crate) fn read(page: &str) -> Vec<Lane> {
    page.lines().filter_map(lane).collect()
}

/// `#    lane[0]:  1:tcp/lo.0 md[0]     -> md[0]/tcp/sysdev[255] am am_bw#0 keepalive wireup`
fn lane(line: &str) -> Option<Lane> {
    let (_, rest) = line.split_once("lane[")?;
    let (_, rest) = rest.split_once("]:")?;
    let (what, uses) = rest.split_once("->").unwrap_or((rest, ""));
    let name = what.split_whitespace().next()?;
    let name =
        name.split_once(':').filter(|(index, _)| index.parse::<u32>().is_ok()).map_or(name, |(_, name)| name);
    // A connection manager's lane carries nothing, and names no device.
    let (transport, device) = name.split_once('/')?;
    // The path of a device follows its name.
    let device =
        device.rsplit_once('.').filter(|(_, path)| path.parse::<u32>().is_ok()).map_or(device, |(d, _)| d);
    let mut words = uses.split_whitespace().skip(1);
    let mut uses: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if word == "seg" {
            words.next();
            continue;
        }
        let word = word.split('#').next().unwrap_or(word).to_owned();
        if !uses.contains(&word) {
            uses.push(word);
        }
    }
    Some(Lane { transport: transport.to_owned(), device: device.to_owned(), uses })
}

/// How messages go, by length. Empty: the page does not say.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let older = page.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("am_send:"));
    match older {
        Some(line) => thresholds(line),
        None => table(page),
    }
}

/// `0..<egr/short>..8185..<egr/zcopy>..20553..<rndv>..(inf)`, as versions before 1.16 write it.
fn thresholds(line: &str) -> Vec<Step> {
    let mut parts = line.trim().split("..").filter(|part| !part.is_empty());
    let mut steps = Vec::new();
    while let Some(from) = parts.next().and_then(|from| from.parse().ok()) {
        let Some(how) = parts.next() else { break };
        steps.push(Step { from, how: how.trim_matches(['<', '>']).to_owned() });
    }
    steps
}

/// The table of plain messages, as versions from 1.16 on draw it.
fn table(page: &str) -> Vec<Step> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches(['#', ' ', '|']).split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let title = "active message by ucp_am_send* from host memory";
    let rows = page.lines().skip_while(|line| cells(line) != [title]).skip(1);
    let rows = rows.take_while(|line| cells(line).len() != 1 || line.contains("+--"));
    rows.filter_map(|line| match cells(line).as_slice() {
        [range, how, _] => Some(Step { from: bytes(range.split("..").next()?)?, how: how.clone() }),
        _ => None,
    })
    .collect()
}

/// `8185`, `256K`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let shift = match unit {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        _ => 0,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

/// The lane that is of another transport than was asked for. A page without lanes says nothing.
pub(crate) fn astray(asked: Transport, same_worker: bool, lanes: &[Lane]) -> Option<&Lane> {
    lanes.iter().find(|lane| {
        let name = lane.transport.as_str();
        !match asked {
            Transport::Tcp => name == "tcp",
            Transport::Shm => name == "posix",
            Transport::Loopback => name == "self",
            // A worker that reaches itself does not go out for it.
            Transport::Rc => {
                // Datagrams look after a connection; nothing else of it goes by them.
                let looks_after = |uses: &str| matches!(uses, "keepalive" | "wireup");
                name == "rc"
                    || name.starts_with("rc_")
                    || name == "self" && same_worker
                    || name.starts_with("ud") && lane.uses.iter().all(|uses| looks_after(uses))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = include_str!("lanes/tcp-1.13.txt");
    const SHM: &str = include_str!("lanes/posix-1.13.txt");
    const LOOPBACK: &str = include_str!("lanes/self-1.13.txt");
    const TCP_NEWER: &str = include_str!("lanes/tcp-1.22.txt");
    const SHM_NEWER: &str = include_str!("lanes/posix-1.22.txt");

    #[test]
    fn lanes_of_two_versions_are_read_from_their_pages() {
        let told = |page| read(page).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told(TCP), ["tcp/lo for am am_bw keepalive wireup"]);
        assert_eq!(told(SHM), ["posix/memory for amo am am_bw keepalive"]);
        assert_eq!(told(LOOPBACK), ["self/memory0 for am am_bw"]);
        assert_eq!(told(TCP_NEWER), ["tcp/lo for am keepalive wireup"]);
        assert_eq!(told(SHM_NEWER), ["posix/memory for amo am keepalive"]);
        assert_eq!(told("nonsense\nlane[\nlane[0]: \nlane[1]: cm tcp"), [""; 0]);
        assert_eq!(
            told("lane[0]:  2:rc_verbs/rxe0:1.0 md[4] -> md[4]/ib/sysdev[0] rma#0 am"),
            ["rc_verbs/rxe0:1 for rma am"]
        );
    }

    #[test]
    fn lengths_of_two_versions_are_read_from_their_pages() {
        let told = |page| steps(page).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told(TCP), ["from 0 egr/short", "from 8185 egr/zcopy", "from 20553 rndv"]);
        assert_eq!(told(SHM), ["from 0 egr/short", "from 93 egr/bcopy", "from 8256 rndv"]);
        assert_eq!(
            told(TCP_NEWER),
            [
                "from 0 short",
                "from 1 zero-copy",
                "from 16516 multi-frag copy-in",
                "from 273822 (?) rendezvous fragmented copy-in copy-out"
            ]
        );
        assert_eq!(told("am_send: 0..<x>..y..<z>"), ["from 0 x"]);
        assert_eq!(told(""), [""; 0]);
    }

    #[test]
    fn another_transport_is_told_from_the_one_that_was_asked_for() {
        let lanes = read(TCP);
        assert_eq!(astray(Transport::Tcp, false, &lanes), None);
        assert_eq!(astray(Transport::Shm, false, &lanes), lanes.first());
        assert_eq!(astray(Transport::Shm, false, &read(SHM_NEWER)), None);
        let itself = read(LOOPBACK);
        assert_eq!(astray(Transport::Rc, true, &itself), None);
        assert!(astray(Transport::Rc, false, &itself).is_some());
    }
}
