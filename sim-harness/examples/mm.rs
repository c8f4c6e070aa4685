//! scratch
fn main() {
    let clock = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    };
    for depth in [1, 16, 256] {
        println!("{:?}", wavetank_harness::bench::sim_messages(depth, &clock));
    }
}
