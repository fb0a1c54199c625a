package localregion_test

import (
	"encoding/xml"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/localregion"
)

// What CheckKey takes is the path of one file, and survives in the XML of a listing.
func FuzzKeyIsItsFilesName(f *testing.F) {
	for _, key := range append(holdable(), "", "/a", "a/", "a//b", ".", "a/./b", "..", "a/../b", "a\x00b", "a\x01b", "a\uffffb", "a\xffb", ".sgwtmp/x", "a/.sgwtmp") {
		f.Add(key)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, key string) {
		if localregion.CheckKey(key) != nil {
			return
		}
		if path.Clean(key) != key || !filepath.IsLocal(key) {
			t.Fatalf("%q names another file", key)
		}
		if back := throughXML(t, key); back != key {
			t.Errorf("%q is listed as %q", key, back)
		}
		root, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		name := filepath.Join(root, key)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatalf("%q has no folder: %v", key, err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatalf("%q has no file: %v", key, err)
		}
		if found := onlyFile(t, root); found != key {
			t.Errorf("%q is found as %q", key, found)
		}
	})
}

func throughXML(t *testing.T, key string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("<Key>")
	if err := xml.EscapeText(&text, []byte(key)); err != nil {
		t.Fatal(err)
	}
	text.WriteString("</Key>")
	var back string
	if err := xml.Unmarshal([]byte(text.String()), &back); err != nil {
		t.Fatalf("%q cannot be listed: %v", key, err)
	}
	return back
}

// onlyFile follows the one entry of each folder.
func onlyFile(t *testing.T, root string) string {
	t.Helper()
	var names []string
	for dir := root; ; dir = filepath.Join(dir, names[len(names)-1]) {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%s has %d entries (%v), want one", dir, len(entries), err)
		}
		names = append(names, entries[0].Name())
		if !entries[0].IsDir() {
			return strings.Join(names, "/")
		}
	}
}

// FuzzSettingsAreSoundOrRefused is of whatever is in the file of a region's settings.
func FuzzSettingsAreSoundOrRefused(f *testing.F) {
	const secret = "s3cr3t-c4n4ry"
	for _, text := range []string{
		`{"port":20001,"accessKey":"a","secretKey":"` + secret + `","bucket":"` + bucket + `","metadata":"sidecar"}`,
		`{"port":65536,"accessKey":"a","secretKey":"` + secret + `","bucket":"b","metadata":"xattr"}`,
		`{"port":1,"secretKey":"` + secret + `"}`, `{"port":"` + secret + `"}`, `{"secretKey":["` + secret + `"]}`, `{"password":"` + secret + `"}`,
		`{"port":20001,"accessKey":"a","secretKey":"` + secret + `","bucket":"b","moreBuckets":["` + secret + `",""],"metadata":"xattr"}`, `null`, ``, `{"port":1e3}`,
	} {
		f.Add(text)
	}
	parent := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, "server.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := localregion.New(config(dir, slog.New(slog.DiscardHandler)))
		if err != nil {
			isName := strings.Count(text, secret) != strings.Count(text, `:"`+secret+`"`) // which is shown
			if strings.Contains(err.Error(), secret) && !isName {
				t.Errorf("the secret is in the error: %v", err)
			}
			return
		}
		u, err := url.Parse(r.Endpoint())
		access, key := r.Credentials()
		if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" || u.Port() == "" || access == "" || key == "" {
			t.Errorf("of %q: got a region at %s", text, r.Endpoint())
		}
	})
}
