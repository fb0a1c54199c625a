package journal_test

import (
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

const (
	here  = "here"  // the active, which was read
	there = "there" // another region
)

var readAt = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// at is when an intent stands.
type at string

const (
	underWay at = "under way"
	within   at = "in doubt, within its window"
	over     at = "in doubt, its window over"
)

func intent(op journal.Operation, when at) journal.Intent {
	i := journal.Intent{Operation: op, Region: here, Epoch: 1, InDoubt: when != underWay, DoubtUntil: readAt.Add(time.Minute)}
	if when == over {
		i.DoubtUntil = readAt
	}
	return i
}

func repair(etag string, when at) journal.Intent {
	i := intent(journal.Repair, when)
	i.Brings = etag
	return i
}

func elsewhere(i journal.Intent) journal.Intent {
	i.Region = there
	return i
}

// row is a key that the active holds as the row says; "" is a tombstone.
func row(etag string, intents ...journal.Intent) journal.Object {
	v := journal.Version{Epoch: 1, Sequence: 9}
	return journal.Object{
		Version: v, ETag: etag, Deleted: etag == "", LastRegion: here, Intents: intents,
		Copies: []journal.Copy{{Region: here, State: journal.Current, Version: v, ETag: etag}},
	}
}

// behind is the same while the active is still to be brought to it.
func behind(o journal.Object, state journal.CopyState, holds string) journal.Object {
	o.Copies = []journal.Copy{{Region: here, State: state, ETag: holds}}
	return o
}

// later is the same with a version of an epoch after that of its intents.
func later(o journal.Object) journal.Object {
	o.Version.Epoch++
	o.Copies[0].Version = o.Version
	return o
}

func unsettled(o journal.Object, deleteSeen bool) journal.Object {
	o.Unsettled, o.DeleteSeen = true, deleteSeen
	return o
}

func none(intents ...journal.Intent) journal.Object { return journal.Object{Intents: intents} }

func found(etag string) journal.Observation {
	return journal.Observation{Region: here, Found: true, Written: journal.Written{ETag: etag}, ReadAt: readAt}
}

func absent() journal.Observation { return journal.Observation{Region: here, ReadAt: readAt} }

func typed(o journal.Observation, contentType string) journal.Observation {
	o.ContentType = contentType
	return o
}

func TestDecide(t *testing.T) {
	const put, complete, del, url = journal.Put, journal.Complete, journal.Delete, journal.PresignedPut
	tests := []struct {
		history string
		object  journal.Object
		seen    journal.Observation
		want    journal.Decision
	}{
		// Within the window a read may show that a write was applied, never that it was not.
		{"a put times out, a HEAD shows the old object", row("a", intent(put, within)), found("a"), journal.Wait},
		{"a put times out, a HEAD shows its object", row("a", intent(put, within)), found("b"), journal.Adopted},
		{"a complete times out, a HEAD shows its object", row("a", intent(complete, within)), found("b"), journal.Adopted},
		{"a put times out, a HEAD shows nothing", row("a", intent(put, within)), absent(), journal.Wait},
		{"a put of a deleted key times out, a HEAD shows nothing", row("", intent(put, within)), absent(), journal.Wait},
		{"a put of a deleted key times out, a HEAD shows its object", row("", intent(put, within)), found("b"), journal.Adopted},
		{"a delete times out, a HEAD shows the object", row("a", intent(del, within)), found("a"), journal.Wait},
		{"a delete times out, a HEAD shows nothing", row("a", intent(del, within)), absent(), journal.Deleted},
		{"a delete of a deleted key times out", row("", intent(del, within)), absent(), journal.Wait},
		{"a delete times out, a HEAD shows another object", row("a", intent(del, within)), found("b"), journal.Wait},
		{"a put is under way", row("a", intent(put, underWay)), found("b"), journal.Wait},
		{"a put is under way, another's window is over", row("a", intent(put, underWay), intent(put, over)), found("b"), journal.Wait},
		{"an adoption times out", row("a", intent(journal.Adopt, within)), found("b"), journal.Wait},

		// Nor where it is not known what the active held.
		{"a new key in a compared bucket", none(intent(put, within)), found("b"), journal.Adopted},
		{"a new key, nothing there", none(intent(put, within)), absent(), journal.Wait},
		{"a delete of a key that was never there", none(intent(del, within)), absent(), journal.Wait},
		{"the active had lost the key, a delete times out", behind(row("a", intent(del, within)), journal.Missing, ""), absent(), journal.Wait},
		{"the active holds the version before, a put times out", behind(row("b", intent(put, within)), journal.Pending, "a"), found("a"), journal.Wait},
		{"the active is not known to hold anything, a put times out", behind(row("b", intent(put, within)), journal.Pending, ""), found("a"), journal.Wait},

		// With two intents, what is seen cannot be told to be this one's or that one's.
		{"two puts time out", row("a", intent(put, within), intent(put, within)), found("b"), journal.Wait},
		{"two puts time out, one window is over", row("a", intent(put, within), intent(put, over)), found("b"), journal.Wait},
		{"a put and a repair time out", row("a", intent(put, within), repair("a", within)), found("b"), journal.Wait},
		{"writes overlapped, and a put times out", unsettled(row("a", intent(put, within)), false), found("b"), journal.Wait},

		// An upload by a presigned URL may land whenever the URL is open.
		{"a URL is open, nothing came", row("a", intent(url, within)), found("a"), journal.Wait},
		{"a URL is open, an upload came", row("a", intent(url, within)), found("b"), journal.Adopted},
		{"a URL is open, the same bytes came with another type", row("a", intent(url, within)), typed(found("a"), "text/html"), journal.Adopted},
		{"a URL is open, the object is gone", row("a", intent(url, within)), absent(), journal.Wait},
		{"a URL of a new key is open, nothing came", none(intent(url, within)), absent(), journal.Wait},
		{"a URL of a new key is open, an upload came", none(intent(url, within)), found("b"), journal.Adopted},
		{"a URL of a deleted key is open, nothing came", row("", intent(url, within)), absent(), journal.Wait},
		{"a URL of a deleted key is open, an upload came", row("", intent(url, within)), found("b"), journal.Adopted},
		{"two URLs are open, an upload came", row("a", intent(url, within), intent(url, within)), found("b"), journal.Adopted},
		{"a URL is over, nothing came", row("a", intent(url, over)), found("a"), journal.Stand},
		{"a URL is over, an upload came", row("a", intent(url, over)), found("b"), journal.Adopted},
		{"a URL of a new key is over, nothing came", none(intent(url, over)), absent(), journal.NotApplied},
		{"a URL of a deleted key is over, nothing came", row("", intent(url, over)), absent(), journal.Stand},
		{"a URL is over, the object is gone", row("a", intent(url, over)), absent(), journal.Lost},
		{"a URL is open, a put times out", row("a", intent(url, within), intent(put, within)), found("b"), journal.Wait},
		{"a URL is open, a put's window is over", row("a", intent(url, within), intent(put, over)), found("a"), journal.Adopted},
		{"a URL is open, writes overlapped", unsettled(row("a", intent(url, within)), false), found("a"), journal.Stand},
		{"a URL is open, the active holds what it held before", behind(row("b", intent(url, within)), journal.Pending, "a"), found("a"), journal.Wait},
		// A repair of a deleted key may have landed, under an ETag of the region's own.
		{"a URL is open, a repair may have landed on a tombstone", row("", intent(url, within), repair("a", over)), found("x"), journal.Rewrite},
		{"a URL is open, a repair may yet land", row("", intent(url, within), repair("a", within)), found("x"), journal.Wait},

		// Once the window is over, what the active holds is the truth.
		{"the put was applied", row("a", intent(put, over)), found("b"), journal.Adopted},
		{"the put was not applied, or brought the same", row("a", intent(put, over)), found("a"), journal.Adopted},
		{"the new key was written", none(intent(put, over)), found("b"), journal.Adopted},
		{"the new key was not written", none(intent(put, over)), absent(), journal.NotApplied},
		{"the delete was not applied", row("a", intent(del, over)), found("a"), journal.Adopted},
		{"the delete was applied", row("a", intent(del, over)), absent(), journal.Deleted},
		{"the put of the deleted key was applied", row("", intent(put, over)), found("b"), journal.Adopted},
		{"the put of the deleted key was not applied", row("", intent(put, over)), absent(), journal.Stand},
		{"two puts, one of them last", row("a", intent(put, over), intent(put, over)), found("b"), journal.Adopted},
		{"nothing was under way after all", row("a"), found("a"), journal.Stand},
		{"nothing was under way, deleted", row(""), absent(), journal.Stand},

		// Writes that overlapped.
		{"the row's was last", unsettled(row("b"), false), found("b"), journal.Stand},
		{"the other was last", unsettled(row("b"), false), found("a"), journal.Adopted},
		{"one is a delete, and was last", unsettled(row("b"), true), absent(), journal.Deleted},
		{"the row's is a delete, and was last", unsettled(row(""), true), absent(), journal.Stand},
		{"the row's is a delete, the other was last", unsettled(row(""), true), found("a"), journal.Adopted},

		// Only a delete's intent makes a tombstone.
		{"a put times out, the region was restored from a backup", row("a", intent(put, over)), absent(), journal.Lost},
		{"two puts overlapped, the region was restored from a backup", unsettled(row("b"), false), absent(), journal.Lost},
		{"a repair times out, the region lost the object again", row("a", repair("a", over)), absent(), journal.Lost},
		{"a put and a delete time out", row("a", intent(put, over), intent(del, over)), absent(), journal.Deleted},

		// What a late repair brings back is not a write.
		{"a repair hangs, the key is deleted, the repair lands", row("", repair("a", over)), found("a"), journal.Rewrite},
		{"the same, and the two are known to overlap", unsettled(row("", repair("a", over)), true), found("a"), journal.Rewrite},
		{"a repair hangs, the key is overwritten, the repair lands", unsettled(row("b", repair("a", over)), false), found("a"), journal.Rewrite},
		{"a repair hangs, and a put; the repair was last", row("b", repair("a", over), intent(put, over)), found("a"), journal.Rewrite},
		{"a repair hangs, and a put; the put was last", row("b", repair("a", over), intent(put, over)), found("c"), journal.Adopted},
		{"something lies under a tombstone", row(""), found("x"), journal.Rewrite},
		{"a repair times out, and is seen", behind(row("a", repair("a", over)), journal.Missing, ""), found("a"), journal.Stand},
		{"a repair times out, and is seen, or another one is", behind(row("a", repair("a", within)), journal.Missing, ""), found("a"), journal.Wait},
		{"a repair times out over an older version, and is seen", behind(row("b", repair("b", within)), journal.Pending, "a"), found("b"), journal.Wait},
		{"a repair times out, and is not seen", behind(row("a", repair("a", within)), journal.Missing, ""), absent(), journal.Wait},
		{"a repair times out, and another copy of it is current", row("a", repair("a", within)), found("a"), journal.Wait},
		{"a repair of the ETag that was there times out", behind(row("a", repair("a", within)), journal.Pending, "a"), found("a"), journal.Wait},
		{"a repair of the ETag that was there may not have landed", behind(row("a", repair("a", over)), journal.Pending, "a"), found("a"), journal.Rewrite},

		// What the active held before it was brought to the row's version is not a write.
		{"promoted behind, a put was not applied", behind(row("b", intent(put, over)), journal.Pending, "a"), found("a"), journal.Rewrite},
		{"promoted behind, a put was applied", behind(row("b", intent(put, over)), journal.Pending, "a"), found("c"), journal.Adopted},
		{"promoted behind a delete, a put was not applied", behind(row("", intent(put, over)), journal.Pending, "a"), found("a"), journal.Rewrite},
		{"promoted behind a delete, a put was applied", behind(row("", intent(put, over)), journal.Pending, "a"), found("c"), journal.Adopted},
		{"promoted without the key, a put was not applied", behind(row("b", intent(put, over)), journal.Pending, ""), absent(), journal.Rewrite},
		{"promoted without the key, a delete times out", behind(row("b", intent(del, over)), journal.Pending, ""), absent(), journal.Deleted},
		{"promoted again without the key, a delete of before and a put time out", behind(later(row("b", intent(del, over), intent(put, over))), journal.Pending, ""), absent(), journal.Rewrite},
		{"promoted again with an older object, a delete of before landed", behind(later(row("b", intent(del, over))), journal.Pending, "a"), absent(), journal.Rewrite},
		{"a delete of before lands late over the version", later(row("b", intent(del, over))), absent(), journal.Deleted},
		{"the region cannot hold the version", behind(row("b", intent(put, over)), journal.Unreplicable, "a"), found("a"), journal.Rewrite},

		// Intents of other regions say nothing of this one.
		{"a put hangs at the old active", row("a", elsewhere(intent(put, underWay))), found("a"), journal.Stand},
		{"a delete hangs at the old active", row("a", elsewhere(intent(del, over))), absent(), journal.Lost},
		{"a new key hangs at the old active", none(elsewhere(intent(put, over))), absent(), journal.NotApplied},
	}
	for _, tt := range tests {
		t.Run(tt.history, func(t *testing.T) {
			if got := journal.Decide(&tt.object, tt.seen, true); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDecideOfABucketThatWasNotCompared(t *testing.T) {
	o := none(intent(journal.Put, within))
	if got := journal.Decide(&o, found("b"), false); got != journal.Wait {
		t.Errorf("within the window: got %q, want wait: the object may have been there before", got)
	}
	o = row("a", intent(journal.Put, within))
	if got := journal.Decide(&o, found("b"), false); got != journal.Adopted {
		t.Errorf("with a row: got %q, want adopted", got)
	}
}

func TestDecideByTheETagThatTheRegionHas(t *testing.T) {
	o := row("a", intent(journal.Put, within))
	o.Copies[0].ETag = "a of here"
	if got := journal.Decide(&o, found("a of here"), true); got != journal.Wait {
		t.Errorf("the old object: got %q, want wait", got)
	}
	o = unsettled(o, false)
	o.Intents = nil
	if got := journal.Decide(&o, found("a of here"), true); got != journal.Stand {
		t.Errorf("the row's object: got %q, want stand", got)
	}
}
