//! Disagreements that are known and accepted: where a device deviates from the rule that the reference keeps.
//!
//! A rule either *reads* one status as another, where the device tells the same thing by another name, or *changes* the
//! program for both, where the device goes another way from there on and nothing after it could be compared. Each says
//! why, is counted, and is reported when it never applied any more, so that the table shrinks when devices improve.
//!
//! `rxe` is the kernel's `drivers/infiniband/sw/rxe`; what is said of it was read there and seen on Linux 6.12.

use std::fmt;

use wavetank_contract::{OpKind, QpState, Status};

use super::log::{Ended, Log, Queue};
use super::program::{Post, Program, Step, Verb};

/// A disagreement that is accepted.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// The labs it is for: their names begin so.
    pub lab: &'static str,
    /// What the rule says, what the device does instead, and where that can be read.
    pub why: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Whether the other's status of this work, the second one, means the reference's.
    Reads(fn(&Post, Status, Status) -> bool),
    /// What to do with a step instead, by what comes before and behind it.
    Changes(fn(&[Step], &Step, &[Step]) -> Change),
}

/// What becomes of a step.
enum Change {
    Keep,
    LeaveOut,
    Unfence,
}

/// The rules.
const RULES: [Rule; 7] = [
    Rule {
        name: "local_error_told_as_flush",
        lab: "verbs/rxe",
        why: "A SEND or WRITE whose local memory cannot be read ends with LOC_PROT_ERR (IBA 11.6.2). rxe moves the queue \
              pair to ERR before its completer has told the status, and flush_send_wqe tells WR_FLUSH_ERR for every \
              work (rxe_req.c, err: of rxe_requester; rxe_comp.c, flush_send_wqe).",
        kind: Kind::Reads(|post, reference, other| {
            let sends = !post.kind().fills_local();
            sends && (reference, other) == (Status::LocProtErr, Status::WrFlushErr)
        }),
    },
    Rule {
        name: "long_message_is_operation_error",
        lab: "verbs/rxe",
        why: "A message longer than its receive is refused as an invalid request, and the receive ends with LOC_LEN_ERR \
              (IBA 9.7.4.1.4). In rxe copy_data answers -EINVAL and not -ENOSPC, so that the receive counts as \
              malformed: REM_OP_ERR and LOC_QP_OP_ERR (rxe_mr.c, copy_data; rxe_resp.c, send_data_in).",
        kind: Kind::Reads(|post, reference, other| match post.kind() {
            OpKind::Send => (reference, other) == (Status::RemInvReqErr, Status::RemOpErr),
            OpKind::Recv => (reference, other) == (Status::LocLenErr, Status::LocQpOpErr),
            _ => false,
        }),
    },
    Rule {
        name: "bad_receive_is_operation_error",
        lab: "verbs/rxe",
        why: "A receive whose memory cannot be written ends with LOC_PROT_ERR. rxe tells LOC_QP_OP_ERR for whatever is \
              wrong with a receive (rxe_resp.c, RESPST_ERR_MALFORMED_WQE). The sender sees REM_OP_ERR from both.",
        kind: Kind::Reads(|post, reference, other| {
            post.is_recv() && (reference, other) == (Status::LocProtErr, Status::LocQpOpErr)
        }),
    },
    Rule {
        name: "refused_write_takes_receive",
        lab: "verbs/rxe",
        why: "A WRITE with immediate that is refused has not come to its receive, which is flushed. rxe takes the receive \
              before it looks at the key and tells REM_ACCESS_ERR for it, if the message is one packet (rxe_resp.c, \
              check_resource before check_rkey).",
        kind: Kind::Reads(|post, reference, other| {
            post.is_recv() && (reference, other) == (Status::WrFlushErr, Status::RemAccessErr)
        }),
    },
    Rule {
        name: "misaligned_atomic_not_posted",
        lab: "verbs/rxe",
        why: "An atomic at an address that is not a multiple of 8 is refused by the responder. rxe does not take it when it \
              is posted (rxe_verbs.c, validate_send_wr), so that both endpoints live on. Such works are left out.",
        kind: Kind::Changes(|_, step, _| match step {
            Step::Post(Post { remote: Some(place), verb: Verb::Swap { .. } | Verb::Add { .. }, .. })
                if place.offset % 8 != 0 =>
            {
                Change::LeaveOut
            }
            _ => Change::Keep,
        }),
    },
    Rule {
        name: "fence_behind_later_reads",
        lab: "verbs/rxe",
        why: "A work that gets no answer is repeated, and fails after retry_cnt repetitions. In rxe a fenced one that is \
              repeated waits for every READ and atomic in flight, though it is itself one of them or they come after it: \
              it is never sent again and never fails (rxe_req.c, rxe_wqe_is_fenced compares rd_atomic with \
              max_rd_atomic). A fence stays only on a SEND or WRITE with no READ or atomic behind it.",
        kind: Kind::Changes(|_, step, behind| {
            let Step::Post(post) = step else { return Change::Keep };
            let reads = |p: &Post| p.kind().is_read_or_atomic() && p.end == post.end;
            let posts = behind.iter().map_while(|step| if let Step::Post(p) = step { Some(p) } else { None });
            let waits = post.fence && (reads(post) || posts.into_iter().any(reads));
            if waits { Change::Unfence } else { Change::Keep }
        }),
    },
    Rule {
        name: "reset_queue_never_drained",
        lab: "verbs/rxe",
        why: "An idle send queue that is moved to SQD is drained at once. In rxe one that was reset with works in it says so \
              never, and is then stuck: it compares a slot that is no longer in use (rxe_req.c, req_check_sq_drain_done; \
              rxe_qp.c, rxe_qp_chk_attr refuses to move on while sq_draining). After a reset nothing is moved to SQD.",
        kind: Kind::Changes(|before, step, _| {
            let Step::Move(end, QpState::Sqd) = step else { return Change::Keep };
            let reset = |step: &Step| match step {
                Step::Reconnect(connection) => *connection == end.connection,
                Step::Move(other, QpState::Reset) => other == end,
                _ => false,
            };
            if before.iter().any(reset) { Change::LeaveOut } else { Change::Keep }
        }),
    },
];

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).field("lab", &self.lab).finish_non_exhaustive()
    }
}

/// The rules for a lab.
pub(crate) fn rules_for(lab: &str) -> Vec<Rule> {
    RULES.iter().filter(|rule| lab.starts_with(rule.lab)).copied().collect()
}

/// The program that both labs run instead of this one. Counts the steps that were changed, by rule.
pub(crate) fn changed(rules: &[Rule], program: &Program, applied: &mut [u32]) -> Program {
    let mut program = program.clone();
    for (rule, applied) in rules.iter().zip(applied) {
        let Kind::Changes(change) = rule.kind else { continue };
        let mut kept = Vec::with_capacity(program.steps.len());
        for (i, step) in program.steps.iter().enumerate() {
            let (before, behind) = (&program.steps[..i], &program.steps[i + 1..]);
            let change = change(before, step, behind);
            *applied += u32::from(!matches!(change, Change::Keep));
            match (change, step) {
                (Change::LeaveOut, _) => {}
                (Change::Unfence, Step::Post(post)) => {
                    kept.push(Step::Post(Post { fence: false, ..post.clone() }))
                }
                _ => kept.push(step.clone()),
            }
        }
        program.steps = kept;
    }
    program
}

/// Writes the reference's status over the other's where a rule says that they mean the same. Counts how often, by rule.
pub(crate) fn read_alike(
    rules: &[Rule],
    program: &Program,
    reference: &Log,
    other: &mut Log,
    applied: &mut [u32],
) {
    for (ours, theirs) in reference.rounds.iter().zip(&mut other.rounds) {
        for (at, ended) in &mut theirs.ends {
            for (theirs, ours) in ended.iter_mut().zip(ours.ends.get(at).into_iter().flatten()) {
                if let Some(rule) = rules.iter().position(|rule| rule.reads(program, at.1, ours, theirs)) {
                    theirs.status = ours.status;
                    applied[rule] += 1;
                }
            }
        }
    }
}

impl Rule {
    fn reads(&self, program: &Program, queue: Queue, ours: &Ended, theirs: &Ended) -> bool {
        let Kind::Reads(same) = self.kind else { return false };
        let post = program.post(ours.step).filter(|post| post.is_recv() == (queue == Queue::Recv));
        let differ = ours.step == theirs.step && ours.status != theirs.status;
        differ && post.is_some_and(|post| same(post, ours.status, theirs.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own_and_reasons() {
        for (i, rule) in RULES.iter().enumerate() {
            assert!(RULES[..i].iter().all(|other| other.name != rule.name), "{}", rule.name);
            assert!(rule.why.len() > 80, "{}: why?", rule.name);
        }
    }

    #[test]
    fn no_rule_is_for_the_simulated_nic() {
        assert!(rules_for("mock/rxe").is_empty());
        assert_eq!(rules_for("verbs/rxe0").len(), RULES.len());
        assert!(rules_for("verbs/mlx5_0").is_empty(), "an adapter has none until one was judged");
    }
}
