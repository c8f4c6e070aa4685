//! Sizes, durations and rates: read as people write them, printed as they are read.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use proptest::prelude::*;
use wavetank_harness::workload::units::{Bytes, BytesPerSecond, Nanos, PerSecond, UnitError};

#[test]
fn units_mean_what_they_say() {
    let bytes = |text: &str| text.parse::<Bytes>().map(|b| b.0);
    assert_eq!(bytes("512"), Ok(512));
    assert_eq!(bytes("512B"), Ok(512));
    assert_eq!(bytes("1.5KiB"), Ok(1536));
    assert_eq!(bytes("64 MiB"), Ok(64 << 20));
    assert_eq!(bytes("1TiB"), Ok(1 << 40));
    assert_eq!("20us".parse(), Ok(Nanos(20_000)));
    assert_eq!("1.5ms".parse(), Ok(Nanos(1_500_000)));
    assert_eq!("3s".parse(), Ok(Nanos(3_000_000_000)));
    assert_eq!("250k/s".parse(), Ok(PerSecond(250_000)));
    assert_eq!("1.25M/s".parse(), Ok(PerSecond(1_250_000)));
    assert_eq!("1GiB/s".parse(), Ok(BytesPerSecond(1 << 30)));
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in
        ["", " ", "KiB", "1.", ".5KiB", "1..5s", "1kb", "1KB", "-1", "1e3", "0x10", "1 2", "NaN", "\u{663}"]
    {
        assert!(matches!(text.parse::<Bytes>(), Err(UnitError::Malformed { .. })), "{text:?}");
    }
    assert_eq!("0.3B".parse::<Bytes>(), Err(UnitError::Fraction { smallest: "bytes" }));
    assert_eq!("0.0001us".parse::<Nanos>(), Err(UnitError::Fraction { smallest: "nanoseconds" }));
    assert_eq!("0.0000000000001s".parse::<Nanos>(), Err(UnitError::Fraction { smallest: "nanoseconds" }));
    assert_eq!("16777216TiB".parse::<Bytes>(), Err(UnitError::TooLarge { smallest: "bytes" }));
    assert_eq!("99999999999999999999".parse::<Bytes>(), Err(UnitError::TooLarge { smallest: "bytes" }));
    assert!("5".parse::<Nanos>().is_err() && "5/s".parse::<BytesPerSecond>().is_err());
}

#[test]
fn quantities_are_printed_in_their_largest_exact_unit() {
    let printed = [
        Nanos(0).to_string(),
        Nanos(150).to_string(),
        Nanos(1_500_000).to_string(),
        Nanos(1_234_567).to_string(),
        Nanos(3_000_000_000).to_string(),
        Bytes(8192).to_string(),
        Bytes(1536).to_string(),
        Bytes(1025).to_string(),
        PerSecond(250_000).to_string(),
        BytesPerSecond(1 << 30).to_string(),
    ];
    let wanted = ["0ns", "150ns", "1.5ms", "1234.567us", "3s", "8KiB", "1.5KiB", "1025B", "250k/s", "1GiB/s"];
    assert_eq!(printed, wanted);
}

proptest! {
    #[test]
    fn a_printed_quantity_reads_back_as_itself(value: u64, shift in 0u32..64) {
        let value = value >> shift;
        prop_assert_eq!(Nanos(value).to_string().parse(), Ok(Nanos(value)));
        prop_assert_eq!(Bytes(value).to_string().parse(), Ok(Bytes(value)));
        prop_assert_eq!(PerSecond(value).to_string().parse(), Ok(PerSecond(value)));
        prop_assert_eq!(BytesPerSecond(value).to_string().parse(), Ok(BytesPerSecond(value)));
    }

    #[test]
    fn no_text_panics(text in "[0-9.]{0,40} ?[kKMGTiBnums/]{0,5}") {
        let _ = (text.parse::<Bytes>(), text.parse::<Nanos>(), text.parse::<PerSecond>());
    }
}
