package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stock is what a gateway's process has.
type stock struct {
	// goroutines and descriptors are those beside connections to regions, of which there are
	// pooled: up to 512 for each region are kept for a while, with two goroutines each.
	goroutines, descriptors, pooled int
	// heap is what was in use after the last collection, resident what the process holds of
	// the machine's memory; in both the buffers of those connections are left out.
	heap, resident int64
}

func (s stock) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors (and %d kept connections), heap %.1f MiB, resident %.1f MiB",
		s.goroutines, s.descriptors, s.pooled, float64(s.heap)/mib, float64(s.resident)/mib)
}

// keptBytes are the two buffers of a connection to a region.
const keptBytes = 2 * 32 * kib

// What may be there afterwards beside what was before: a few connections and workers that happen
// to be at work, and memory that the runtime has not given back.
const (
	moreGoroutines  = 20
	moreDescriptors = 10
	moreHeap        = 8 * mib
	moreResident    = 64 * mib
)

// exceeds says in what s is more than before, with what is tolerated.
func (s stock) exceeds(before stock) (in []string) {
	for _, m := range []struct {
		name            string
		now, then, more int64
	}{
		{"goroutines", int64(s.goroutines), int64(before.goroutines), moreGoroutines},
		{"descriptors", int64(s.descriptors), int64(before.descriptors), moreDescriptors},
		{"heap", s.heap, before.heap, moreHeap},
		{"resident", s.resident, before.resident, moreResident},
	} {
		if m.now > m.then+m.more {
			in = append(in, fmt.Sprintf("%s: %d, was %d", m.name, m.now, m.then))
		}
	}
	return in
}

// checkReturned waits until the gateway has no more than it had before.
func (g *gateway) checkReturned(t *testing.T, after string, before stock, took time.Duration) {
	t.Helper()
	began := time.Now()
	var now stock
	defer func() {
		if t.Failed() {
			t.Logf("after %s: %v; beyond what is tolerated: %v", after, now, now.exceeds(before))
		}
	}()
	peak := g.takeStock(t)
	eventually(t, "the gateway has what it had before "+after, func() bool {
		now = g.takeStock(t)
		return len(now.exceeds(before)) == 0
	})
	t.Logf("after %s (%s): %v; %s later: %v", after, took.Round(time.Millisecond), peak, time.Since(began).Round(time.Millisecond), now)
}

// takeStock has the gateway collect its garbage, and looks at what is left.
func (g *gateway) takeStock(t *testing.T) stock {
	t.Helper()
	began := g.metric(t, "go_gc_duration_seconds_count")
	for range 200 { // each makes some megabytes of garbage
		if g.metric(t, "go_gc_duration_seconds_count") >= began+2 {
			break
		}
		junk := bytes.Repeat([]byte{'{'}, abuseJSON)
		g.do(t, http.MethodPost, "/objects", nil, bytes.NewReader(junk), int64(len(junk)))
	}
	var s stock
	// The next collection is due at twice what the last has left (GOGC is 100).
	s.pooled = g.pooled(t)
	s.heap = int64(g.metric(t, "go_memstats_next_gc_bytes"))/2 - int64(s.pooled)*keptBytes
	s.resident, _ = g.resident(t)
	s.resident -= int64(s.pooled) * keptBytes
	s.goroutines = int(g.metric(t, "go_goroutines")) - 2*s.pooled
	s.descriptors = int(g.metric(t, "process_open_fds")) - s.pooled
	return s
}

// metric reads one of the gateway's metrics that has no labels.
func (g *gateway) metric(t *testing.T, name string) float64 {
	t.Helper()
	a := g.do(t, http.MethodGet, "/metrics", nil, nil, 0)
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(a.body)
	if found == nil {
		t.Fatalf("no metric %s in %s", name, a)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fds are the descriptors of the gateway's process, and what they are.
func (g *gateway) fds(t *testing.T) (links []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", g.process.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			links = append(links, link)
		}
	}
	return links
}

func (g *gateway) descriptors(t *testing.T) int { return len(g.fds(t)) }

// pooled counts the gateway's connections to its regions.
func (g *gateway) pooled(t *testing.T) (n int) {
	t.Helper()
	ports := make(map[string]bool)
	for _, name := range []string{primary, secondary} {
		_, port, _ := strings.Cut(strings.TrimPrefix(g.region(t, name).Endpoint(), "http://"), ":")
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		ports[fmt.Sprintf("%04X", number)] = true
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", g.process.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	toRegion := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if _, port, _ := strings.Cut(fields[2], ":"); len(fields) > 9 && ports[port] {
			toRegion["socket:["+fields[9]+"]"] = true
		}
	}
	for _, link := range g.fds(t) {
		if toRegion[link] {
			n++
		}
	}
	return n
}
