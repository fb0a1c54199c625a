package e2e_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// result is what a client knows of a request.
type result string

const (
	// acknowledged: the gateway said that it did.
	acknowledged result = "acknowledged"
	// refused: the gateway said that nothing was written, or could not be reached.
	refused result = "refused"
	// unanswered: nobody knows; it may have been written, and may be, later.
	unanswered result = "unanswered"
	// seen: a read that was answered with an object or its absence.
	seen result = "seen"
	// unread: a read without an answer.
	unread result = "unread"
)

// request is one request of a client and what became of it.
type request struct {
	key    string
	client int
	// n is the number of the body; the same again for a write that is repeated.
	n, size int
	method  string
	// value is what was written or seen: an ETag, or "" for an absence.
	value      string
	start, end time.Duration // since the life began
	result     result
	version    journal.Version
	said       string
}

func (r request) String() string {
	what := fmt.Sprintf("%-6s", r.method)
	if r.method == http.MethodPut {
		what += fmt.Sprintf(" #%d %d bytes", r.n, r.size)
	}
	return fmt.Sprintf("%9.3fs to %9.3fs client %2d %s %q %s %s %s",
		r.start.Seconds(), r.end.Seconds(), r.client, what, r.value, r.result, r.version, r.said)
}

// body is what write n of a key holds.
func body(key string, n, size int) string {
	text := fmt.Sprintf("%s write %d\n", key, n)
	return text + content{seed: byte(n), size: int64(size)}.text()
}

func etagOf(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// history is what all clients of one life remember.
type history struct {
	began time.Time

	mu struct {
		sync.Mutex
		// round are the requests of this round, in the order of their ends.
		round []request
		// base is what each key held when the round began, and was checked to.
		base map[string]string
		// written has every write that was sent so far, by key and value; versions those that
		// were acknowledged, by key and version.
		written  map[string]request
		versions map[string]request
		// number is that of the last body.
		number int
	}
}

func newHistory() *history {
	h := &history{began: time.Now()}
	h.mu.base, h.mu.written, h.mu.versions = make(map[string]string), make(map[string]request), make(map[string]request)
	return h
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) next() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.number++
	return h.mu.number
}

func (h *history) add(r request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.round = append(h.mu.round, r)
	if r.method == http.MethodGet || r.result == refused {
		return
	}
	h.mu.written[r.key+" "+r.value] = r
	if r.result == acknowledged {
		h.mu.versions[r.key+" "+r.version.String()] = r
	}
}

// tortured is one client: it has keys of its own, and some that it shares with all others.
type tortured struct {
	life   *life
	id     int
	random *rand.Rand
	keys   []string
	// again is a write that was not acknowledged, and is repeated as it was, as clients do.
	again *request
}

// The times of a client.
const (
	thinkTime, backOffTime = 30 * time.Millisecond, 100 * time.Millisecond
	// requestPatience is how long most requests are waited for; some clients leave earlier.
	requestPatience = 8 * time.Second
	shortPatience   = 150 * time.Millisecond
)

// run sends one request after the other until ctx ends. One that was begun is carried through.
func (c *tortured) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.once(context.WithoutCancel(ctx))
		rest := thinkTime
		if c.again != nil { // as a client that backs off
			rest = backOffTime
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.random.Int64N(int64(rest)))):
		}
	}
}

func (c *tortured) once(ctx context.Context) {
	r := request{client: c.id, key: c.keys[c.random.IntN(len(c.keys))]}
	switch dice := c.random.IntN(100); {
	case c.again != nil && dice < 50:
		r, c.again = *c.again, nil
	case dice < 35:
		r.method = http.MethodGet
	case dice < 50:
		r.method = http.MethodDelete
	default:
		r.method, r.n, r.size = http.MethodPut, c.life.history.next(), c.size()
	}
	patience := requestPatience
	if c.random.IntN(20) == 0 {
		patience = shortPatience
	}
	ctx, leave := context.WithTimeout(ctx, patience)
	defer leave()
	if r.method == http.MethodGet {
		c.read(ctx, r)
		return
	}
	c.write(ctx, r)
}

// size is mostly small, and at times beyond what is sent in one piece.
func (c *tortured) size() int {
	switch dice := c.random.IntN(10); {
	case dice < 7:
		return c.random.IntN(2 * kib)
	case dice < 9:
		return c.random.IntN(32 * kib)
	}
	return 65*kib + c.random.IntN(100*kib)
}

func (c *tortured) read(ctx context.Context, r request) {
	h := c.life.history
	r.start = h.now()
	a, err := c.life.send(ctx, r.method, object(r.key), nil)
	r.end, r.result = h.now(), unread
	switch {
	case err != nil:
		r.said = err.Error()
	case a.status == http.StatusOK:
		r.result, r.value = seen, etagOf(string(a.body))
		r.said = a.header.Get("X-Tandem-Region") + " " + a.header.Get("X-Tandem-Freshness")
		r.version, _ = journal.ParseVersion(a.header.Get("X-Tandem-Version"))
	case a.status == http.StatusNotFound:
		r.result, r.said = seen, a.header.Get("X-Tandem-Region")+" "+a.header.Get("X-Tandem-Freshness")
	default:
		r.said = detailOf(a)
	}
	h.add(r)
}

func (c *tortured) write(ctx context.Context, r request) {
	var sent io.Reader
	r.value = ""
	if r.method == http.MethodPut {
		text := body(r.key, r.n, r.size)
		r.value, sent = etagOf(text), strings.NewReader(text)
	}
	h := c.life.history
	r.start = h.now()
	a, err := c.life.send(ctx, r.method, object(r.key), sent)
	r.end = h.now()
	r.result, r.said = outcomeFor(a, err)
	if r.result == acknowledged {
		r.version, err = journal.ParseVersion(a.header.Get("X-Tandem-Version"))
		if err != nil {
			r.said = "acknowledged without a version"
		}
	} else if c.again == nil {
		c.again = &r
	}
	if strings.Contains(r.said, "InsufficientStorage") {
		c.life.tally.add(guardRefusals, 1)
	}
	h.add(r)
}

// notReached is said of a request for which there was nobody.
const notReached = "not reached"

// outcomeFor is what the answer to a write says of it.
func outcomeFor(a answer, err error) (result, string) {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return refused, notReached
	}
	switch {
	case err != nil:
		return unanswered, err.Error()
	case a.status == http.StatusCreated, a.status == http.StatusNoContent:
		return acknowledged, ""
	case a.status < 500, strings.Contains(string(a.body), "nothing was written"), strings.Contains(string(a.body), "InsufficientStorage"),
		strings.Contains(string(a.body), "did not reach it"):
		return refused, detailOf(a)
	}
	return unanswered, detailOf(a)
}

// detailOf is the sentence of an error's answer.
func detailOf(a answer) string {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(a.body, &problem) != nil {
		return a.String()
	}
	return fmt.Sprintf("%d %s: %s", a.status, problem.Code, problem.Detail)
}
