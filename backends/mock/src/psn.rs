//! Packet sequence numbers: 24 bits that wrap (IBA 9.7.1).

/// The bits of a PSN.
pub(crate) const MASK: u32 = 0x00ff_ffff;

/// `psn + n`, wrapping at 24 bits.
#[inline]
pub(crate) fn add(psn: u32, n: u32) -> u32 {
    psn.wrapping_add(n) & MASK
}

/// How far `a` is ahead of `b`; negative when it is behind. Half of the space counts as ahead.
#[inline]
pub(crate) fn diff(a: u32, b: u32) -> i32 {
    ((a.wrapping_sub(b) << 8) as i32) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_at_24_bits() {
        assert_eq!(add(MASK, 1), 0);
        assert_eq!(diff(0, MASK), 1);
        assert_eq!(diff(MASK, 0), -1);
        assert_eq!(diff(add(5, 1 << 22), 5), 1 << 22);
    }
}
