package region_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/localregion"
	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestRegionInMemoryConforms(t *testing.T) {
	for name, tt := range map[string]struct {
		options regiontest.Options
		facts   regiontest.Facts
	}{
		"plain":                         {},
		"ignores conditions":            {regiontest.Options{IgnoreConditions: true}, regiontest.Facts{NoPutConditions: true, NoDeleteConditions: true}},
		"refuses conditions":            {regiontest.Options{NoConditions: true}, regiontest.Facts{NoPutConditions: true, NoDeleteConditions: true}},
		"ends listings early":           {regiontest.Options{EndsListings: true}, regiontest.Facts{}},
		"ignores conditions of uploads": {regiontest.Options{IgnoreUploadConditions: true}, regiontest.Facts{NoPutConditions: true}},
		"forgets uploads":               {regiontest.Options{ForgetUploads: true}, regiontest.Facts{}},
	} {
		open := func(t *testing.T) *region.Region {
			o := tt.options
			o.Buckets, o.AccessKey = []string{bucket}, "AKIATEST"
			return newRegion(t, at(regiontest.Start(t, regiontest.NewServer(o))))
		}
		tt.facts.WithoutBucket = func(t *testing.T) *region.Region {
			return newRegion(t, at(regiontest.Start(t, regiontest.NewServer(tt.options))))
		}
		t.Run(name, func(t *testing.T) { regiontest.Run(t, open, tt.facts) })
	}
}

func TestEmbeddedRegionConforms(t *testing.T) {
	regiontest.Run(t, func(t *testing.T) *region.Region { return embedded(t, bucket) }, regiontest.Facts{
		WithoutBucket: func(t *testing.T) *region.Region { return embedded(t, "missing") },
		CanHold: func(key string) bool {
			for segment := range strings.SplitSeq(key, "/") {
				if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
					return false
				}
			}
			return !strings.ContainsAny(key, "\x00\x01\a\uffff")
		},
		Drops:           []string{"X-Amz-Storage-Class"},
		FineDates:       true, // those of the files
		BareNotModified: true,
	})
}

// embedded starts a region's process and returns a client of one of its buckets; only
// the one that tests use is there.
func embedded(t *testing.T, clientBucket string) *region.Region {
	t.Helper()
	local, err := localregion.New(localregion.Config{
		Name: "primary", Dir: t.TempDir(), Buckets: []string{bucket}, Command: []string{os.Args[0], serverRole}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- local.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run the embedded region: %v", err)
		}
	})
	waitCtx, stopWaiting := context.WithTimeout(t.Context(), patient)
	defer stopWaiting()
	if err := local.WaitReady(waitCtx); err != nil {
		t.Fatal(err)
	}
	return newRegion(t, func(c *region.Config) {
		c.Endpoint, c.S3Region, c.CheckKey, c.Bucket = local.Endpoint(), local.S3Region(), local.CheckKey, clientBucket
		c.AccessKey, c.SecretKey = local.Credentials()
	})
}
