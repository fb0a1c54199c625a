package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const markKey = ".tandem/region"

// awaitMarked waits until each region's mark was rewritten since.
func (g *rig) awaitMarked() {
	g.t.Helper()
	for _, name := range []string{"primary", "secondary"} {
		s, bucket := g.server(name)
		before := bytesOf(s, bucket, markKey)
		g.eventually(func() error {
			now := bytesOf(s, bucket, markKey)
			return happened(now != "" && now != before, name+" is marked")
		})
	}
}

func (g *rig) awaitRegressed(name string, want bool) {
	g.t.Helper()
	g.eventually(func() error {
		for _, r := range g.state().Regions {
			if r.Name == name && r.Regressed == want {
				return nil
			}
		}
		return fmt.Errorf("region %s: regressed is not %t", name, want)
	})
}

// empty takes away all that a region holds.
func empty(s *regiontest.Server, bucket string) {
	for _, key := range s.Keys(bucket) {
		s.Remove(bucket, key)
	}
}

// The old active comes back empty: what only it had is lost, on the record; everything else is
// there again, and nothing is taken for deleted.
func TestAnOldActiveThatComesBackEmptyIsFilled(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.put("gone", "content")
	g.remove("gone")
	g.awaitConverged()
	g.awaitMarked()
	g.atRisk("risk", "only in A")
	g.mustPromote("secondary")
	g.put("new", "in B")
	empty(g.A, bucketA)
	g.up("primary")
	g.eventually(func() error { return happened(g.wantsNoMore(), "the ledger is closed, the region verified") })
	g.wantEntry(2, "risk", "at-risk", "lost")
	for key, data := range map[string]string{"k": "content", "new": "in B", "gone": ""} {
		g.wantRead(key, data)
		if got := bytesOf(g.A, bucketA, key); got != data {
			t.Errorf("A holds %q of %q, want %q", got, key, data)
		}
	}
	if r := g.GET("risk"); r.Status != 503 {
		t.Errorf("got %v, want it said that it cannot be had", r)
	}
}

func (g *rig) wantsNoMore() bool {
	for _, f := range g.failovers() {
		if f.Open > 0 {
			return false
		}
	}
	for _, r := range g.state().Regions {
		if r.Regressed {
			return false
		}
	}
	return true
}

// The active is restored from last night's copy while nobody looks, and serves: what it shows
// is not taken for what was acknowledged, and nothing of it for news.
func TestAnActiveThatComesBackOlderIsNotBelieved(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("changed", "old")
	g.put("deleted", "old")
	g.put("same", "same")
	g.awaitConverged()
	g.awaitMarked()
	old := bytesOf(g.A, bucketA, markKey)
	g.put("changed", "acknowledged")
	g.put("new", "acknowledged")
	g.remove("deleted")
	g.awaitConverged()
	g.awaitMarked()
	refuse(g.B, "risk")
	g.put("risk", "only in A")
	g.down("primary")
	g.A.Put(bucketA, "changed", []byte("old"))
	g.A.Put(bucketA, "deleted", []byte("old"))
	g.A.Put(bucketA, markKey, []byte(old))
	g.A.Remove(bucketA, "new")
	g.A.Remove(bucketA, "risk")
	g.A.SetDown(false)
	for range 40 {
		for key, data := range map[string]string{"changed": "acknowledged", "new": "acknowledged", "deleted": "", "same": "same", "risk": "only in A"} {
			r := g.GET(key)
			isRight := r.Status == 200 && string(r.Body) == data || r.Status == 404 && data == ""
			if !isRight && r.Status != 503 {
				t.Fatalf("GET %q: got %v (%v), want %q or 503", key, r, r.Header, data)
			}
		}
	}
	g.B.SetFaults(nil)
	g.eventually(func() error { return happened(g.health("primary") == "up" && g.wantsNoMore(), "A is verified") })
	for key, data := range map[string]string{"changed": "acknowledged", "new": "acknowledged", "deleted": "", "same": "same"} {
		g.awaitSettled(key)
		g.wantRead(key, data)
	}
}

// A replica that came back older is not promoted before it is verified.
func TestARegressedRegionIsNotPromoted(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.awaitConverged()
	g.awaitMarked()
	g.down("secondary")
	empty(g.B, bucketB)
	refuse(g.B, "k") // so that it is not verified soon
	g.up("secondary")
	g.awaitRegressed("secondary", true)
	g.wantObjection("secondary", "regressed")
	g.B.SetFaults(nil)
	g.restart(nil) // it is remembered
	g.awaitHealth("secondary", "up")
	g.awaitRegressed("secondary", false)
	g.awaitClosed()
	g.mustPromote("secondary")
	g.wantObject("k", "content")
}

// runs starts the gateway anew and returns why it does not serve; nil where it does.
func (g *rig) runs() error {
	g.t.Helper()
	_ = g.stop()
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	a, err := app.New(ctx, cfg, app.Options{Logger: newLogger(g.t), Started: func(app.URLs) { cancel() }})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func TestAMarkOfAnotherJournalKeepsTheGatewayFromStarting(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"primary", "secondary"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "content")
			g.awaitConverged()
			g.awaitMarked()
			s, bucket := g.server(name)
			right := bytesOf(s, bucket, markKey)
			id := g.markOf(name).Journal
			s.Put(bucket, markKey, []byte(strings.ReplaceAll(right, id, "another-journal")))
			before := s.Snapshot()
			if err := g.runs(); !errors.Is(err, mark.ErrForeign) {
				t.Errorf("got %v, want it refused", err)
			}
			if after := s.Snapshot(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the region was changed: %v, was %v", after, before)
			}
			s.Put(bucket, markKey, []byte(right))
			if err := g.runs(); err != nil {
				t.Errorf("with its own mark: %v", err)
			}
		})
	}
}

func (g *rig) markOf(name string) (c mark.Content) {
	g.t.Helper()
	s, bucket := g.server(name)
	if err := json.Unmarshal([]byte(bytesOf(s, bucket, markKey)), &c); err != nil {
		g.t.Fatal(err)
	}
	return c
}

// The journal was restored from a backup: the region knows of more.
func TestAMarkNewerThanTheJournalKeepsTheGatewayFromStarting(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*mark.Content){
		"sequence": func(c *mark.Content) { c.Sequence += 100 },
		"epoch":    func(c *mark.Content) { c.Epoch++ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "content")
			g.awaitConverged()
			g.awaitMarked()
			c := g.markOf("secondary")
			change(&c)
			data, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			g.B.Put(bucketB, markKey, data)
			if err := g.runs(); !errors.Is(err, mark.ErrNewer) {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}

// What goes wrong with the writing of a mark makes no region regressed.
func TestAMarkWithoutAnAnswerRegressesNobody(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]regiontest.Fault{
		"refused": {Code: "SlowDown"}, "lost": {CutBefore: true}, "answer lost": {CutBefore: true, Apply: true}, "error applied": {Code: "InternalError", Apply: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "content")
			g.awaitConverged()
			g.awaitMarked()
			g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if q.Operation == "PutObject" && q.Key == markKey {
					return fault
				}
				return regiontest.Fault{}
			})
			for range 3 {
				before := g.B.Count("PutObject")
				g.eventually(func() error { return happened(g.B.Count("PutObject") > before+1, "the mark is written") })
				g.restart(nil)
				g.awaitHealth("secondary", "up")
				for _, r := range g.state().Regions {
					if r.Regressed {
						t.Errorf("region %+v", r)
					}
				}
			}
			g.B.SetFaults(nil)
			g.awaitMarked()
			g.mustPromote("secondary")
			g.wantObject("k", "content")
		})
	}
}
