// Package pace gives a client a deadline for the next bytes that it sends or takes, rather than one
// for a body of any size: one that is slow is served to the end, one that stands still is not.
package pace

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Writer is an http.ResponseWriter that remembers the status, and extends the deadline with each write. Make one with
// NewWriter. It is for one goroutine.
type Writer struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	status  int
}

// NewWriter returns a Writer whose client has the timeout for every WriteBytes.
func NewWriter(w http.ResponseWriter, timeout time.Duration) *Writer {
	return &Writer{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
}

// Status is that of the answer, 0 while there is none.
func (w *Writer) Status() int { return w.status }

// extend sets the deadline for what is written next. Nobody here takes it away: the end of
// an answer leaves after its handler has returned, and then the server does.
func (w *Writer) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.timeout)) }

// WriteHeader begins the answer.
func (w *Writer) WriteHeader(status int) {
	w.status = status
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// WriteBytes is what a client has to take within one deadline.
const WriteBytes = 128 << 10

func (w *Writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	written := 0
	for {
		w.extend()
		n, err := w.ResponseWriter.Write(p[written:min(written+WriteBytes, len(p))])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discardTimeout bounds the reading of a body that nobody wants.
const discardTimeout = 5 * time.Second

// Discard is to be called before an answer that leaves a part of the request's body unread: what is left of that is read on,
// a little, for the sake of the connection.
func (w *Writer) Discard() { _ = w.control.SetReadDeadline(time.Now().Add(discardTimeout)) }

// Body is a request's body: each read has a deadline of its own.
type Body struct {
	body    io.Reader
	control *http.ResponseController
	timeout time.Duration
}

// NewBody returns the body of r, whose answer goes to w.
func NewBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) *Body {
	return &Body{body: r.Body, control: http.NewResponseController(w), timeout: timeout}
}

func (b *Body) Read(p []byte) (int, error) {
	if err := b.control.SetReadDeadline(time.Now().Add(b.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.body.Read(p)
	if err != nil {
		// From here on the server only waits for the client to leave: a deadline that
		// passed would be taken for that.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

var buffers = sync.Pool{New: func() any { return new([WriteBytes]byte) }}

// Copy streams a body to its end. An error cuts the answer short, which is how the client learns
// of it.
func Copy(w io.Writer, body io.Reader) error {
	buffer := buffers.Get().(*[WriteBytes]byte)
	defer buffers.Put(buffer)
	for {
		n, err := body.Read(buffer[:])
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
