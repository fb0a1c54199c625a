package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/region"
)

// session is the examination of one region and one bucket there.
type session struct {
	*Doctor
	target Target
	r      *region.Region
	wire   *wire
	// prefix begins the keys of this region's canaries.
	prefix string
	report RegionReport
	// versioned: the bucket keeps what is overwritten.
	versioned bool
	// reached: a canary was written, and read back.
	reached bool
	// close lets go of the session's own connections.
	close func()
	// partsETag is that of the object of two parts, "" where there is none.
	partsETag string
}

// checkFactor: a check makes some requests, and one that trickles is not to hold up the others for ever.
const checkFactor = 6

func (d *Doctor) newSession(ctx context.Context, t Target) *session {
	s := &session{Doctor: d, target: t, prefix: Prefix + d.id + "/" + t.Region.Name + "/", close: func() {}}
	s.report = RegionReport{Name: t.Region.Name, Bucket: t.Region.Bucket, Endpoint: t.Region.Endpoint, Embedded: t.Embedded, Note: t.Note, Findings: []Finding{}}
	if t.Bucket != "" {
		s.report.ClientBucket = t.Bucket
		s.prefix += t.Bucket + "/" // two buckets may be one by mistake; the canaries stay apart
	}
	rc := t.Region
	if rc.Transport == nil {
		transport, err := region.NewTransport(rc.CAFile)
		if err != nil {
			s.wire = newWire(nil)
			s.add(endpointCheck, Failed, "check the file that the region's CA_FILE names", "%v", err)
			return s
		}
		rc.Transport, s.close = transport, transport.CloseIdleConnections
	}
	s.wire = newWire(rc.Transport)
	rc.Transport, rc.Timeout = s.wire, d.cfg.Timeout
	if t.Unavailable != nil {
		s.add(endpointCheck, Failed, "the region is down for a gateway, too", "%v", t.Unavailable)
		return s
	}
	r, err := region.New(ctx, rc)
	if err != nil {
		s.add(endpointCheck, Failed, "check the region's variables with `tandem config show`", "%v", err)
		return s
	}
	s.r, s.report.Endpoint = r, r.Endpoint()
	return s
}

func (s *session) add(check string, status Status, advice, found string, args ...any) {
	s.report.Findings = append(s.report.Findings, Finding{check, status, oneLine(fmt.Sprintf(found, args...)), advice})
}

// oneLine keeps what a region says from looking like more than one thing.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// step is a check by its name.
type step struct {
	name string
	run  func(context.Context)
}

// examine makes every check of the region alone, in an order in which each needs only what was found to work.
func (s *session) examine(ctx context.Context) {
	if s.r == nil || !s.perform(ctx, step{endpointCheck, s.checkEndpoint}) {
		return
	}
	if s.hasFailed() {
		s.add("other checks", Skipped, "", "the bucket cannot be used as it is")
		return
	}
	for _, c := range []step{{"versioning", s.checkVersioning}, {"object lock", s.checkObjectLock}, {"lifecycle", s.checkLifecycle}} {
		if !s.perform(ctx, c) {
			return
		}
	}
	if s.isLocked() {
		s.add("other checks", Skipped, "", "nothing is written where it could not be removed again")
		return
	}
	if !s.perform(ctx, step{"objects", s.checkObjects}) {
		return
	}
	if !s.reached {
		s.add("other checks", Skipped, "", "objects cannot be written, read and deleted")
		return
	}
	for _, c := range []step{
		{"headers", s.checkHeaders}, {"tags", s.checkTags}, {"ranges", s.checkRanges}, {"conditional reads", s.checkConditionalReads},
		{"conditional writes", s.checkConditionalWrites}, {"multipart", s.checkMultipart}, {"checksums", s.checkChecksums},
		{"trailers", s.checkTrailers}, {"listing", s.checkListing}, {"keys", s.checkKeys},
	} {
		if !s.perform(ctx, c) {
			return
		}
	}
	s.reportTimes()
}

// perform makes a check in bounded time; false says that the examination was ended.
func (s *session) perform(ctx context.Context, c step) bool {
	before := len(s.report.Findings)
	if ctx.Err() == nil {
		s.cfg.Progress(s.report.Title(), c.name)
		bounded, cancel := context.WithTimeout(ctx, checkFactor*s.cfg.Timeout)
		defer cancel()
		c.run(bounded)
	}
	if ctx.Err() == nil {
		return true
	}
	// Whatever that check said, it was not the region's doing.
	s.report.Findings = s.report.Findings[:before]
	s.add(c.name, Skipped, "", "interrupted")
	return false
}

func (s *session) hasFailed() bool {
	return slices.ContainsFunc(s.report.Findings, func(f Finding) bool { return f.Status == Failed })
}

// key is a canary's key.
func (s *session) key(name string) string { return s.prefix + name }

func (s *session) put(ctx context.Context, name, body string, h http.Header) (etag string, err error) {
	return s.r.Put(ctx, s.key(name), h, strings.NewReader(body), int64(len(body)))
}

// get reads a canary whole.
func (s *session) get(ctx context.Context, name string, h http.Header) (string, region.Attributes, error) {
	o, err := s.r.Get(ctx, s.key(name), h)
	if err != nil {
		return "", region.Attributes{}, err
	}
	var body bytes.Buffer
	_, err = io.Copy(&body, io.LimitReader(o.Body, maxCanaryBytes))
	return body.String(), o.Attributes, errors.Join(err, o.Body.Close())
}

// maxCanaryBytes is more than any canary has.
const maxCanaryBytes = 16 << 20

// said is what a region answered, for people, without what they know already.
func said(err error) string {
	e, ok := errors.AsType[*region.Error](err)
	switch {
	case !ok:
		return err.Error()
	case e.Status != 0:
		return oneLine(fmt.Sprintf("%s answers %d %s %s", e.Operation, e.Status, e.Code, e.Message))
	case errors.Is(err, region.ErrStalled):
		return e.Operation + " gets no answer in time"
	}
	return fmt.Sprintf("%s: %v", e.Operation, e.Err)
}

// isRefusal reports whether the region answered that it will not do this; nobody is down.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	return ok && e.Outcome == region.Rejected && !region.IsDown(err)
}

func isUnimplemented(err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	return ok && (e.Status == http.StatusNotImplemented || e.Status == http.StatusMethodNotAllowed || e.Code == "NotImplemented")
}

func isForbidden(err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	return ok && e.Status == http.StatusForbidden
}

// cleanUpTime bounds the removal of the canaries, whatever ended the examination.
const cleanUpTime = 30 * time.Second

// cleanUp removes every trace: unfinished uploads, objects, and in a versioned bucket their versions.
func (s *session) cleanUp(ctx context.Context) {
	written := s.wire.written()
	if s.r == nil || len(written) == 0 {
		return
	}
	s.cfg.Progress(s.report.Title(), "clean-up")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	err := s.abortUploads(ctx)
	for _, key := range written {
		if deleteErr := s.r.Delete(ctx, key, ""); deleteErr != nil && !region.IsNotFound(deleteErr) {
			err = errors.Join(err, deleteErr)
		}
	}
	left, listErr := s.remove(ctx)
	err = errors.Join(err, listErr)
	for _, v := range s.wire.versions() {
		if deleteErr := s.r.DeleteVersion(ctx, v.key, v.id); deleteErr != nil && !region.IsNotFound(deleteErr) {
			err = errors.Join(err, deleteErr)
		}
	}
	switch {
	case left > 0:
		s.add("clean-up", Failed, "remove what is below "+s.prefix+" in the bucket by hand", "%d canaries are left", left)
	case err != nil:
		s.add("clean-up", Warning, "look below "+s.prefix+" in the bucket, and remove what is there", "canaries may be left: %s", said(firstOf(err)))
	default:
		s.add("clean-up", OK, "", "every canary is removed")
	}
}

// firstOf is the first of joined errors: one is enough to know.
func firstOf(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return firstOf(joined.Unwrap()[0])
	}
	return err
}

// abortUploads aborts what is unfinished. Some regions list the uploads of a whole key only.
func (s *session) abortUploads(ctx context.Context) (err error) {
	for _, key := range s.wire.begun() {
		uploads, listErr := s.r.Uploads(ctx, key)
		if listErr != nil && !isRefusal(listErr) {
			err = errors.Join(err, listErr)
		}
		for _, u := range uploads {
			if u.Key == key { // some list more than they were asked for
				err = errors.Join(err, s.r.AbortUpload(ctx, key, u.ID))
			}
		}
	}
	return err
}

// remove deletes whatever the listing still shows, and returns how much is left then.
func (s *session) remove(ctx context.Context) (left int, err error) {
	for range 2 {
		page, err := s.r.List(ctx, region.ListOptions{Prefix: s.prefix})
		if err != nil {
			return left, err
		}
		left = 0
		for _, o := range page.Objects {
			if !strings.HasPrefix(o.Key, s.prefix) {
				continue
			}
			left++
			if err := s.r.Delete(ctx, o.Key, ""); err != nil {
				return left, err
			}
		}
		if left == 0 {
			return 0, nil
		}
	}
	return left, nil
}
