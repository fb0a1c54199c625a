package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/s3op"
)

// uploads is a gateway in front of one region, for bodies of unknown size.
type uploads struct {
	*Gateway
	t *testing.T
	A *regiontest.Server
	// noRoom has AdmitWrite refuse, from its nth question on; 0 is never.
	noRoom atomic.Int64
}

var errNoRoom = s3op.NewError(s3op.Unavailable, "InsufficientStorage", "no room")

func newUploads(t *testing.T) *uploads {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.DiscardHandler)
	u := &uploads{t: t, A: regiontest.NewServer(regiontest.Options{Buckets: []string{"bucket"}, AccessKey: "key"})}
	r, err := region.New(t.Context(), region.Config{
		Name: "a", Endpoint: regiontest.Start(t, u.A), Bucket: "bucket", AccessKey: "key", SecretKey: "secret", Timeout: 10 * time.Second,
	})
	ok(err)
	j, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "journal"), Logger: logger})
	ok(err)
	t.Cleanup(func() { ok(j.Close()) })
	state, err := j.BeginEpoch(t.Context(), 0, "a")
	ok(err)
	ok(j.Attach(t.Context(), "bucket", []string{"a"}))
	u.Gateway, err = New(Config{
		Bucket: "bucket", Regions: []*region.Region{r}, Journal: j, State: state, SpoolDir: t.TempDir(), Logger: logger,
		AdmitWrite: func() error {
			if n := u.noRoom.Load(); n == 1 {
				return errNoRoom
			} else if n > 1 {
				u.noRoom.Add(-1)
			}
			return nil
		},
	})
	ok(err)
	return u
}

func (u *uploads) put(body io.Reader, h http.Header) error {
	_, err := u.Put(u.t.Context(), "k", PutInput{Header: h, Body: body, Size: -1})
	return err
}

// wantGivenBack checks that the spool is as it was before any upload.
func (u *uploads) wantGivenBack(name string) {
	u.t.Helper()
	if n := len(u.spool.buffers); n != memoryParts {
		u.t.Errorf("%s: the spool has %d buffers left, want %d", name, n, memoryParts)
	}
	if left, err := os.ReadDir(u.SpoolDir); err != nil || len(left) > 0 {
		u.t.Errorf("%s: the spool's folder holds %v (%v), want nothing", name, left, err)
	}
	if open := u.A.Uploads("bucket"); len(open) > 0 {
		u.t.Errorf("%s: unfinished uploads are left: %+v", name, open)
	}
}

// exhaust takes the spool's memory, so that parts go to disk.
func (u *uploads) exhaust() (release func()) {
	u.t.Helper()
	var releases []func()
	for range memoryParts {
		_, r, err := u.spool.part(bytes.NewReader(nil), firstPartBytes, u.AdmitWrite)
		if err != nil {
			u.t.Fatal(err)
		}
		releases = append(releases, r)
	}
	return func() {
		for _, r := range releases {
			r()
		}
	}
}

// However an upload ends, the room that its parts took is there for the next.
func TestSpoolIsGivenBackHoweverAnUploadEnds(t *testing.T) {
	u := newUploads(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 2*firstPartBytes/16+1)
	cut := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(large[:n]), brokenBody{}) }
	wrong := http.Header{"Content-Md5": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	refuse := func(operation string) func(regiontest.Request) regiontest.Fault {
		return func(q regiontest.Request) regiontest.Fault {
			if q.Operation == operation {
				return regiontest.Fault{Code: "SlowDown"}
			}
			return regiontest.Fault{}
		}
	}
	for _, c := range []struct {
		name   string
		body   func() io.Reader
		header http.Header
		faults func(regiontest.Request) regiontest.Fault
		fails  bool
	}{
		{"well", func() io.Reader { return bytes.NewReader(large) }, nil, nil, false},
		{"well, in one part", func() io.Reader { return bytes.NewReader(large[:firstPartBytes-1]) }, nil, nil, false},
		{"well, in one whole part", func() io.Reader { return bytes.NewReader(large[:firstPartBytes]) }, nil, nil, false},
		{"well, empty", func() io.Reader { return bytes.NewReader(nil) }, nil, nil, false},
		{"the region does not begin it", func() io.Reader { return bytes.NewReader(large) }, nil, refuse("CreateMultipartUpload"), true},
		{"the region takes no part", func() io.Reader { return bytes.NewReader(large) }, nil, refuse("UploadPart"), true},
		{"the region does not complete it", func() io.Reader { return bytes.NewReader(large) }, nil, refuse("CompleteMultipartUpload"), true},
		{"the region does not take it whole", func() io.Reader { return bytes.NewReader(large[:10]) }, nil, refuse("PutObject"), true},
		{"cut at once", func() io.Reader { return cut(0) }, nil, nil, true},
		{"cut in the first part", func() io.Reader { return cut(10) }, nil, nil, true},
		{"cut behind the first part", func() io.Reader { return cut(firstPartBytes) }, nil, nil, true},
		{"cut in the second part", func() io.Reader { return cut(firstPartBytes + 10) }, nil, nil, true},
		{"other content than said", func() io.Reader { return bytes.NewReader(large) }, wrong, nil, true},
		{"other content than said, in one part", func() io.Reader { return bytes.NewReader(large[:10]) }, wrong, nil, true},
	} {
		u.A.SetFaults(c.faults)
		if err := u.put(c.body(), c.header); (err != nil) != c.fails {
			t.Errorf("%s: got %v, want an error: %v", c.name, err, c.fails)
		}
		u.A.SetFaults(nil)
		u.wantGivenBack(c.name)
		release := u.exhaust()
		u.A.SetFaults(c.faults)
		if err := u.put(c.body(), c.header); (err != nil) != c.fails {
			t.Errorf("%s, on disk: got %v, want an error: %v", c.name, err, c.fails)
		}
		u.A.SetFaults(nil)
		release()
		u.wantGivenBack(c.name + ", on disk")
	}
}

// What the journal needs of the disk, no upload takes: parts go there only while a
// write would be admitted.
func TestSpoolLeavesTheJournalItsRoom(t *testing.T) {
	u := newUploads(t)
	large := make([]byte, 2*firstPartBytes+1)
	for question, what := range []string{1: "the write", 2: "the first part", 3: "the second part", 4: "the third part"} {
		if question == 0 {
			continue
		}
		release := u.exhaust()
		u.noRoom.Store(int64(question))
		body := bytes.NewReader(large)
		if err := u.put(body, nil); !errors.Is(err, errNoRoom) {
			t.Errorf("%s is not admitted: got %v, want %v", what, err, errNoRoom)
		}
		u.noRoom.Store(0)
		release()
		u.wantGivenBack(what)
		if taken := len(large) - body.Len(); taken > max(question-2, 0)*firstPartBytes {
			t.Errorf("%s is not admitted: %d bytes were taken of the client", what, taken)
		}
	}
	if keys := u.A.Keys("bucket"); len(keys) > 0 {
		t.Errorf("the region holds %q, want nothing", keys)
	}
	u.noRoom.Store(2)
	if err := u.put(bytes.NewReader(large), nil); err != nil {
		t.Errorf("an upload that needs no disk: %v", err)
	}
	u.noRoom.Store(2)
	body := bytes.NewReader(large)
	if _, _, err := u.spool.part(body, 4*firstPartBytes, u.AdmitWrite); !errors.Is(err, errNoRoom) || body.Len() < len(large)-admitBytes {
		t.Errorf("the room ends in the middle of a part: got %v with %d bytes left, want %v", err, body.Len(), errNoRoom)
	}
	u.wantGivenBack("the room ends in the middle of a part")
}

// A transport may read on after its request has failed; the next upload's bytes are
// not for it.
func TestPartThatWasGivenBackCannotBeRead(t *testing.T) {
	s := newSpool(t.TempDir(), firstPartBytes)
	admit := func() error { return nil }
	for name, limit := range map[string]int64{"memory": firstPartBytes, "disk": firstPartBytes + 1} {
		first, release, err := s.part(bytes.NewReader([]byte("first")), limit, admit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.body.Read(make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		release()
		release()
		_, next, err := s.part(bytes.NewReader([]byte("other")), limit, admit)
		if err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(first.body); len(rest) > 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: read %q (%v) of a part that was given back", name, rest, err)
		}
		next()
	}
	if n := len(s.buffers); n != memoryParts {
		t.Errorf("got %d buffers, want %d", n, memoryParts)
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
