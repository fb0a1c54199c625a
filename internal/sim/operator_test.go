package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// operator is what happens to regions and gateway, and what people do about it.
type operator struct {
	w      *world
	random *rand.Rand
	saved  map[*site]*saved
}

func (o *operator) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(o.random.Int64N(int64(4 * time.Second)))):
		}
		if o.w.current().isOver() {
			o.w.rebirth()
		}
		o.step(pick(o.random, o.w.sites...))
	}
}

func (o *operator) step(s *site) {
	w := o.w
	switch o.random.IntN(23) {
	case 0, 1:
		w.count(regionDown)
		w.note("%s is down", s.name)
		s.server.SetDown(true)
	case 2, 3, 4:
		w.note("all up")
		for _, s := range w.sites {
			s.server.SetDown(false)
			s.lie(regiontest.Fault{})
		}
	case 5:
		o.flap(s)
	case 6, 7, 8:
		force := o.random.IntN(2) == 0
		a := w.post("/admin/failover/promote", map[string]any{"region": s.name, "force": force, "dryRun": o.random.IntN(5) == 0})
		w.count(operatorPromoted)
		w.note("promote %s, force %t: %v", s.name, force, a)
	case 9, 10:
		percent := 5 + o.random.IntN(40)
		w.note("%s: %d%% faults", s.name, percent)
		s.set(percent)
	case 11:
		for _, s := range w.sites {
			s.set(3)
		}
		w.journalPercent.Store(0)
	case 12, 13:
		w.journalPercent.Store(int64(2 + o.random.IntN(15)))
	case 14, 15:
		w.mu.Lock()
		w.crashIn = 1 + o.random.IntN(60)
		w.mu.Unlock()
	case 16:
		w.restart()
	case 17:
		lie := pick(o.random, regiontest.Fault{Status: http.StatusForbidden, Code: "AccessDenied", Early: true},
			regiontest.Fault{Status: http.StatusForbidden, Code: "RequestTimeTooSkewed", Early: true},
			regiontest.Fault{Status: http.StatusNotFound, Code: "NoSuchBucket", Early: true})
		w.note("%s answers everything with %s", s.name, lie.Code)
		s.lie(lie)
		o.refusing(s, time.Duration(o.random.Int64N(int64(10*time.Second))))
		// The boundary is not sharp: nobody can tell an absence from a bucket that is back within milliseconds.
		s.server.SetDown(true)
		s.lie(regiontest.Fault{})
		time.Sleep(time.Second)
		s.server.SetDown(false)
	case 18:
		o.resolve()
	case 19:
		o.save(s)
	case 20, 21:
		o.damage(s)
	case 22:
		o.fillDisk()
	}
}

func (o *operator) flap(s *site) {
	o.w.count(regionFlapping)
	o.w.note("%s flaps", s.name)
	for range 2 + o.random.IntN(6) {
		s.server.SetDown(true)
		time.Sleep(time.Duration(o.random.Int64N(int64(3 * healthInterval))))
		s.server.SetDown(false)
		time.Sleep(time.Duration(o.random.Int64N(int64(2 * healthInterval))))
	}
}

func (o *operator) resolve() {
	conflicts, err := o.w.conflicts("")
	if err != nil || len(conflicts) == 0 {
		return
	}
	c := pick(o.random, conflicts...)
	keep := pick(o.random, "winner", "loser", "both")
	in := map[string]any{"keep": keep}
	if keep == "both" {
		in["key"] = fmt.Sprintf("both/%d", c.ID)
	}
	// The bytes are written anew, in one piece.
	body := o.w.bodyOf(c.ETag)
	w := &write{client: "operator", key: c.Key, value: etagOf(body), body: body}
	if c.Deleted {
		w.value = absent
	}
	if keep == "loser" {
		o.w.model.begin(w)
	}
	a := o.w.post(fmt.Sprintf("/admin/conflicts/%d/resolve", c.ID), in)
	o.w.count(operatorResolved)
	o.w.note("resolve conflict %d of %s, keep %s: %v", c.ID, c.Key, keep, a)
	if keep == "loser" {
		o.w.model.end(w, outcome{fate: unknown})
	}
}

// saved is what a region held, and the marks it then had, by bucket.
type saved struct {
	objects regiontest.Saved
	marks   map[string]string
}

func (s *site) mark(bucket string) string {
	o, _ := s.server.Object(s.in(bucket), ".tandem/region")
	return strings.Trim(o.ETag, `"`)
}

// save keeps what a region holds now.
func (o *operator) save(s *site) {
	o.saved[s] = &saved{objects: s.server.Save(), marks: make(map[string]string)}
	for _, bucket := range o.w.buckets() {
		o.saved[s].marks[bucket] = s.mark(bucket)
	}
}

// damage takes a region back to what it held some time ago, or to nothing: once in a history, for of
// what two regions have lost nobody knows anything. What was lost since the last mark that was recorded is
// noticed when it is read alone, which is no silence but a limit; so the record has to be of another mark.
func (o *operator) damage(s *site) {
	w := o.w
	if w.seed%2 != 0 || w.damaged.Load() {
		return
	}
	old, kind := o.saved[s], regionRegressed
	if old == nil {
		o.save(s)
		return
	}
	if o.random.IntN(3) == 0 {
		old, kind = &saved{}, regionEmptied
	}
	for _, bucket := range w.buckets() {
		if recorded, err := w.current().inner.Mark(context.Background(), bucket, s.name); err != nil || recorded.ETag == old.marks[bucket] {
			return
		}
	}
	w.note("%s: %s", s.name, kind)
	w.count(kind)
	w.damaged.Store(true)
	w.blind.Store(true)
	s.server.Load(old.objects)
	known := make(map[int]bool)
	for range 60 {
		time.Sleep(time.Second)
		var state gatewayState
		if err := w.get("/admin/state", &state); err != nil {
			continue
		}
		for _, r := range state.Regions {
			for i, b := range r.Buckets {
				if r.Name == s.name && b.Regressed {
					known[i] = true
				}
			}
			if len(known) == len(w.buckets()) {
				w.note("%s is known to be older than it was", s.name)
				w.blind.Store(false)
				return
			}
		}
	}
}

// fillDisk leaves the journal no room to grow for a while.
func (o *operator) fillDisk() {
	w := o.w
	l := w.current()
	w.note("the disk is full")
	if l.limit(1) != nil {
		return
	}
	time.Sleep(time.Duration(o.random.Int64N(int64(6 * time.Second))))
	if err := l.limit(0); err == nil {
		w.note("the disk has room again")
	}
}

// limit bounds the journal of a life.
func (l *life) limit(pages int64) error {
	return l.inner.(interface {
		SetMaxPages(ctx context.Context, pages int64) error
	}).SetMaxPages(context.Background(), pages)
}
