package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What a gateway of several buckets meets when its configuration changes, or its journal is put back.

var both = layout{"xxx": {"a", "b"}, "yyy": {"a", "b"}}

// wantDenied checks that nobody says of a key that it is not there, and so for as long as it takes to compare the regions.
func (f *fleet) wantDenied(bucket, key string) {
	f.t.Helper()
	f.eventually(func() error {
		for _, r := range f.state().Regions {
			if r.Name == "a" && r.NeverCompared == nil {
				return fmt.Errorf("the keys of %s are not counted", r.Name)
			}
		}
		return nil
	})
	if r := f.GET(key, of(bucket)); r.Status == http.StatusNotFound {
		f.t.Errorf("GET of a key that a never compared region has: got %v, want no 404", r)
	}
}

func TestABucketThatWasNotServedAtAPromotionDeniesNothing(t *testing.T) {
	for name, before := range map[string]layout{"added": nil, "put back": both} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, "a", "b")
			for i := range 20 {
				f.regions["a"].Put("xxx", fmt.Sprintf("old%d", i), []byte("old"))
			}
			if before != nil {
				f.serve(before)
				f.wantDenied("xxx", "old1")
				f.end()
			}
			f.serve(layout{"yyy": {"a", "b"}})
			f.awaitCompared()
			if r := f.promote(promotion{Region: "b"}); r.Status != http.StatusOK {
				t.Fatalf("promote: got %v", r)
			}
			f.end()
			f.serve(both)
			f.wantDenied("xxx", "old1")
		})
	}
}

func TestARepairIsOfEveryBucketOfTheJournal(t *testing.T) {
	f := newFleet(t, "a", "b")
	f.serve(both)
	f.awaitCompared()
	for _, bucket := range []string{"xxx", "yyy"} {
		f.put("k", "one", of(bucket))
		f.awaitCopy(bucket, "k", "b", "current")
	}
	f.end()
	backup := f.journalFiles()
	f.serve(both)
	refuse(f.regions["b"], "k")
	for _, bucket := range []string{"xxx", "yyy"} {
		f.put("k", "two", of(bucket))
	}
	f.end()
	f.restore(backup)
	f.regions["b"].SetFaults(nil)
	f.repair = true
	f.serve(layout{"yyy": {"a", "b"}})
	f.end()
	f.repair = false
	f.serve(both)
	f.awaitCopy("xxx", "k", "b", "current")
	for _, bucket := range []string{"xxx", "yyy"} {
		f.wantObject("k", "two", of(bucket))
	}
}

func TestAForeignMarkInOneBucketMovesNoOthers(t *testing.T) {
	f := newFleet(t, "a", "b")
	f.serve(layout{"xxx": {"a", "b"}})
	f.awaitCompared()
	f.put("k", "one", of("xxx"))
	f.awaitCopy("xxx", "k", "b", "current")
	if r := f.promote(promotion{Region: "b"}); r.Status != http.StatusOK {
		t.Fatalf("promote: got %v", r)
	}
	f.end()
	f.regions["a"].Put("yyy", ".tandem/region", []byte(`{"journal":"other","region":"a","active":"a","epoch":7,"sequence":100,"writtenAt":"2026-01-01T00:00:00Z","checkpoint":""}`))
	if err := f.tryServe(both); err == nil || !strings.Contains(err.Error(), "another journal's") {
		t.Fatalf("got %v, want the bucket of another gateway refused", err)
	}
	f.repair = true
	f.serve(both)
	if s := f.state(); s.Active != "b" || s.Epoch != 8 {
		t.Errorf("got %s active in epoch %d, want the journal's own active, later than either", s.Active, s.Epoch)
	}
	f.awaitCopy("xxx", "k", "a", "current")
	f.wantObject("k", "one", of("xxx"))
}

func TestBucketsThatWereExchangedAreNotServed(t *testing.T) {
	f := newFleet(t, "a", "b")
	f.serve(both)
	f.awaitCompared()
	for _, bucket := range []string{"xxx", "yyy"} {
		f.put("k", "of "+bucket, of(bucket))
		f.awaitCopy(bucket, "k", "b", "current")
	}
	f.end()
	f.swapped = map[string]string{"xxx": "yyy", "yyy": "xxx"}
	for _, f.repair = range []bool{false, true} {
		if err := f.tryServe(both); err == nil || !strings.Contains(err.Error(), "correct the configuration") || strings.Contains(err.Error(), "--repair") {
			t.Errorf("repair %t: got %v, want it refused, and the configuration blamed", f.repair, err)
		}
	}
	f.swapped, f.repair = nil, false
	f.serve(both)
	for _, bucket := range []string{"xxx", "yyy"} {
		f.wantObject("k", "of "+bucket, of(bucket))
	}
}

func TestABucketDoesNotLeaveARegionThatOthersHave(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.serve(layout{"xxx": {"a", "b", "c"}, "yyy": {"a", "b", "c"}})
	f.awaitCompared()
	f.end()
	if err := f.tryServe(layout{"xxx": {"a", "b"}, "yyy": {"a", "b", "c"}}); err == nil || !strings.Contains(err.Error(), `bucket xxx was in region "c"`) {
		t.Fatalf("got %v, want it refused", err)
	}
	f.serve(layout{"xxx": {"a", "b", "c"}, "yyy": {"a", "b", "c"}})
	if r := f.do(http.MethodDelete, "/admin/regions/c", strings.NewReader(`{"reason": "closed"}`), header("Content-Type", "application/json")); r.Status != http.StatusOK && r.Status != http.StatusNoContent {
		t.Fatalf("remove c: got %v", r)
	}
	f.end()
	// It is out of every bucket, and of those that come later.
	f.serve(layout{"xxx": {"a", "b"}, "yyy": {"a", "b", "c"}})
	for _, r := range f.state().Regions {
		if r.Name == "c" {
			t.Errorf("got %+v, want it left out", r)
		}
	}
}

func TestABucketThatIsNotServedKeepsNobodyFromBeingPromoted(t *testing.T) {
	f := newFleet(t, "a", "b")
	f.serve(both)
	f.awaitCompared()
	refuse(f.regions["b"], "k")
	f.put("k", "one", of("xxx"))
	if r := f.promote(promotion{Region: "b", Force: true}); r.Status != http.StatusOK {
		t.Fatalf("promote: got %v", r)
	}
	f.end()
	f.regions["b"].SetFaults(nil)
	f.serve(layout{"yyy": {"a", "b"}})
	f.awaitCompared()
	if r := f.promote(promotion{Region: "a"}); r.Status != http.StatusOK {
		t.Errorf("promote: got %v, want it done: what speaks against it nobody copies", r)
	}
}
