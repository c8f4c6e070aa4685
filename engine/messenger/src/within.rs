//! Lines between messengers of one process: what is said on one end is heard on the other, at once and whole.

use std::collections::VecDeque;

use wavetank_contract::Instant;
use wavetank_engine::RdmaOps;

use crate::line::{LineAsk, LineId};
use crate::local::LocalMessenger;
use crate::messenger::Messenger;

/// A messenger that can be had: one's own, or one shared by the tasks of a thread.
pub trait Reach<C: RdmaOps> {
    /// Calls it.
    fn reach<R>(&mut self, call: impl FnOnce(&mut Messenger<C>) -> R) -> R;
}

impl<C: RdmaOps> Reach<C> for Messenger<C> {
    fn reach<R>(&mut self, call: impl FnOnce(&mut Messenger<C>) -> R) -> R {
        call(self)
    }
}

impl<C: RdmaOps + 'static> Reach<C> for LocalMessenger<C> {
    fn reach<R>(&mut self, call: impl FnOnce(&mut Messenger<C>) -> R) -> R {
        self.with(call)
    }
}

/// Carries lines between messengers that call each other by their place in a slice: `"0"`, `"1"`.
#[derive(Debug, Default)]
pub struct Within {
    /// Both ends of each line: the place of a messenger, and its name for the line.
    lines: Vec<[(usize, LineId); 2]>,
    /// What is on its way.
    under_way: VecDeque<(usize, LineId, Said)>,
}

#[derive(Debug)]
enum Said {
    Up,
    Bytes(Vec<u8>),
    Down(&'static str),
}

impl Within {
    /// No lines yet.
    pub fn new() -> Within {
        Within::default()
    }

    /// Does what the messengers ask for, until none asks for more. Answers whether anything was asked.
    pub fn carry<C: RdmaOps>(&mut self, now: Instant, messengers: &mut [impl Reach<C>]) -> bool {
        let mut any = false;
        loop {
            for place in 0..messengers.len() {
                while let Some(ask) = messengers[place].reach(Messenger::take_ask) {
                    any = true;
                    self.ask(now, place, ask, messengers);
                }
            }
            let Some((place, line, said)) = self.under_way.pop_front() else { return any };
            let Some(messenger) = messengers.get_mut(place) else { continue };
            messenger.reach(|messenger| match said {
                Said::Up => messenger.line_up(now, line),
                Said::Bytes(bytes) => messenger.line_heard(now, line, &bytes),
                Said::Down(why) => messenger.line_down(now, line, why),
            });
        }
    }

    fn ask<C: RdmaOps>(
        &mut self,
        now: Instant,
        place: usize,
        ask: LineAsk,
        messengers: &mut [impl Reach<C>],
    ) {
        match ask {
            LineAsk::Dial { line, to } => {
                let called = to.parse().ok().filter(|to: &usize| *to < messengers.len() && *to != place);
                let said = match called {
                    Some(to) => {
                        let other = messengers[to].reach(|messenger| messenger.line_came(now));
                        self.lines.push([(place, line), (to, other)]);
                        Said::Up
                    }
                    None => Said::Down("there is no such place"),
                };
                self.under_way.push_back((place, line, said));
            }
            LineAsk::Send { line, bytes } => {
                if let Some((to, other)) = self.other(place, line) {
                    self.under_way.push_back((to, other, Said::Bytes(bytes)));
                }
            }
            LineAsk::Close { line } => {
                if let Some((to, other)) = self.other(place, line) {
                    self.under_way.push_back((to, other, Said::Down("closed")));
                }
                self.lines.retain(|ends| !ends.contains(&(place, line)));
            }
        }
    }

    fn other(&self, place: usize, line: LineId) -> Option<(usize, LineId)> {
        self.lines.iter().find_map(|[a, b]| match (place, line) {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }
}
