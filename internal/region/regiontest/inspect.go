package regiontest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Object returns a copy of what the key holds. It panics where the bucket does
// not exist, as all inspection does.
func (s *Server) Object(bucket, key string) (Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mustBucketLocked(bucket).current(key)
	if o == nil {
		return Object{}, false
	}
	return o.clone(), true
}

// Keys returns the bucket's keys in the order of their bytes.
func (s *Server) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mustBucketLocked(bucket).keys)
}

// Put stores an object behind everybody's back: no request, no fault, no
// OnApply. Each edit may change what a plain PUT would have made of it.
func (s *Server) Put(bucket, key string, data []byte, edits ...func(*Object)) Object {
	o, err := newObject(key, nil)
	if err != nil {
		panic(err)
	}
	p := payload{size: int64(len(data))}
	if !s.opts.Discard {
		sum := md5.Sum(data)
		p.md5, p.data = sum[:], append([]byte{}, data...)
		p.checksum = Checksum{defaultAlgorithm, checksumOf(defaultAlgorithm, data), "FULL_OBJECT"}
	}
	o.fill(p)
	o.LastModified = now()
	for _, edit := range edits {
		edit(o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustBucketLocked(bucket).set(key, o)
	return o.clone()
}

// Remove deletes an object behind everybody's back, and reports whether there
// was one.
func (s *Server) Remove(bucket, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mustBucketLocked(bucket)
	found := b.current(key) != nil
	b.set(key, nil)
	return found
}

func (s *Server) mustBucketLocked(name string) *bucket {
	b := s.mu.buckets[name]
	if b == nil {
		panic(fmt.Sprintf("regiontest: no bucket %q", name))
	}
	return b
}

// Upload is a multipart upload that is neither complete nor aborted.
type Upload struct {
	ID, Key   string
	Initiated time.Time
	Parts     []Part // by number
}

// Uploads returns the bucket's open uploads, by key, then in the order in
// which they began.
func (s *Server) Uploads(bucket string) []Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Upload
	for _, u := range s.mustBucketLocked(bucket).uploads {
		up := Upload{ID: u.id, Key: u.object.Key, Initiated: u.initiated}
		for _, n := range slices.Sorted(maps.Keys(u.parts)) {
			up.Parts = append(up.Parts, u.parts[n].Part)
		}
		list = append(list, up)
	}
	slices.SortFunc(list, func(a, b Upload) int { return strings.Compare(a.Key+"\x00"+a.ID, b.Key+"\x00"+b.ID) })
	return list
}

// State is what two regions must agree on for an object: all that a client can
// tell, except times and checksums that only one of them was asked to keep.
type State struct {
	ETag     string
	Size     int64
	SHA256   string // hex, of the bytes; "" where they were discarded
	Header   map[string]string
	Metadata map[string]string
	Tags     map[string]string
}

// Snapshot returns the state of every object by bucket and key, at one moment.
func (s *Server) Snapshot() map[string]map[string]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]State)
	for name, b := range s.mu.buckets {
		all[name] = make(map[string]State)
		for key, o := range b.objects {
			st := State{ETag: o.ETag, Size: o.Size, Header: maps.Clone(o.Header),
				Metadata: maps.Clone(o.Metadata), Tags: maps.Clone(o.Tags)}
			if o.Data != nil {
				sum := sha256.Sum256(o.Data)
				st.SHA256 = hex.EncodeToString(sum[:])
			}
			all[name][key] = st
		}
	}
	return all
}

// Saved is what a region held at one moment.
type Saved map[string]*bucket

// Save returns all that the region holds, uploads excepted.
func (s *Server) Save() Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := make(Saved)
	for name, b := range s.mu.buckets {
		saved[name] = b.copyObjects()
	}
	return saved
}

// Load takes the region back to what was saved, behind everybody's back. A nil Saved
// leaves its buckets empty.
func (s *Server) Load(saved Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.mu.buckets {
		s.mu.buckets[name] = newBucket()
		if b := saved[name]; b != nil {
			s.mu.buckets[name] = b.copyObjects()
		}
	}
}

func (b *bucket) copyObjects() *bucket {
	c := newBucket()
	c.objects, c.keys = maps.Clone(b.objects), slices.Clone(b.keys)
	return c
}

// OnApply sets the hook that sees every change that a request makes to an
// object, in the order of the changes; nil is none. It is called with the
// server's lock held, so it must not call the server, and must not change what
// it is shown. before and after are nil for no object; a delete of nothing has
// both nil.
func (s *Server) OnApply(hook func(q Request, before, after *Object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.onApply = hook
}

// The log keeps between this many requests and twice as many.
const logLength = 10_000

func (s *Server) recordLocked(c *call) {
	s.mu.requests++
	c.id = fmt.Sprintf("%016X", s.mu.requests)
	k := attemptKey{c.Operation, c.Bucket, c.Key, c.PartNumber}
	s.mu.attempts[k]++
	c.Attempt = s.mu.attempts[k]
	s.mu.counts[c.Operation]++
	if len(s.mu.log) == 2*logLength {
		s.mu.log = slices.Clone(s.mu.log[logLength:])
	}
	s.mu.log = append(s.mu.log, c.Request)
}

// Requests returns the newest requests, oldest first: all of them, or at least
// the last 10,000. Those that found the region down are among them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.log)
}

// Count returns how many requests there were with an operation.
func (s *Server) Count(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.counts[operation]
}
