package e2e_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is held to be that of one register for each key: there is an order of its steps,
// in keeping with time, in which each read has what the last write left. The answers of
// a write are as in docs/SEMANTICS.md: an acknowledged one took effect between request and
// answer; one that nobody knows of takes effect at any time after its request, or never.

// register is the model of one key. Its state is the value.
var register = porcupine.Model{
	Init: func() any { return absent },
	Step: func(state, input, _ any) (bool, any) {
		s := input.(step)
		switch {
		case s.action == actGet:
			return s.value == state, state
		case s.action == actDelete:
			return true, absent
		case s.action == actPut:
			return true, s.value
		case s.effect == denied:
			return state != absent, state
		case s.effect == took:
			return state == absent, s.value
		case state == absent: // a create that may take effect, and does
			return true, s.value
		}
		return true, state
	},
	DescribeOperation: func(input, _ any) string {
		s := input.(step)
		return fmt.Sprintf("%s %q %s (%d by %s, %s)", s.action, s.value, s.effect, s.status, s.region, s.version)
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%q", state) },
}

// checkTime bounds the check of one key. It takes milliseconds: each key has some hundred
// steps, of which a handful have no end.
const checkTime = 30 * time.Second

func operations(steps []step) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(steps))
	for i, s := range steps {
		ops[i] = porcupine.Operation{ClientId: s.client, Input: s, Call: s.call, Return: s.end}
	}
	return ops
}

// isRegister reports whether a key's steps are those of one register. Not to know is a failure
// of the test: the history is too large.
func isRegister(t *testing.T, steps []step) bool {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(register, operations(steps), checkTime)
	if result == porcupine.Unknown {
		t.Errorf("the %d steps of %s could not be checked in %s", len(steps), steps[0].key, checkTime)
	}
	return result == porcupine.Ok
}

// judge reports whether a key's steps are those of one register, and which of them do not count
// as evidence (early).
func (h *recording) judge(t *testing.T, steps []step, entries []namedEntry) (early []step, ok bool) {
	t.Helper()
	if isRegister(t, steps) {
		return nil, true
	}
	early = h.early(steps, entries)
	if len(early) == 0 {
		return nil, false
	}
	return early, isRegister(t, slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return slices.Contains(early, s) }))
}

// check holds every key to be a register.
func (h *recording) check(t *testing.T, entries []namedEntry) {
	t.Helper()
	for _, fault := range h.faults {
		t.Error(fault)
	}
	keys, began := byKey(h.all()), time.Now()
	checked, open := 0, 0
	for _, key := range h.keys {
		steps := keys[key]
		checked += len(steps)
		open = max(open, len(slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.effect != maybe })))
		early, ok := h.judge(t, steps, entries)
		switch {
		case !ok:
			t.Errorf("%s is not linearizable; its steps are in %s", key, h.draw(t, lastingDir(t), key, steps, entries))
		case len(early) > 0:
			t.Logf("%s is a register but for what was seen of a write in doubt before the ledger named it: %v", key, early)
		}
	}
	t.Logf("%d steps of %d keys checked in %s; at most %d of a key have no end; %d reads were said to be unknown",
		checked, len(h.keys), time.Since(began).Round(time.Millisecond), open, h.unsure)
}

// early are the steps that saw a write before a promotion put it in doubt. A read or a create
// that races with a write sees what was there before it or after it; where that write
// then has no answer, and its region is demoted, it counts from when the ledger says that it was
// found, or never.
func (h *recording) early(steps []step, entries []namedEntry) (early []step) {
	for _, w := range steps {
		if w.effect != maybe {
			continue
		}
		until := int64(0)
		for _, e := range entries {
			if at := h.promoted[e.epoch]; e.Kind == "in-doubt" && e.Key == w.key && w.call < at {
				until = max(until, at)
			}
		}
		for _, s := range steps {
			isSight := s.action == actGet && (s.value == w.value || w.action == actDelete && s.value == absent) ||
				s.effect == denied && w.action != actDelete
			if isSight && s.call < until && s.end > w.call && !slices.Contains(early, s) {
				early = append(early, s)
			}
		}
	}
	return early
}

// lastingDir is a folder that outlasts the test.
func lastingDir(t *testing.T) string {
	t.Helper()
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return t.ArtifactDir()
	}
	dir, err := os.MkdirTemp("", "tandem-history-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// draw writes a key's steps as text and as porcupine shows them, and returns where.
func (h *recording) draw(t *testing.T, dir, key string, steps []step, entries []namedEntry) string {
	t.Helper()
	path := filepath.Join(dir, strings.ReplaceAll(key, "/", "-"))
	_, info := porcupine.CheckOperationsVerbose(register, operations(steps), checkTime)
	if err := porcupine.VisualizePath(register, info, path+".html"); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	everything := slices.DeleteFunc(h.all(), func(s step) bool { return s.key != key })
	slices.SortFunc(everything, func(a, b step) int { return cmp.Compare(a.call, b.call) })
	for _, s := range everything {
		fmt.Fprintln(&text, s)
	}
	fmt.Fprintf(&text, "\nepochs seen to begin: %v\n", h.promoted)
	for _, e := range entries {
		if e.Key == key {
			fmt.Fprintf(&text, "ledger: %+v outcome %q\n", e, e.outcome())
		}
	}
	for _, c := range h.g.conflicts(t) {
		if c.Key == key {
			fmt.Fprintf(&text, "conflict: %+v\n", c)
		}
	}
	fmt.Fprintf(&text, "status: %+v\n", h.g.status(t, key))
	if err := os.WriteFile(path+".txt", []byte(text.String()), 0o600); err != nil {
		t.Error(err)
	}
	return path + ".html and .txt"
}

// namedEntry is an entry of the ledger of the failover that began an epoch.
type namedEntry struct {
	epoch int64
	ledgerEntry
}

func (g *gateway) ledgers(t *testing.T) (all []namedEntry) {
	t.Helper()
	for _, f := range g.failovers(t) {
		for _, e := range g.ledger(t, f.Epoch) {
			all = append(all, namedEntry{f.Epoch, e})
		}
	}
	return all
}

// TestPlantedViolationsAreFound: a history without any fault passes, and does not once a read in it
// is changed to an older version, to one that was deleted, or to nothing; and it can be looked at.
func TestPlantedViolationsAreFound(t *testing.T) {
	t.Parallel()
	_, h := recorded(t)
	h.end()
	h.epilogue(t)
	h.check(t, nil)
	h.checkPlanted(t, nil)
	edited, _ := plant(byKey(h.all())[h.keys[0]], lostWrite)
	dir := t.TempDir()
	h.draw(t, dir, h.keys[0], edited, nil)
	for _, pattern := range []string{"*.html", "*.txt"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); len(found) != 1 {
			t.Errorf("drawn as %v (%v), want one %s", found, err, pattern)
		}
	}
}

// TestOnlyALedgerExcusesTheSightOfAWriteInDoubt: a read saw a write that was in doubt afterwards;
// after the promotion the older version is read. That is linearizable only because the ledger
// says that the write was in doubt, and not where the read came later.
func TestOnlyALedgerExcusesTheSightOfAWriteInDoubt(t *testing.T) {
	t.Parallel()
	const promoted = 100
	h := &recording{promoted: map[int64]int64{2: promoted}}
	steps := func(sight int64) []step {
		return []step{
			{key: "k", action: actPut, value: "acknowledged", effect: took, call: 0, end: 10},
			{key: "k", action: actPut, value: "in doubt", effect: maybe, call: 20, end: never},
			{key: "k", action: actGet, value: "in doubt", effect: took, call: sight, end: sight + 5},
			{key: "k", action: actGet, value: "acknowledged", effect: took, call: promoted + 50, end: promoted + 60},
		}
	}
	inDoubt := []namedEntry{{2, ledgerEntry{Kind: "in-doubt", Key: "k"}}}
	for _, tt := range []struct {
		name    string
		steps   []step
		entries []namedEntry
		want    bool
	}{
		{"named", steps(30), inDoubt, true},
		{"not named", steps(30), nil, false},
		{"another key is named", steps(30), []namedEntry{{2, ledgerEntry{Kind: "in-doubt", Key: "other"}}}, false},
		{"named as at risk", steps(30), []namedEntry{{2, ledgerEntry{Kind: "at-risk", Key: "k"}}}, false},
		{"seen after the promotion", steps(promoted + 10), inDoubt, false},
	} {
		if _, got := h.judge(t, tt.steps, tt.entries); got != tt.want {
			t.Errorf("%s: linearizable %t, want %t", tt.name, got, tt.want)
		}
	}
}
