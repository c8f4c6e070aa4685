use wavetank_contract::Seeded;
use wavetank_harness::swarm::{draw, run};
#[allow(clippy::all)]
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().expect("n")).collect();
    let mut bad = 0;
    let mut e = wavetank_harness::swarm::Ended::default();
    let (mut vt, mut nops) = (0u64, 0);
    for seed in args[0]..args[1] {
        if args.len() > 2 {
            eprintln!("seed {seed}");
        }
        let plan = draw(seed);
        if args.len() > 3 {
            println!("{plan:#?}");
        }
        let v = run(&plan, Seeded::new(seed));
        nops += plan.ops.len();
        e.well += v.ended.well;
        e.failed += v.ended.failed;
        e.given_up += v.ended.given_up;
        e.not_begun += v.ended.not_begun;
        vt += v.took.0;
        if let Some(g) = v.failure {
            bad += 1;
            let w: String = g.what.chars().take(if args.len() > 3 { 9999 } else { 300 }).collect();
            println!("seed {seed}: {:?} at {} op {:?}: {}", g.check, g.at, g.op, w);
        }
    }
    println!("{bad} bad, {nops} ops, {e:?}, virtual {} ms", vt / 1_000_000);
}
