//! wavetank
fn main() {
    let w = wavetank_harness::Workload::load(std::env::args().nth(1).unwrap().as_ref()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "x")]
    let t = std::time::Instant::now();
    let r = wavetank_harness::Replay::prepare(w).unwrap();
    let t1 = t.elapsed().as_secs_f64();
    let rep = r.run(&mut |_| ());
    let t2 = t.elapsed().as_secs_f64();
    eprintln!("prepare {t1} run {}", t2 - t1);
    println!("{}", serde_json::to_string_pretty(&rep.to_json(t2 - t1)).unwrap());
}
