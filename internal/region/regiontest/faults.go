package regiontest

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"
)

// Fault is what goes wrong with one request. Its fields are independent; the
// zero value is a request that goes well. Without Apply, a request that is
// refused or cut changes nothing.
type Fault struct {
	// Status and Code are the error to answer instead: either may be left out
	// and follows from the other. Status 200 with a Code is the error inside a
	// 200 that S3 sends for CopyObject and CompleteMultipartUpload.
	Status int
	Code   string
	// Apply lets the operation take effect nevertheless: the answer says or
	// shows nothing of it. With Hang it takes effect before the wait.
	Apply bool
	// CutBefore cuts the connection before any byte of an answer.
	CutBefore bool
	// CutBodyAfter cuts the connection after so many bytes of a body; negative
	// is before its first byte. It is the request's body where the request has
	// one (a shorter one is read whole, then cut), else that of the answer.
	CutBodyAfter int64
	// CutBodyWhen has the cut of an answer's body wait until it is closed: the
	// bytes before it are sent at once.
	CutBodyWhen <-chan struct{}
	// Hang keeps the answer back until it is closed; then the rest of the
	// fault happens. If the client leaves first, nothing more happens.
	Hang <-chan struct{}
	// ApplyLater cuts the connection once the request is read, and lets the
	// operation take effect when the channel is closed, whatever else became
	// of the key or the region by then. See [Server.WaitLate].
	ApplyLater <-chan struct{}
	// Twice lets the operation take effect two times, one right after the other, as
	// where something on the way sends the request again; the second answer is sent.
	Twice bool
	// Early lets Status, CutBefore and Hang strike before the request's body is
	// read, instead of after. It means nothing with Apply and ApplyLater. A
	// client that leaves during such a Hang is not noticed while it owes a body.
	Early bool
}

// SetFaults sets the rule that is asked about every request, in place of the
// one before; nil is none. The rule is called without the server's lock, from
// many goroutines at once.
func (s *Server) SetFaults(rule func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.rule = rule
}

// serve carries a request past its fault.
func (s *Server) serve(c *call, f Fault) {
	c.fault = f
	if f.Early && !f.Apply && f.ApplyLater == nil {
		if c.hang(f.Hang) || c.refuse(f) {
			return
		}
		f.Hang = nil
	}
	if f.CutBodyAfter != 0 && c.hasBody() {
		after := max(f.CutBodyAfter, 0)
		c.body.limit, c.body.limited = after, c.r.ContentLength < 0 || after < c.r.ContentLength
		f.CutBefore = true
	}
	run, err := s.prepare(c)
	if errors.Is(err, errCut) || c.isKilled() {
		c.cut()
		return
	}
	if err != nil {
		run = func(*bucket) (*reply, error) { return nil, err }
	}
	if f.ApplyLater != nil {
		s.applyLater(c, run, f.ApplyLater)
		c.cut()
		return
	}
	var rep *reply
	if f.Twice {
		_, _ = s.apply(c, run) // its answer went to whatever sent it again
	}
	if f.Apply {
		rep, err = s.apply(c, run)
	}
	if c.hang(f.Hang) || c.refuse(f) {
		return
	}
	if !f.Apply {
		rep, err = s.apply(c, run)
	}
	c.answer(rep, err)
}

// hang waits as the fault says, and reports whether the request ended there.
func (c *call) hang(until <-chan struct{}) bool {
	if until == nil {
		return false
	}
	select {
	case <-until:
		return false
	case <-c.r.Context().Done():
	case <-c.killed:
	}
	c.cut()
	return true
}

// refuse reports whether the fault keeps the true answer from the client, and
// then does so.
func (c *call) refuse(f Fault) bool {
	switch {
	case f.CutBefore:
		c.cut()
	case f.Status != 0 || f.Code != "":
		code := cmp.Or(f.Code, codeOf(f.Status))
		c.sendError(&apiError{status: cmp.Or(f.Status, statusOf(code)), code: code, message: "Injected fault"})
	default:
		return false
	}
	return true
}

// applyLater runs the effect on its own, once until is closed.
func (s *Server) applyLater(c *call, run effect, until <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.late++
	closed := s.mu.closed
	go func() {
		apply := false
		select {
		case <-until:
			apply = true
		case <-closed:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if apply {
			// Nobody is left to hear of an error.
			_, _ = s.applyLocked(c, run)
		}
		if s.mu.late--; s.mu.late == 0 {
			close(s.mu.lateDone)
			s.mu.lateDone = make(chan struct{})
		}
	}()
}

// WaitLate returns when no operation waits for its [Fault].ApplyLater any more.
// The caller closes those channels first.
func (s *Server) WaitLate() {
	s.mu.Lock()
	late, done := s.mu.late, s.mu.lateDone
	s.mu.Unlock()
	if late > 0 {
		<-done
	}
}

// SetDown takes the region off the network, or brings it back with all it
// holds. While it is down every request is cut at once. Requests in flight are
// cut too: those not yet applied never are, and those just applied lose their
// reply. No byte of an answer leaves after SetDown(true) has returned.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setDownLocked(down)
}

func (s *Server) setDownLocked(down bool) {
	s.mu.down = down
	if !down {
		return
	}
	past := time.Unix(1, 0)
	for c := range s.mu.inFlight {
		if c.isKilled() {
			continue
		}
		close(c.killed)
		// Whatever the handler waits for on its connection fails now; it then
		// finds that it was killed. Writers without deadlines just finish.
		rc := http.NewResponseController(c.w)
		_ = rc.SetReadDeadline(past)
		_ = rc.SetWriteDeadline(past)
	}
}

// Close takes the region down for good, abandons what still waits for its
// ApplyLater and returns when that has ended.
func (s *Server) Close() {
	s.mu.Lock()
	s.setDownLocked(true)
	select {
	case <-s.mu.closed:
	default:
		close(s.mu.closed)
	}
	s.mu.Unlock()
	s.WaitLate()
}

// begin records a request; up says whether the region is there to serve it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (c *call, rule func(Request) Fault, up bool) {
	c = newCall(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recordLocked(c)
	if s.mu.down {
		return c, nil, false
	}
	s.mu.inFlight[c] = struct{}{}
	return c, s.mu.rule, true
}

// end lets go of a request. A connection that SetDown has touched is not used
// again, for its deadlines are spoilt.
func (s *Server) end(c *call) {
	s.mu.Lock()
	delete(s.mu.inFlight, c)
	s.mu.Unlock()
	if c.isKilled() {
		c.cut()
	}
}

func (c *call) isKilled() bool {
	select {
	case <-c.killed:
		return true
	default:
		return false
	}
}

// cut closes the connection. What was flushed before stays sent.
func (c *call) cut() {
	if c.cutOff {
		return
	}
	c.cutOff = true
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn.Close()
}

// hasBody says whether the request announced a body.
func (c *call) hasBody() bool { return c.r.ContentLength != 0 }

// bodyReader is the request's body as far as the fault lets it through.
type bodyReader struct {
	r       io.Reader
	limit   int64
	limited bool
	ended   bool // read to its end
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.limited {
		if b.limit == 0 {
			return 0, errCut
		}
		p = p[:min(int64(len(p)), b.limit)]
	}
	n, err := b.r.Read(p)
	b.limit -= int64(n)
	b.ended = err == io.EOF
	return n, err
}
