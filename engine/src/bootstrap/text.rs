//! Text of a peer, made fit to be shown.

use core::fmt;

/// Text that a peer sent: bounded, and with nothing in it that moves a cursor, breaks a line or turns its direction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Said(String);

impl Said {
    /// Longest text, in bytes. What is longer is cut, on our side before it is sent, on the peer's when it is read.
    pub const MAX_BYTES: usize = 256;

    /// Cleans any bytes. What is no UTF-8, and what is not meant to be seen, becomes `U+FFFD`.
    pub fn clean(bytes: &[u8]) -> Said {
        Said::within(bytes, Said::MAX_BYTES)
    }

    /// The same, cut at `max` bytes.
    pub(super) fn within(bytes: &[u8], max: usize) -> Said {
        let bytes = &bytes[..bytes.len().min(max)];
        let mut text = String::with_capacity(bytes.len());
        for c in String::from_utf8_lossy(bytes).chars() {
            let c = if is_seen(c) { c } else { char::REPLACEMENT_CHARACTER };
            if text.len() + c.len_utf8() > max {
                break;
            }
            text.push(c);
        }
        Said(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character shows itself and does nothing else to the line it is in.
pub(super) fn is_seen(c: char) -> bool {
    // Zero-width characters, line and paragraph separators, embeddings, overrides and isolates of direction, tags.
    let hidden = matches!(
        u32::from(c),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
            | 0xe0000..=0xe007f
    );
    !c.is_control() && !hidden
}

impl From<&str> for Said {
    fn from(text: &str) -> Said {
        Said::clean(text.as_bytes())
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_a_cursor_or_turn_a_line_is_replaced() {
        let said = Said::from("no\x1b[2J\r\nroom\u{202e}moor");
        assert_eq!(said.as_str(), "no\u{fffd}[2J\u{fffd}\u{fffd}room\u{fffd}moor");
        assert_eq!(Said::from("kein Platz für 8 Stück").as_str(), "kein Platz für 8 Stück");
        assert_eq!(Said::clean(b"a\xffb").as_str(), "a\u{fffd}b");
    }

    #[test]
    fn text_is_cut_between_characters_and_never_grows_past_its_limit() {
        assert_eq!(Said::clean(&[b'x'; 1000]).as_str().len(), Said::MAX_BYTES);
        // Each bad byte becomes three: the limit holds for what is kept, not for what came.
        assert!(Said::clean(&[0xff; 1000]).as_str().len() <= Said::MAX_BYTES);
        assert_eq!(Said::within("aé".as_bytes(), 2).as_str(), "a");
    }
}
