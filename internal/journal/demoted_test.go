package journal_test

import (
	"testing"

	"github.com/gnew/tandem/internal/journal"
)

// after is a key that took a version in another region since here was the active, where its
// copy holds the ETag.
func after(o journal.Object, holds string) journal.Object {
	o.Version, o.LastRegion, o.Unsettled, o.DeleteSeen = journal.Version{Epoch: 2, Sequence: 20}, there, false, false
	return behind(o, journal.Pending, holds)
}

// standIn stands for writes that overlapped here.
func standIn(op journal.Operation) journal.Intent {
	i := intent(op, over)
	i.Restores = journal.Version{Epoch: 1, Sequence: 9}
	return i
}

func TestDecideDemoted(t *testing.T) {
	const put, complete, del, url = journal.Put, journal.Complete, journal.Delete, journal.PresignedPut
	tests := []struct {
		history string
		object  journal.Object
		seen    journal.Observation
		ours    []string
		want    journal.Decision
	}{
		// An upload by a presigned URL may land whenever the URL is open.
		{"a URL is open, nothing came", after(row("b", intent(url, within)), "a"), found("a"), nil, journal.Wait},
		{"a URL is open, an upload came", after(row("b", intent(url, within)), "a"), found("x"), nil, journal.Adopted},
		{"a URL is open, a copy of ours landed", after(row("b", intent(url, within)), "a"), found("b"), []string{"b"}, journal.Wait},
		{"a URL is open, the object is gone", after(row("b", intent(url, within)), "a"), absent(), nil, journal.Wait},
		{"a URL of a new key is open, an upload came", none(intent(url, within)), found("x"), nil, journal.Adopted},
		{"a URL is over, an upload came", after(row("b", intent(url, over)), "a"), found("x"), nil, journal.Adopted},
		{"a URL is over, nothing came", after(row("b", intent(url, over)), "a"), found("a"), nil, journal.NotApplied},
		{"a URL is open, a put hangs", after(row("b", intent(url, within), intent(put, within)), "a"), found("x"), nil, journal.Wait},

		// Where nothing is open in the region, nothing is decided.
		{"another settler was first", row("a"), found("x"), nil, journal.Wait},
		{"another settler was first, and the winner was copied", after(row("b"), "b"), found("x"), nil, journal.Wait},
		{"nothing is known at all", none(), found("x"), nil, journal.Wait},
		{"a put hangs elsewhere", row("a", elsewhere(intent(put, over))), found("x"), nil, journal.Wait},
		{"the key is unsettled elsewhere", unsettled(after(row("b"), "a"), false), found("x"), nil, journal.Wait},
		{"a put is under way", row("a", intent(put, underWay)), found("x"), nil, journal.Wait},

		// Within the window a read may show that a write was applied, never that it was not.
		{"a put hangs, its object is seen", row("a", intent(put, within)), found("x"), nil, journal.Adopted},
		{"a complete hangs, its object is seen", row("a", intent(complete, within)), found("x"), nil, journal.Adopted},
		{"a put hangs, the old object is seen", row("a", intent(put, within)), found("a"), nil, journal.Wait},
		{"a put hangs, nothing is seen", row("a", intent(put, within)), absent(), nil, journal.Wait},
		{"a delete hangs, nothing is seen", row("a", intent(del, within)), absent(), nil, journal.Deleted},
		{"a delete hangs, the object is seen", row("a", intent(del, within)), found("a"), nil, journal.Wait},
		{"a delete hangs, another object is seen", row("a", intent(del, within)), found("x"), nil, journal.Wait},
		{"two puts hang", row("a", intent(put, within), intent(put, over)), found("x"), nil, journal.Wait},
		{"writes overlapped, and a put hangs", unsettled(row("a", intent(put, within)), false), found("x"), nil, journal.Wait},
		{"a put of a new key hangs, something is seen", none(intent(put, within)), found("x"), nil, journal.Wait},
		{"a put hangs, a copy of ours is seen", after(row("b", intent(put, within)), "a"), found("b"), []string{"b"}, journal.Wait},
		{"a delete hangs, a copy of ours may have deleted it", after(row("", intent(del, within)), "a"), absent(), []string{""}, journal.Wait},

		// What the region is known to have held, or a copy of ours left, is not a find.
		{"a put was not applied", row("a", intent(put, over)), found("a"), nil, journal.NotApplied},
		{"a put was not applied, the key moved on", after(row("b", intent(put, over)), "a"), found("a"), nil, journal.NotApplied},
		{"a put of a new key was not applied", none(intent(put, over)), absent(), nil, journal.NotApplied},
		{"a put of a deleted key was not applied", row("", intent(put, over)), absent(), nil, journal.NotApplied},
		{"a delete was not applied", row("a", intent(del, over)), found("a"), nil, journal.NotApplied},
		{"a copy of ours landed", after(row("b", intent(put, over)), "a"), found("b"), []string{"b"}, journal.NotApplied},
		{"a delete of ours landed", after(row("", intent(del, over)), "a"), absent(), []string{""}, journal.NotApplied},

		// What is found.
		{"a put was applied", row("a", intent(put, over)), found("x"), nil, journal.Adopted},
		{"a put was applied, the key moved on", after(row("b", intent(put, over)), "a"), found("x"), nil, journal.Adopted},
		{"a put of a new key was applied", none(intent(put, over)), found("x"), nil, journal.Adopted},
		{"a delete was applied", row("a", intent(del, over)), absent(), nil, journal.Deleted},
		{"a delete hangs, another object is there", row("a", intent(del, over)), found("x"), nil, journal.Adopted},
		{"a put and a delete hang, the delete was last", row("a", intent(put, over), intent(del, over)), absent(), nil, journal.Deleted},
		{"a put hangs, the region lost the object", row("a", intent(put, over)), absent(), nil, journal.Lost},

		// Writes that overlapped.
		{"the row's was last", unsettled(row("b"), false), found("b"), nil, journal.Stand},
		{"the other was last", unsettled(row("b"), false), found("a"), nil, journal.Adopted},
		{"the row's is a delete, and was last", unsettled(row(""), true), absent(), nil, journal.Stand},
		{"the row's is a delete, the other was last", unsettled(row(""), true), found("a"), nil, journal.Adopted},
		{"one is a delete, and was last", unsettled(row("b"), true), absent(), nil, journal.Deleted},
		{"none of them is there", unsettled(row("b"), false), absent(), nil, journal.Lost},
		{"a late repair is there", unsettled(row("b"), false), found("old"), []string{"old"}, journal.Lost},
		{"one hangs still", unsettled(row("b", intent(put, over)), false), found("x"), nil, journal.Adopted},

		// The same, after the key took a version elsewhere.
		{"the believed one was last", after(row("c", standIn(journal.Adopt)), "b"), found("b"), nil, journal.Adopted},
		{"the other one was last", after(row("c", standIn(journal.Adopt)), "b"), found("a"), nil, journal.Adopted},
		{"a delete among them was last", after(row("c", standIn(journal.Adopt), standIn(del)), "b"), absent(), nil, journal.Deleted},
		{"none of them is there any more", after(row("c", standIn(journal.Adopt)), "b"), absent(), nil, journal.Lost},
	}
	for _, tt := range tests {
		t.Run(tt.history, func(t *testing.T) {
			if got := journal.DecideDemoted(&tt.object, tt.seen, false, tt.ours); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNothingIsFoundInARegressedRegion(t *testing.T) {
	for _, tt := range []struct {
		history string
		object  journal.Object
		seen    journal.Observation
		want    journal.Decision
	}{
		{"a put hangs", row("a", intent(journal.Put, within)), found("yesterday"), journal.Wait},
		{"a delete hangs", row("a", intent(journal.Delete, within)), absent(), journal.Wait},
		{"a put hung", row("a", intent(journal.Put, over)), found("yesterday"), journal.NotApplied},
		{"a delete hung", row("a", intent(journal.Delete, over)), absent(), journal.NotApplied},
		{"a put of a new key hung", none(intent(journal.Put, over)), found("yesterday"), journal.NotApplied},
		{"writes overlapped", unsettled(row("a"), true), found("yesterday"), journal.Lost},
		{"writes overlapped, nothing is there", unsettled(row("a"), true), absent(), journal.Lost},
		{"writes overlapped, the row's is there", unsettled(row("a"), false), found("a"), journal.Stand},
		{"writes overlapped, the key moved on", after(row("c", standIn(journal.Adopt)), "b"), found("yesterday"), journal.Lost},
	} {
		if got := journal.DecideDemoted(&tt.object, tt.seen, true, nil); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.history, got, tt.want)
		}
	}
}

func TestDecideRegressed(t *testing.T) {
	for _, tt := range []struct {
		history string
		object  journal.Object
		seen    journal.Observation
		want    journal.Decision
	}{
		{"a put hangs", row("a", intent(journal.Put, within)), found("yesterday"), journal.Wait},
		{"a put of a new key hangs", none(intent(journal.Put, within)), found("yesterday"), journal.Wait},
		{"a put hung", row("a", intent(journal.Put, over)), found("yesterday"), journal.Rewrite},
		{"a put of a new key hung", none(intent(journal.Put, over)), found("yesterday"), journal.NotApplied},
		{"a delete hung", row("a", intent(journal.Delete, over)), absent(), journal.Rewrite},
		{"writes overlapped", unsettled(row("a"), true), absent(), journal.Rewrite},
		{"writes overlapped, the row's is there", unsettled(row("a"), false), found("a"), journal.Stand},
	} {
		if got := journal.DecideRegressed(&tt.object, tt.seen, true); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.history, got, tt.want)
		}
	}
}

func TestIsReturned(t *testing.T) {
	at := func(epoch int64, i journal.Intent) journal.Intent {
		i.Epoch = epoch
		return i
	}
	old, now := at(1, intent(journal.Put, over)), at(3, intent(journal.Put, over))
	for _, tt := range []struct {
		history string
		object  journal.Object
		want    bool
	}{
		{"written elsewhere since", after(row("b", old), "a"), true},
		{"written elsewhere since, and a repair hangs", after(row("b", old, at(3, repair("b", over))), "a"), true},
		{"not written since", row("a", old), false},
		{"never written", none(old), false},
		{"nothing hangs", after(row("b"), "a"), false},
		{"it hangs elsewhere", after(row("b", elsewhere(old)), "a"), false},
		{"a newer one hangs too", after(row("b", old, now), "a"), false},
		{"unsettled here since", unsettled(row("b", old), false), false},
	} {
		if got := tt.object.IsReturned(here); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.history, got, tt.want)
		}
	}
}
