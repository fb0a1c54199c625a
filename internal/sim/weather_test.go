package sim

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// Kinds of faults, as they are counted.
const (
	requestRefused    = "request refused"
	replyLost         = "applied, reply lost"
	appliedLate       = "applied late"
	latePastWrite     = "applied late, past a later acknowledged write"
	latePastPromotion = "applied late, past a promotion"
	appliedTwice      = "applied twice"
	cutInBody         = "cut in the body"
	slow              = "slow"
	hung              = "hung"
	internalError     = "500"
	appliedWith500    = "applied, answered with 500"
	slowDown          = "503"
	forbidden         = "403"
	bucketLies        = "404 of a bucket that is there"
	errorInside200    = "200 with an error inside"
	ignoredCondition  = "condition ignored"
	regionDown        = "region down"
	regionFlapping    = "region flapping"
	regionRegressed   = "region came back older while healthy"
	regionEmptied     = "region came back empty"
	listingRaces      = "listing raced with a write"
	journalFailed     = "journal failed, nothing done"
	journalUnknown    = "journal failed, done"
	diskFull          = "disk full"
	pausedBeforeOpen  = "paused before the intent"
	pausedAfterOpen   = "paused between intent and last byte"
	pausedBeforeEnd   = "paused between answer and commit"
	pausedAfterEnd    = "paused after the commit"
	crashed           = "crashed at a step"
	operatorPromoted  = "operator promoted"
	operatorRepaired  = "operator asked for a repair"
	operatorResolved  = "operator resolved a conflict"
	urlSigned         = "a presigned URL was given out"
	uploaded          = "uploaded past the gateway"
)

// faultKinds is every kind.
var faultKinds = []string{
	requestRefused, replyLost, appliedLate, latePastWrite, latePastPromotion, appliedTwice, cutInBody, slow, hung, internalError, appliedWith500,
	slowDown, forbidden, bucketLies, errorInside200, ignoredCondition, regionDown, regionFlapping, regionRegressed, regionEmptied, listingRaces,
	journalFailed, journalUnknown, diskFull, pausedBeforeOpen, pausedAfterOpen, pausedBeforeEnd, pausedAfterEnd, pausedBeforeSettle, crashed,
	operatorPromoted, operatorRepaired, operatorResolved, urlSigned, uploaded,
}

// site is a region in the simulation: its server, and what the weather there is.
type site struct {
	name, bucket string
	server       *regiontest.Server
	dial         dialFunc
	traits       regiontest.Options
	w            *world
	// exact is what a script has for a request, in place of anything drawn; nil where there is none.
	exact func(q regiontest.Request) (regiontest.Fault, bool)

	mu sync.Mutex
	// percent of the requests that something happens to.
	percent int
	// lies: what every request is answered with, nothing where Code is "".
	lies regiontest.Fault
}

func (s *site) set(percent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.percent = percent
}

func (s *site) lie(f regiontest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lies = f
}

// after is a channel that is closed once a time has passed.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

var writing = []string{"PutObject", "DeleteObject", "CompleteMultipartUpload"}

// rule is what happens to a request.
func (s *site) rule(q regiontest.Request) regiontest.Fault {
	s.w.step()
	if s.exact != nil {
		if f, ok := s.exact(q); ok {
			return f
		}
	}
	s.mu.Lock()
	percent, lies := s.percent, s.lies
	s.mu.Unlock()
	r := chance(s.w.seed, s.name, q.Operation, q.Key, q.PartNumber, q.Attempt)
	// Every request takes a time of its own, so that hardly two things happen at once.
	latency := time.Duration(200+r.IntN(20_000))*time.Microsecond + time.Duration(r.IntN(1000))
	if lies.Code != "" {
		s.w.count(map[bool]string{true: bucketLies, false: forbidden}[lies.Status == http.StatusNotFound])
		lies.Hang = after(latency)
		return lies
	}
	isWrite := slices.Contains(writing, q.Operation)
	if s.traits.IgnoreConditions && isWrite && (q.Header.Get("If-Match") != "" || q.Header.Get("If-None-Match") != "") {
		s.w.count(ignoredCondition)
	}
	if r.IntN(100) >= percent {
		return regiontest.Fault{Hang: after(latency)}
	}
	kind, f := s.draw(r, q, isWrite, latency)
	if kind != "" {
		s.w.count(kind)
		s.w.note("%s: %s %s #%d: %s", s.name, q.Operation, q.Key, q.Attempt, kind)
	}
	if f.Hang == nil && f.ApplyLater == nil {
		f.Hang = after(latency)
	}
	return f
}

// applied notes what a request has made of a key.
func (s *site) applied(q regiontest.Request, before, after *regiontest.Object) {
	if strings.HasPrefix(q.Key, ".tandem/") && !strings.HasPrefix(q.Key, ".tandem/conflicts/") {
		return
	}
	s.w.landed(s.name, q.Key, strings.Trim(etagIn(after), `"`))
	s.w.note("%s: %s %s: %s -> %s %s", s.name, q.Operation, q.Key, etagIn(before), etagIn(after), q.Header.Get("If-Match")+q.Header.Get("If-None-Match"))
}

func etagIn(o *regiontest.Object) string {
	if o == nil {
		return "nothing"
	}
	return o.ETag
}
