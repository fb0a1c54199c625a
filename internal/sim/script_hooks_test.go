package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// hooks are what a script has for single requests and calls of the journal.
type hooks struct {
	mu    sync.Mutex
	rules []*exactRule
	names map[string]*hook
}

// hook is a name that a request or a call waits for.
type hook struct {
	reached, released   chan struct{}
	reachOnce, freeOnce sync.Once
}

func (h *hook) reach()   { h.reachOnce.Do(func() { close(h.reached) }) }
func (h *hook) release() { h.freeOnce.Do(func() { close(h.released) }) }

// exactRule is for the next requests or calls that fit.
type exactRule struct {
	where, operation, key string
	part                  string
	left                  int // below 0: all
	fault                 regiontest.Fault
	hook                  *hook
}

func (h *hooks) named(name string) *hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.names == nil {
		h.names = make(map[string]*hook)
	}
	if h.names[name] == nil {
		h.names[name] = &hook{reached: make(chan struct{}), released: make(chan struct{})}
	}
	return h.names[name]
}

func (h *hooks) add(r *exactRule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = append(h.rules, r)
}

// clear ends the rules of a place.
func (h *hooks) clear(where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = slices.DeleteFunc(h.rules, func(r *exactRule) bool { return r.where == where })
}

// find takes the rule for a request or call, nil where there is none.
func (h *hooks) find(where, operation, key, part string) *exactRule {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rules {
		prefix, isPrefix := strings.CutSuffix(r.key, "*")
		fits := r.key == key || isPrefix && strings.HasPrefix(key, prefix)
		if r.where != where || r.operation != "*" && r.operation != operation || !fits || r.part != "" && r.part != part || r.left == 0 {
			continue
		}
		r.left--
		return r
	}
	return nil
}

func (h *hooks) releaseAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = nil
	for _, named := range h.names {
		named.release()
	}
}

// ofRequests is the hooks as a region's exact rule.
func (h *hooks) ofRequests(w *world, name string) func(regiontest.Request) (regiontest.Fault, bool) {
	return func(q regiontest.Request) (regiontest.Fault, bool) {
		r := h.find(name, q.Operation, q.Key, fmt.Sprint(q.PartNumber))
		if r == nil {
			return regiontest.Fault{}, false
		}
		w.note("%s: %s %s #%d meets its fault", name, q.Operation, q.Key, q.Attempt)
		if r.hook != nil {
			r.hook.reach()
		}
		return r.fault, true
	}
}

// ofCalls is the hooks as what keeps calls of the journal.
func (h *hooks) ofCalls(w *world) func(l *life, call, key string) {
	return func(l *life, call, key string) {
		r := h.find("journal", call, key, "")
		if r == nil {
			return
		}
		w.note("journal: %s %s is kept", call, key)
		r.hook.reach()
		select {
		case <-r.hook.released:
		case <-l.over:
		}
	}
}

// parseFault reads the words of a fault, behind its place, operation and key.
func (h *hooks) parseFault(where string, words []string) *exactRule {
	r := &exactRule{where: where, operation: words[0], key: words[1], left: 1}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		if value != "" && name != "part" {
			r.hook = h.named(value)
		}
		switch name {
		case "always":
			r.left = -1
		case "part":
			r.part = value
		case "lost":
			r.fault.Apply, r.fault.CutBefore = true, true
		case "refused":
			r.fault.CutBefore, r.fault.Early = true, true
		case "late": // no answer; applied when it is released, whatever has happened by then
			r.fault.ApplyLater = r.hook.released
		case "hang": // nothing happens until it is released
			r.fault.Hang = r.hook.released
		case "applied":
			r.fault.Apply = true
		case "unanswered": // applied, and the answer is kept until it is released
			r.fault.Apply, r.fault.Hang = true, r.hook.released
		case "half": // half of the answer's body; the cut waits until it is released
			r.fault.CutBodyAfter, r.fault.CutBodyWhen = largeBody/2, r.hook.released
		case "twice":
			r.fault.Twice = true
		case "inside200":
			r.fault.Status = 200
		case "as": // only the name
		default:
			r.fault.Code = name // an error code of S3
		}
	}
	return r
}

// errorOf is an S3 error as a region's answer.
func errorOf(code, status string) (f regiontest.Fault) {
	f.Code = code
	_, _ = fmt.Sscan(status, &f.Status)
	return f
}
