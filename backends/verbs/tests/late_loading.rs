//! The C libraries are loaded when a device is asked for, not before: a program with this crate starts without them.

#[test]
fn no_rdma_library_is_loaded_until_a_device_is_asked_for() {
    let loaded = || std::fs::read_to_string("/proc/self/maps").expect("Linux").contains("libibverbs");
    assert!(!loaded(), "something links against libibverbs");
    let findings = wavetank_verbs::doctor::examine(None);
    let found =
        findings.iter().any(|f| f.check == "libibverbs" && f.verdict == wavetank_verbs::doctor::Verdict::Ok);
    assert_eq!(loaded(), found);
}
