package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuickTestOfTheBrief is the brief's quick test: an empty folder, nothing
// configured, a README up and down again. Only the port is any free one.
func TestQuickTestOfTheBrief(t *testing.T) {
	embeddedOnly(t, "nothing is configured in it")
	t.Parallel()
	g := newGateway(t)
	g.start(t)
	readme := "# README\n\n" + content{seed: 1, size: 8 * kib}.text()
	a := g.do(t, http.MethodPut, "/objects/docs/readme.md", http.Header{"Content-Type": {"text/markdown"}},
		strings.NewReader(readme), int64(len(readme)))
	var put struct {
		Key, ETag, ContentType, Region, Version string
		Size                                    int64
		Replication                             map[string]string
	}
	if err := json.Unmarshal(a.body, &put); err != nil || a.status != http.StatusCreated {
		t.Fatalf("put: %s (%v)", a, err)
	}
	if put.Key != "docs/readme.md" || put.Size != int64(len(readme)) || put.ContentType != "text/markdown" ||
		put.Region != primary || put.Version != "1-1" || put.Replication[secondary] != "pending" {
		t.Errorf("put answered %s", a.body)
	}
	got := g.get(t, "docs/readme.md")
	if got.status != http.StatusOK || string(got.body) != readme || got.header.Get("Content-Type") != "text/markdown" {
		t.Errorf("get answered %s, header %v", got, got.header)
	}
	g.waitAtRest(t, "docs/readme.md")
	if all := g.checkAgree(t); len(all) != 1 {
		t.Errorf("the regions hold %d objects, want 1", len(all))
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/admin/state", "/metrics"} {
		if a := g.do(t, http.MethodGet, path, nil, nil, 0); a.status != http.StatusOK {
			t.Errorf("%s: %s", path, a)
		}
	}
	g.stop(t)
	for _, name := range []string{filepath.Join(g.regionDir(primary), "server.json"), filepath.Join(g.dir, "data", "multi_region_store.db")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v), want 0600", name, info.Mode().Perm(), err)
		}
	}
}
