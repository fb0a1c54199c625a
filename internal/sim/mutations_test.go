//go:build mutant

package sim

import "github.com/gnew/tandem/internal/mutant"

// mutations says of each mutant within how many histories the simulation notices it: the first that
// did when it was measured, and enough over that, for scheduling is no part of a seed. Those without a number
// break what another rule guards too, and what is drawn hardly ever comes to where both are needed.
var mutations = []mutation{
	{name: mutant.CommitBeforeAnswer, promises: []string{durability, freshness, listings, convergence, judged}, within: 20},
	{name: mutant.IntentAfterSending, promises: []string{refusal, convergence, listings, freshness, deletion}, within: 25, history: "no_last_byte_before_the_intent"},
	{name: mutant.IntentEpoch, history: "no_intent_in_an_epoch_that_is_over"},
	{name: mutant.CommitEpoch, promises: []string{oneActive, closedLedger, convergence, quiescence}, within: 150, history: "a_commit_after_the_promotion_is_not_acknowledged"},
	{name: mutant.AnswerBeforeCommit, promises: []string{durability, trail}, within: 50, history: "a_commit_after_the_promotion_is_not_acknowledged"},
	{name: mutant.AuditLeftOut, promises: []string{trail}, within: 10, history: "every_change_is_in_the_chain"},
	{name: mutant.ConditionUnjudgeable, history: "a_lock_created_at_risk_has_one_holder"},
	{name: mutant.OverlapUnseen, promises: []string{durability, convergence, freshness, closedLedger, quiescence}, within: 200, history: "a_delete_and_a_write_that_overlap"},
	{name: mutant.SentAgain, promises: []string{convergence, freshness, listings, deletion}, within: 25, history: "a_write_is_never_sent_again"},
	{name: mutant.ServerErrorRefuses, promises: []string{convergence, refusal, quiescence}, within: 25},
	{name: mutant.ErrorInside200, promises: []string{convergence, freshness, listings, durability, quiescence}, within: 200, history: "an_error_inside_200_is_no_success"},
	{name: mutant.OwnDuplicateRefuses, history: "a_lock_that_arrives_twice_has_its_holder"},
	{name: mutant.OwnCompletionRefuses, history: "a_completion_that_arrives_twice_is_no_refusal"},
	{name: mutant.AbsenceInDoubt, promises: []string{convergence, freshness, listings, quiescence}, within: 25, history: "within_the_window_nothing_is_shown_not_to_be"},
	{name: mutant.PutsAbsenceDeletes, promises: []string{durability, freshness, listings}, within: 160, history: "a_404_for_a_put_makes_no_tombstone"},
	{name: mutant.TombstoneAdopted, promises: []string{deletion, freshness, listings}, within: 200, history: "what_a_late_repair_brings_is_no_write"},
	{name: mutant.SettledUnderWay, promises: []string{convergence, durability, freshness, listings}, within: 300},
	{name: mutant.DoubtForgottenAtStart, promises: []string{convergence, quiescence}, within: 100, history: "what_is_acknowledged_is_on_disk"},
	{name: mutant.FindInNewEpoch, promises: []string{deletion, durability, freshness, listings}, within: 50, history: "a_find_keeps_its_epoch"},
	{name: mutant.BucketsAbsence, promises: []string{listings, freshness, convergence, failback, durability}, within: 60, history: "only_a_404_of_a_healthy_region_is_an_absence"},
	{name: mutant.CopyUnconditional, promises: []string{convergence, freshness, listings, deletion}, within: 25, history: "a_late_copy_does_not_overwrite_a_newer_one"},
	{name: mutant.SourceUnconditional, history: "a_copy_is_of_what_the_row_says"},
	{name: mutant.PartsMerged, promises: []string{convergence}, within: 15, history: "parts_of_two_versions_make_no_object"},
	{name: mutant.TombstoneNotCarried, promises: []string{convergence, freshness, listings, deletion, closedLedger}, within: 15},
	{name: mutant.UnsettledIsCurrent, promises: []string{convergence, freshness, listings}, within: 60, history: "a_key_that_never_rests_is_copied_all_the_same"},
	{name: mutant.LateCopyForgotten, promises: []string{convergence, freshness, listings, deletion, quiescence}, within: 40, history: "without_conditions_every_unanswered_copy_waits"},
	{name: mutant.ClaimForgotten, history: "a_copy_in_flight_at_a_crash_is_remembered"},
	{name: mutant.RepairWithoutIntent, history: "a_repair_without_conditions_is_under_a_lease"},
	{name: mutant.RepairUnconditional, history: "a_returned_write_is_not_copied_over_a_newer_one"},
	{name: mutant.RepairOfOverwritten, history: "a_repair_of_an_overwritten_version_is_refused"},
	{name: mutant.LoserNotKept, promises: []string{failback}, within: 25, history: "a_loser_is_kept_before_it_is_overwritten"},
	{name: mutant.LoserRecordedFirst, promises: []string{losersKept}, within: 60, history: "a_loser_is_kept_before_it_is_overwritten"},
	{name: mutant.TombstoneRead, history: "a_tombstone_is_a_404_whatever_a_region_holds"},
	{name: mutant.StaleInSilence, promises: []string{freshness}, within: 80, windows: 1, history: "meanwhile_only_the_active_answers"},
	{name: mutant.ListedTombstones, promises: []string{listings}, within: 20, history: "a_listing_is_a_read"},
	{name: mutant.UnlistedKeys, promises: []string{listings}, within: 20, history: "a_listing_is_a_read"},
	{name: mutant.ReplicasAnswerUnchecked, history: "a_replicas_answer_is_what_the_row_says"},
	{name: mutant.ResumedUnchecked, history: "a_download_goes_on_only_in_its_own_version"},
	{name: mutant.DirtyNotLoadedAtStart, promises: []string{freshness}, within: 160, windows: 1, history: "a_promoted_regions_risk_is_known_after_a_restart"},
	{name: mutant.DirtyNotLoadedAtPromotion, promises: []string{freshness, listings}, within: 40, history: "a_dirty_key_is_answered_by_who_has_it"},
	{name: mutant.ForbiddenIsDown, promises: []string{refusals}, within: 40, history: "nothing_is_promoted_for_a_403_or_a_skewed_clock"},
	{name: mutant.CopiesOutlivePromotion, promises: []string{deletion, freshness, listings, convergence}, within: 200, history: "a_copy_under_way_does_not_land_in_the_new_active"},
	{name: mutant.DoubtsUnlisted, promises: []string{doubtLedger}, within: 50, history: "a_promotion_knows_what_it_puts_at_risk_and_in_doubt"},
	{name: mutant.DeletesUnlisted, promises: []string{exactLedger}, within: 40, history: "a_promotion_knows_what_it_puts_at_risk_and_in_doubt"},
	{name: mutant.MarkNotCompared, promises: []string{convergence}, within: 100, history: "a_region_that_comes_back_older_is_verified"},
	{name: mutant.RegressedTrusted, promises: []string{convergence}, within: 100, history: "a_region_that_comes_back_older_is_verified"},
	{name: mutant.RegressedImported, history: "nothing_is_imported_from_a_region_that_came_back_older"},
	{name: mutant.RegressedActiveReads, history: "an_active_that_comes_back_older_is_read_as_dirty"},
}
