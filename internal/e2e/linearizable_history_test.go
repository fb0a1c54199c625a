package e2e_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// action is what a client of a history does.
type action string

const (
	actPut action = "put"
	// actCreate is a put with If-None-Match: *.
	actCreate action = "create"
	actDelete action = "delete"
	actGet    action = "get"
)

// effect is what a client knows of an action after its answer.
type effect string

const (
	// took: a read has its value, a write was acknowledged.
	took effect = "took effect"
	// denied: a create found the key to be there (412).
	denied effect = "was refused"
	// maybe: the write may take effect at any time from now on, or never.
	maybe effect = "may take effect"
	// nothing: the answer says that nothing was written, or a read has no answer that counts.
	nothing effect = "had no effect"
)

// absent is the value of a key that is not there.
const absent = ""

// step is one action of a history, with its answer.
type step struct {
	client int
	key    string
	action action
	// value was written, or read. It names its bytes (bytesNamed).
	value  string
	effect effect
	// call and end are nanoseconds since the history began; end is never where the effect may
	// still come.
	call, end int64
	// answered is when the answer was there, whatever its effect.
	answered int64
	prefer   bool
	status   int
	region   string
	version  string
}

const never = math.MaxInt64

func (s step) isWrite() bool { return s.action != actGet }

func (s step) String() string {
	end := "never"
	if s.end != never {
		end = time.Duration(s.end).Round(time.Microsecond).String()
	}
	name := s.action
	if s.prefer {
		name += " (replica)"
	}
	return fmt.Sprintf("%12s to %12s client %2d %s %s %q %s: %d by %s, version %s",
		time.Duration(s.call).Round(time.Microsecond), end, s.client, name, s.key, s.value, s.effect, s.status, s.region, s.version)
}

// etag is that of the value's bytes.
func (s step) etag() string { return etagNamed(s.value) }

func etagNamed(value string) string {
	if value == absent {
		return ""
	}
	sum := md5.Sum(bytesNamed(value))
	return hex.EncodeToString(sum[:])
}

// bytesNamed are the bytes of a value: its name, and as much as the name says.
func bytesNamed(value string) []byte {
	var size int
	_, rest, _ := strings.Cut(value, "/")
	if _, err := fmt.Sscanf(rest, "%d", &size); err != nil {
		panic(fmt.Sprintf("value %q: %v", value, err))
	}
	return append([]byte(value+"\n"), bytes.Repeat([]byte{'x'}, size)...)
}

// nameOf is the value that bytes are, if they are all of it.
func nameOf(data []byte) (string, bool) {
	name, _, found := bytes.Cut(data, []byte("\n"))
	if _, rest, _ := strings.Cut(string(name), "/"); !found || rest == "" {
		return "", false
	}
	return string(name), bytes.Equal(bytesNamed(string(name)), data)
}

// recording is what clients of a gateway do to a few keys that they share.
type recording struct {
	g       *gateway
	keys    []string
	clients int
	began   time.Time
	stop    context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	steps  []step
	skip   func(key string) bool
	unsure int
	faults []string
	// promoted is when an epoch was first seen to be served.
	promoted map[int64]int64
}

// startRecording has clients work on keys until end is called. Each sends one request after
// the other.
func (g *gateway) startRecording(t *testing.T, clients, keys int) *recording {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &recording{
		g: g, clients: clients, began: time.Now(), stop: cancel, done: make(chan struct{}), promoted: make(map[int64]int64),
	}
	for i := range keys {
		h.keys = append(h.keys, fmt.Sprintf("load/%02d", i))
	}
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { h.work(ctx, i) })
	}
	go func() {
		group.Wait()
		close(h.done)
	}()
	t.Cleanup(h.end)
	return h
}

func (h *recording) end() {
	h.stop()
	<-h.done
}

func (h *recording) now() int64 { return int64(time.Since(h.began)) }

// leaveAlone has the clients only read the keys for which skip is true from now on.
func (h *recording) leaveAlone(skip func(key string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skip = skip
}

// pace bounds the size of a history, however fast the machine is.
const pace = 12 * time.Millisecond

// create is actCreate, or what comes closest to it in regions without conditions on writes.
func create() action {
	if !regions.conditions {
		return actPut
	}
	return actCreate
}

func (h *recording) work(ctx context.Context, client int) {
	random := rand.New(rand.NewPCG(uint64(client), 7))
	for n := 0; ctx.Err() == nil; n++ {
		s := step{client: client, key: h.keys[random.IntN(len(h.keys))]}
		switch p := random.IntN(100); {
		case p < 28:
			s.action = actPut
		case p < 40:
			s.action = actDelete
		case p < 56:
			s.action = create()
		default:
			s.action, s.prefer = actGet, p >= 80
		}
		h.mu.Lock()
		isSkipped := h.skip != nil && h.skip(s.key)
		h.mu.Unlock()
		if isSkipped && s.isWrite() {
			s.action = actGet
		}
		size := -1
		if s.action == actPut || s.action == actCreate {
			bytes := []int{0, 900, 900, 900, 80 * kib}[random.IntN(5)]
			s.value = fmt.Sprintf("c%d-%d/%d", client, n, bytes)
			if size = len(bytesNamed(s.value)); random.IntN(6) == 0 {
				size = unknown
			}
		}
		h.carry(ctx, s, int64(size))
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.Int64N(int64(2 * pace)))):
		}
	}
}

// carry makes the request, and records what became of it. It is carried through when the history
// ends, so that its outcome is known.
func (h *recording) carry(ctx context.Context, s step, size int64) step {
	method, header, path := http.MethodPut, http.Header{}, object(s.key)
	var body []byte
	switch s.action {
	case actCreate:
		header.Set("If-None-Match", "*")
		body = bytesNamed(s.value)
	case actPut:
		body = bytesNamed(s.value)
	case actDelete:
		method, size = http.MethodDelete, 0
	case actGet:
		method, size = http.MethodGet, 0
		if s.prefer {
			path += "?prefer=replica"
		}
	}
	s.call = h.now()
	a, err := h.g.send(context.WithoutCancel(ctx), method, path, header, bytes.NewReader(body), size)
	s.answered = h.now()
	s.end = s.answered
	s.status, s.region, s.version = a.status, a.header.Get("X-Tandem-Region"), a.header.Get("X-Tandem-Version")
	fault := ""
	if s.isWrite() {
		s.effect, fault = writeEffect(s.action, a, err)
	} else {
		s.value, s.effect, fault = readEffect(a, err)
	}
	if s.effect == maybe {
		s.end = never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if fault != "" {
		h.faults = append(h.faults, fmt.Sprintf("%s: %v", fault, s))
	}
	if s.effect == nothing && a.header.Get("X-Tandem-Freshness") == "unknown" {
		h.unsure++
	}
	h.steps = append(h.steps, s)
	return s
}

// writeEffect says what an answer proves of a write, and what is wrong with the answer.
func writeEffect(act action, a answer, err error) (effect, string) {
	switch {
	case err != nil:
		return maybe, ""
	case a.status == http.StatusCreated && act != actDelete, a.status == http.StatusNoContent && act == actDelete:
		return took, ""
	case a.status == http.StatusPreconditionFailed && act == actCreate:
		return denied, ""
	case a.status == http.StatusServiceUnavailable:
		// A condition that cannot be judged is one on which nothing was done.
		for _, said := range []string{"nothing was written", "cannot be judged"} {
			if bytes.Contains(a.body, []byte(said)) {
				return nothing, ""
			}
		}
		return maybe, ""
	}
	return maybe, fmt.Sprintf("unexpected answer %s", a)
}

// readEffect says what an answer proves of a key. A version that is not said to be current
// proves nothing, and has to say so.
func readEffect(a answer, err error) (value string, e effect, fault string) {
	freshness := a.header.Get("X-Tandem-Freshness")
	switch {
	case err != nil, a.status == http.StatusServiceUnavailable:
		return absent, nothing, ""
	case a.status == http.StatusNotFound:
		return absent, took, ""
	case a.status != http.StatusOK:
		return absent, nothing, fmt.Sprintf("unexpected answer %s", a)
	}
	value, ok := nameOf(a.body)
	switch {
	case !ok:
		return absent, nothing, fmt.Sprintf("read bytes that nobody wrote: %s", a)
	case freshness == "unknown":
		return value, nothing, ""
	case freshness != "current":
		return value, nothing, fmt.Sprintf("freshness %q, which was not allowed", freshness)
	}
	return value, took, ""
}

// all are the steps so far.
func (h *recording) all() []step {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]step{}, h.steps...)
}

// byKey are the steps that count, for each key.
func byKey(steps []step) map[string][]step {
	keys := make(map[string][]step)
	for _, s := range steps {
		if s.effect != nothing {
			keys[s.key] = append(keys[s.key], s)
		}
	}
	return keys
}

// count is how many steps of this kind there are.
func (h *recording) count(matches func(step) bool) (n int) {
	for _, s := range h.all() {
		if matches(s) {
			n++
		}
	}
	return n
}

// goOn waits until the clients have had so many more writes acknowledged.
func (h *recording) goOn(t *testing.T, writes int) {
	t.Helper()
	isDone := func(s step) bool { return s.isWrite() && s.effect == took }
	want := h.count(isDone) + writes
	eventually(t, fmt.Sprintf("%d more writes are acknowledged", writes), func() bool { return h.count(isDone) >= want })
}

// waitPromoted waits for an epoch, and notes when that is.
func (h *recording) waitPromoted(t *testing.T, name string, epoch int64) {
	t.Helper()
	h.g.waitActive(t, name, epoch)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.promoted[epoch] = h.now()
}

// readAll reads every key once more, here and at the replica.
func (h *recording) readAll(t *testing.T) {
	t.Helper()
	for _, key := range h.keys {
		for _, prefer := range []bool{false, true} {
			h.carry(t.Context(), step{client: h.clients, key: key, action: actGet, prefer: prefer}, 0)
		}
	}
}
