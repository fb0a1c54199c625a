package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gnew/tandem/internal/journal"
)

// absent is the value of a key that does not exist; any other is an ETag.
const absent = ""

// fate is what a client knows of its write.
type fate string

const (
	underWay     fate = "under way"
	acknowledged fate = "acknowledged"
	unknown      fate = "unknown"
	refused      fate = "refused" // the answer says that nothing was written
)

// write is one client's write of a key.
type write struct {
	client, key, value string
	body               string
	// began and ended are ticks; ended is 0 while it is under way.
	began, ended int64
	outcome
	// effective is the tick by which it had certainly taken effect, 0 while nobody knows.
	effective int64
}

// outcome is what a client was told of its write.
type outcome struct {
	fate    fate
	version journal.Version
	region  string
	answer  string
}

func (w *write) String() string {
	value := w.value
	if value == absent {
		value = "delete"
	}
	return fmt.Sprintf("[%d,%d] %s %s %s: %s %s %s %s", w.began, w.ended, w.client, w.key, value, w.fate, w.version, w.region, w.answer)
}

// model keeps what clients wrote and were told, and from it which values of a key a read may
// show. Its time is ticks: each begin and each end of an operation has one of its own.
type model struct {
	mu     sync.Mutex
	tick   int64
	writes map[string][]*write
	bodies map[string]string // by value
}

func newModel() *model {
	return &model{writes: make(map[string][]*write), bodies: make(map[string]string)}
}

// now draws a tick.
func (m *model) now() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick++
	return m.tick
}

func (m *model) begin(w *write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick++
	w.began, w.fate = m.tick, underWay
	m.writes[w.key] = append(m.writes[w.key], w)
	if w.value != absent {
		m.bodies[w.value] = w.body
	}
}

func (m *model) end(w *write, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick++
	w.ended, w.outcome = m.tick, o
	if o.fate == acknowledged && (w.effective == 0 || w.effective > w.ended) {
		w.effective = w.ended
	}
}

// permits says whether a read of key that began and ended at those ticks may show the value. A
// value is that of some write, or of none, that was not replaced before the read began: by a write
// that began after it had ended and had certainly taken effect. One of which nobody knows whether it
// took effect may take it at any time.
func (m *model) permits(key, value string, began, ended int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == absent && !m.replaced(key, 0, began) {
		return true // it never was
	}
	for _, w := range m.writes[key] {
		if w.value != value || w.began > ended || w.fate == refused {
			continue
		}
		if w.fate != acknowledged || !m.replaced(key, w.ended, began) {
			return true
		}
	}
	return false
}

// replaced reports whether a write that began after a tick had taken effect before another.
func (m *model) replaced(key string, after, before int64) bool {
	return slices.ContainsFunc(m.writes[key], func(w *write) bool {
		return w.began > after && w.effective != 0 && w.effective < before
	})
}

// observe is told that a read showed a value: where only one write can have brought it, that has
// taken effect.
func (m *model) observe(key, value string, at int64) {
	if value == absent {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found *write
	for _, w := range m.writes[key] {
		if w.value != value || w.fate == refused {
			continue
		}
		if found != nil {
			return
		}
		found = w
	}
	if found != nil && (found.effective == 0 || found.effective > at) {
		found.effective = at
	}
}

// last is the acknowledged write of the highest version, nil where there is none.
func (m *model) last(key string) *write {
	m.mu.Lock()
	defer m.mu.Unlock()
	var last *write
	for _, w := range m.writes[key] {
		if w.fate == acknowledged && (last == nil || w.version.Compare(last.version) > 0) {
			last = w
		}
	}
	return last
}

// of are the writes of a key so far.
func (m *model) of(key string) []write {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []write
	for _, w := range m.writes[key] {
		list = append(list, *w)
	}
	return list
}

func (m *model) body(value string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.bodies[value]
	return b, ok
}

func (m *model) history(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, w := range m.writes[key] {
		fmt.Fprintf(&b, "\n    %s", w)
	}
	return b.String()
}
