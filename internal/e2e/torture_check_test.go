package e2e_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// forever is the end of a write without an answer.
const forever = time.Duration(math.MaxInt64)

// effectiveEnd is when a write can have no effect any more that it has not had.
func (r request) effectiveEnd() time.Duration {
	if r.result == acknowledged {
		return r.end
	}
	return forever
}

// keyHistory is what clients did with one key in a round.
type keyHistory struct {
	key, base string
	// writes are those that were not refused; the first is what the key held before.
	writes, reads, refused []request
}

// permits says why a key cannot hold the value at the given time, "" where it can: as long as some
// write of it had begun, and no later one was acknowledged that began after that one had ended.
func (k *keyHistory) permits(value string, from, to time.Duration) string {
	why := "no write of this round, nor what the key held before, is this"
	for _, r := range k.refused {
		if r.value == value && r.method == http.MethodPut {
			why = fmt.Sprintf("this write was refused: %s", r)
		}
	}
	for _, w := range k.writes {
		if w.value != value || w.start > to {
			continue
		}
		later := slices.IndexFunc(k.writes, func(o request) bool {
			return o.result == acknowledged && o.start > w.effectiveEnd() && o.end < from
		})
		if later < 0 {
			return ""
		}
		why = fmt.Sprintf("it was overwritten by %s", k.writes[later])
	}
	return why
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (k *keyHistory) String() string {
	if k == nil {
		return "of no client"
	}
	var b strings.Builder
	all := slices.Concat(k.writes, k.reads, k.refused)
	all = slices.DeleteFunc(all, func(r request) bool { return r.said == notReached || r.result == unread })
	slices.SortFunc(all, func(a, b request) int { return int(a.start - b.start) })
	for _, r := range all {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// take ends the clients' round: by key, what they did.
func (l *life) take() map[string]*keyHistory {
	h := l.history
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := make(map[string]*keyHistory)
	for _, key := range l.keys {
		k := &keyHistory{key: key, base: h.mu.base[key]}
		k.writes = []request{{key: key, method: "before", value: k.base, result: acknowledged}}
		keys[key] = k
	}
	for _, r := range h.mu.round {
		k := keys[r.key]
		switch {
		case r.result == refused:
			k.refused = append(k.refused, r)
		case r.method == http.MethodGet:
			k.reads = append(k.reads, r)
		default:
			k.writes = append(k.writes, r)
		}
	}
	h.mu.round = nil
	return keys
}

func (l *life) fail(k *keyHistory, format string, args ...any) {
	l.t.Helper()
	l.t.Errorf("seed %d: %s: %s\nits requests:\n%swhat was done:\n%s", l.seed, k.key, fmt.Sprintf(format, args...), k, strings.Join(l.notes, "\n"))
}

// check lets everything come to rest, and compares what there is with what the clients know.
func (l *life) check(number int) {
	keys := l.take()
	l.t.Logf("round %d: %d failovers", number, l.epoch-1)
	l.waitQuiet(keys)
	held := l.readAll(keys)
	l.checkRegions(keys, held)
	l.checkReads(keys)
	l.checkVersions(keys)
	l.checkConflicts(keys, held)
	l.checkLedgers()
	l.history.mu.Lock()
	l.history.mu.base = held
	l.history.mu.Unlock()
}

// readAll reads every key through the gateway, and returns what they hold.
func (l *life) readAll(keys map[string]*keyHistory) map[string]string {
	l.t.Helper()
	held := make(map[string]string)
	for _, key := range l.keys {
		k := keys[key]
		a := l.g.get(l.t, key)
		value := ""
		switch {
		case a.status == http.StatusOK:
			value = etagOf(string(a.body))
		case a.status != http.StatusNotFound:
			l.fail(k, "at rest it is answered with %s", a)
			continue
		}
		held[key] = value
		now := l.history.now()
		if why := k.permits(value, now, now); why != "" {
			l.fail(k, "it reads as %q (%s): %s", value, l.origin(key, value), why)
		}
		l.countWrites(k, value)
	}
	return held
}

// origin is the write that a value is of.
func (l *life) origin(key, value string) string {
	if value == "" {
		return "absent"
	}
	l.history.mu.Lock()
	defer l.history.mu.Unlock()
	r, ok := l.history.mu.written[key+" "+value]
	if !ok {
		return "nobody's"
	}
	return r.String()
}

// countWrites counts what the clients were told, and what became of what they were not.
func (l *life) countWrites(k *keyHistory, value string) {
	l.tally.add(refusals, len(k.refused))
	for _, r := range k.refused {
		if strings.Contains(r.said, "could not be recorded") {
			l.tally.add(fullRefusals, 1)
		}
	}
	var final request
	for _, w := range k.writes[1:] {
		if w.result == acknowledged {
			l.tally.add(acknowledgements, 1)
		} else {
			l.tally.add(unansweredWrites, 1)
			if strings.Contains(w.said, "could not be recorded") {
				l.tally.add(fullRefusals, 1)
			}
		}
		if w.value == value && w.method == http.MethodPut {
			final = w
		}
	}
	if final.result != unanswered {
		return
	}
	l.tally.add(foundLater, 1)
	if k.isLate(final) {
		l.tally.add(lateOverNewer, 1)
	}
}

// isLate: a later write was acknowledged before this one landed.
func (k *keyHistory) isLate(w request) bool {
	return slices.ContainsFunc(k.writes, func(o request) bool { return o.result == acknowledged && o.start > w.end })
}

// checkRegions compares both regions with what was read, byte by byte, and the listing with it.
func (l *life) checkRegions(keys map[string]*keyHistory, held map[string]string) {
	l.t.Helper()
	for _, name := range []string{primary, secondary} {
		r := l.g.region(l.t, name)
		for _, key := range l.keys {
			if _, isRead := held[key]; !isRead {
				continue
			}
			data, value := bytesOf(l.t, r, key), ""
			if data != nil {
				value = etagOf(string(data))
			}
			if value != held[key] {
				l.fail(keys[key], "%s holds %q (%s); it is read as %q", name, value, l.origin(key, value), held[key])
			}
			l.tally.add(comparisons, 1)
		}
		for key := range heldBelow(l, r, "torture/") {
			if keys[key] == nil {
				l.t.Errorf("%s holds %s, which nobody wrote", name, key)
			}
		}
	}
	listed, _ := l.g.keys(l.t, "")
	for _, key := range l.keys {
		if isListed := slices.Contains(listed, key); isListed != (held[key] != "") {
			l.fail(keys[key], "it is listed: %t; it is read as %q", isListed, held[key])
		}
	}
}

// heldBelow are the ETags of what a region holds below a prefix.
func heldBelow(l *life, r *region.Region, prefix string) map[string]string {
	l.t.Helper()
	etags := make(map[string]string)
	for after, more := "", true; more; {
		page, err := r.List(l.t.Context(), region.ListOptions{Prefix: prefix, StartAfter: after})
		if err != nil {
			l.t.Fatal(err)
		}
		for _, o := range page.Objects {
			after = o.Key
			etags[o.Key] = o.ETag
		}
		more = page.Truncated
	}
	return etags
}

// checkReads: every read was answered with what the key may have held meanwhile.
func (l *life) checkReads(keys map[string]*keyHistory) {
	l.t.Helper()
	for _, key := range l.keys {
		k := keys[key]
		for _, r := range k.reads {
			if r.result != seen {
				l.tally.add(unansweredReads, 1)
				continue
			}
			l.tally.add(answeredReads, 1)
			if why := k.permits(r.value, r.start, r.end); why != "" {
				l.fail(k, "a read saw %q (%s): %s: %s", r.value, l.origin(key, r.value), r, why)
			}
		}
	}
}

// checkVersions: every acknowledged write has a version, and of two acknowledged writes of a key, one after the other, the second has the
// later version.
func (l *life) checkVersions(keys map[string]*keyHistory) {
	l.t.Helper()
	for _, key := range l.keys {
		k := keys[key]
		for _, a := range k.writes[1:] {
			if a.result == acknowledged && a.version.IsZero() {
				l.fail(k, "acknowledged without a version: %s", a)
			}
			for _, b := range k.writes[1:] {
				if a.result == acknowledged && b.result == acknowledged && a.end < b.start && a.version.Compare(b.version) >= 0 {
					l.fail(k, "versions do not rise:\n%s\n%s", a, b)
				}
			}
		}
	}
}

// checkConflicts: each loser is kept in both regions, as it was written.
func (l *life) checkConflicts(keys map[string]*keyHistory, held map[string]string) {
	l.t.Helper()
	conflicts := l.g.conflicts(l.t)
	a, b := l.g.region(l.t, primary), l.g.region(l.t, secondary)
	for _, c := range conflicts {
		if c.Deleted {
			continue
		}
		ours, theirs := bytesOf(l.t, a, c.KeptKey), bytesOf(l.t, b, c.KeptKey)
		if ours == nil || string(ours) != string(theirs) {
			l.fail(keys[c.Key], "the loser of %+v is kept as %d bytes in %s, and %d in %s", c, len(ours), primary, len(theirs), secondary)
			continue
		}
		l.history.mu.Lock()
		acked, isAcked := l.history.mu.versions[c.Key+" "+c.Loser]
		_, isWritten := l.history.mu.written[c.Key+" "+etagOf(string(ours))]
		l.history.mu.Unlock()
		if isAcked && acked.value != etagOf(string(ours)) || !isWritten {
			l.fail(keys[c.Key], "the loser of %+v is kept as %s; acknowledged was %v", c, l.origin(c.Key, etagOf(string(ours))), acked)
		}
		l.tally.add(conflictsKept, 1)
	}
	if kept := heldBelow(l, a, s3op.ReservedPrefix+"conflicts/"); len(kept) > len(conflicts) {
		l.t.Errorf("%d losers are kept, and there are %d conflicts", len(kept), len(conflicts))
	}
}

// checkLedgers: every entry of the promotions since the last round was closed, with an outcome
// that fits what the clients know.
func (l *life) checkLedgers() {
	l.t.Helper()
	kept := make(map[string]bool)
	for _, c := range l.g.conflicts(l.t) {
		kept[c.Key+" "+c.Loser] = true
	}
	newest := l.epoch
	for _, f := range l.g.failovers(l.t) {
		if f.Epoch <= l.epoch {
			continue
		}
		newest = max(newest, f.Epoch)
		if f.Automatic {
			l.tally.add(promotedItself, 1)
		} else {
			l.tally.add(promoted, 1)
		}
		for _, e := range l.g.ledger(l.t, f.Epoch) {
			l.checkEntry(e, kept)
		}
	}
	l.epoch = newest
}

func (l *life) checkEntry(e ledgerEntry, kept map[string]bool) {
	l.t.Helper()
	l.history.mu.Lock()
	acked, isAcked := l.history.mu.versions[e.Key+" "+e.Version]
	l.history.mu.Unlock()
	wrong := ""
	switch {
	case e.outcome() == "lost":
		wrong = "nothing may be lost"
	case e.outcome() == "conflict" && !kept[e.Key+" "+e.Version]:
		wrong = "there is no such conflict"
	case !slices.Contains([]string{"recovered", "superseded", "conflict", "not-applied"}, e.outcome()):
		wrong = "there is no such outcome"
	case e.outcome() == "not-applied" && isAcked:
		wrong = "it was acknowledged"
	case e.Kind == "at-risk" && isAcked && acked.value != e.ETag:
		wrong = fmt.Sprintf("acknowledged was %s", acked)
	}
	if wrong != "" {
		reason := ""
		if e.Reason != nil {
			reason = *e.Reason
		}
		l.t.Errorf("seed %d: ledger entry %+v, closed as %q (%s): %s\nwhat was done:\n%s", l.seed, e, e.outcome(), reason, wrong, strings.Join(l.notes, "\n"))
	}
	name := atRiskEntries
	if e.Kind == "in-doubt" {
		name = inDoubtEntries
	}
	l.tally.add(name, 1)
	l.tally.add(name+", closed as "+e.outcome(), 1)
}
