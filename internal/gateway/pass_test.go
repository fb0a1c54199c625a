package gateway_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/s3op"
)

// The key that a copy is made from is held to the rules of every other: it is no way to a file that no key names.
func TestCopyIsMadeOfNothingThatOnlyThePathOfAFileNames(t *testing.T) {
	g := newRig(t, func(cfg *region.Config) {
		cfg.CheckKey = func(key string) error {
			if strings.Contains(key, "//") || strings.Contains(key, "..") {
				return errors.New("it would be another key")
			}
			return nil
		}
	})
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if strings.Contains(q.Operation, "Copy") {
			t.Errorf("the region was asked for %s of %q", q.Operation, q.Header.Get("X-Amz-Copy-Source"))
		}
		return regiontest.Fault{}
	})
	for source, kind := range map[string]s3op.Kind{
		"a//b": s3op.Invalid, "../other/k": s3op.Invalid, "/.tandem/region": s3op.Denied, "a/../.tandem/region": s3op.Denied, ".tandem/region": s3op.Denied,
		"k?versionId=null": s3op.NotImplemented,
	} {
		for _, versionID := range []string{"", "null", "v1"} {
			from := gateway.Source{Of: g.Gateway, Key: source, VersionID: versionID}
			_, err := g.Copy(t.Context(), gateway.Request{Operation: "CopyObject", Method: http.MethodPut, Key: "to", Header: make(http.Header)}, from)
			if s3op.KindOf(err) != kind {
				t.Errorf("copy of %q, version %q: got %v, want kind %v", source, versionID, err, kind)
			}
			_, err = g.Stage(t.Context(), gateway.Request{Operation: "UploadPartCopy", Method: http.MethodPut, Key: "to", Header: make(http.Header)}, &from)
			if s3op.KindOf(err) != kind {
				t.Errorf("part copied of %q, version %q: got %v, want kind %v", source, versionID, err, kind)
			}
		}
	}
}

// Where keys are paths of files, more than one of them leads to what is Tandem's own.
func TestNoPathLeadsToWhatIsTandems(t *testing.T) {
	g := newRig(t)
	for _, key := range []string{".tandem/region", "/.tandem/region", "//.tandem/region", "./.tandem/region", "a/../.tandem/region", "a/.././/.tandem/./region"} {
		_, err := g.Read(t.Context(), key, gateway.ReadInput{})
		if s3op.KindOf(err) != s3op.Denied {
			t.Errorf("read of %q: got %v, want it denied", key, err)
		}
		if _, err = g.Delete(t.Context(), key, nil); s3op.KindOf(err) != s3op.Denied {
			t.Errorf("delete of %q: got %v, want it denied", key, err)
		}
		if _, err = g.Ask(t.Context(), gateway.Request{Operation: "CORSPreflight", Method: http.MethodOptions, Key: key}); s3op.KindOf(err) != s3op.Denied {
			t.Errorf("question about %q: got %v, want it denied", key, err)
		}
	}
	for _, key := range []string{"a/.tandem/region", ".tandem", "..tandem/x", "x.tandem/y"} {
		if _, err := g.Read(t.Context(), key, gateway.ReadInput{}); s3op.KindOf(err) != s3op.NotFound {
			t.Errorf("read of %q: got %v, want only its absence", key, err)
		}
	}
}
