package e2e_test

import (
	"net/http"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// The regions that the environment names.
const (
	primary   = "primary"
	secondary = "secondary"
)

// newRegion is a client of a region, past the gateway.
func newRegion(t *testing.T, name string, at access) *region.Region {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := region.New(t.Context(), region.Config{
		Name: name, Endpoint: at.endpoint, Bucket: at.bucket, AccessKey: at.accessKey, SecretKey: at.secretKey, Timeout: patience, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// region returns a client of one of the gateway's regions.
func (g *gateway) region(t *testing.T, name string) *region.Region {
	t.Helper()
	return newRegion(t, name, g.servers[name].access(t))
}

// held is an object as a region holds it.
type held struct {
	ETag   string
	Size   int64
	Header http.Header
	Tags   string
}

// holdings are all objects of a region: its listing, and what a HEAD and the tags of
// each say. Those that Tandem keeps there for itself are left out.
func (g *gateway) holdings(t *testing.T, name string) map[string]held {
	t.Helper()
	r := g.region(t, name)
	all := make(map[string]held)
	for after, more := "", true; more; {
		page, err := r.List(t.Context(), region.ListOptions{StartAfter: after})
		if err != nil {
			t.Fatalf("list %s: %v", name, err)
		}
		for _, o := range page.Objects {
			after = o.Key
			if !s3op.IsReserved(o.Key) {
				all[o.Key] = held{ETag: o.ETag, Size: o.Size}
			}
		}
		more = page.Truncated
	}
	for key, listed := range all {
		a, err := r.Head(t.Context(), key, nil)
		if err != nil {
			t.Fatalf("head %s in %s: %v", key, name, err)
		}
		tags := ""
		if regions.tags {
			if tags, err = r.Tags(t.Context(), key); err != nil {
				t.Fatalf("tags of %s in %s: %v", key, name, err)
			}
		}
		found := held{a.ETag(), a.Size(), s3op.StoredHeaders(a.Header), tags}
		if found.ETag != listed.ETag || found.Size != listed.Size {
			t.Errorf("%s lists %s as %+v, and shows it as %+v", name, key, listed, found)
		}
		all[key] = found
	}
	return all
}

// checkAgree compares the regions, and returns what they hold.
func (g *gateway) checkAgree(t *testing.T) map[string]held {
	t.Helper()
	ours, theirs := g.holdings(t, primary), g.holdings(t, secondary)
	if diff := cmp.Diff(ours, theirs); diff != "" {
		t.Errorf("the regions differ (-primary +secondary):\n%s", diff)
	}
	return ours
}

// regionPIDs are the processes of the regions that have one.
func (g *gateway) regionPIDs(t *testing.T) map[string]int {
	t.Helper()
	pids := make(map[string]int)
	for name, s := range g.servers {
		if pid, ok := s.pid(t); ok {
			pids[name] = pid
		}
	}
	return pids
}

// signalRegion sends the process of a region a signal; false where none runs.
func (g *gateway) signalRegion(t *testing.T, name string, s syscall.Signal) bool {
	t.Helper()
	pid, ok := g.servers[name].pid(t)
	return ok && syscall.Kill(pid, s) == nil
}

// killRegion kills the process of a region; another is started.
func (g *gateway) killRegion(t *testing.T, name string) {
	t.Helper()
	if !g.signalRegion(t, name, syscall.SIGKILL) {
		t.Fatalf("region %s does not run", name)
	}
}

// freeze stops the process of a region in its tracks: connections stay, nothing is
// answered. It goes on when thaw is called, or the test ends.
func (g *gateway) freeze(t *testing.T, name string) (thaw func()) {
	t.Helper()
	if !g.signalRegion(t, name, syscall.SIGSTOP) {
		t.Fatalf("region %s does not run", name)
	}
	thaw = sync.OnceFunc(func() { g.signalRegion(t, name, syscall.SIGCONT) })
	t.Cleanup(thaw)
	return thaw
}

// down kills the process of a region and keeps others from serving. Connections are
// refused until up is called, or the test ends.
func (g *gateway) down(t *testing.T, name string) (up func()) {
	t.Helper()
	eventually(t, name+" is down", func() (isAway bool) {
		up, isAway = g.servers[name].keepAway(t)
		return isAway
	})
	t.Cleanup(up)
	return up
}

// waitUp waits until a region answers.
func (g *gateway) waitUp(t *testing.T, name string) {
	t.Helper()
	r := g.region(t, name)
	eventually(t, name+" answers", func() bool { return r.CheckBucket(t.Context()) == nil })
}
