//! The cable between two soft-RoCE devices, and what can be done to it with `tc(8)` and `ip(8)`.

use std::process::Command;

/// The network interfaces at both ends.
#[derive(Debug)]
pub(crate) struct Cable {
    ends: [String; 2],
}

fn sh(program: &str, args: &str) {
    let output = Command::new(program).args(args.split_whitespace()).output();
    let output =
        output.unwrap_or_else(|error| panic!("`{program}` did not start: {error}; install iproute2"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {args}` failed (it needs root): {said}");
}

impl Cable {
    /// Takes hold of both ends, without disturbing anything yet.
    ///
    /// A queueing discipline that is *added* to a busy interface can itself flush a queue pair, so each is added here, idle, and
    /// changed later. What is to vanish at once is dropped at the receiving end's ingress.
    pub(crate) fn grasp() -> Cable {
        let names = std::env::var("WAVETANK_WIRE").expect("WAVETANK_WIRE names both ends, as in `va,vb`");
        let (a, b) = names.split_once(',').expect("WAVETANK_WIRE names two ends, as in `va,vb`");
        let cable = Cable { ends: [a.to_owned(), b.to_owned()] };
        for end in &cable.ends {
            sh("tc", &format!("qdisc replace dev {end} root netem limit 100000 loss 0%"));
            sh("tc", &format!("qdisc add dev {end} clsact"));
        }
        cable
    }

    /// Disturbs packets in both directions as `netem` can (tc-netem(8)): `loss 5%`, `duplicate 10%`.
    pub(crate) fn disturb(&self, how: &str) {
        for end in &self.ends {
            sh("tc", &format!("qdisc change dev {end} root netem limit 100000 {how}"));
        }
    }

    /// Packets that passed a cable on which `netem` delays some, as its own statistics say.
    pub(crate) fn delayed_packets(&self) -> u64 {
        let sent = |end: &String| {
            let output = Command::new("tc").args(["-s", "qdisc", "show", "dev", end, "root"]).output();
            let text = String::from_utf8(output.expect("tc starts").stdout).expect("text");
            assert!(
                text.contains("netem") && text.contains("reorder"),
                "nothing is reordered at {end}: {text}"
            );
            // " Sent 5678 bytes 12 pkt (dropped ..."
            let words: Vec<&str> = text.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "pkt").expect("a count of packets");
            words[at - 1].parse::<u64>().expect("a number")
        };
        self.ends.iter().map(sent).sum()
    }

    /// Nothing arrives at either end.
    pub(crate) fn cut(&self) {
        for end in &self.ends {
            sh("tc", &format!("filter add dev {end} ingress pref 1 matchall action drop"));
        }
    }

    /// Everything arrives again.
    pub(crate) fn mend(&self) {
        for end in &self.ends {
            sh("tc", &format!("filter del dev {end} ingress"));
        }
    }

    /// Takes the link of one end down.
    pub(crate) fn take_down(&self, end: usize) {
        sh("ip", &format!("link set {} down", self.ends[end]));
    }
}

impl Drop for Cable {
    /// Leaves it as it was found, for whoever is next; a link that is down stays down.
    fn drop(&mut self) {
        for end in &self.ends {
            for what in ["clsact", "root"] {
                let _ = Command::new("tc").args(["qdisc", "del", "dev", end, what]).output();
            }
        }
    }
}

/// A counter of a device (`/sys/class/infiniband/*/ports/1/hw_counters`; rxe_hw_counters.c): the mark that a fault left.
pub(crate) fn counter(device: &str, name: &str) -> u64 {
    let path = format!("/sys/class/infiniband/{device}/ports/1/hw_counters/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim().parse().unwrap_or_else(|error| panic!("{path}: {text:?}: {error}"))
}
