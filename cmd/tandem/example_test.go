package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/config"
)

const (
	exampleFile = "../../deploy/tandem.example.yaml"
	// exampleEnd is the first of the lines that are written by make docs.
	exampleEnd = "# Everything else, with its default (written by make docs).\n"
)

func TestExampleFileHasEverySetting(t *testing.T) {
	content, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	before, got, found := strings.Cut(string(content), exampleEnd)
	if !found {
		t.Fatalf("%s lacks the line %q", exampleFile, exampleEnd)
	}
	want := settings(config.Reference())
	if *update {
		if err := os.WriteFile(exampleFile, []byte(before+exampleEnd+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("make docs writes the settings of %s anew (-want +got):\n%s", exampleFile, diff)
	}
}

// settings writes each setting that is no region's, commented out, with its default.
func settings(variables []config.Variable) string {
	var b strings.Builder
	block := ""
	for _, v := range variables {
		if v.Key == "" || strings.HasPrefix(v.Key, "regions.") {
			continue
		}
		indent := ""
		if name, key, ok := strings.Cut(v.Key, "."); ok {
			if name != block {
				fmt.Fprintf(&b, "\n#%s:\n", name)
			}
			block, indent, v.Key = name, "  ", key
		} else {
			block = ""
			b.WriteString("\n")
		}
		value := v.Default
		switch {
		case v.Name == "ACTIVE_REGION":
			value = "eu-west"
		case value == "":
			value = `""`
		}
		fmt.Fprintf(&b, "# %s\n# Allowed: %s\n#%s%s: %s\n", v.Help, v.Allowed, indent, v.Key, value)
	}
	return b.String()
}

// TestExampleOfSeveralBucketsIsAConfiguration loads the example with the lines that begin with ## in
// place of those that name one bucket, as it says.
func TestExampleOfSeveralBucketsIsAConfiguration(t *testing.T) {
	content, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^ +bucket:.*\n`).ReplaceAllString(string(content), "")
	text = regexp.MustCompile(`(?m)^##`).ReplaceAllString(text, "")
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(func(name string) (string, bool) { return path, name == "CONFIG" })
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Bucket{
		{
			Name:       "photos",
			Regions:    []config.BucketRegion{{Region: "eu-west", Bucket: "example-photos-eu-west"}, {Region: "us-east", Bucket: "example-photos-us-east"}, {Region: "on-site", Bucket: "photos"}},
			StaleReads: config.StaleReadsServe, MaxObjectBytes: 1 << 30,
		},
		{
			Name:       "logs",
			Regions:    []config.BucketRegion{{Region: "eu-west", Bucket: "example-logs-eu-west"}},
			StaleReads: cfg.StaleReads, MaxObjectBytes: cfg.MaxObjectBytes,
		},
	}
	if diff := cmp.Diff(want, cfg.Buckets); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

// TestExampleFileIsAConfiguration loads the example as it is, and with all that is commented out in it.
func TestExampleFileIsAConfiguration(t *testing.T) {
	content, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(string) (string, bool) { return "", false }
	reference, err := config.Load(nothing)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(content), regexp.MustCompile(`(?m)^( *)#(\S|  )`).ReplaceAllString(string(content), "$1$2")} {
		path := filepath.Join(t.TempDir(), "tandem.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(func(name string) (string, bool) { return path, name == "CONFIG" })
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Regions) != 3 || cfg.ActiveRegion != "eu-west" {
			t.Errorf("got regions %v, active %s; want the three of the example", cfg.Regions, cfg.ActiveRegion)
		}
		if got := cfg.Address(); got != reference.Address() || cfg.HealthInterval != reference.HealthInterval || cfg.MaxObjectBytes != reference.MaxObjectBytes {
			t.Errorf("a default of the example is none: %+v", cfg)
		}
	}
}
