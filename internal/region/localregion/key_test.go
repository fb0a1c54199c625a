package localregion_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/localregion"
)

// holdable are keys that a careless server would change or lose.
func holdable() []string {
	return []string{
		"a", "a b", " a", "a ", "a+b", "a%2Fb", "%", "%41", "a\\b", "emoji/😀", "ü/ü",
		"...", "x/...", ".hidden", "-", "~b!$(),;@=", "q?x#y&z=1", ":*|<>\"'", "tab\tcr\rnl\n.", "del\x7f", "nel\u0085", "\ufffd",
		".tandem/region", ".vgwlocks/x", bucket, bucket + "2/" + bucket,
		"meta", "m/meta",
		strings.Repeat("s", 255),
		strings.Repeat("t", 255) + "/" + strings.Repeat("é", 127) + "/" + strings.Repeat("u", 255) + "/" + strings.Repeat("v", 255),
		strings.Repeat("k/", 511) + "kk",
	}
}

func TestCheckKeySaysWhyAKeyCannotBeHeld(t *testing.T) {
	t.Parallel()
	for _, key := range append(holdable(), "n/meta/etag", "meta/acl") {
		if err := localregion.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%.40q): %v, want nil", key, err)
		}
	}
	for key, want := range map[string]string{
		"":                              "empty",
		"/a":                            `"/"`,
		"a/":                            `"/"`,
		"a//b":                          `"//"`,
		".":                             `"."`,
		"a/./b":                         `"."`,
		"..":                            `".."`,
		"a/../b":                        `".."`,
		"a/..":                          `".."`,
		"a\x00b":                        "control character",
		"a\x01b":                        "control character",
		"a\uffffb":                      "control character",
		"a\xffb":                        "UTF-8",
		".sgwtmp/x":                     ".sgwtmp",
		"a/.sgwtmp":                     ".sgwtmp",
		strings.Repeat("s", 256):        "256 bytes",
		strings.Repeat("é", 128):        "256 bytes",
		strings.Repeat("k/", 512) + "k": "1025 bytes",
	} {
		if err := localregion.CheckKey(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckKey(%.40q): %v, want an error that contains %s", key, err, want)
		}
	}
}

func TestEmbeddedRegionHonoursKeysThatCheckKeyAllows(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, _ := start(t, dir)
		c := newClient(r)
		want := holdable()
		slices.Sort(want)
		for _, key := range want {
			if err := r.CheckKey(key); err != nil {
				t.Fatal(err)
			}
			put(t, c, key, "first")
			put(t, c, key, key)
		}
		for _, key := range want {
			if got := get(t, c, key); got != key {
				t.Errorf("get %.40q: body %.40q, want the key", key, got)
			}
		}
		if diff := cmp.Diff(want, list(t, c, &s3.ListObjectsV2Input{MaxKeys: new(int32(7))})); diff != "" {
			t.Errorf("listing differs (-want +got):\n%s", diff)
		}
		for _, key := range want {
			if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: &key}); err != nil {
				t.Errorf("delete %.40q: %v", key, err)
			}
		}
		if got := list(t, c, &s3.ListObjectsV2Input{}); len(got) > 0 {
			t.Errorf("listing after deletes: %.100q", got)
		}
	})
}

func TestKeysThatCollideWithMetadataFilesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	name := filepath.Join(dir, "server.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), `"xattr"`, `"sidecar"`, 1))
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := localregion.New(config(dir, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/meta/etag", "meta/acl", "meta/x"} {
		if r.CheckKey(key) == nil {
			t.Errorf("CheckKey(%q) is nil where metadata is kept in files", key)
		}
	}
}
