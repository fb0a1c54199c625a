package doctor

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// wire stands between the client and the region, and remembers what no answer of the client tells: how
// long calls took, the region's clock, and every key and version that may have to be removed.
type wire struct {
	base http.RoundTripper

	mu struct {
		sync.Mutex
		took     map[string][]time.Duration
		clock    time.Duration // of the region's before ours
		hasClock bool
		keys     map[string]bool
		uploads  map[string]bool // keys of which an upload was begun
		versions map[version]bool
	}
}

type version struct{ key, id string }

func newWire(base http.RoundTripper) *wire {
	w := &wire{base: base}
	w.mu.took, w.mu.keys, w.mu.uploads, w.mu.versions = make(map[string][]time.Duration), make(map[string]bool), make(map[string]bool), make(map[version]bool)
	return w
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	key := ""
	if i := strings.Index(req.URL.Path, Prefix); i >= 0 {
		key = req.URL.Path[i:]
	}
	started := time.Now()
	resp, err := w.base.RoundTrip(req)
	ended := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	// What was refused was not written; of whatever else nobody knows.
	isRefused := err == nil && resp.StatusCode >= 400 && resp.StatusCode < 500
	if key != "" && (req.Method == http.MethodPut || req.Method == http.MethodPost) && !isRefused {
		w.mu.keys[key] = true
		if req.URL.Query().Has("uploads") {
			w.mu.uploads[key] = true
		}
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		op := operation(req)
		w.mu.took[op] = append(w.mu.took[op], ended.Sub(started))
		if id := resp.Header.Get("X-Amz-Version-Id"); id != "" && id != "null" && key != "" && req.Method != http.MethodGet && req.Method != http.MethodHead {
			w.mu.versions[version{key, id}] = true
		}
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && !w.mu.hasClock {
		// A Date has whole seconds: it is half a second early on average.
		middle := started.Add(ended.Sub(started) / 2)
		w.mu.clock, w.mu.hasClock = date.Add(time.Second/2).Sub(middle), true
	}
	return resp, nil
}

// operation names a request as the S3 API does.
func operation(req *http.Request) string {
	q := req.URL.Query()
	switch {
	case q.Has("uploads") && req.Method == http.MethodPost:
		return "CreateMultipartUpload"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	case q.Has("partNumber") && req.Method == http.MethodPut:
		return "UploadPart"
	case q.Has("uploadId") && req.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case q.Has("uploadId"):
		return "AbortMultipartUpload"
	case q.Has("list-type"):
		return "ListObjectsV2"
	case q.Has("tagging"):
		return "GetObjectTagging"
	case q.Has("versioning"), q.Has("object-lock"), q.Has("lifecycle"):
		return "GetBucketSettings"
	case req.Method == http.MethodHead && !strings.Contains(req.URL.Path, Prefix):
		return "HeadBucket"
	}
	return map[string]string{
		http.MethodGet: "GetObject", http.MethodHead: "HeadObject", http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject",
	}[req.Method]
}

func (w *wire) times() []CallTimes {
	w.mu.Lock()
	defer w.mu.Unlock()
	times := []CallTimes{}
	for op, took := range w.mu.took {
		slices.Sort(took)
		times = append(times, CallTimes{Operation: op, Count: len(took), Min: took[0].Seconds(), Median: took[len(took)/2].Seconds()})
	}
	slices.SortFunc(times, func(a, b CallTimes) int { return cmp.Compare(a.Operation, b.Operation) })
	return times
}

// clock is by how much the region's clock is ahead of ours, false where it never said.
func (w *wire) clock() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.clock, w.mu.hasClock
}

// written are the keys that any request may have written, sorted.
func (w *wire) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.mu.keys))
}

// begun are the keys of which an upload may be unfinished.
func (w *wire) begun() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.mu.uploads))
}

func (w *wire) versions() []version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.mu.versions))
}
