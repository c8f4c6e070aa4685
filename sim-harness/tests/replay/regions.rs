//! What a workload may not ask of a region, because it could not be checked.

use crate::support::{load, op, two_nodes};
use wavetank_harness::{Replay, SetupError};

#[test]
fn atomics_and_plain_data_on_one_region_are_refused_with_file_and_line() {
    for plain in ["read", "write", "write_imm"] {
        let text = op("fetch_add", "log", "8") + &op(plain, "log", "64") + &load(1, 1);
        let error = Replay::prepare(two_nodes(&text)).unwrap_err();
        assert!(matches!(error, SetupError::Workload(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with("test.toml:20: region: "), "{message}");
        for part in [plain, "\"log\"", "atomics", "a region of their own"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}

#[test]
fn an_operation_of_no_weight_is_never_done_and_disturbs_nobody() {
    let idle = op("read", "log", "64") + "weight = 0\n";
    let text = op("fetch_add", "log", "8") + &idle + &load(1, 10);
    assert_eq!(crate::support::run_ok(two_nodes(&text)).ops, 10);
}
