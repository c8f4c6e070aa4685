//! The wire between two network devices of this machine, and how it is disturbed: by `tc(8)` and `ip(8)`, as root.
//!
//! Packets are dropped where they arrive, before the protocol sees them: adding a queueing discipline where they leave
//! can itself flush what is under way.

use std::fmt;
use std::process::Command;

use super::{Cause, DeviceFault, LinkFault, Skip};

/// Runs a program and answers with what it printed, or with why it failed.
pub type Runner = Box<dyn FnMut(&str, &[&str]) -> Result<String, String>>;

/// Everything is dropped.
const CUT: &str = "1";
/// Some are dropped.
const LOSS: &str = "2";

/// Two network devices that face each other: node 0 is behind the first, node 1 behind the second.
pub struct Wire {
    netdevs: [String; 2],
    run: Runner,
    /// Where something is attached, by node.
    attached: [bool; 2],
    /// What has to be routed again once the link is up, by node.
    down: [Option<Vec<String>>; 2],
}

impl Wire {
    /// The wire between two network devices. Programs are run as they are found in `PATH`.
    pub fn new(netdevs: [String; 2]) -> Wire {
        Wire::with_runner(netdevs, Box::new(run))
    }

    /// The same, with somebody else running the programs.
    pub fn with_runner(netdevs: [String; 2], run: Runner) -> Wire {
        Wire { netdevs, run, attached: [false; 2], down: [None, None] }
    }

    /// Parses `va,vb`.
    ///
    /// # Errors
    /// What was found instead.
    pub fn parse(text: &str) -> Result<Wire, String> {
        match text.split(',').collect::<Vec<_>>()[..] {
            [a, b] if ok_name(a) && ok_name(b) && a != b => Ok(Wire::new([a.to_owned(), b.to_owned()])),
            _ => Err(format!("{text:?} is not a wire; name the network devices at its two ends, like va,vb")),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What `tc` or `ip` said, or that there is no such program or right.
    pub(crate) fn inject(&mut self, cause: Cause) -> Result<(), Skip> {
        self.apply(cause).map_err(|why| Skip(format!("the wire cannot be disturbed: {why}")))
    }

    /// Gets ready for a cause that will come, before anything is under way.
    ///
    /// # Errors
    /// Why there is no such command.
    pub(crate) fn expect(&mut self, cause: Cause) -> Result<(), Skip> {
        let _ = cause;
        Ok(())
    }

    fn apply(&mut self, cause: Cause) -> Result<(), String> {
        match cause {
            Cause::Link { to, fault: LinkFault::Cut, .. } => self.filter(to, CUT, &["drop"]),
            Cause::Link { to, fault: LinkFault::LoseOneIn { n, burst: 1 }, .. } => {
                self.filter(to, LOSS, &["pass", "random", "netrand", "drop", &n.to_string()])
            }
            Cause::Mend { to, .. } => self.detach(side(to)?),
            Cause::Link { fault: LinkFault::LoseNth { .. }, .. } => {
                Err("tc(8) cannot lose one chosen packet".to_owned())
            }
            Cause::Device { node, fault: DeviceFault::PortDown } => self.link_down(side(node)?),
            Cause::Device { node, fault: DeviceFault::PortUp } => self.link_up(side(node)?),
            _ => Err("there is no command for that".to_owned()),
        }
    }

    /// Drops what arrives at a node, or some of it.
    fn filter(&mut self, to: u16, pref: &str, action: &[&str]) -> Result<(), String> {
        let at = side(to)?;
        if !self.attached[at] {
            self.tc(&["qdisc", "add", "dev", &self.netdevs[at].clone(), "clsact"])?;
            self.attached[at] = true;
        }
        let netdev = self.netdevs[at].clone();
        let head = ["filter", "add", "dev", &netdev, "ingress", "pref", pref, "matchall", "action"];
        self.tc(&[&head, action].concat())
    }

    fn detach(&mut self, at: usize) -> Result<(), String> {
        if !self.attached[at] {
            return Ok(());
        }
        self.attached[at] = false;
        self.tc(&["qdisc", "del", "dev", &self.netdevs[at].clone(), "clsact"])
    }

    fn link_down(&mut self, at: usize) -> Result<(), String> {
        let netdev = self.netdevs[at].clone();
        if self.down[at].is_none() {
            // A link that goes down takes its routes along, and only the kernel's own come back with it.
            let routes = (self.run)("ip", &["-4", "route", "show", "table", "all", "dev", &netdev])?;
            self.down[at] =
                Some(routes.lines().filter(|route| lost_with_link(route)).map(str::to_owned).collect());
        }
        (self.run)("ip", &["link", "set", "dev", &netdev, "down"]).map(drop)
    }

    fn link_up(&mut self, at: usize) -> Result<(), String> {
        let Some(routes) = self.down[at].take() else {
            return Ok(());
        };
        let netdev = self.netdevs[at].clone();
        (self.run)("ip", &["link", "set", "dev", &netdev, "up"])?;
        for route in routes {
            // `show` appends what `replace` does not take: the state of the link at that moment.
            let words = route.split_whitespace().filter(|word| !matches!(*word, "linkdown" | "dead"));
            let words: Vec<&str> =
                ["-4", "route", "replace"].into_iter().chain(words).chain(["dev", &netdev]).collect();
            (self.run)("ip", &words)?;
        }
        Ok(())
    }

    fn tc(&mut self, args: &[&str]) -> Result<(), String> {
        (self.run)("tc", args).map(drop)
    }

    /// Makes everything whole that was disturbed. What fails now was disturbed by somebody else as well.
    pub(super) fn undo(&mut self) {
        for at in 0..2 {
            let _ = self.detach(at);
            let _ = self.link_up(at);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.undo();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("netdevs", &self.netdevs).finish_non_exhaustive()
    }
}

fn side(node: u16) -> Result<usize, String> {
    match node {
        0 | 1 => Ok(usize::from(node)),
        _ => Err(format!("a wire has two ends, and node {node} is at neither")),
    }
}

/// Names that no option or second argument hides in (`dev_valid_name` of the kernel allows a little more).
fn ok_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

fn lost_with_link(route: &str) -> bool {
    let kernel_s_own = ["local ", "broadcast "].iter().any(|start| route.starts_with(start));
    !kernel_s_own && !route.contains("proto kernel") && !route.trim().is_empty()
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let told = || format!("`{program} {}`", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{} did not start: {error}", told()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("no reason given").to_owned();
        return Err(format!("{} failed: {first} (it needs root)", told()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    type Ran = Rc<RefCell<Vec<String>>>;

    fn wire(ran: &Ran, routes: &'static str) -> Wire {
        let ran = Rc::clone(ran);
        let runner = move |program: &str, args: &[&str]| {
            ran.borrow_mut().push(format!("{program} {}", args.join(" ")));
            Ok(if args.contains(&"show") { routes.to_owned() } else { String::new() })
        };
        Wire::with_runner(["va".to_owned(), "vb".to_owned()], Box::new(runner))
    }

    #[test]
    fn packets_are_dropped_where_they_arrive_and_everything_is_undone() {
        let ran = Ran::default();
        let mut wire = wire(&ran, "");
        wire.inject(Cause::Link { from: 0, to: 1, fault: LinkFault::Cut }).expect("it runs");
        wire.inject(Cause::Link { from: 1, to: 0, fault: LinkFault::LoseOneIn { n: 20, burst: 1 } })
            .expect("it runs");
        wire.inject(Cause::Mend { from: 0, to: 1 }).expect("it runs");
        drop(wire);
        let expected = [
            "tc qdisc add dev vb clsact",
            "tc filter add dev vb ingress pref 1 matchall action drop",
            "tc qdisc add dev va clsact",
            "tc filter add dev va ingress pref 2 matchall action pass random netrand drop 20",
            "tc qdisc del dev vb clsact",
            "tc qdisc del dev va clsact",
        ];
        assert_eq!(*ran.borrow(), expected);
    }

    #[test]
    fn a_link_that_comes_up_has_its_routes_back() {
        let ran = Ran::default();
        let shown = "default table 7 scope link linkdown\nlocal 10.0.0.1 table local proto kernel\n\
                     10.0.0.0/24 proto kernel scope link src 10.0.0.1\n";
        let mut wire = wire(&ran, shown);
        wire.inject(Cause::Device { node: 0, fault: DeviceFault::PortDown }).expect("it runs");
        wire.inject(Cause::Device { node: 0, fault: DeviceFault::PortUp }).expect("it runs");
        drop(wire);
        let expected = [
            "ip -4 route show table all dev va",
            "ip link set dev va down",
            "ip link set dev va up",
            "ip -4 route replace default table 7 scope link dev va",
        ];
        assert_eq!(*ran.borrow(), expected);
    }

    #[test]
    fn what_tc_cannot_do_is_skipped() {
        let ran = Ran::default();
        let skip = wire(&ran, "")
            .inject(Cause::Link { from: 0, to: 1, fault: LinkFault::LoseNth { nth: 3 } })
            .expect_err("skipped");
        assert!(skip.0.contains("one chosen packet"), "{skip}");
        assert!(wire(&ran, "").inject(Cause::Link { from: 0, to: 2, fault: LinkFault::Cut }).is_err());
        assert_eq!(ran.borrow().len(), 0);
    }

    #[test]
    fn a_wire_has_two_ends_with_names() {
        assert!(Wire::parse("va,vb").is_ok());
        for bad in ["", "va", "va,", ",vb", "va,va", "va,vb,vc", "va,-vb", "va, vb", "va,abcdefghijklmnop"] {
            assert!(Wire::parse(bad).is_err(), "{bad}");
        }
    }
}
