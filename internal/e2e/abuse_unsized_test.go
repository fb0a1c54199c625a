package e2e_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestBodiesOfUnknownSizeCostNoMoreMemory: forty clients send, at once and without saying how much,
// a little less than one part.
func TestBodiesOfUnknownSizeCostNoMoreMemory(t *testing.T) {
	t.Parallel()
	g := start(t, "REGION_TIMEOUT=60s", "LOG_LEVEL=warn")
	var group errgroup.Group
	for i := range 40 {
		group.Go(func() error { return g.sendPattern(t.Context(), fmt.Sprintf("p/%d", i), 7*mib, unknown) })
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if _, most := g.resident(t); most >= memoryLimit {
		t.Errorf("the gateway had %d MiB resident, want less than %d", most/mib, memoryLimit/mib)
	}
}
