//! A plan that fails, made smaller: operations, faults and incidents are left out as long as the same check fails.

use super::Plan;
use crate::check::Check;

/// Leaves out what is not needed. `fails` runs a plan and says by which check it fails.
pub fn shrink(plan: &Plan, check: Check, mut fails: impl FnMut(&Plan) -> Option<Check>) -> Plan {
    let mut best = plan.clone();
    let mut still = |plan: &Plan| fails(plan) == Some(check);
    loop {
        let before = size(&best);
        without(&mut best, |plan| &mut plan.ops, &mut still);
        without(&mut best, |plan| &mut plan.faults, &mut still);
        without(&mut best, |plan| &mut plan.incidents, &mut still);
        let duller: [fn(&mut Plan); 4] = [
            |plan| plan.buggify.clear(),
            |plan| (plan.jitter_ns, plan.line_jitter_ns) = (0, 0),
            |plan| plan.signal_every = 1,
            |plan| plan.profile = "ideal".to_owned(),
        ];
        for change in duller {
            let mut other = best.clone();
            change(&mut other);
            if other != best && still(&other) {
                best = other;
            }
        }
        if size(&best) == before {
            return best;
        }
    }
}

fn size(plan: &Plan) -> usize {
    plan.ops.len() + plan.faults.len() + plan.incidents.len()
}

/// Leaves out runs of a list, long ones first.
fn without<T: Clone>(
    plan: &mut Plan,
    list: impl Fn(&mut Plan) -> &mut Vec<T>,
    still: &mut impl FnMut(&Plan) -> bool,
) {
    let mut len = list(plan).len().div_ceil(2);
    while len > 0 {
        let mut at = 0;
        while at < list(plan).len() {
            let mut other = plan.clone();
            let all = list(&mut other);
            let end = (at + len).min(all.len());
            all.drain(at..end);
            if still(&other) {
                *plan = other;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
}
