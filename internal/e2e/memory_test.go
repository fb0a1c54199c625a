package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const (
	// memoryLimit is what the gateway's process may have resident, at most.
	memoryLimit   = 150 * mib
	memoryClients = 8
)

// TestMemoryDoesNotGrowWithObjects: eight clients send and fetch at once, every second of
// them without saying how much it sends, while all of it is replicated. The regions
// keep nothing, and are not in the gateway's process.
func TestMemoryDoesNotGrowWithObjects(t *testing.T) {
	embeddedOnly(t, "its regions are its own")
	size := memoryBytes(t)
	env := []string{"DRAIN_TIMEOUT=1s"}
	for _, name := range []string{"PRIMARY", "SECONDARY"} {
		endpoint := regiontest.Start(t, regiontest.NewServer(regiontest.Options{Buckets: []string{"bucket"}, Discard: true}))
		env = append(env, name+"_S3_ENDPOINT="+endpoint, name+"_S3_BUCKET=bucket", name+"_S3_ACCESS_KEY=key", name+"_S3_SECRET_KEY=secret")
	}
	g := newGateway(t, env...)
	g.client.Timeout = 0
	g.start(t)
	idle, _ := g.resident(t)
	if err := g.sendPattern(t.Context(), "fetched", size, size); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	work, ctx := errgroup.WithContext(t.Context())
	for i := range memoryClients {
		told := size
		if i%2 == 1 {
			told = unknown
		}
		work.Go(func() error { return g.sendPattern(ctx, "sent/"+strconv.Itoa(i), size, told) })
		work.Go(func() error { return g.fetchPattern(ctx, "fetched", size) })
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	now, most := g.resident(t)
	t.Logf("%d clients, %d MiB each way: %.0f MiB/s in %s; resident %d MiB idle, %d MiB now, %d MiB at most",
		memoryClients, size/mib, float64(2*memoryClients*size)/mib/took.Seconds(), took.Round(time.Millisecond), idle/mib, now/mib, most/mib)
	for i := range memoryClients {
		g.waitReplicated(t, "sent/"+strconv.Itoa(i))
	}
	now, most = g.resident(t)
	t.Logf("replicated after %s: resident %d MiB now, %d MiB at most", time.Since(began).Round(time.Millisecond), now/mib, most/mib)
	if most >= memoryLimit {
		t.Errorf("the gateway had %d MiB resident, want less than %d", most/mib, memoryLimit/mib)
	}
}

// memoryBytes is what each client sends and fetches.
func memoryBytes(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("TANDEM_MEM_BYTES")
	if text == "" {
		return 64 << 20
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("TANDEM_MEM_BYTES is %q, want a number of bytes", text)
	}
	return n
}

// sendPattern uploads size bytes of the pattern that discarding regions serve; told is the
// size that the gateway is told.
func (g *gateway) sendPattern(ctx context.Context, key string, size, told int64) error {
	a, err := g.send(ctx, http.MethodPut, object(key), nil, regiontest.Pattern(0, size), told)
	if err == nil && a.status != http.StatusCreated {
		err = fmt.Errorf("put %s: %s", key, a)
	}
	return err
}

// fetchPattern downloads a key, and compares it with the pattern.
func (g *gateway) fetchPattern(ctx context.Context, key string, size int64) error {
	resp, err := g.request(ctx, http.MethodGet, object(key), nil, nil, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: status %d", key, resp.StatusCode)
	}
	want := regiontest.Pattern(0, size)
	got, expected := make([]byte, 256*kib), make([]byte, 256*kib)
	for left := size; left > 0; {
		n := min(left, int64(len(got)))
		if _, err := io.ReadFull(resp.Body, got[:n]); err != nil {
			return fmt.Errorf("get %s: %w with %d bytes to come", key, err, left)
		}
		_, _ = io.ReadFull(want, expected[:n]) // of a generator
		if !bytes.Equal(got[:n], expected[:n]) {
			return fmt.Errorf("get %s: other bytes than were put, in the %d before the last %d", key, n, left-n)
		}
		left -= n
	}
	if n, err := resp.Body.Read(got); n > 0 || err != io.EOF {
		return fmt.Errorf("get %s: %d bytes too many, %v", key, n, err)
	}
	return nil
}

// waitReplicated is waitAtRest for a large object: its copy may take longer than patience.
func (g *gateway) waitReplicated(t *testing.T, key string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !g.status(t, key).isAtRest(); <-tick.C {
		if time.Since(began) > 10*patience {
			t.Fatalf("%s is not replicated: %+v", key, g.status(t, key))
		}
	}
}

// resident is the memory that the gateway's process has, and the most it ever had, in bytes.
func (g *gateway) resident(t *testing.T) (now, most int64) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.process.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]*int64{"VmRSS": &now, "VmHWM": &most} {
		found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(data)
		if found == nil {
			t.Fatalf("no %s in %q", name, data)
		}
		*n, _ = strconv.ParseInt(string(found[1]), 10, 64) // digits only
		*n *= kib
	}
	return now, most
}
