package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRepairBringsBackWhatTheActiveLost: with repair=1 a read of an object that the
// active lost is answered by the replica, and the active has it again soon, as it was.
func TestRepairBringsBackWhatTheActiveLost(t *testing.T) {
	t.Parallel()
	g := start(t)
	small, large := content{seed: 3, size: 4 * kib}, content{seed: 4, size: 20 * mib}
	g.put(t, "folder/small", small, small.size, metadata())
	g.put(t, "folder/large", large, unsized(large.size), metadata())
	g.waitAtRest(t, "folder/small", "folder/large")
	before := g.checkAgree(t)

	for key, want := range map[string]content{"folder/small": small, "folder/large": large} {
		if h := g.do(t, http.MethodHead, object(key)+"?repair=1", nil, nil, 0).header; h.Get("X-Tandem-Repair") != "none" {
			t.Errorf("%s: repair of what is whole is %q, want none", key, h.Get("X-Tandem-Repair"))
		}
		g.servers[primary].lose(t, key)
		sum, size, h := g.download(t, object(key)+"?repair=1")
		if sum != want.sum() || size != want.size {
			t.Errorf("%s: %d bytes with SHA-256 %s, want the %d bytes that were put", key, size, sum, want.size)
		}
		if h.Get("X-Tandem-Region") != secondary || h.Get("X-Tandem-Fallback") != "true" || h.Get("X-Tandem-Repair") != "queued" {
			t.Errorf("%s: header %v, want a fallback to the replica with the repair queued", key, h)
		}
		g.waitAtRest(t, key)
		if h := g.do(t, http.MethodHead, object(key), nil, nil, 0).header; h.Get("X-Tandem-Region") != primary || h.Get("X-Tandem-Fallback") != "" {
			t.Errorf("%s: header %v after the repair, want the active's", key, h)
		}
	}
	after := g.checkAgree(t)
	for key := range before {
		if after[key].ETag != before[key].ETag || after[key].Header.Get("Cache-Control") != "no-cache, max-age=60" {
			t.Errorf("%s: %+v after the repair, was %+v", key, after[key], before[key])
		}
	}

	g.servers[primary].lose(t, "folder/small")
	head := g.do(t, http.MethodHead, object("folder/small")+"?repair=1", nil, nil, 0)
	if head.status != http.StatusOK || head.header.Get("X-Tandem-Repair") != "done" {
		t.Errorf("head with repair=1: %s, header %v, want the repair done", head, head.header)
	}
	if _, err := g.region(t, primary).Head(t.Context(), "folder/small", nil); err != nil {
		t.Errorf("after a repair that is done: %v", err)
	}
}

// TestLostObjectWithoutRepairIsStillServed: without repair=1 the replica answers, and
// the loss shows in the key's status.
func TestLostObjectWithoutRepairIsStillServed(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.putText(t, "key", "text")
	g.waitAtRest(t, "key")
	g.servers[primary].lose(t, "key")
	got := g.get(t, "key")
	if string(got.body) != "text" || got.header.Get("X-Tandem-Fallback") != "true" || got.header.Get("X-Tandem-Repair") != "" {
		t.Errorf("get: %s, header %v, want it from the replica", got, got.header)
	}
	if s := g.status(t, "key"); s.Regions[0].State != "missing" {
		t.Errorf("status %+v, want it missing in the active", s)
	}
	if listed, _ := g.keys(t, ""); strings.Join(listed, " ") != "key" {
		t.Errorf("listing %q, want the key that the active lost", listed)
	}
}
