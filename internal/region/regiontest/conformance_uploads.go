package regiontest

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
)

func (c trial) createUpload(key string, h http.Header) (id string) {
	c.t.Helper()
	id, err := c.r.CreateUpload(c.t.Context(), key, h)
	if err != nil {
		c.t.Fatalf("create upload of %q: %v", key, err)
	}
	return id
}

func (c trial) uploadPart(key, id string, number int, body string) (etag string) {
	c.t.Helper()
	etag, err := c.r.UploadPart(c.t.Context(), key, id, number, nil, strings.NewReader(body), int64(len(body)))
	if err != nil {
		c.t.Fatalf("upload part %d of %q: %v", number, key, err)
	}
	if etag != md5Hex(body) {
		c.t.Errorf("part %d of %q: ETag %s, want %s", number, key, etag, md5Hex(body))
	}
	return etag
}

func (c trial) complete(key, id string, h http.Header, etags ...string) (string, error) {
	return c.r.CompleteUpload(c.t.Context(), key, id, h, etags)
}

// etagOfParts is what S3 makes of the parts' ETags.
func etagOfParts(bodies ...string) string {
	sums := md5.New()
	for _, body := range bodies {
		sum := md5.Sum([]byte(body))
		sums.Write(sum[:])
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sums.Sum(nil)), len(bodies))
}

func (c trial) partBoundaries() {
	all := patterned(2*minPartBytes + 4)
	parts := []string{all[:minPartBytes], all[minPartBytes : 2*minPartBytes+1], all[2*minPartBytes+1:]}
	id := c.createUpload("key", nil)
	var etags []string
	for i, part := range parts {
		etags = append(etags, c.uploadPart("key", id, i+1, part))
	}
	etag, err := c.complete("key", id, nil, etags...)
	if err != nil {
		c.t.Fatalf("complete: %v", err)
	}
	if want := etagOfParts(parts...); etag != want {
		c.t.Errorf("complete: ETag %s, want %s", etag, want)
	}
	got, a := c.get("key", nil)
	if got != all || a.Size() != int64(len(all)) || a.ETag() != etag {
		c.t.Errorf("get: %d bytes, size %d, ETag %s", len(got), a.Size(), a.ETag())
	}
	for i, part := range parts {
		a, err := c.r.HeadPart(c.t.Context(), "key", etag, i+1)
		if err != nil || a.Size() != int64(len(part)) || a.PartsCount() != len(parts) || a.ETag() != etag {
			c.t.Errorf("head part %d: %v, size %d, %d parts, ETag %s, want %d bytes of %d parts", i+1, err, a.Size(), a.PartsCount(), a.ETag(), len(part), len(parts))
		}
	}
	_, err = c.r.HeadPart(c.t.Context(), "key", otherETag, 1)
	c.wantRefused("head part of another object", err, http.StatusPreconditionFailed)
	_, err = c.r.HeadPart(c.t.Context(), "key", etag, 4)
	c.wantRefused("head of a part too many", err, http.StatusRequestedRangeNotSatisfiable)
	// A range does not care for parts.
	start := int64(minPartBytes - 2)
	got, a = c.get("key", http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", start, start+3)}})
	if first, end := a.Span(); got != all[start:start+4] || first != start || end != start+4 {
		c.t.Errorf("range over parts: span %d to %d, %d bytes", first, end, len(got))
	}
	plain := c.put("key", "plain", nil)
	if a, err := c.r.HeadPart(c.t.Context(), "key", plain, 1); err != nil || a.PartsCount() != 0 || a.Size() != 5 {
		c.t.Errorf("head part of a plain object: %v, %d parts of %d bytes, want none of 5", err, a.PartsCount(), a.Size())
	}
}

func (c trial) uploadsAppear() {
	c.put("old", "old", nil)
	for key, before := range map[string]string{"old": "old", "absent": ""} {
		id := c.createUpload(key, nil)
		c.uploadPart(key, id, 1, "first")
		etag := c.uploadPart(key, id, 1, "new") // in place of the first
		c.wantHeld("not completed", key, before)
		got, err := c.complete(key, id, nil, etag)
		if err != nil || got != etagOfParts("new") {
			c.t.Errorf("complete %s: %s, %v", key, got, err)
		}
		c.wantHeld("completed", key, "new")

		id = c.createUpload(key, nil)
		etag = c.uploadPart(key, id, 1, "aborted")
		if err := c.r.AbortUpload(c.t.Context(), key, id); err != nil {
			c.t.Errorf("abort %s: %v", key, err)
		}
		_, err = c.complete(key, id, nil, etag)
		c.wantNoUpload("complete what was aborted", err)
		_, err = c.r.UploadPart(c.t.Context(), key, id, 1, nil, strings.NewReader("late"), 4)
		c.wantRefused("part of what was aborted", err, http.StatusNotFound, "NoSuchUpload")
		if region.IsNotFound(err) {
			c.t.Errorf("%v is taken for the absence of a key", err)
		}
		c.wantHeld("aborted", key, "new")
	}
	// An object of one part without a byte.
	id := c.createUpload("zero", nil)
	if _, err := c.complete("zero", id, nil, c.uploadPart("zero", id, 1, "")); err != nil {
		c.t.Errorf("complete zero: %v", err)
	}
	if body, a := c.get("zero", nil); body != "" || a.Size() != 0 || a.ETag() != etagOfParts("") {
		c.t.Errorf("zero: %d bytes, size %d, ETag %s", len(body), a.Size(), a.ETag())
	}
}

func (c trial) uploadsKeepHeaders() {
	want := c.storedHeaders()
	h := want.Clone()
	h.Set("X-Amz-Tagging", "a=1&b=2")
	id := c.createUpload("key", h)
	if _, err := c.complete("key", id, nil, c.uploadPart("key", id, 1, "body")); err != nil {
		c.t.Fatalf("complete: %v", err)
	}
	if diff := cmp.Diff(want, c.kept(c.head("key"))); diff != "" {
		c.t.Errorf("headers differ (-want +got):\n%s", diff)
	}
	c.wantTags("key", "a=1&b=2")
}

func (c trial) conditionalCompletions() {
	if c.facts.NoPutConditions {
		return // what it does not honour is not asked of it
	}
	c.wantConditions(func(key string, h http.Header) error {
		id := c.createUpload(key, nil)
		_, err := c.complete(key, id, h, c.uploadPart(key, id, 1, "new"))
		return err
	})
}

func (c trial) wrongUploads() {
	ctx := c.t.Context()
	id := c.createUpload("key", nil)
	for name, values := range integrity("another body") {
		_, err := c.r.UploadPart(ctx, "key", id, 1, http.Header{name: values}, strings.NewReader("new"), 3)
		if name == "Content-Md5" { // an upload takes only the checksum that it was begun with
			c.wantRefused("part with a wrong "+name, err, http.StatusBadRequest, "BadDigest")
		} else if region.OutcomeOf(err) != region.Rejected {
			c.t.Errorf("part with a wrong %s: %v, want it refused", name, err)
		}
	}
	_, err := c.r.UploadPart(ctx, "key", id, 1, nil, strings.NewReader("ne"), 3)
	if err == nil || region.OutcomeOf(err) == region.Rejected {
		c.t.Errorf("part cut short: %v, want an error without an answer", err)
	}
	_, err = c.complete("key", id, nil, md5Hex("new"))
	c.wantRefused("complete without parts", err, http.StatusBadRequest, "InvalidPart")
	first, second := c.uploadPart("key", id, 1, "small"), c.uploadPart("key", id, 2, "last")
	_, err = c.complete("key", id, nil, otherETag)
	c.wantRefused("complete with a wrong part", err, http.StatusBadRequest, "InvalidPart")
	_, err = c.complete("key", id, nil, first, second)
	c.wantRefused("complete with a part too small", err, http.StatusBadRequest, "EntityTooSmall")
	_, err = c.complete("key", id, nil)
	c.wantRefused("complete with nothing", err, http.StatusBadRequest)
	for name, id := range map[string]string{"unknown": "00000000-0000-0000-0000-000000000000", "odd": "a b+c/&=?"} {
		_, err = c.complete("key", id, nil, first)
		c.wantNoUpload("complete an "+name+" upload", err)
	}
	c.wantHeld("refused completions", "key", "")
	if got, err := c.complete("key", id, nil, first); err != nil || got != etagOfParts("small") {
		c.t.Errorf("complete after refusals: %s, %v", got, err)
	}
	c.wantHeld("completed", "key", "small")
}

// wantNoUpload: the upload is not there, which may be because this very completion has come twice.
func (c trial) wantNoUpload(what string, err error) {
	c.t.Helper()
	e, ok := errors.AsType[*region.Error](err)
	if !ok || e.Status != http.StatusNotFound || e.Code != "NoSuchUpload" || e.Outcome != region.Ambiguous {
		c.t.Errorf("%s: got %v, want an ambiguous NoSuchUpload", what, err)
	}
}
