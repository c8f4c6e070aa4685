//! Messages: over one life of a connection they arrive in order, at most once and whole; one that was reported as sent has
//! arrived exactly once.

use wavetank_contract::Region;

use crate::pattern::{self, Tag};

/// How a message ended at its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    UnderWay,
    Well,
    Badly,
}

#[derive(Clone, Debug)]
struct Message {
    op: u32,
    life: u32,
    len: u32,
    imm: Option<u32>,
    generation: u32,
    changed: Option<u32>,
    /// Told by its immediate alone: the data of a WRITE is elsewhere, and parts of it may let others pass.
    write: bool,
    sent: Sent,
    arrived: bool,
}

/// Everything sent one way over one connection.
#[derive(Clone, Debug)]
pub struct Stream {
    region: u32,
    generations: u32,
    messages: Vec<Message>,
    /// Messages before this one are settled.
    first: usize,
    /// In these lives what had arrived may have been lost with its receiver.
    forgotten: Vec<u32>,
}

impl Stream {
    /// Nothing sent yet. `region` is the number in the tags of its pattern.
    pub fn new(region: u32) -> Stream {
        Stream { region, generations: 0, messages: Vec::new(), first: 0, forgotten: Vec::new() }
    }

    /// The number in the tags of its pattern, and how many generations there are.
    pub fn pattern(&self) -> (u32, u32) {
        (self.region, self.generations)
    }

    /// A message begins. Answers the pattern to fill it with.
    pub fn announce(&mut self, op: u32, life: u32, len: u32, imm: Option<u32>) -> Tag {
        let generation = self.next();
        let write = false;
        let (changed, sent, arrived) = (None, Sent::UnderWay, false);
        self.messages.push(Message { op, life, len, imm, generation, changed, write, sent, arrived });
        Tag { region: self.region, generation }
    }

    /// A WRITE with an immediate begins.
    pub fn announce_write(&mut self, op: u32, life: u32, len: u32, imm: u32) {
        let (generation, changed, write) = (u32::MAX, None, true);
        let (imm, sent, arrived) = (Some(imm), Sent::UnderWay, false);
        self.messages.push(Message { op, life, len, imm, generation, changed, write, sent, arrived });
    }

    /// The source of a message under way is about to change. Answers what to fill it with.
    pub fn change_source(&mut self, op: u32) -> Option<Tag> {
        let next = self.generations;
        let message = self.messages.iter_mut().rev().find(|message| message.op == op)?;
        if message.sent != Sent::UnderWay || message.changed.is_some() || message.write {
            return None;
        }
        message.changed = Some(next);
        self.generations += 1;
        Some(Tag { region: self.region, generation: next })
    }

    /// A message ended at its sender.
    pub fn end(&mut self, op: u32, well: bool) {
        if let Some(message) = self.messages.iter_mut().rev().find(|message| message.op == op) {
            message.sent = if well { Sent::Well } else { Sent::Badly };
        }
    }

    /// What has arrived in this life may be lost: the receiver died.
    pub fn forget(&mut self, life: u32) {
        self.forgotten.push(life);
    }

    /// A message arrived. Answers its operation.
    ///
    /// # Errors
    /// In words, when it is none that may arrive now.
    pub fn arrive(
        &mut self,
        life: u32,
        memory: &Region,
        at: u64,
        len: u64,
        imm: Option<u32>,
    ) -> Result<u32, String> {
        let region = self.region;
        let is_it = |message: &Message| {
            let legal = [Some(message.generation), message.changed];
            let legal = &legal.map(|generation| generation.unwrap_or(message.generation));
            !message.write
                && message.imm == imm
                && u64::from(message.len) == len
                && pattern::first_torn(memory, at, len as usize, region, legal, 0).is_none()
        };
        let candidates = self.messages.iter().enumerate().skip(self.first);
        let found = candidates
            .filter(|(_, message)| message.life == life && !message.arrived)
            .find(|(_, message)| is_it(message))
            .map(|(index, _)| index);
        let Some(index) = found else {
            let earlier = self.messages.iter().find(|message| is_it(message));
            return Err(match earlier {
                Some(message) if message.life != life => {
                    format!("the message of operation {}, from an earlier connection", message.op)
                }
                Some(message) => format!("the message of operation {} once more", message.op),
                None => self.odd(life, memory, at, len, imm),
            });
        };
        self.take(index)
    }

    /// A WRITE with an immediate arrived. Answers its operation.
    ///
    /// # Errors
    /// In words, when there is none such to arrive now.
    pub fn arrive_write(&mut self, life: u32, imm: Option<u32>) -> Result<u32, String> {
        let found = self.messages.iter().position(|message| {
            message.write && message.life == life && message.imm == imm && !message.arrived
        });
        match found {
            Some(index) => self.take(index),
            None => Err(format!("an immediate {imm:?} of a WRITE that nobody sent, or that came before")),
        }
    }

    fn take(&mut self, index: usize) -> Result<u32, String> {
        self.messages[index].arrived = true;
        let (op, life, write) =
            (self.messages[index].op, self.messages[index].life, self.messages[index].write);
        // Whatever was given up may never have been posted.
        let passed = self.messages[self.first..index].iter().find(|message| {
            let ordered = !message.write && !write;
            ordered && message.life == life && !message.arrived && message.sent != Sent::Badly
        });
        if let Some(passed) = passed {
            return Err(format!("the message of operation {op} before that of operation {}", passed.op));
        }
        let settled = |message: &Message| message.arrived && message.sent != Sent::UnderWay;
        while self.messages.get(self.first).is_some_and(settled) {
            self.first += 1;
        }
        Ok(op)
    }

    fn odd(&self, life: u32, memory: &Region, at: u64, len: u64, imm: Option<u32>) -> String {
        let due = self.messages[self.first..].iter().find(|message| message.life == life && !message.arrived);
        let due = due.map_or("none is due".to_owned(), |message| {
            format!(
                "due is that of operation {}: {} bytes, immediate {:?}",
                message.op, message.len, message.imm
            )
        });
        let mut head = [0; 8];
        let known = len.min(8) as usize;
        memory.read(at, &mut head[..known]);
        format!("a message of {len} bytes, immediate {imm:?}, beginning {:02x?}; {due}", &head[..known])
    }

    /// Whether everything that was reported as sent has arrived.
    ///
    /// # Errors
    /// The operation of a message that has not, and what is wrong in words.
    pub fn check(&self) -> Result<(), (u32, String)> {
        let lost = self.messages.iter().find(|message| {
            message.sent == Sent::Well && !message.arrived && !self.forgotten.contains(&message.life)
        });
        match lost {
            Some(message) => Err((message.op, "it succeeded, and its message never arrived".to_owned())),
            None => Ok(()),
        }
    }

    fn next(&mut self) -> u32 {
        self.generations += 1;
        self.generations - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::RegionSpec;

    /// A stream with messages of operations 0, 1 and 2, and the memory of their receives.
    fn sent() -> (Stream, Vec<Region>) {
        let mut stream = Stream::new(77);
        let receive = |op: u32| {
            let memory = Region::allocate(&RegionSpec::new(64)).expect("small");
            let tag = stream.announce(op, 0, 40, None);
            pattern::fill(&memory, 0, 40, tag, 0);
            memory
        };
        let received = (0..3).map(receive).collect();
        (stream, received)
    }

    #[test]
    fn messages_arrive_once_and_in_order() {
        let (mut stream, received) = sent();
        for (op, memory) in (0..).zip(&received) {
            stream.end(op, true);
            assert_eq!(stream.arrive(0, memory, 0, 40, None), Ok(op));
        }
        assert_eq!(stream.check(), Ok(()));
        let again = stream.arrive(0, &received[1], 0, 40, None);
        assert!(again.is_err_and(|what| what.contains("once more")));
    }

    #[test]
    fn lost_early_foreign_short_and_damaged_ones_are_told() {
        let (mut stream, received) = sent();
        stream.end(0, true);
        assert_eq!(stream.check().map_err(|(op, _)| op), Err(0), "reported, and not there");
        stream.forget(0);
        assert_eq!(stream.check(), Ok(()), "its receiver died");
        assert!(stream.clone().arrive(0, &received[1], 0, 40, None).is_err(), "before the first");
        assert!(stream.clone().arrive(1, &received[0], 0, 40, None).is_err(), "in another life");
        assert!(stream.clone().arrive(0, &received[0], 0, 39, None).is_err(), "short");
        assert!(stream.clone().arrive(0, &received[0], 0, 40, Some(1)).is_err(), "with an immediate");
        received[0].cells(12, 1)[0].set(0);
        assert!(stream.arrive(0, &received[0], 0, 40, None).is_err(), "damaged");
    }

    #[test]
    fn one_that_was_given_up_may_be_missing_and_may_come() {
        let (mut stream, received) = sent();
        stream.end(0, false);
        assert_eq!(stream.clone().arrive(0, &received[1], 0, 40, None), Ok(1));
        assert_eq!(stream.arrive(0, &received[0], 0, 40, None), Ok(0));
        assert_eq!(stream.check(), Ok(()));
    }

    #[test]
    fn a_write_is_told_by_its_immediate_once() {
        let mut stream = Stream::new(77);
        stream.announce_write(5, 0, 64, 500);
        assert!(stream.clone().arrive_write(0, Some(501)).is_err());
        assert!(stream.clone().arrive_write(1, Some(500)).is_err());
        assert_eq!(stream.arrive_write(0, Some(500)), Ok(5));
        assert!(stream.arrive_write(0, Some(500)).is_err(), "twice");
    }
}
