//! What may be done to a network: links, ports, switches, nodes. Only causes; what comes of them follows.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::{AsyncEvent, Instant};

use super::agenda::Event;
use super::link::{Link, LinkFaults};
use super::{Fabric, MockNic};
use crate::marks::Mark;

impl Fabric {
    /// What is wrong with the link from one node to another; to be changed.
    ///
    /// # Panics
    /// When a node does not exist, as for all other faults.
    pub fn link(&mut self, from: u16, to: u16) -> &mut LinkFaults {
        self.links[from as usize][to as usize].faults_mut()
    }

    /// Makes a link whole again. What it lost is lost, what it delayed is still late.
    pub fn mend(&mut self, from: u16, to: u16) {
        self.links[from as usize][to as usize].mend();
    }

    /// Takes a node's port down, or up. Queue pairs stay as they are: nothing leaves and nothing arrives, and whoever
    /// waits for an answer repeats its requests until it has no retries left. The host is told by
    /// [`AsyncEvent::PortErr`] and [`AsyncEvent::PortActive`].
    // rxe: rxe_verbs.c rxe_port_down, rxe_port_up
    pub fn set_port(&mut self, node: u16, up: bool) {
        let port = &mut self.ports[node as usize];
        if port.down != up {
            return;
        }
        port.down = !up;
        let (event, mark) =
            if up { (AsyncEvent::PortActive, Mark::PortUp) } else { (AsyncEvent::PortErr, Mark::PortDown) };
        self.shared.marks.pass(mark);
        self.tell_host(node, event);
    }

    /// Gives a node's port another address. Who connected to the old one is no longer heard, and what is sent to it
    /// reaches nobody; new addresses of endpoints have the new one in them.
    pub fn change_gid(&mut self, node: u16) {
        let mut nic = self.nics[node as usize].borrow_mut();
        nic.gid = nic.gid.wrapping_add(1);
        drop(nic);
        self.shared.marks.pass(Mark::GidChanged);
        self.tell_host(node, AsyncEvent::GidChange);
    }

    fn tell_host(&mut self, node: u16, event: AsyncEvent) {
        let mut nic = self.nics[node as usize].borrow_mut();
        if !self.ports[node as usize].nobody {
            nic.reports.event(event);
            nic.settle();
        }
    }

    /// Pauses a node's port (PFC): nothing leaves it for `ns` from now on, whichever queue pair it is of and whoever it
    /// is for. Modelled, not validated.
    pub fn pause_port(&mut self, node: u16, ns: u64) {
        let until = self.now() + ns;
        self.ports[node as usize].pause(until);
    }

    /// Puts a buffer of so many bytes before a node's port: packets wait in it for the port, and what does not fit is
    /// dropped (incast). `None`: it holds whatever comes. Modelled, not validated.
    pub fn shallow_buffer(&mut self, node: u16, bytes: Option<u32>) {
        self.set_switch(node, |switch| switch.buffer_bytes = bytes);
    }

    /// Marks packets that queue before a node's port for long (ECN). The ports they come from send at half their rate
    /// then, and come back to the full one in steps (DCQCN). Modelled, not validated.
    pub fn mark_congestion(&mut self, node: u16, on: bool) {
        self.set_switch(node, |switch| switch.marks = on);
    }

    /// A node dies: its device forgets everything and answers nobody, its memory is lost. Whoever still has a handle to
    /// the device finds nothing behind it.
    pub fn crash(&mut self, node: u16) {
        self.ports[node as usize].nobody = true;
        if self.nics[node as usize].borrow_mut().crash() {
            self.shared.marks.pass(Mark::Crashed);
        }
    }

    /// A crashed node, or one whose device was removed, gets a device again; any other crashes first. `same`: queue pair
    /// numbers, keys and addresses of the earlier life are given out again, but sequence numbers are others.
    pub fn restart(&mut self, node: u16, same: bool) -> MockNic {
        if !self.ports[node as usize].nobody {
            self.crash(node);
        }
        let next = self.nics[node as usize].borrow().successor(same);
        self.nics[node as usize] = Rc::new(RefCell::new(next));
        self.ports[node as usize].nobody = false;
        self.shared.marks.pass(if same { Mark::RestartedSame } else { Mark::RestartedNew });
        MockNic::new(Rc::clone(&self.nics[node as usize]))
    }

    /// Undoes whatever can be undone: links are mended, ports come up and go on, switches are deep and mark nothing.
    /// What crashed or was removed stays away.
    pub fn heal(&mut self) {
        self.links.iter_mut().flatten().for_each(Link::mend);
        for node in 0..self.nics.len() as u16 {
            self.set_port(node, true);
            self.shallow_buffer(node, None);
            self.mark_congestion(node, false);
            let now = self.now();
            let port = &mut self.ports[node as usize];
            port.rate = Default::default();
            if port.sends_at() > port.sends_free.max(now) {
                port.pause(Instant::ZERO);
                self.agenda.push(now, Event::PortFree { node });
            }
        }
    }
}
