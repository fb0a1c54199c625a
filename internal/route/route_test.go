package route_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/route"
)

var (
	v1, v2, v3 = journal.Version{Epoch: 1, Sequence: 1}, journal.Version{Epoch: 1, Sequence: 2}, journal.Version{Epoch: 2, Sequence: 3}
	early      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	late       = early.Add(time.Hour)
)

func current(region, etag string) journal.Copy {
	return journal.Copy{Region: region, State: journal.Current, Version: v3, ETag: etag}
}

// pending is a copy that holds an older version, or nothing where the ETag is "".
func pending(region, etag string, holds journal.Version, since time.Time) journal.Copy {
	return journal.Copy{Region: region, State: journal.Pending, Version: holds, ETag: etag, PendingSince: since}
}

func missing(region string) journal.Copy {
	return journal.Copy{Region: region, State: journal.Missing}
}

// row is an acknowledged key at v3.
func row(copies ...journal.Copy) *journal.Object {
	return &journal.Object{Bucket: "b", Key: "k", Version: v3, ETag: "e3", LastRegion: "a", Operation: journal.Put, Copies: copies}
}

func with(o *journal.Object, edit func(*journal.Object)) *journal.Object {
	edit(o)
	return o
}

func intends(op journal.Operation) func(*journal.Object) {
	return func(o *journal.Object) {
		o.Intents = append(o.Intents, journal.Intent{ID: 1, Region: "a", Operation: op, InDoubt: true})
	}
}

// now is intends in the epoch of the row.
func now(op journal.Operation) func(*journal.Object) {
	return func(o *journal.Object) {
		o.Intents = append(o.Intents, journal.Intent{ID: 1, Region: "a", Epoch: v3.Epoch, Operation: op, InDoubt: true})
	}
}

// The active is a; b and c are replicas.
func TestReadPlans(t *testing.T) {
	fromA := func(etag string) route.Candidate {
		return route.Candidate{Region: "a", ETag: etag, Freshness: route.Current}
	}
	fromB := route.Candidate{Region: "b", ETag: "eb", Freshness: route.Current}
	stale := func(region, etag string) route.Candidate {
		return route.Candidate{Region: region, ETag: etag, Freshness: route.Stale}
	}
	decisive := func(region string, f route.Freshness) route.Candidate {
		return route.Candidate{Region: region, Freshness: f, Decisive: true}
	}
	notYet := func(behind string, since time.Time, candidates ...route.Candidate) route.Plan {
		return route.Plan{Candidates: candidates, Otherwise: route.NotYetReplicated, Behind: behind, Since: since}
	}
	unavailable := func(candidates ...route.Candidate) route.Plan {
		return route.Plan{Candidates: candidates, Otherwise: route.Unavailable}
	}
	for _, tt := range []struct {
		name     string
		object   *journal.Object
		compared string
		in       route.Input // PreferReplica, AllowStale, Distrusted
		want     route.Plan
	}{
		{name: "current everywhere", object: row(current("a", "e3"), current("b", "eb")), want: notYet("a", time.Time{}, fromA(""), fromB)},
		{
			name: "current everywhere, a replica preferred", object: row(current("a", "e3"), current("b", "eb")),
			in: route.Input{PreferReplica: true}, want: notYet("a", time.Time{}, fromB, fromA("")),
		},
		{
			name: "current everywhere, the active distrusted", object: row(current("a", "e3"), current("b", "eb")),
			in: route.Input{Distrusted: true}, want: notYet("a", time.Time{}, fromA("e3"), fromB),
		},
		{
			name: "pending in a replica", object: row(current("a", "e3"), pending("b", "e1", v1, early)),
			want: notYet("b", early, fromA("")),
		},
		{
			name: "pending in a replica that is preferred", object: row(current("a", "e3"), pending("b", "e1", v1, early)),
			in: route.Input{PreferReplica: true}, want: notYet("b", early, fromA("")),
		},
		{
			name: "pending in two replicas: the one that waits longest", object: row(current("a", "e3"), pending("b", "e2", v2, late), pending("c", "e1", v1, early)),
			want: notYet("c", early, fromA("")),
		},
		{
			name: "older versions allowed: the newest first", object: row(current("a", "e3"), pending("b", "e1", v1, early), pending("c", "e2", v2, late)),
			in: route.Input{AllowStale: true}, want: notYet("b", early, fromA(""), stale("c", "e2"), stale("b", "e1")),
		},
		{
			name: "older versions allowed, and a replica holds none", object: row(current("a", "e3"), pending("b", "", journal.Version{}, early)),
			in: route.Input{AllowStale: true}, want: notYet("b", early, fromA("")),
		},
		{name: "missing in the active", object: row(missing("a"), current("b", "eb")), want: notYet("a", time.Time{}, fromB)},
		{
			name: "pending in the active", object: row(pending("a", "e1", v1, early), current("b", "eb")), in: route.Input{AllowStale: true},
			want: notYet("a", early, fromB, stale("a", "e1")),
		},
		{name: "current nowhere", object: row(missing("a")), want: notYet("a", time.Time{})},
		{
			name: "tombstone, whatever is held", object: with(row(current("a", ""), pending("b", "e1", v1, early)), func(o *journal.Object) { o.Deleted = true }),
			in: route.Input{AllowStale: true, PreferReplica: true}, want: route.Plan{Otherwise: route.Absent},
		},
		{
			name: "a put in doubt", object: with(row(current("a", "e3"), current("b", "eb")), intends(journal.Put)),
			in: route.Input{PreferReplica: true}, want: notYet("a", time.Time{}, fromA("")),
		},
		{
			name: "a put in doubt, older versions allowed", object: with(row(current("a", "e3"), current("b", "eb")), intends(journal.Put)),
			in: route.Input{AllowStale: true}, want: notYet("a", time.Time{}, fromA(""), stale("a", "e3"), stale("b", "eb")),
		},
		{
			name: "a delete in doubt", object: with(row(current("a", "e3"), pending("b", "e1", v1, early)), intends(journal.Delete)),
			want: notYet("b", early, decisive("a", route.Current)),
		},
		{
			name: "overlapping writes", object: with(row(current("a", "e3"), current("b", "eb")), func(o *journal.Object) { o.Unsettled = true }),
			want: notYet("a", time.Time{}, fromA("")),
		},
		{
			name: "overlapping writes, one of them a delete", object: with(row(current("a", "e3")), func(o *journal.Object) { o.Unsettled, o.DeleteSeen = true, true }),
			want: notYet("a", time.Time{}, decisive("a", route.Current)),
		},
		{
			name: "a put in doubt over a tombstone", object: with(row(current("a", ""), pending("b", "e1", v1, early)), func(o *journal.Object) {
				o.Deleted = true
				intends(journal.Put)(o)
			}),
			in: route.Input{AllowStale: true}, want: notYet("b", early, decisive("a", route.Current)),
		},
		{
			name: "a repair under way is no write", object: with(row(pending("a", "", journal.Version{}, early), current("b", "eb")), intends(journal.Repair)),
			want: notYet("a", early, fromB),
		},
		{
			name: "a put in doubt in an active that is behind", object: with(row(pending("a", "e1", v1, early), current("b", "eb")), now(journal.Put)),
			want: notYet("a", early, route.Candidate{Region: "a", Freshness: route.Current, Older: []string{"e1"}}),
		},
		{
			name: "a delete in doubt in an active that never had the key", object: with(row(pending("a", "", journal.Version{}, early), current("b", "eb")), now(journal.Delete)),
			want: notYet("a", early, route.Candidate{Region: "a", Freshness: route.Current}),
		},
		{
			name: "a put in doubt from before another region's term", object: with(row(pending("a", "e1", v1, early), current("b", "eb")), intends(journal.Put)),
			want: notYet("a", early, fromB),
		},
		{
			name: "a put in doubt in an active that came back older", object: with(row(pending("a", "e3", v3, early), current("b", "eb")), now(journal.Put)),
			in: route.Input{Regressed: true}, want: notYet("a", early, fromB),
		},
		{
			name: "a copy of an older version may land in the active", object: with(with(row(current("a", "e3")), now(journal.Put)), func(o *journal.Object) {
				o.Intents = append(o.Intents, journal.Intent{ID: 2, Region: "a", Operation: journal.Repair, InDoubt: true, Brings: "e2"})
			}),
			want: notYet("a", time.Time{}, route.Candidate{Region: "a", Freshness: route.Current, Older: []string{"e2"}}),
		},
		{
			name: "the first write in doubt", object: with(&journal.Object{Bucket: "b", Key: "k"}, intends(journal.Put)),
			want: notYet("a", time.Time{}, decisive("a", route.Current)),
		},
		{
			name: "no row, all compared", compared: "abc",
			want: unavailable(decisive("a", route.Current), decisive("b", route.Unknown), decisive("c", route.Unknown)),
		},
		{
			name: "no row, all compared, a replica preferred", compared: "abc", in: route.Input{PreferReplica: true},
			want: unavailable(decisive("b", route.Unknown), decisive("c", route.Unknown), decisive("a", route.Current)),
		},
		{
			name: "no row, only the active compared", compared: "a",
			want: unavailable(decisive("a", route.Current), route.Candidate{Region: "b", Freshness: route.Unknown}, route.Candidate{Region: "c", Freshness: route.Unknown}),
		},
		{
			name: "no row, only a replica compared: its 404 proves nothing", compared: "b",
			want: unavailable(decisive("a", route.Unknown), route.Candidate{Region: "b", Freshness: route.Unknown}, route.Candidate{Region: "c", Freshness: route.Unknown}),
		},
		{
			name: "a row without a version is none", object: with(&journal.Object{Bucket: "b", Key: "k"}, intends(journal.Repair)), compared: "a",
			want: unavailable(decisive("a", route.Current), route.Candidate{Region: "b", Freshness: route.Unknown}, route.Candidate{Region: "c", Freshness: route.Unknown}),
		},
	} {
		in := tt.in
		in.Active, in.Regions, in.Object = "a", []string{"a", "b", "c"}, tt.object
		in.Compared = func(region string) bool { return strings.Contains(tt.compared, region) }
		if diff := cmp.Diff(tt.want, route.Read(in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Whatever is known of a key: no older version is offered unless that was allowed, and
// of a tombstone nothing at all.
func TestReadOffersNoOlderVersionUnasked(t *testing.T) {
	copies := []journal.Copy{
		current("b", "eb"), pending("b", "e1", v1, early), missing("b"),
		{Region: "b", State: journal.Unreplicable, Version: v1, ETag: "e1"}, {Region: "b", State: journal.Abandoned, Version: v1, ETag: "e1"},
	}
	for _, c := range copies {
		for _, deleted := range []bool{false, true} {
			for _, prefer := range []bool{false, true} {
				o := row(current("a", "e3"), c)
				o.Deleted = deleted
				plan := route.Read(route.Input{Active: "a", Regions: []string{"a", "b"}, Object: o, PreferReplica: prefer})
				what := fmt.Sprintf("b is %s, deleted %v, prefer a replica %v", c.State, deleted, prefer)
				if deleted && (len(plan.Candidates) > 0 || plan.Otherwise != route.Absent) {
					t.Errorf("%s: got %+v, want an absence", what, plan)
				}
				for _, candidate := range plan.Candidates {
					if candidate.Freshness != route.Current || candidate.Region == "b" && (c.State != journal.Current || candidate.ETag == "") {
						t.Errorf("%s: offers %+v", what, candidate)
					}
				}
			}
		}
	}
}
