//! Each case's twin: the lie that it is there to find.

use wavetank_harness::kit::{Outcome, Report, cases};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::lying::{Lie, LyingLab};
use crate::support::{failed, on, on_mock, only, plan};

type Liars = LyingLab<MockLab>;

fn liars(lie: Lie, profile: &Profile, names: &[&str]) -> Report {
    on(&mut || LyingLab::new(MockLab::new(profile.clone(), 1), lie), &only(names))
}

/// The lie for each case, and what the case has to say of it.
const TWINS: &[(&str, Lie, &str)] = &[
    // data
    ("a_write_of_any_size_lands_and_touches_nothing_else", Lie::FlipsBeside, "bytes of memory are wrong"),
    ("a_read_of_any_size_brings_what_the_owner_put_there", Lie::FlipsBesideRead, "bytes of memory are wrong"),
    ("a_send_of_any_size_meets_its_receive", Lie::FlipsReceived, "bytes of memory are wrong"),
    ("a_mebibyte_is_written_whole", Lie::FlipsWritten, "a mebibyte was not written as it was"),
    ("a_mebibyte_is_read_whole", Lie::FlipsRead, "a mebibyte was not read as it was"),
    ("a_mebibyte_is_sent_whole", Lie::FlipsSource, "the source of a SEND changed"),
    ("every_alignment_is_written_right", Lie::FlipsWritten, "bytes of memory are wrong"),
    ("every_alignment_is_read_right", Lie::FlipsRead, "bytes of memory are wrong"),
    ("every_mtu_carries_the_same_bytes", Lie::FlipsRead, "bytes of memory are wrong"),
    ("a_message_may_be_shorter_than_its_receive", Lie::FlipsBehindMessage, "bytes of memory are wrong"),
    ("a_hundred_works_in_flight_all_land", Lie::FlipsRead, "bytes of memory are wrong"),
    ("both_directions_carry_at_once", Lie::FlipsReceived, "bytes of memory are wrong"),
    ("endpoints_of_one_device_reach_each_other", Lie::FlipsWritten, "bytes of memory are wrong"),
    ("works_of_one_endpoint_use_several_regions", Lie::KnowsOneRegion, "bytes of memory are wrong"),
    (
        "one_sided_works_need_no_polling_at_the_target",
        Lie::NeedsTargetPolled,
        "a: never got 1 SUCCESS, 2 SUCCESS",
    ),
    ("a_write_with_an_immediate_spends_a_receive", Lie::WrongImmediate, "b: recv 0"),
    ("a_send_carries_its_immediate", Lie::WrongImmediate, "b: recv 0"),
    ("inline_bytes_are_free_once_posted", Lie::ReadsInlineLate, "bytes of memory are wrong"),
    ("pieces_are_gathered_in_their_order", Lie::ReversesPieces, "bytes of memory are wrong"),
    ("pieces_are_scattered_in_their_order", Lie::ReversesPieces, "bytes of memory are wrong"),
    ("a_fetch_and_add_answers_the_former_and_wraps", Lie::AddsTwice, "bytes of memory are wrong"),
    ("a_compare_and_swap_hits_or_leaves_alone", Lie::SwapsAnyway, "bytes of memory are wrong"),
    ("atomics_of_several_endpoints_add_up", Lie::AddsTwice, "two atomics"),
    // order
    (
        "completions_come_in_post_order_whatever_the_verbs",
        Lie::SwapsCompletions,
        "b: recv 1 completed before recv 0",
    ),
    ("messages_meet_receives_in_post_order", Lie::SwapsReceives, "b: recv 1 completed before recv 0"),
    ("a_message_behind_a_write_finds_it_placed", Lie::DelaysWrites, "bytes of memory are wrong"),
    ("a_read_behind_a_write_sees_it", Lie::DelaysWrites, "a: read 1 completed before write 0"),
    ("a_fenced_write_waits_for_the_reads_before_it", Lie::IgnoresFences, "bytes of memory are wrong"),
    (
        "bytes_of_a_message_are_placed_in_order",
        Lie::PlacesLastByteFirst,
        "a byte was placed before one that comes before it",
    ),
    ("unsignalled_works_are_silent_and_done", Lie::SpeaksForSilent, "a: write 1 was to be silent and spoke"),
    ("a_signalled_work_frees_the_slots_before_it", Lie::KeepsSilentSlots, "a: write 9 was refused"),
    (
        "endpoints_share_a_completion_queue_and_keep_their_own_order",
        Lie::NamesOtherEndpoint,
        "was posted to another endpoint",
    ),
    (
        "sends_and_receives_complete_where_they_were_told",
        Lie::UsesOneQueue,
        "b: the queue for sends holds a receive",
    ),
    // errors
    (
        "a_write_with_a_key_that_nobody_gave_out_is_refused",
        Lie::TakesAnyKey,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_read_with_a_key_that_nobody_gave_out_is_refused",
        Lie::TakesAnyKey,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_key_of_an_ended_registration_is_refused",
        Lie::KeepsRegistrations,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_write_one_byte_past_a_region_is_refused",
        Lie::MovesInside,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_read_one_byte_past_a_region_is_refused",
        Lie::MovesInside,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_write_one_byte_before_a_region_is_refused",
        Lie::MovesInside,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_write_that_a_registration_does_not_allow_is_an_access_error",
        Lie::GrantsMemory,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_read_that_a_registration_does_not_allow_is_an_access_error",
        Lie::GrantsMemory,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "an_atomic_that_a_registration_does_not_allow_is_an_access_error",
        Lie::GrantsMemory,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_region_of_another_domain_is_refused",
        Lie::KnowsOneDomain,
        "a: expected 2 REM_ACCESS_ERR; got 2 SUCCESS",
    ),
    (
        "a_write_that_an_endpoint_does_not_allow_is_an_invalid_request",
        Lie::GrantsEndpoints,
        "a: expected 2 REM_INV_REQ_ERR; got 2 SUCCESS",
    ),
    (
        "a_read_that_an_endpoint_does_not_allow_is_an_invalid_request",
        Lie::GrantsEndpoints,
        "a: expected 2 REM_INV_REQ_ERR; got 2 SUCCESS",
    ),
    ("a_misaligned_atomic_is_refused", Lie::AlignsAtomics, "a: expected 0 REM_INV_REQ_ERR; got 0 SUCCESS"),
    (
        "a_message_longer_than_its_receive_fails_at_both_ends",
        Lie::StretchesReceives,
        "a: expected 2 REM_INV_REQ_ERR; got 2 SUCCESS",
    ),
    (
        "a_receive_without_local_write_fails_at_both_ends",
        Lie::GrantsMemory,
        "a: expected 2 REM_OP_ERR; got 2 SUCCESS",
    ),
    (
        "a_message_without_a_receive_uses_up_its_retries",
        Lie::NeverGivesUp,
        "a: never got 1 RNR_RETRY_EXC_ERR, 2 WR_FLUSH_ERR",
    ),
    (
        "a_receive_posted_in_time_saves_the_message",
        Lie::TriesOnce,
        "a message that waits for a receive ended at once",
    ),
    (
        "a_local_piece_that_nobody_registered_is_refused",
        Lie::TakesAnyPiece,
        "a: expected 2 LOC_PROT_ERR; got 2 SUCCESS",
    ),
    (
        "a_local_piece_of_another_domain_fails",
        Lie::KnowsOneDomain,
        "a: expected 2 LOC_PROT_ERR; got 2 SUCCESS",
    ),
    ("a_local_piece_past_its_region_fails", Lie::MovesInside, "a: expected 2 LOC_PROT_ERR; got 2 SUCCESS"),
    (
        "a_read_into_memory_without_local_write_fails",
        Lie::GrantsMemory,
        "a: expected 2 LOC_PROT_ERR; got 2 SUCCESS",
    ),
    (
        "everything_behind_a_failure_is_flushed_in_order",
        Lie::LosesFlushes,
        "a: never got 1 WR_FLUSH_ERR, 2 WR_FLUSH_ERR, 3 WR_FLUSH_ERR, 4 WR_FLUSH_ERR and 16 more",
    ),
    (
        "a_failure_of_an_unsignalled_work_is_told",
        Lie::FailsSilently,
        "a: never got 2 REM_ACCESS_ERR, 3 WR_FLUSH_ERR",
    ),
    (
        "a_failure_leaves_other_endpoints_alone",
        Lie::SpreadsFailure,
        "a2: expected 2 SUCCESS; got 2 WR_FLUSH_ERR",
    ),
    ("works_posted_to_a_dead_endpoint_are_taken_and_flushed", Lie::RefusesForDead, "a: write 0 was refused"),
    ("a_peer_in_err_never_answers", Lie::PretendsErr, "a: expected 1 RETRY_EXC_ERR; got 1 SUCCESS"),
    (
        "a_wire_that_is_cut_on_the_way_there_uses_up_the_retries",
        Lie::ClaimsSuccess,
        "a: expected 2 RETRY_EXC_ERR; got 2 SUCCESS",
    ),
    (
        "a_wire_that_is_cut_on_the_way_back_uses_up_the_retries",
        Lie::ClaimsSuccess,
        "a: expected 2 RETRY_EXC_ERR; got 2 SUCCESS",
    ),
    (
        "a_short_outage_costs_time_and_nothing_else",
        Lie::TriesOnce,
        "a: expected 1 SUCCESS; got 1 RETRY_EXC_ERR",
    ),
    ("lost_packets_are_sent_again", Lie::TriesOnce, "RETRY_EXC_ERR"),
    ("a_lost_request_is_sent_again", Lie::TriesOnce, "a: expected 0 SUCCESS; got 0 RETRY_EXC_ERR"),
    ("a_lost_answer_does_nothing_twice", Lie::AddsTwice, "bytes of memory are wrong"),
    // states
    (
        "works_are_taken_only_in_states_that_take_them",
        Lie::TakesInAnyState,
        "a: send 1 was taken and should have been refused",
    ),
    ("only_the_moves_of_the_table_are_made", Lie::MakesAnyMove, "an endpoint went from Some(Reset) to Rtr"),
    (
        "receives_posted_before_connecting_serve_the_connection",
        Lie::LosesEarlyReceives,
        "a: expected 1 SUCCESS; got 1 RNR_RETRY_EXC_ERR",
    ),
    (
        "err_flushes_everything_outstanding",
        Lie::LosesFlushes,
        "a: never got 1 WR_FLUSH_ERR, 2 WR_FLUSH_ERR, 3 WR_FLUSH_ERR",
    ),
    ("sqd_holds_what_is_posted_until_rts", Lie::PretendsSqd, "a work posted in SQD was done before RTS"),
    ("a_drained_send_queue_is_told", Lie::TellsNoEvents, "a: event SqDrained of a never came"),
    (
        "reset_forgets_what_was_outstanding",
        Lie::RemembersOverReset,
        "a: a completion of work 1 with SUCCESS, which is not outstanding",
    ),
    ("a_reset_endpoint_connects_again", Lie::KeepsFirstAddress, "a: expected 1 SUCCESS; got 1 RETRY_EXC_ERR"),
    ("a_device_without_states_refuses_to_move", Lie::ModestTaker, "moving to Init"),
    // events
    ("a_link_that_goes_down_and_up_is_told", Lie::TellsNoEvents, "a: event PortErr never came"),
    (
        "no_wake_up_is_lost_over_many_messages",
        Lie::LosesWakeUps,
        "something came and nobody was woken for it",
    ),
    ("an_idle_device_does_not_wake", Lie::WakesForNothing, "woken again and again with nothing to say"),
    ("nothing_is_told_while_all_is_well", Lie::TellsTales, "told of QpFatal of a, though nothing went wrong"),
    ("a_violation_by_the_peer_is_told", Lie::TellsNoEvents, "b: event QpAccessErr of b never came"),
    ("an_invalid_request_of_the_peer_is_told", Lie::TellsNoEvents, "b: event QpReqErr of b never came"),
    (
        "a_completion_queue_that_overruns_is_told_and_dead",
        Lie::TellsNoEvents,
        "nobody was told that a completion queue overran",
    ),
    (
        "a_completion_queue_filled_to_the_brim_has_not_overrun",
        Lie::OpensShallower,
        "a queue of 4 held 3 completions of 4",
    ),
    (
        "a_device_that_promises_no_events_tells_none",
        Lie::ModestTaker,
        "told of QpAccessErr of b, though events are not promised",
    ),
    ("a_peer_that_closes_is_told", Lie::PeerCloseHider, "nobody was told that the peer closed"),
    (
        "a_peer_that_closes_is_silence_and_retries",
        Lie::PeerCloseTattler,
        "told of a peer that closed, which is not promised",
    ),
    // limits
    (
        "a_send_queue_takes_its_depth_and_no_more",
        Lie::OpensDeeper,
        "a: write 5 was taken and should have been refused",
    ),
    (
        "a_receive_queue_takes_its_depth_and_no_more",
        Lie::OpensDeeper,
        "b: recv 3 was taken and should have been refused",
    ),
    ("as_many_pieces_as_promised_are_taken", Lie::PromisesMore, "b: recv 2 was refused"),
    (
        "one_piece_more_than_promised_is_refused",
        Lie::TakesAnyWork,
        "a: send 1 was taken and should have been refused",
    ),
    ("as_many_inline_bytes_as_promised_are_taken", Lie::PromisesMore, "a: send 1 was refused"),
    (
        "one_inline_byte_more_than_promised_is_refused",
        Lie::TakesAnyWork,
        "a: send 1 was taken and should have been refused",
    ),
    (
        "inline_bytes_go_with_sends_and_writes_only",
        Lie::TakesAnyWork,
        "a: read 1 was taken and should have been refused",
    ),
    ("a_message_as_long_as_promised_is_carried", Lie::RefusesLength, "a: write 1 was refused"),
    (
        "a_message_longer_than_promised_is_refused",
        Lie::TakesAnyWork,
        "a: send 1 was taken and should have been refused",
    ),
    ("a_refused_work_leaves_the_works_before_it", Lie::DropsPrefix, "a: write 3 completed before write 0"),
    ("as_many_reads_as_promised_are_outstanding", Lie::ServesOneRead, "REM_INV_REQ_ERR"),
    (
        "an_atomic_takes_one_piece_of_eight_bytes",
        Lie::TakesAnyWork,
        "a: fetch_add 0 was taken and should have been refused",
    ),
    (
        "atomics_that_are_not_promised_are_refused",
        Lie::ModestTaker,
        "a: fetch_add 1 was taken and should have been refused",
    ),
    (
        "immediates_that_are_not_promised_are_refused",
        Lie::ModestTaker,
        "a: send 1 was taken and should have been refused",
    ),
    (
        "numbers_of_an_endpoint_are_refused_by_name",
        Lie::OpensAnything,
        "a send_depth that is not promised was taken",
    ),
    ("endpoints_are_as_deep_as_promised", Lie::RefusesDepth, "an endpoint as deep as promised was refused"),
    (
        "completion_queues_are_as_deep_as_promised",
        Lie::RefusesDepth,
        "a completion queue as deep as promised was refused",
    ),
    (
        "a_completion_queue_deeper_than_promised_is_refused",
        Lie::OpensAnything,
        "a completion queue of a depth that is not promised was opened",
    ),
    ("queues_that_are_not_open_are_refused", Lie::OpensAnything, "an endpoint on an unknown queue"),
    ("as_many_endpoints_as_promised_are_open", Lie::HasFew, "of as many as promised was refused"),
    ("as_many_completion_queues_as_promised_are_open", Lie::HasFew, "of as many as promised was refused"),
    ("as_many_registrations_as_promised_are_alive", Lie::HasFew, "of as many as promised was refused"),
    // memory
    (
        "a_dead_key_stays_dead_whatever_is_registered_after_it",
        Lie::KeepsRegistrations,
        "a: expected 1 REM_ACCESS_ERR; got 1 SUCCESS",
    ),
    (
        "a_region_registered_twice_outlives_one_registration",
        Lie::EndsTwins,
        "memory that is still registered changed when another registration ended",
    ),
    (
        "a_key_says_where_and_how_long_its_region_is",
        Lie::ShiftsKeys,
        "a: expected 1 SUCCESS; got 1 REM_ACCESS_ERR",
    ),
    ("a_live_lease_keeps_its_registration", Lie::OverlooksMemory, "ending a registration in use"),
    ("a_registration_ends_once", Lie::OverlooksMemory, "ending a registration twice"),
    ("memory_for_local_use_has_no_key", Lie::OverlooksMemory, "exporting local memory"),
    ("bytes_that_are_no_key_are_refused", Lie::OverlooksMemory, "importing no bytes"),
    ("remote_writing_needs_local_writing", Lie::OverlooksMemory, "remote writing without local"),
    ("memory_of_no_bytes_or_too_many_is_refused", Lie::OverlooksMemory, "a region of 0 bytes"),
    // shared
    ("endpoints_take_from_one_receive_queue", Lie::SwapsReceives, "b3: expected 0 SUCCESS; got 1 SUCCESS"),
    ("a_write_with_an_immediate_takes_from_it_too", Lie::WrongImmediate, "b: recv 0"),
    ("an_empty_shared_queue_is_no_receive", Lie::NeverGivesUp, "a: never got 1 RNR_RETRY_EXC_ERR"),
    ("a_shared_queue_that_runs_low_is_told_once", Lie::TellsNoEvents, "b: event SrqLimitReached never came"),
    (
        "a_shared_queue_takes_its_depth_and_no_more",
        Lie::OpensDeeper,
        "a shared receive beyond the depth of its queue was taken",
    ),
    (
        "a_shared_queue_is_as_deep_as_promised",
        Lie::RefusesDepth,
        "a shared receive queue as deep as promised was refused",
    ),
    (
        "an_endpoint_that_dies_leaves_the_receives_to_the_others",
        Lie::SpreadsFailure,
        "a2: expected 0 SUCCESS; got 0 RETRY_EXC_ERR",
    ),
    (
        "an_endpoint_that_shares_takes_no_receives_of_its_own",
        Lie::TakesAnyWork,
        "b: recv 1 was taken and should have been refused",
    ),
    ("a_shared_queue_of_another_domain_is_refused", Lie::KnowsOneDomain, "sharing with another domain"),
    ("an_unknown_shared_queue_is_refused", Lie::TakesAnyWork, "a receive for an unknown queue"),
    ("shared_queues_that_are_not_promised_are_refused", Lie::ModestTaker, "a shared receive queue"),
    // teardown
    ("bytes_that_are_no_address_are_refused", Lie::ConnectsAnywhere, "connecting to no bytes"),
    ("an_endpoint_connects_once", Lie::ConnectsAnywhere, "connecting twice"),
    (
        "an_endpoint_that_is_not_open_is_refused_everywhere",
        Lie::ClosesNothing,
        "an endpoint that is not open has a state",
    ),
    (
        "a_closed_endpoint_takes_its_completions_along",
        Lie::RemembersOverClose,
        "a: a completion of work 0 with SUCCESS, which is not outstanding",
    ),
    ("memory_is_free_once_its_endpoint_is_closed", Lie::ClosesInName, "a closed endpoint still wrote memory"),
    (
        "receives_are_free_once_their_endpoint_is_closed",
        Lie::ClosesInName,
        "a closed endpoint still took a message",
    ),
    (
        "closing_leaves_the_other_endpoints_of_a_queue",
        Lie::EmptiesQueueOnClose,
        "a2: never got 100 SUCCESS, 101 SUCCESS, 102 SUCCESS, 103 SUCCESS and 6 more",
    ),
    ("endpoints_come_and_go_on_one_device", Lie::HasFew, "a: an endpoint was refused"),
    ("what_is_promised_makes_sense", Lie::PromisesNothing, "a device with a cq_max of 0 can do nothing"),
    // cancel
    (
        "a_transfer_of_many_works_brings_every_byte",
        Lie::FlipsRead,
        "a transfer of many READs brought wrong bytes",
    ),
    (
        "a_cancelled_receive_keeps_its_memory_until_its_message_came",
        Lie::CompletesEarly,
        "a receive was cancelled, and its memory came back while the device had it",
    ),
    (
        "a_cancelled_read_never_writes_memory_that_came_back",
        Lie::WritesLate,
        "a cancelled READ wrote memory that had come back",
    ),
    (
        "a_passed_deadline_ends_the_transfer_and_keeps_its_memory",
        Lie::CompletesEarly,
        "a deadline passed, and its memory came back while the device had it",
    ),
    (
        "a_dropped_future_keeps_its_memory",
        Lie::CompletesEarly,
        "a future was dropped, and its memory came back while the device had it",
    ),
    (
        "closing_an_endpoint_returns_everything_at_once",
        Lie::ClosesInName,
        "an endpoint that was closed wrote memory that had come back",
    ),
    (
        "a_session_that_ends_returns_what_it_held",
        Lie::ClosesNothing,
        "the endpoint of a session that ended is in Some(Rts)",
    ),
    (
        "a_refused_transfer_returns_its_memory_and_says_why",
        Lie::TakesAnyKey,
        "a transfer with a key that nobody gave out",
    ),
];

#[test]
fn every_case_has_a_twin() {
    let all: Vec<&str> = cases::<Liars>().iter().map(|case| case.name()).collect();
    let without: Vec<_> = all.iter().filter(|name| TWINS.iter().all(|(twin, ..)| twin != *name)).collect();
    assert!(without.is_empty(), "cases that nobody has seen fail: {without:#?}");
    let unknown: Vec<_> = TWINS.iter().filter(|(name, ..)| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_case_finds_its_lie() {
    for profile in [Profile::IDEAL, Profile::RXE] {
        let missed: Vec<_> = TWINS
            .iter()
            .map(|twin| (twin, liars(twin.1, &profile, &[twin.0])))
            .filter(|(twin, report)| {
                failed(report).len() != 1 || !report.cases[0].result.text().contains(twin.2)
            })
            .map(|(twin, report)| (twin, report.cases[0].result.clone()))
            .collect();
        assert!(missed.is_empty(), "on {}: {missed:#?}", profile.name);
    }
}

/// A wrapper that changes something by itself would find lies where there are none.
#[test]
fn an_honest_liar_is_like_the_device_it_wraps() {
    let bare = on_mock(&Profile::IDEAL, 1, &plan());
    let wrapped = liars(Lie::Honest, &Profile::IDEAL, &[]);
    for (bare, wrapped) in bare.cases.iter().zip(&wrapped.cases) {
        if bare.case == "a_link_that_goes_down_and_up_is_told" {
            // The wrapper has links that go down.
            assert_eq!(wrapped.result, Outcome::Passed);
            continue;
        }
        assert_eq!(bare, wrapped);
    }
}

#[test]
fn a_device_that_promises_little_and_refuses_the_rest_passes() {
    let report = liars(Lie::Modest, &Profile::IDEAL, &[]);
    assert!(failed(&report).is_empty(), "{:#?}", failed(&report));
    let ran =
        |name: &str| report.cases.iter().any(|case| case.case == name && case.result == Outcome::Passed);
    for absent in TWINS.iter().filter(|(_, lie, _)| *lie == Lie::ModestTaker) {
        assert!(ran(absent.0), "{} was not tried", absent.0);
    }
    let report = liars(Lie::PeerCloseTeller, &Profile::IDEAL, &["a_peer_that_closes_is_told"]);
    assert_eq!(report.cases[0].result, Outcome::Passed);
}
