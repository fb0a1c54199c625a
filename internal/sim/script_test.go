package sim

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// namedHistories are the rules of the protocol, each with the histories that break a promise without it.
// A history is a file in testdata/histories of that name.
var namedHistories = map[string][]string{
	"writing 1: a write that needs the key as it is needs it settled": {
		"a_lock_created_at_risk_has_one_holder",
		"a_lock_is_not_given_away_while_an_unlock_may_land",
		"a_lock_that_arrives_twice_has_its_holder",
	},
	"writing 2: the end of the body is held back until the intent is on disk": {
		"no_last_byte_before_the_intent",
		"no_last_byte_in_an_epoch_that_is_over",
		"no_last_byte_after_the_deadline",
		"no_intent_in_an_epoch_that_is_over",
	},
	"writing 3: the answer is the body": {
		"an_error_inside_200_is_no_success",
		"a_completion_that_arrives_twice_is_no_refusal",
	},
	"writing 4: the commit checks the epoch": {
		"a_commit_after_the_promotion_is_not_acknowledged",
	},
	"writing 5: 2xx after the commit is on disk": {
		"what_is_acknowledged_is_on_disk",
	},
	"writing 6: nothing is sent again": {
		"a_write_is_never_sent_again",
	},
	"in doubt: a read shows that a write was applied, never that it was not": {
		"within_the_window_nothing_is_shown_not_to_be",
		"a_late_delete_over_a_newer_write",
		"a_404_of_a_lost_key_is_no_proof_of_a_delete",
	},
	"in doubt: only the active answers": {
		"meanwhile_only_the_active_answers",
	},
	"in doubt: a tombstone is a delete's": {
		"a_404_for_a_put_makes_no_tombstone",
		"a_lost_answer_of_a_delete_makes_a_tombstone",
	},
	"in doubt: two are not told apart": {
		"two_writes_in_doubt_are_not_told_apart",
		"a_settlers_old_look_decides_nothing",
	},
	"in doubt: what a repair brings, or the active held before, is no write": {
		"what_a_late_repair_brings_is_no_write",
		"the_second_of_two_repairs_does_not_answer_for_the_first",
		"what_the_active_held_before_is_no_write",
		"what_the_active_lacked_before_is_no_delete",
		"what_a_late_copy_landed_on_was_deleted",
		"what_a_late_repair_landed_on_was_deleted",
	},
	"overlapping writes": {
		"overlapping_writes_settle_to_what_the_region_holds",
		"a_key_that_never_rests_is_copied_all_the_same",
		"a_delete_and_a_write_that_overlap",
	},
	"everything that writes into the active is a write": {
		"a_returned_write_is_not_copied_over_a_newer_one",
		"a_repair_without_conditions_is_under_a_lease",
		"a_repair_of_an_overwritten_version_is_refused",
	},
	"copying: a compare-and-swap on the target": {
		"a_late_copy_does_not_bring_a_deleted_key_back",
		"a_late_copy_does_not_overwrite_a_newer_one",
		"a_late_tombstone_does_not_take_a_newer_object_away",
		"a_foreign_object_in_the_target_is_not_overwritten",
	},
	"copying: a missing answer": {
		"an_unanswered_copy_is_settled_by_the_next_try",
		"the_same_bytes_again_wait_for_an_unanswered_copy",
		"without_conditions_every_unanswered_copy_waits",
		"a_copy_in_flight_at_a_crash_is_remembered",
		"a_copy_that_nobody_recorded_is_found",
	},
	"copying: the source is what the row says": {
		"a_copy_is_of_what_the_row_says",
		"parts_of_two_versions_make_no_object",
		"a_change_of_metadata_alone_is_a_change",
	},
	"copying: only a 404 of a healthy region is an absence": {
		"only_a_404_of_a_healthy_region_is_an_absence",
	},
	"copying: a promotion cuts the copies into its target": {
		"promotion_cuts_the_copies_into_its_target",
		"a_copy_in_flight_at_a_promotion_is_on_the_record",
		"a_copy_under_way_does_not_land_in_the_new_active",
	},
	"copying: a write waits for a repair that could take it for another": {
		"the_same_bytes_are_not_taken_away_by_a_late_tombstone",
	},
	"reading: the dirty set": {
		"a_dirty_key_is_answered_by_who_has_it",
		"a_replicas_answer_is_what_the_row_says",
		"a_promoted_regions_risk_is_known_after_a_restart",
	},
	"reading: a tombstone is a 404": {
		"a_tombstone_is_a_404_whatever_a_region_holds",
	},
	"reading: a listing is a read": {
		"a_listing_is_a_read",
		"a_listing_that_cannot_be_put_right_is_refused",
		"a_listing_under_way_when_a_region_is_known_to_be_older",
	},
	"reading: a replica answers only when": {
		"a_replica_answers_only_for_an_active_that_failed",
	},
	"reading: a download goes on only in its own version": {
		"a_download_goes_on_only_in_its_own_version",
	},
	"comparing: an absence is not carried over": {
		"an_absence_is_not_carried_to_another_region",
	},
	"failing over: the verdict is about a region": {
		"nothing_is_promoted_for_a_403_or_a_skewed_clock",
		"nothing_is_promoted_while_all_are_down",
		"regions_that_fail_in_turn_do_not_scatter_writes",
	},
	"failing over: what was not compared is not promoted": {
		"an_uncompared_region_is_not_promoted_without_force",
	},
	"failing over: one transaction, with its ledger": {
		"a_promotion_knows_what_it_puts_at_risk_and_in_doubt",
		"a_promotion_is_whole_or_not_at_all",
		"what_only_it_has_speaks_against_leaving_it",
	},
	"failing over: how an entry ends": {
		"a_find_supersedes_what_it_overwrote_in_its_own_region",
		"a_delete_that_a_later_write_never_saw_is_a_conflict",
		"a_delete_that_two_regions_repaired_is_not_lost",
		"a_delete_that_no_region_holds_is_at_risk",
		"what_another_region_has_is_not_lost_where_it_was_overwritten",
		"what_nobody_holds_any_more_is_lost_on_the_record",
		"what_a_copy_was_put_in_place_of_is_lost_on_the_record",
	},
	"failing over: what is found in a demoted region": {
		"a_find_goes_forward_where_the_key_has_not_changed",
		"a_find_keeps_its_epoch",
		"a_returned_regions_find_does_not_win",
		"what_has_landed_on_a_write_that_nobody_else_has_replaces_it",
		"what_a_region_held_before_is_no_find",
		"what_a_copy_of_our_own_left_is_no_find",
		"overlapped_writes_are_kept_as_what_the_region_holds",
	},
	"failing over: one process owns a journal": {
		"one_process_owns_the_journal",
	},
	"presigned URLs": {
		"an_upload_is_found_however_often_its_url_is_used",
		"an_upload_that_ends_after_the_expiry_is_found",
		"an_upload_after_a_promotion_goes_forward_or_is_kept",
		"an_upload_into_a_replica_loses_against_what_was_acknowledged_since",
		"a_copy_does_not_take_an_upload_away",
		"while_a_url_is_open_only_the_active_knows",
		"a_key_is_not_locked_while_a_url_is_open",
		"a_repair_is_not_taken_for_an_upload",
		"a_settlers_old_look_is_no_upload",
		"a_write_does_not_make_an_upload_current",
		"an_upload_under_a_repair_is_kept",
		"an_upload_to_a_region_that_came_back_older_is_kept",
		"nothing_is_copied_without_conditions_while_a_url_is_open",
	},
	"regions that come back older": {
		"a_region_that_comes_back_older_is_verified",
		"an_active_that_comes_back_older_is_read_as_dirty",
		"nothing_is_imported_from_a_region_that_came_back_older",
		"nothing_is_found_in_a_demoted_region_that_came_back_older",
		"an_active_that_comes_back_empty_is_filled",
	},
	"marks": {
		"a_journal_older_than_the_marks_does_not_serve",
		"a_late_mark_does_not_make_a_region_older",
	},
	"losers are kept": {
		"a_loser_is_kept_before_it_is_overwritten",
		"a_loser_is_kept_from_whoever_still_has_it",
		"a_loser_that_is_kept_alone_is_kept_anew",
		"nobody_touches_tandems_own_objects",
		"a_write_waits_until_the_loser_under_it_is_kept",
	},
	"audit": {
		"every_change_is_in_the_chain",
	},
}

// TestNamedHistories runs each history as it is told in its file: a step to a line, and behind "->"
// what its answer has to say.
//
// What a step answers is a line of words; each word that is expected has to be among them, and each
// with a "!" before it must not. A step after "eventually" is taken again until its answer is as
// expected, for half an hour of the world's time. "as=NAME" carries a client's step out in the background; "wait NAME"
// is its answer. The vocabulary is in the steps below (script_steps_test.go).
func TestNamedHistories(t *testing.T) {
	listed := make(map[string]bool)
	for _, names := range namedHistories {
		for _, name := range names {
			listed[name] = true
			t.Run(name, func(t *testing.T) {
				text, err := os.ReadFile(filepath.Join("testdata", "histories", name+".txt"))
				if err != nil {
					t.Fatal(err)
				}
				inBubble(t, func(t *testing.T) { runScript(t, string(text)) })
			})
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "histories", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); !listed[name] {
			t.Errorf("%s belongs to no rule", file)
		}
	}
}

// step is a line of a script.
type step struct {
	number     int
	words      []string
	want       []string
	eventually bool
}

func parseScript(text string) (steps []step) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		told, want, _ := strings.Cut(line, "->")
		s := step{number: number, words: strings.Fields(told), want: strings.Fields(want)}
		if len(s.words) > 0 && s.words[0] == "eventually" {
			s.words, s.eventually = s.words[1:], true
		}
		if len(s.words) > 0 {
			steps = append(steps, s)
		}
	}
	return steps
}

// matches reports whether the answer says what is wanted.
func (s step) matches(answer string) bool {
	words := strings.Fields(answer)
	return !slices.ContainsFunc(s.want, func(want string) bool {
		unwanted, isUnwanted := strings.CutPrefix(want, "!")
		return slices.Contains(words, unwanted) == isUnwanted
	})
}

// script is a history that is told, not drawn.
type script struct {
	t     *testing.T
	w     *world
	began bool
	hooks hooks
	// background are the clients' steps that are under way, by name.
	background map[string]*pendingStep
	saved      map[string]*saved
	signed     map[string]signedURL
	backup     string
}

// plainSeed is that of a world whose regions lack nothing; the seeds of other worlds are chosen by what
// newWorld makes of them.
const plainSeed = 8

func runScript(t *testing.T, text string) {
	s := &script{t: t, background: make(map[string]*pendingStep), saved: make(map[string]*saved), signed: make(map[string]signedURL)}
	steps := parseScript(text)
	s.settle(steps)
	defer s.end()
	defer func() {
		if *show {
			s.w.tell(s.t.Output())
		}
	}()
	for i, step := range steps {
		if isSetting(step) {
			continue
		}
		if !s.began {
			s.begin(step)
		}
		answer, ok := s.take(step)
		if !ok || t.Failed() {
			s.fail(text, steps[i].number, answer)
		}
	}
}

// take carries a step out, and reports whether the answer is as expected.
func (s *script) take(st step) (answer string, ok bool) {
	deadline := time.Now().Add(patience)
	for {
		answer = s.carryOut(st.words)
		switch {
		case st.matches(answer):
			return answer, true
		case !st.eventually || time.Now().After(deadline):
			return answer, false
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *script) fail(text string, number int, answer string) {
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		mark := "  "
		if i+1 == number {
			mark = "=>"
		}
		fmt.Fprintf(&b, "%s %s\n", mark, line)
	}
	if !*show {
		s.w.tell(s.t.Output())
	}
	s.t.Fatalf("line %d: got %q\n%s", number, answer, b.String())
}

// end lets go of what is held, and joins what is under way.
func (s *script) end() {
	s.hooks.releaseAll()
	if s.began {
		s.w.bury(s.w.current())
		s.w.current().die()
	}
	for _, p := range s.background {
		<-p.done
	}
	for _, site := range s.w.sites {
		site.server.WaitLate()
	}
}
