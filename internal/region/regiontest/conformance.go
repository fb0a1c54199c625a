package regiontest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region"
)

// Facts are what a region cannot do. The zero value, but for WithoutBucket, is a
// region that does all that Amazon S3 does.
type Facts struct {
	// WithoutBucket returns a client of the same region whose bucket is not there.
	// Required.
	WithoutBucket func(t *testing.T) *region.Region
	// CanHold says of a legal key whether the region holds it exactly. Its client's
	// CheckKey has to say the same. Default: it holds every key.
	CanHold func(key string) bool
	// Drops are the stored headers that the region refuses, or takes and does not keep, by their
	// canonical names.
	Drops []string
	// PlainTags: only ASCII is taken in tags.
	PlainTags bool
	// NoPutConditions: If-Match and If-None-Match on writes are refused or ignored.
	NoPutConditions bool
	// NoDeleteConditions: so is If-Match on deletes.
	NoDeleteConditions bool
	// FineDates: conditions on dates are judged more finely than the whole seconds
	// that Last-Modified says, so the object's own date does not match itself.
	FineDates bool
	// BareNotModified: a 304 does not say the ETag.
	BareNotModified bool
}

// Run checks that a region, seen through its client, does what the rest of the
// program builds on. Each part of the suite calls open for a region of its own, whose bucket is
// there and empty, with no other writer. The parts run in parallel.
func Run(t *testing.T, open func(t *testing.T) *region.Region, facts Facts) {
	if facts.CanHold == nil {
		facts.CanHold = func(string) bool { return true }
	}
	for _, part := range []struct {
		name string
		test func(trial)
	}{
		{"Objects come back as they were put", trial.objectsComeBack},
		{"Headers and metadata come back as they were put", trial.headersComeBack},
		{"A write replaces all that was there", trial.writesReplace},
		{"Tags come back as they were put", trial.tagsComeBack},
		{"Ranges say what they hold", trial.ranges},
		{"Reads honour conditions", trial.conditionalReads},
		{"Writes honour conditions", trial.conditionalWrites},
		{"Deletes honour conditions", trial.conditionalDeletes},
		{"The probe tells which conditions are honoured", trial.probe},
		{"Damaged bodies are refused", trial.damagedBodies},
		{"Sound bodies are taken", trial.soundBodies},
		{"A body cut short changes nothing", trial.bodiesCutShort},
		{"Keys are exact to the byte", trial.oddKeys},
		{"Keys that cannot be held are refused", trial.refusedKeys},
		{"Only a missing key is an absence", trial.absences},
		{"Parts keep their boundaries", trial.partBoundaries},
		{"Uploads appear when they are completed", trial.uploadsAppear},
		{"Uploads keep headers and tags", trial.uploadsKeepHeaders},
		{"Completions honour conditions", trial.conditionalCompletions},
		{"Uploads that are wrong are refused", trial.wrongUploads},
		{"Listings are in the order of bytes", trial.listingOrder},
		{"Listings have pages", trial.listingPages},
		{"Listings roll up behind a delimiter", trial.listingDelimiter},
		{"Listings say what objects are", trial.listingAttributes},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.test(trial{t: t, r: open(t), facts: facts})
		})
	}
}

// trial is one part of the suite and its region.
type trial struct {
	t     *testing.T
	r     *region.Region
	facts Facts
}

// put writes an object, and fails the test where that fails.
func (c trial) put(key, body string, h http.Header) (etag string) {
	c.t.Helper()
	etag, err := c.r.Put(c.t.Context(), key, h, strings.NewReader(body), int64(len(body)))
	if err != nil {
		c.t.Fatalf("put %.50q: %v", key, err)
	}
	return etag
}

// get reads an object whole.
func (c trial) get(key string, h http.Header) (body string, a region.Attributes) {
	c.t.Helper()
	o, err := c.r.Get(c.t.Context(), key, h)
	if err != nil {
		c.t.Fatalf("get %.50q: %v", key, err)
	}
	data, err := io.ReadAll(o.Body)
	if err = errors.Join(err, o.Body.Close()); err != nil {
		c.t.Fatalf("read %.50q: %v", key, err)
	}
	return string(data), o.Attributes
}

func (c trial) head(key string) region.Attributes {
	c.t.Helper()
	a, err := c.r.Head(c.t.Context(), key, nil)
	if err != nil {
		c.t.Fatalf("head %.50q: %v", key, err)
	}
	return a
}

func (c trial) remove(key string) {
	c.t.Helper()
	if err := c.r.Delete(c.t.Context(), key, ""); err != nil {
		c.t.Errorf("delete %.50q: %v", key, err)
	}
}

// wantHeld checks what a key holds; "" is nothing at all, as no body here is empty.
func (c trial) wantHeld(what, key, want string) {
	c.t.Helper()
	if want == "" {
		if _, err := c.r.Head(c.t.Context(), key, nil); !region.IsNotFound(err) {
			c.t.Errorf("%s: head %.50q: %v, want no such key", what, key, err)
		}
		return
	}
	if got, _ := c.get(key, nil); got != want {
		c.t.Errorf("%s: %.50q holds %.50q, want %.50q", what, key, got, want)
	}
}

// wantRefused checks that the region answered one of the codes and did not act; any
// code will do where none is given.
func (c trial) wantRefused(what string, err error, status int, codes ...string) {
	c.t.Helper()
	e, ok := errors.AsType[*region.Error](err)
	switch {
	case !ok || e.Status != status || len(codes) > 0 && !slices.Contains(codes, e.Code):
		c.t.Errorf("%s: %v, want status %d %q", what, err, status, codes)
	case e.Outcome != region.Rejected:
		c.t.Errorf("%s: outcome %v, want rejected: %v", what, e.Outcome, err)
	}
}

// patterned is a body in which no two places look alike.
func patterned(size int64) string {
	var b bytes.Buffer
	_, _ = io.Copy(&b, Pattern(0, size)) // neither side fails
	return b.String()
}

func md5Hex(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

func ifMatch(etag string) http.Header { return http.Header{"If-Match": {`"` + etag + `"`}} }

func ifNoneMatch(etag string) http.Header { return http.Header{"If-None-Match": {`"` + etag + `"`}} }

func ifAbsent() http.Header { return http.Header{"If-None-Match": {"*"}} }

const otherETag = "00000000000000000000000000000000"
