package apiclient_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gnew/tandem/internal/apiclient"
)

// source is a body that can be opened again, or not, and knows what was read of it.
type source struct {
	data   []byte
	opened int
	read   atomic.Int64
}

func (s *source) open() (io.ReadCloser, error) {
	s.opened++
	return &sourceBody{s, bytes.NewReader(s.data)}, nil
}

type sourceBody struct {
	s *source
	r *bytes.Reader
}

func (b *sourceBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.s.read.Add(int64(n))
	return n, err
}

func (b *sourceBody) Close() error { return nil }

func TestAPutThatIsRefusedBeforeItsBodyIsTriedAgain(t *testing.T) {
	for _, size := range []int{1, 5 << 20} {
		for _, isKnown := range []bool{true, false} {
			g := newGateway(t, nil)
			s := &source{data: randomBytes(size)}
			refusals := 0
			g.change(func() {
				g.before = func(w http.ResponseWriter, r *http.Request) bool {
					if refusals++; refusals > 1 {
						return false
					}
					if n := s.read.Load(); n > 0 {
						t.Errorf("%d bytes were read before the refusal", n)
					}
					problem(w, http.StatusServiceUnavailable, "ServiceUnavailable", "nothing was written")
					return true
				}
			})
			in := apiclient.PutInput{Open: s.open, Size: -1} // it cannot be read again: a pipe
			if isKnown {
				in.Size = int64(size)
			}
			written, err := newClient(t, g.URL, 1).Put(t.Context(), "k", in)
			if err != nil || written.Size != int64(size) || !bytes.Equal(g.brought(), s.data) || len(g.seen()) != 2 {
				t.Errorf("%d bytes, length known %t: got %+v, %v after %q", size, isKnown, written, err, g.seen())
			}
		}
	}
}

func TestAPutWithoutAnAnswerIsNotSentAgain(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"proxy": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		},
	} {
		for _, size := range []int{0, 1, 1 << 20} {
			g := newGateway(t, nil)
			g.change(func() {
				g.before = func(w http.ResponseWriter, r *http.Request) bool {
					_, _ = io.Copy(io.Discard, r.Body)
					answer(w)
					return true
				}
			})
			s := &source{data: randomBytes(size)}
			_, err := newClient(t, g.URL, 3).Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Reopens: true, Size: int64(size)})
			_, isUnknown := errors.AsType[*apiclient.UnknownOutcomeError](err)
			if !isUnknown || len(g.seen()) != 1 || !strings.Contains(err.Error(), "may or may not have been applied; look with `tandem head`") {
				t.Errorf("%s, %d bytes: got %v after %q", name, size, err, g.seen())
			}
		}
	}
}

func TestARefusalAfterTheBodyIsToldAndNotTriedAgain(t *testing.T) {
	g := newGateway(t, nil)
	g.change(func() {
		g.before = func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			problem(w, http.StatusServiceUnavailable, "ServiceUnavailable", "the write may or may not have been applied")
			return true
		}
	})
	s := &source{data: randomBytes(10)}
	_, err := newClient(t, g.URL, 3).Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Reopens: true, Size: 10})
	if e, ok := errors.AsType[*apiclient.StatusError](err); !ok || e.Status != http.StatusServiceUnavailable || len(g.seen()) != 1 {
		t.Errorf("got %v after %q", err, g.seen())
	}
}

func TestAPutThatIsCutBeforeItsEndIsSentAgainFromAFileAlone(t *testing.T) {
	for _, reopens := range []bool{true, false} {
		g := newGateway(t, nil)
		isFirst := true
		g.change(func() {
			g.before = func(w http.ResponseWriter, r *http.Request) bool {
				if !isFirst {
					return false
				}
				isFirst = false
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				panic(http.ErrAbortHandler)
			}
		})
		s := &source{data: randomBytes(32 << 20)} // more than sockets hold
		_, err := newClient(t, g.URL, 3).Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Reopens: reopens, Size: int64(len(s.data))})
		if _, isUnknown := errors.AsType[*apiclient.UnknownOutcomeError](err); isUnknown || (err == nil) != reopens {
			t.Errorf("reopens %t: got %v after %q", reopens, err, g.seen())
		}
		if reopens && !bytes.Equal(g.brought(), s.data) {
			t.Errorf("got %d bytes", len(g.brought()))
		}
	}
}

func TestAFileThatBecomesShorterIsNotWritten(t *testing.T) {
	g := newGateway(t, nil)
	s := &source{data: randomBytes(1000)}
	_, err := newClient(t, g.URL, 3).Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Reopens: true, Size: 2000})
	if err == nil || !strings.Contains(err.Error(), "became shorter") || g.brought() != nil && len(g.brought()) == 2000 {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatGrowsIsWrittenAsLongAsItWas(t *testing.T) {
	g := newGateway(t, nil)
	s := &source{data: randomBytes(2000)}
	if _, err := newClient(t, g.URL, 0).Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Reopens: true, Size: 1000}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g.brought(), s.data[:1000]) {
		t.Errorf("got %d bytes", len(g.brought()))
	}
}

func TestWhereNobodyListensNothingIsInDoubt(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1", 1)
	s := &source{}
	_, put := c.Put(t.Context(), "k", apiclient.PutInput{Open: s.open, Size: 0, Reopens: true})
	_, deleted := c.Delete(t.Context(), "k")
	for _, err := range []error{put, deleted} {
		if _, ok := errors.AsType[*apiclient.UnreachableError](err); !ok {
			t.Errorf("got %v, want that nobody is there", err)
		}
	}
	if s.opened != 2 {
		t.Errorf("opened %d times, want a second try", s.opened)
	}
}

func TestADeleteWithoutAnAnswerIsNotSentAgain(t *testing.T) {
	g := newGateway(t, nil)
	g.change(func() { g.before = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) } })
	_, err := newClient(t, g.URL, 3).Delete(t.Context(), "k")
	if _, ok := errors.AsType[*apiclient.UnknownOutcomeError](err); !ok || len(g.seen()) != 1 {
		t.Errorf("got %v after %q", err, g.seen())
	}
}
