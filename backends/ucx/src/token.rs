//! Tokens: how UCX's events name what they are about. The kind is in the top byte.

const SEND: u64 = 1 << 56;
const FRAME: u64 = 2 << 56;
const LINK: u64 = 3 << 56;

/// A connection through the listener, of nobody yet.
pub(crate) const STRANGER: u64 = 4 << 56;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A place in the send queue of an endpoint (by its index).
    Send {
        ep: u32,
        slot: u32,
    },
    Frame(u32),
    /// A connection of an endpoint (by its full number), and which one of it.
    Link {
        ep: u32,
        link: u32,
    },
}

pub(crate) const fn send(ep_index: u32, slot: u32) -> u64 {
    SEND | (ep_index as u64 & 0xffff) << 32 | slot as u64
}

pub(crate) const fn frame(index: u32) -> u64 {
    FRAME | index as u64
}

pub(crate) const fn link(ep: u32, link: u32) -> u64 {
    LINK | (link as u64 & 0xff_ffff) << 32 | ep as u64
}

impl Token {
    pub(crate) const fn read(token: u64) -> Option<Token> {
        let (middle, low) = ((token >> 32) as u32 & 0xff_ffff, token as u32);
        match token & 0xff << 56 {
            SEND => Some(Token::Send { ep: middle, slot: low }),
            FRAME => Some(Token::Frame(low)),
            LINK => Some(Token::Link { ep: low, link: middle }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        assert_eq!(Token::read(send(0xffff, u32::MAX)), Some(Token::Send { ep: 0xffff, slot: u32::MAX }));
        assert_eq!(Token::read(frame(7)), Some(Token::Frame(7)));
        assert_eq!(Token::read(link(u32::MAX, 3)), Some(Token::Link { ep: u32::MAX, link: 3 }));
        assert_eq!(Token::read(0), None);
    }
}
