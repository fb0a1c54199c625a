package app_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// bothChanged has a key changed in A, which only A has, and then in B.
func (g *rig) bothChanged(key string) {
	g.t.Helper()
	g.put(key, "old")
	g.awaitSettled(key)
	refuse(g.B, key)
	g.put(key, "loser", header("Content-Type", "text/plain"), header("Cache-Control", "max-age=7"), header("X-Amz-Meta-Side", "A"),
		header("X-Amz-Tagging", "side=A&n=1"))
	g.down("primary")
	g.B.SetFaults(nil)
	g.mustPromote("secondary")
	g.put(key, "winner", header("Content-Type", "text/html"), header("X-Amz-Meta-Side", "B"))
}

// wantLoser checks that a key holds the loser, as it was.
func (g *rig) wantLoser(key string) {
	g.t.Helper()
	r := g.wantObject(key, "loser")
	for name, value := range map[string]string{"Content-Type": "text/plain", "Cache-Control": "max-age=7", "X-Amz-Meta-Side": "A"} {
		if got := r.Header.Get(name); got != value {
			g.t.Errorf("%s: got %s %q, want %q", key, name, got, value)
		}
	}
	for _, s := range []*regiontest.Server{g.A, g.B} {
		bucket := bucketA
		if s == g.B {
			bucket = bucketB
		}
		if o, _ := s.Object(bucket, key); o.Tags["side"] != "A" || o.Tags["n"] != "1" {
			g.t.Errorf("%s in %s: got tags %v, want those of the loser", key, bucket, o.Tags)
		}
	}
}

// A key is changed on both sides of a failover: the later write stays, the other is kept, and
// somebody decides.
func TestBothSidesChangedKeepsTheLoser(t *testing.T) {
	t.Parallel()
	for _, keep := range []string{"winner", "loser", "both"} {
		t.Run(keep, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.bothChanged("k")
			wantProblem(t, g.resolve(1, keep, "elsewhere"), map[bool]int{true: 409, false: 404}[len(g.conflicts("k")) > 0],
				map[bool]string{true: "NotKeptYet", false: "NoSuchConflict"}[len(g.conflicts("k")) > 0])
			g.up("primary")
			for range 3 { // whoever asks A is never given the loser
				g.wantObject("k", "winner", query("prefer", "replica"))
			}
			g.awaitClosed()
			c := g.awaitKept("k")
			if c.Region != "primary" || c.Operation != "put" || c.Deleted || c.ContentType != "text/plain" || c.Size != 5 || c.Loser[:2] != "1-" || c.Winner[:2] != "2-" {
				t.Errorf("conflict %+v", c)
			}
			e := g.wantEntry(2, "k", "at-risk", "conflict")
			if e.Version != c.Loser || !strings.Contains(*e.Reason, fmt.Sprint("conflict ", c.ID)) {
				t.Errorf("entry %v, want it to name %+v", e, c)
			}
			g.put("taken", "by somebody")
			wantProblem(t, g.resolve(c.ID, "neither", ""), 400, "InvalidArgument")
			wantProblem(t, g.resolve(c.ID, "both", "taken"), 409, "KeyExists")
			wantProblem(t, g.resolve(c.ID, "both", ".tandem/mine"), 403, "AccessDenied")
			if r := g.resolve(c.ID, keep, "elsewhere"); r.Status != 200 {
				t.Fatalf("resolve: got %v, want 200", r)
			}
			wantProblem(t, g.resolve(c.ID, keep, "elsewhere"), 409, "Resolved")
			g.awaitClosed()
			if keep == "loser" {
				g.wantLoser("k")
			} else if r := g.wantObject("k", "winner"); r.Header.Get("X-Amz-Meta-Side") != "B" {
				t.Errorf("got %v, want the winner's metadata", r.Header)
			}
			if keep == "both" {
				g.wantLoser("elsewhere")
			} else {
				wantProblem(t, g.GET("elsewhere"), 404, "NoSuchKey")
			}
			if left := kept(g.A, bucketA); len(left) > 0 {
				t.Errorf("kept still: %v", left)
			}
			if c := g.conflicts("k")[0]; c.State != "resolved" || c.Resolution == nil || !strings.HasPrefix(*c.Resolution, keep) || *c.ResolvedBy != "admin" {
				t.Errorf("conflict %+v, want it resolved", c)
			}
		})
	}
}

// The loser is a delete: there is nothing to keep, and it may be chosen all the same.
func TestAConflictWhoseLoserIsADelete(t *testing.T) {
	t.Parallel()
	for _, keep := range []string{"winner", "loser"} {
		t.Run(keep, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			refuse(g.B, "k")
			g.remove("k")
			g.down("primary")
			g.mustPromote("secondary")
			g.B.SetFaults(nil) // not before: a delete needs no source, and B would still have been given it
			g.put("k", "winner")
			c := g.awaitKept("k") // at once: A need not be asked
			if !c.Deleted || c.KeptKey != "" || c.Operation != "delete" {
				t.Errorf("conflict %+v, want the delete", c)
			}
			g.up("primary")
			g.awaitClosed()
			g.wantEntry(2, "k", "at-risk", "conflict")
			wantProblem(t, g.resolve(c.ID, "both", "elsewhere"), 400, "InvalidArgument")
			if r := g.resolve(c.ID, keep, ""); r.Status != 200 {
				t.Fatalf("resolve: got %v", r)
			}
			g.awaitClosed()
			g.wantRead("k", map[string]string{"winner": "winner", "loser": ""}[keep])
		})
	}
}

// A loser in parts is kept in its parts.
func TestALoserInPartsIsKeptAsItIs(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"REGION_TIMEOUT": "1m"}})
	data := bytes.Repeat([]byte("0123456789abcdef"), 9<<16) // 9 MiB: two parts
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Key == "k" && q.Operation != "HeadObject" {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	r := g.PUT("k", data, unsized)
	if r.Status != 201 {
		t.Fatalf("got %v, want 201", r)
	}
	etag := decode[written](t, r).ETag
	if !strings.Contains(etag, "-") {
		t.Fatalf("ETag %q, want one of parts", etag)
	}
	g.down("primary")
	g.B.SetFaults(nil)
	g.mustPromote("secondary")
	g.put("k", "winner")
	g.up("primary")
	g.awaitClosed()
	c := g.awaitKept("k")
	for _, s := range []string{bytesOf(g.A, bucketA, c.KeptKey), bytesOf(g.B, bucketB, c.KeptKey)} {
		if s != string(data) {
			t.Errorf("kept %d bytes, want the %d of the loser", len(s), len(data))
		}
	}
	if o, _ := g.B.Object(bucketB, c.KeptKey); strings.Trim(o.ETag, `"`) != etag || c.ETag != etag {
		t.Errorf("kept under ETag %s in %+v, want %s", o.ETag, c, etag)
	}
	if r := g.resolve(c.ID, "loser", ""); r.Status != 200 {
		t.Fatalf("resolve: got %v", r)
	}
	g.awaitClosed()
	g.wantObject("k", string(data))
}

// A loser that cannot be kept is not overwritten, and that is said; once it can, it is.
func TestALoserThatCannotBeKeptIsNotOverwritten(t *testing.T) {
	t.Parallel()
	isKept := func(q regiontest.Request) bool {
		return strings.HasPrefix(q.Key, ".tandem/conflicts/") && q.Operation == "PutObject"
	}
	for name, fault := range map[string]regiontest.Fault{
		"refused":       {Code: "AccessDenied"},
		"unavailable":   {Code: "SlowDown"},
		"answer lost":   {CutBefore: true, Apply: true},
		"error applied": {Code: "InternalError", Apply: true},
		"lost":          {CutBefore: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.bothChanged("k")
			g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if isKept(q) {
					return fault
				}
				return regiontest.Fault{}
			})
			g.up("primary")
			g.eventually(func() error {
				found := g.conflicts("k")
				return happened(len(found) == 1 && found[0].State == "found" && found[0].LastError != nil, fmt.Sprintf("that it cannot be kept is said: %+v", found))
			})
			if got := bytesOf(g.A, bucketA, "k"); got != "loser" {
				t.Errorf("A holds %q, want the loser", got)
			}
			if e := g.entriesOf(2, "k"); e[0].outcome() != "open" {
				t.Errorf("entry %v, want it open", e)
			}
			g.wantObject("k", "winner")
			wantProblem(t, g.resolve(1, "winner", ""), 409, "NotKeptYet")
			g.wantObjection("primary", "conflicts-not-kept")
			g.B.SetFaults(nil)
			g.A.SetDown(true) // what waits is taken up again when it is back
			g.awaitHealth("primary", "down")
			g.up("primary")
			g.awaitClosed()
			if c := g.awaitKept("k"); bytesOf(g.A, bucketA, c.KeptKey) != "loser" || c.LastError != nil {
				t.Errorf("conflict %+v keeps %q", c, bytesOf(g.A, bucketA, c.KeptKey))
			}
			g.wantObject("k", "winner")
		})
	}
}

// A is promoted by force while it holds a loser that is not kept yet: the loser is not
// overwritten by a client's write, nor by the copy of the winner.
func TestALoserInAnActiveIsKeptBeforeItIsOverwritten(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.bothChanged("k")
	var isOpen atomic.Bool
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if strings.HasPrefix(q.Key, ".tandem/conflicts/") && q.Operation == "PutObject" && !isOpen.Load() {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	g.up("primary")
	g.mustPromote("primary")
	wantProblem(t, g.PUT("k", []byte("newest")), 503, "ServiceUnavailable")
	wantProblem(t, g.DELETE("k"), 503, "ServiceUnavailable")
	g.wantObject("k", "winner")
	if got := bytesOf(g.A, bucketA, "k"); got != "loser" {
		t.Errorf("A holds %q, want the loser", got)
	}
	isOpen.Store(true)
	g.awaitClosed()
	g.wantObject("k", "winner")
	if c := g.awaitKept("k"); bytesOf(g.B, bucketB, c.KeptKey) != "loser" {
		t.Errorf("conflict %+v does not keep the loser", c)
	}
	g.put("k", "newest")
	g.awaitClosed()
}
