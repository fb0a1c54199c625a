package app_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// ofParts is the size of a body that becomes two parts where its length is not said.
const ofParts = 9 << 20

// failure is why the last attempt of the copy failed, "" where it did not.
func (c copyState) failure() string {
	if c.LastError == nil {
		return ""
	}
	return *c.LastError
}

// awaitRefusedCopy waits until the copy in B has failed, with the reason that an operator sees.
func (g *rig) awaitRefusedCopy(key string) {
	g.t.Helper()
	g.eventually(func() error {
		c := g.status(key).in("secondary")
		if c.State != "pending" || c.Attempts == 0 || !strings.Contains(c.failure(), "NotImplemented") {
			return fmt.Errorf("copy of %s in the secondary: %+v, want it pending, with what the region refused", key, c)
		}
		return nil
	})
}

// An object whose tags the replica's S3 does not take is not copied without them: its copy waits, and says why. The
// others are copied meanwhile, and it is once it has no tags.
func TestReplicaWithoutTagsHoldsBackWhatHasTags(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{b: regiontest.Options{NoTags: true}})
	g.put("tagged", "content", header("X-Amz-Tagging", "a=1"))
	g.put("plain", "content")
	g.awaitState("plain", "secondary", "current")
	g.awaitRefusedCopy("tagged")
	if _, ok := g.B.Object(bucketB, "tagged"); ok {
		t.Error("it was copied without its tags")
	}
	g.wantObject("tagged", "content")
	g.put("tagged", "content without tags")
	g.awaitConverged()
	g.remove("tagged")
	g.awaitConverged()
}

// So it is with what was made of parts, where the replica's S3 has no uploads.
func TestReplicaWithoutUploadsHoldsBackWhatIsMadeOfParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{b: regiontest.Options{NoMultipart: true}})
	body := bytes.Repeat([]byte("part"), ofParts/4)
	if r := g.PUT("parts", body, unsized); r.Status != 201 {
		t.Fatalf("PUT: %v", r)
	}
	g.put("plain", "content", header("If-None-Match", "*"))
	g.awaitState("plain", "secondary", "current")
	g.awaitRefusedCopy("parts")
	g.wantObject("parts", string(body))
	g.put("parts", "in one piece")
	g.awaitConverged()
}

// An active that lacks something says so to the client, and all else works.
func TestActiveWithoutTagsAndUploadsServesTheRest(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{a: regiontest.Options{NoTags: true, NoMultipart: true, NoTrailers: true}})
	wantProblem(t, g.PUT("tagged", []byte("x"), header("X-Amz-Tagging", "a=1")), 501, "NotImplemented")
	wantProblem(t, g.PUT("parts", make([]byte, ofParts), unsized), 501, "NotImplemented")
	g.wantNothing()
	g.put("k", "content", header("If-None-Match", "*"))
	wantProblem(t, g.PUT("k", []byte("other"), header("If-None-Match", "*")), 412, "PreconditionFailed")
	if r := g.PUT("large", make([]byte, 1<<20)); r.Status != 201 {
		t.Errorf("PUT of a body with a length: %v", r)
	}
	g.awaitConverged()
	g.remove("k")
	g.awaitConverged()
}

// Where completions ignore conditions, a conditional write is refused also where it would be a PUT: what is not
// known for each way is promised for none.
func TestRegionThatHonoursConditionsOnlyOnPutsIsNotReliedOn(t *testing.T) {
	t.Parallel()
	traits := regiontest.Options{IgnoreUploadConditions: true}
	g := newGateway(t, options{a: traits, b: traits})
	g.put("k", "content")
	wantProblem(t, g.PUT("k", make([]byte, ofParts), unsized, header("If-None-Match", "*")), 501, "NotImplemented")
	wantProblem(t, g.PUT("k", []byte("other"), header("If-None-Match", "*")), 501, "NotImplemented")
	g.wantObject("k", "content")
	g.awaitConverged()
	g.B.Put(bucketB, "foreign", []byte("theirs"))
	if r := g.PUT("foreign", make([]byte, ofParts), unsized); r.Status != 201 {
		t.Fatalf("PUT: %v", r)
	}
	// A conditional completion would have been ignored, and have taken it away.
	g.eventually(func() error {
		if c := g.status("foreign").in("secondary"); !strings.Contains(c.failure(), "does not know of") {
			return fmt.Errorf("copy over a foreign object: %+v", c)
		}
		return nil
	})
	if o, _ := g.B.Object(bucketB, "foreign"); string(o.Data) != "theirs" {
		t.Error("the replica's own object was overwritten")
	}
}
