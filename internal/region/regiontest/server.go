package regiontest

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

// Options are the traits of a region. The zero value is a well-behaved region
// without buckets.
type Options struct {
	// Buckets exist from the start.
	Buckets []string
	// AccessKey, where set, must be the access key named in the request's
	// Authorization header or X-Amz-Credential parameter; anything else is
	// answered 403. The signature itself is not verified.
	AccessKey string
	// IgnoreConditions makes writes and deletes ignore If-Match and
	// If-None-Match, as older S3 servers do. Reads honour them still.
	IgnoreConditions bool
	// NoConditions makes writes and deletes that carry If-Match or
	// If-None-Match fail with 501 NotImplemented. Reads honour them still.
	NoConditions bool
	// IgnoreUploadConditions makes completing an upload ignore its conditions, where PUTs honour theirs.
	IgnoreUploadConditions bool
	// NoMultipart makes every request about multipart uploads fail with 501 NotImplemented.
	NoMultipart bool
	// NoTags makes every request with or about tags fail with 501 NotImplemented.
	NoTags bool
	// ForgetTags makes writes take tags and not keep them.
	ForgetTags bool
	// NoTrailers makes bodies whose checksum comes behind them fail with 501 NotImplemented.
	NoTrailers bool
	// IgnoreChecksums makes writes take bodies that are not what the checksums and the Content-MD5 in their headers say.
	IgnoreChecksums bool
	// Settings are the bucket's settings in XML, by the name of the query that asks for them: "versioning", "object-lock",
	// "lifecycle". What is not here was never set.
	Settings map[string]string
	// ClockAhead is by how much the Date of each answer is ahead of the time.
	ClockAhead time.Duration
	// EndsListings makes a page of a listing from behind a key end one entry early, and say that the listing
	// ends there, where it does not, as MinIO's do behind some keys.
	EndsListings bool
	// SmallParts lifts the minimum of 5 MiB for every part but the last.
	SmallParts bool
	// ForgetUploads makes completing an upload for a second time 404
	// NoSuchUpload, as most S3 servers have it. Amazon's repeats its first
	// answer, and does nothing.
	ForgetUploads bool
	// Discard reads bodies and throws them away in constant memory. Size and
	// metadata are kept; the ETag is made up from key and size, and a GET
	// streams [Pattern].
	Discard bool
}

// Server is an S3 region in memory. It is safe for concurrent use.
type Server struct {
	opts     Options
	idPrefix string // makes upload ids of one region unknown to another

	mu struct {
		sync.Mutex
		buckets  map[string]*bucket
		requests uint64 // also the source of request and upload ids
		log      []Request
		counts   map[string]int
		attempts map[attemptKey]int
		rule     func(Request) Fault
		onApply  func(q Request, before, after *Object)
		down     bool
		inFlight map[*call]struct{}
		late     int           // effects waiting for their ApplyLater
		lateDone chan struct{} // closed and replaced whenever late drops to 0
		closed   chan struct{}
	}
}

// NewServer returns a region that is up and starts nothing.
func NewServer(o Options) *Server {
	s := &Server{opts: o, idPrefix: rand.Text()}
	s.mu.buckets = make(map[string]*bucket)
	s.mu.counts = make(map[string]int)
	s.mu.attempts = make(map[attemptKey]int)
	s.mu.inFlight = make(map[*call]struct{})
	s.mu.lateDone = make(chan struct{})
	s.mu.closed = make(chan struct{})
	for _, name := range o.Buckets {
		s.mu.buckets[name] = newBucket()
	}
	return s
}

// ServeHTTP answers one S3 request, or does to it what the fault rule says.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, rule, up := s.begin(w, r)
	defer s.end(c)
	if !up {
		c.cut()
		return
	}
	if s.opts.ClockAhead != 0 {
		w.Header().Set("Date", s.date())
	}
	var f Fault
	if rule != nil {
		f = rule(c.Request)
	}
	s.serve(c, f)
}

// effect is what an operation does in one step, with the lock held and its
// bucket looked up. It runs at most once, but for [Fault].Twice.
type effect func(b *bucket) (*reply, error)

// prepare reads and checks everything the request brings.
func (s *Server) prepare(c *call) (effect, error) {
	if err := s.admit(c); err != nil {
		return nil, err
	}
	switch c.Operation {
	case "GetObject", "HeadObject":
		return s.getObject(c)
	case "PutObject":
		return s.putObject(c)
	case "CopyObject":
		return s.copyObject(c)
	case "DeleteObject":
		return s.deleteObject(c)
	case "DeleteObjects":
		return s.deleteObjects(c)
	case "GetObjectTagging":
		return s.getTagging(c)
	case "PutObjectTagging":
		return s.putTagging(c)
	case "DeleteObjectTagging":
		return s.deleteTagging(c)
	case "ListObjectsV2":
		return s.listObjects(c)
	case "HeadBucket":
		return s.headBucket(c)
	case "GetBucketVersioning", "GetObjectLockConfiguration", "GetBucketLifecycleConfiguration":
		return s.getSetting(c)
	case "CreateBucket":
		return s.createBucket(c)
	case "CreateMultipartUpload":
		return s.createUpload(c)
	case "UploadPart":
		return s.uploadPart(c)
	case "CompleteMultipartUpload":
		return s.completeUpload(c)
	case "AbortMultipartUpload":
		return s.abortUpload(c)
	case "ListParts":
		return s.listParts(c)
	case "ListMultipartUploads":
		return s.listUploads(c)
	}
	return nil, fail("NotImplemented", "A header or query you provided implies functionality that is not implemented")
}

// apply lets an effect happen, unless the region went down before it could.
func (s *Server) apply(c *call, run effect) (*reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.down {
		return nil, errCut
	}
	return s.applyLocked(c, run)
}

func (s *Server) applyLocked(c *call, run effect) (*reply, error) {
	b := s.mu.buckets[c.Bucket]
	if b == nil && c.Operation != "CreateBucket" {
		return nil, fail("NoSuchBucket", "The specified bucket does not exist")
	}
	return run(b)
}

// setLocked is the one way in which a request changes an object: after takes
// the place of whatever the key held, nil removes it.
func (s *Server) setLocked(q Request, b *bucket, key string, after *Object) {
	before := b.current(key)
	b.set(key, after)
	if s.mu.onApply != nil {
		q.Key = key
		s.mu.onApply(q, before, after)
	}
}

// now is the time as S3 keeps it: UTC, in whole seconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
