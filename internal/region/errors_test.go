package region_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// refusal is an answer that is not a success.
func refusal(status int, code string) string {
	body := ""
	if code != "" {
		body = fmt.Sprintf("<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
	return fmt.Sprintf("HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// Only a 404 that speaks of the key is an absence, or is told to the client as one.
func TestOnlyAMissingKeyIsAnAbsence(t *testing.T) {
	for _, tt := range []struct {
		status         int
		code           string
		absent, isDown bool
		kind           s3op.Kind
	}{
		{404, "NoSuchKey", true, false, s3op.NotFound},
		{404, "NoSuchBucket", false, false, s3op.Unavailable},
		{404, "NoSuchUpload", false, false, s3op.Unavailable},
		{404, "", false, false, s3op.Unavailable},
		{403, "AccessDenied", false, false, s3op.Unavailable},
		{403, "InvalidAccessKeyId", false, false, s3op.Unavailable},
		{403, "SignatureDoesNotMatch", false, false, s3op.Unavailable},
		{403, "RequestTimeTooSkewed", false, false, s3op.Unavailable},
		{403, "", false, false, s3op.Unavailable},
		{401, "", false, false, s3op.Unavailable},
		{301, "PermanentRedirect", false, false, s3op.Unavailable},
		{429, "", false, false, s3op.Unavailable},
		{500, "InternalError", false, true, s3op.Unavailable},
		{502, "", false, true, s3op.Unavailable},
		{503, "SlowDown", false, true, s3op.Unavailable},
		{501, "NotImplemented", false, false, s3op.NotImplemented},
		{304, "", false, false, s3op.NotModified},
		{400, "InvalidArgument", false, false, s3op.Invalid},
		{412, "PreconditionFailed", false, false, s3op.Precondition},
		{416, "InvalidRange", false, false, s3op.Range},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := newWire(t, &wire{serve: func(c *wireConn) {
				c.request()
				c.answer(refusal(tt.status, tt.code))
			}})
			_, err := r.Get(t.Context(), "key", nil)
			what := fmt.Sprintf("%d %q", tt.status, tt.code)
			if got := region.IsNotFound(err); got != tt.absent {
				t.Errorf("%s: absent %v, want %v", what, got, tt.absent)
			}
			if got := region.IsDown(err); got != tt.isDown {
				t.Errorf("%s: down %v, want %v", what, got, tt.isDown)
			}
			if got := s3op.KindOf(region.ToClient(err)); got != tt.kind {
				t.Errorf("%s: told to the client as %v, want %v", what, got, tt.kind)
			}
		})
	}
}

// The answer to a HEAD has no code: a missing bucket must not pass for a missing key.
func TestHeadTellsAMissingBucketFromAMissingKey(t *testing.T) {
	for bucketStatus, absent := range map[int]bool{200: true, 404: false, 403: false, 500: false} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := newWire(t, &wire{serve: func(c *wireConn) {
				c.request()
				c.answer("HTTP/1.1 404 Not Found\r\n\r\n")
				c.request()
				c.answer(fmt.Sprintf("HTTP/1.1 %d Bucket\r\n\r\n", bucketStatus))
			}})
			_, err := r.Head(t.Context(), "key", nil)
			if region.IsNotFound(err) != absent {
				t.Errorf("the bucket's status is %d: %v, want an absence: %v", bucketStatus, err, absent)
			}
			if got := s3op.KindOf(region.ToClient(err)); (got == s3op.NotFound) != absent {
				t.Errorf("the bucket's status is %d: told to the client as %d", bucketStatus, got.HTTPStatus())
			}
		})
	}
}

// What we find out before a region is asked says nothing against the region.
func TestKeyThatARegionCannotHoldIsTheClients(t *testing.T) {
	_, err := newRegion(t).Get(t.Context(), "", nil)
	if region.IsDown(err) || s3op.KindOf(region.ToClient(err)) != s3op.Invalid {
		t.Errorf("got %v, want a request that is the client's to mend", err)
	}
}

// What is passed on is told as it was said, but for what says who we are, or is our own fault.
func TestRefusalOfOurCredentialsIsNotToldToClients(t *testing.T) {
	for _, tt := range []struct {
		status        int
		code, message string
		kind          s3op.Kind
	}{
		{403, "AccessDenied", "Access Denied because object protected by object lock.", s3op.Denied},
		{403, "AccessDenied", "User: arn:aws:iam::1:user/tandem is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::bucket-a/k", s3op.Unavailable},
		{403, "InvalidAccessKeyId", "x", s3op.Unavailable},
		{403, "SignatureDoesNotMatch", "x", s3op.Unavailable},
		{404, "NoSuchBucket", "x", s3op.Unavailable},
		{301, "PermanentRedirect", "x", s3op.Unavailable},
		{404, "NoSuchUpload", "x", s3op.NotFound},
		{404, "NoSuchKey", "x", s3op.NotFound},
		{412, "PreconditionFailed", "x", s3op.Precondition},
		{400, "InvalidPart", "x", s3op.Invalid},
		{503, "SlowDown", "x", s3op.Unavailable},
		{500, "InternalError", "x", s3op.Unavailable},
	} {
		e := &region.Error{Status: tt.status, Code: tt.code, Message: tt.message, Outcome: region.Rejected, Document: []byte("<Error/>")}
		err := region.AsAnswered(e)
		if got := s3op.KindOf(err); got != tt.kind {
			t.Errorf("%d %s: told as %v, want %v", tt.status, tt.code, got, tt.kind)
		}
		told, ok := errors.AsType[*s3op.Error](err)
		if !ok || (told.Answered == nil) != (tt.kind == s3op.Unavailable) || tt.kind == s3op.Unavailable && strings.Contains(told.Message, tt.message) && tt.message != "x" {
			t.Errorf("%d %s: told %+v", tt.status, tt.code, told)
		}
	}
}
