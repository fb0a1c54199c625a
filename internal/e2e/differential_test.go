package e2e_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/region/localregion"
	"github.com/gnew/tandem/internal/sigv4"
)

// newRig starts a gateway with two regions, and a third beside it, which is what the gateway is compared with: a process
// of the same server, so that whatever differs is the gateway's doing.
func newRig(t *testing.T) *rig {
	t.Helper()
	beside, err := localregion.New(localregion.Config{
		Name: "beside", Dir: t.TempDir(), Buckets: []string{differentialBucket}, Command: []string{binary, "region-server"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- beside.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := beside.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	accessKey, secretKey := beside.Credentials()
	r := &rig{
		g:      startForS3(t, "LOG_LEVEL=info"),
		direct: &side{name: "the region", host: strings.TrimPrefix(beside.Endpoint(), "http://"), credentials: sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}},
		alone:  mirror{of: newRegion(t, "beside", access{beside.Endpoint(), differentialBucket, accessKey, secretKey})},
	}
	r.front = &side{name: "the gateway", host: strings.TrimPrefix(r.g.s3, "http://"), credentials: sigv4.Credentials{AccessKey: s3AccessKey, SecretKey: s3SecretKey}}
	r.direct.parts, r.front.parts = make(map[string]string), make(map[string]string)
	r.active.of, r.replica.of = r.g.region(t, primary), r.g.region(t, secondary)
	r.g.waitCompared(t)
	r.both(t, func(s *side) error {
		for key := range fixtureObjects() {
			if err := s.makeObject(key); err != nil {
				return err
			}
		}
		if err := s.makeParts(); err != nil {
			return err
		}
		return s.makeOpen()
	})
	direct, front := r.look(t, everyKey)
	if diff := cmp.Diff(direct.flat(), front.flat()); diff != "" {
		t.Fatalf("the fixtures differ (-region +gateway):\n%s", diff)
	}
	r.start = front
	r.checkReplica(t, front, everyKey)
	return r
}

func everyKey(string) bool { return true }

// Whatever a client sends, well-formed or not, it gets through the gateway what the region itself would have answered, and
// leaves in the active, and in every replica once nothing is pending, what it would have left in the region: but for the
// classes of differences that are listed, each of which is seen here.
func TestGatewayAnswersAndLeavesWhatItsRegionWould(t *testing.T) {
	needs(t, regions.isEmbedded(), "regions whose answers are known to the letter")
	t.Parallel()
	trials, counts := readTrials(t)
	t.Logf("requests: %v", counts)
	r := newRig(t)
	reads := r.reads(t, trials)
	seen := make(map[string]int)
	for _, c := range trials {
		t.Run(c.name, func(t *testing.T) {
			x, isRead := reads[c.name]
			if !isRead {
				x = r.exchange(c)
			}
			x.start = r.start.flat()
			all := x.differences()
			if !isRead {
				direct, front := r.look(t, c.names)
				all = append(all, differing("", direct.flat(), front.flat())...)
				r.checkReplica(t, front, c.names)
				r.reset(t, direct, front)
			}
			seenHere := make(map[string]bool)
			for _, d := range all {
				name := classOf(x, d)
				seen[name]++
				seenHere[name] = true
				if name == "" {
					t.Errorf("line %d: %s: the region has %.300q, the gateway %.300q", c.line, d.what, d.region, d.gateway)
				}
			}
			for name := range c.classes {
				if !seenHere[name] {
					t.Errorf("line %d: no difference is of class %s", c.line, name)
				}
			}
			if t.Failed() {
				t.Logf("the region: %s; the gateway: %s", x.region, x.gateway)
			}
		})
	}
	direct, front := r.look(t, everyKey)
	if diff := cmp.Diff(direct.flat(), front.flat()); diff != "" {
		t.Errorf("in the end, both sides differ (-region +gateway):\n%s", diff)
	}
	r.checkReplica(t, front, everyKey)
	for _, class := range differenceClasses() {
		t.Logf("%4d differences of class %s", seen[class.name], class.name)
		if seen[class.name] == 0 {
			t.Errorf("no difference is of class %s any more: %s", class.name, class.reason)
		}
	}
}

// exchange is a request with what both sides answered.
type exchange struct {
	trial
	host                  string // of the gateway
	region, gateway       answer
	regionErr, gatewayErr error
	// start is what was there before.
	start map[string]string
}

// reads are the answers to the requests that can change nothing, by name: they are sent at once, and have changed nothing.
func (r *rig) reads(t *testing.T, trials []trial) map[string]exchange {
	t.Helper()
	all := make(map[string]exchange)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(8)
	for _, c := range trials {
		if c.method != http.MethodGet && c.method != http.MethodHead && c.method != http.MethodOptions {
			continue
		}
		group.Go(func() error {
			x := r.exchange(c)
			mu.Lock()
			defer mu.Unlock()
			all[c.name] = x
			return nil
		})
	}
	_ = group.Wait() // an answer that did not come is one, too
	direct, front := r.look(t, everyKey)
	for _, diff := range []string{cmp.Diff(r.start.flat(), direct.flat()), cmp.Diff(r.start.flat(), front.flat())} {
		if diff != "" {
			t.Errorf("reading has changed something (-before +after):\n%s", diff)
		}
	}
	return all
}

func (r *rig) exchange(c trial) exchange {
	x := exchange{trial: c, host: r.front.host}
	x.target = r.front.fill(c.target)
	var group sync.WaitGroup
	group.Go(func() { x.region, x.regionErr = r.direct.send(c) })
	x.gateway, x.gatewayErr = r.front.send(c)
	group.Wait()
	return x
}
