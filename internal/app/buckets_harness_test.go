package app_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// fleet is a gateway that is started again and again on one journal, each time with other buckets in regions in
// memory. Each region has a bucket of the name that clients see.
type fleet struct {
	*rig
	regions map[string]*regiontest.Server
	urls    map[string]string
	dir     string
	// repair is that option. swapped are buckets whose places in region a are exchanged.
	repair  bool
	swapped map[string]string
}

// layout says which regions a bucket has.
type layout map[string][]string

func newFleet(t *testing.T, regions ...string) *fleet {
	t.Helper()
	t.Parallel()
	f := &fleet{rig: &rig{t: t, client: &http.Client{Timeout: 2 * patience}}, regions: make(map[string]*regiontest.Server), urls: make(map[string]string), dir: t.TempDir()}
	for _, name := range regions {
		f.regions[name] = regiontest.NewServer(regiontest.Options{Buckets: []string{"xxx", "yyy"}, AccessKey: "key"})
		f.urls[name] = regiontest.Start(t, f.regions[name])
	}
	f.stop = func() error { return nil }
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		if err := f.stop(); err != nil {
			t.Errorf("stop the gateway: %v", err)
		}
	})
	return f
}

// file writes the configuration.
func (f *fleet) file(buckets layout) string {
	var b strings.Builder
	b.WriteString("regions:\n")
	for _, name := range slices.Sorted(maps.Keys(f.regions)) {
		if slices.ContainsFunc(slices.Collect(maps.Values(buckets)), func(in []string) bool { return slices.Contains(in, name) }) {
			fmt.Fprintf(&b, "  - {name: %s, endpoint: \"%s\", accessKey: key, secretKey: secret, forcePathStyle: true}\n", name, f.urls[name])
		}
	}
	b.WriteString("buckets:\n")
	for _, bucket := range slices.Sorted(maps.Keys(buckets)) {
		fmt.Fprintf(&b, "  - name: %s\n    regions:\n", bucket)
		for _, name := range buckets[bucket] {
			there := bucket
			if other := f.swapped[bucket]; other != "" && name == "a" {
				there = other
			}
			fmt.Fprintf(&b, "      %s: %s\n", name, there)
		}
	}
	path := filepath.Join(f.dir, "tandem.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// tryServe starts a gateway of the buckets, or returns why it does not start.
func (f *fleet) tryServe(buckets layout) error {
	f.t.Helper()
	env := quickFailover()
	maps.Copy(env, map[string]string{
		"CONFIG": f.file(buckets), "PORT": "0", "S3_PORT": "0", "DATA_DIR": f.dir, "MIN_FREE_BYTES": "0", "DRAIN_TIMEOUT": "1500ms", "DOUBT_WINDOW": "300ms", "FAILOVER_MODE": "manual",
	})
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	if err != nil {
		f.t.Fatal(err)
	}
	started := make(chan app.URLs, 1)
	a, err := app.New(f.t.Context(), cfg, app.Options{Started: func(urls app.URLs) { started <- urls }, Logger: newLogger(f.t), Repair: f.repair})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	select {
	case urls := <-started:
		f.URL = urls.REST
	case err := <-ended:
		cancel()
		return err
	}
	f.stop = func() error {
		cancel()
		err := <-ended
		ended <- nil // whoever stops it again
		return err
	}
	return nil
}

// serve is tryServe of one that starts; it returns once the health of each region is known.
func (f *fleet) serve(buckets layout) {
	f.t.Helper()
	if err := f.tryServe(buckets); err != nil {
		f.t.Fatal(err)
	}
	f.eventually(func() error {
		for _, r := range f.state().Regions {
			if r.Health != "up" && r.Health != "down" {
				return fmt.Errorf("%s is %s", r.Name, r.Health)
			}
		}
		return nil
	})
}

// end stops the gateway.
func (f *fleet) end() {
	f.t.Helper()
	if err := f.stop(); err != nil {
		f.t.Fatal(err)
	}
}

func of(bucket string) edit { return query("bucket", bucket) }

// awaitCopy waits until a copy is in that state, and the key at rest.
func (f *fleet) awaitCopy(bucket, key, region, state string) {
	f.t.Helper()
	f.eventually(func() error {
		s := decode[replication](f.t, f.do(http.MethodGet, "/replication/"+key, nil, of(bucket)))
		if s.in(region).State != state || !s.Settled {
			return fmt.Errorf("%s of %s in %s: %+v", key, bucket, region, s)
		}
		return nil
	})
}

// journalFiles are those of the journal, by name.
func (f *fleet) journalFiles() map[string][]byte {
	f.t.Helper()
	paths, err := filepath.Glob(filepath.Join(f.dir, "multi_region_store.db*"))
	if err != nil {
		f.t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.t.Fatal(err)
		}
		files[path] = data
	}
	return files
}

// restore puts the journal back.
func (f *fleet) restore(files map[string][]byte) {
	f.t.Helper()
	for path := range f.journalFiles() {
		if err := os.Remove(path); err != nil {
			f.t.Fatal(err)
		}
	}
	for path, data := range files {
		if err := os.WriteFile(path, bytes.Clone(data), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}
