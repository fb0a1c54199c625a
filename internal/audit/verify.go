package audit

import (
	"fmt"
	"iter"
	"strconv"
	"time"
)

// Witness is a checkpoint that was kept outside the journal.
type Witness struct {
	Checkpoint
	// Source says where, as in "file x" or "region secondary".
	Source string
}

// Report is what Verify found.
type Report struct {
	JournalID string
	// Entries is how many there are, and Intact how many of them from the first on
	// hold together.
	Entries, Intact int64
	// Head is the hash recorded with the last entry, Genesis where there is none.
	Head Hash
	// Broken is the first entry that is not as it was recorded, nil where there is none.
	Broken *Break
	// Findings has one for each witness, in their order.
	Findings []Finding
}

// Break is where a chain does not hold together.
type Break struct {
	// Index is the entry's.
	Index int64
	Kind  BreakKind
	// Text says it to an operator.
	Text string
}

// BreakKind is what happened to an entry.
type BreakKind string

// The kinds of a break.
const (
	// Changed: its content, its number or its hash; or what came before it.
	Changed BreakKind = "changed"
	// Missing: no entry has its number.
	Missing BreakKind = "missing"
	// OutOfOrder: it comes after one with a higher number.
	OutOfOrder BreakKind = "out of order"
	// Duplicate: it comes a second time.
	Duplicate BreakKind = "duplicate"
)

// Finding is what comparing the chain with a witness gave.
type Finding struct {
	Witness Witness
	// Agrees: every entry that the checkpoint covers is there, as it was then.
	Agrees bool
	// Text says it to an operator, whichever way it went.
	Text string
}

// OK reports whether nothing was found wrong. What could not be looked at is in Unproven.
func (r Report) OK() bool {
	for _, f := range r.Findings {
		if !f.Agrees {
			return false
		}
	}
	return r.Broken == nil
}

// Unproven says what the verification could not prove, as ends of a sentence that
// begins with "Not proven:".
func (r Report) Unproven() []string {
	var left []string
	if r.Broken != nil {
		left = append(left, fmt.Sprintf("anything of the entries after %d: the chain is broken there", r.Intact))
	}
	w, ok := r.newest()
	if !ok {
		why := "no checkpoint from outside the journal was compared"
		if len(r.Findings) > 0 {
			why = "no checkpoint from outside the journal agrees"
		}
		return append(left,
			"that the newest entries were not cut off: "+why,
			"that the chain was not made anew, from its first entry or a later one, by somebody who can write the journal: "+why)
	}
	if newer := r.Intact - w.Size; newer > 0 {
		which := fmt.Sprintf("entry %d", r.Intact)
		if newer > 1 {
			which = fmt.Sprintf("entries %d to %d", w.Size+1, r.Intact)
		}
		left = append(left, fmt.Sprintf("that %s, newer than the newest checkpoint that agrees (%s, of %s), %s not made anew: "+
			"the journal fits together there, and nothing outside it says more", which, w.Source, clock(w.At), plural(newer, "was", "were")))
	}
	return append(left, fmt.Sprintf("that no entry was cut off that was recorded after the newest checkpoint that agrees (%s, of %s)", w.Source, clock(w.At)))
}

// newest returns the witness that covers most, of those that agree.
func (r Report) newest() (w Witness, ok bool) {
	for _, f := range r.Findings {
		if f.Agrees && (!ok || f.Witness.Size > w.Size || f.Witness.Size == w.Size && f.Witness.At.After(w.At)) {
			w, ok = f.Witness, true
		}
	}
	return w, ok
}

// Verify walks the entries of a journal once, in the order in which they are stored,
// and compares them with the witnesses. It keeps nothing of an entry but a hash for each
// witness. The error is that of the entries, where they cannot be read to their end; what
// is wrong with a chain that can be read is in the report.
func Verify(journalID string, entries iter.Seq2[Linked, error], against []Witness) (Report, error) {
	w := walk{
		Report:   Report{JournalID: journalID, Head: Genesis(journalID)},
		recorded: make(map[int64]Hash, len(against)),
		wanted:   make(map[int64]bool, len(against)),
	}
	for _, x := range against {
		w.wanted[x.Size] = true
	}
	w.recorded[0] = w.Head
	for l, err := range entries {
		if err != nil {
			return Report{}, fmt.Errorf("read the audit entry after %d: %w", w.last, err)
		}
		w.step(l)
	}
	for _, x := range against {
		w.Findings = append(w.Findings, w.compare(x, against))
	}
	return w.Report, nil
}

// walk is the state of a verification. Once the chain is broken it goes on, to count
// the entries, to see whether a missing one comes later, and to find the witnesses' hashes.
type walk struct {
	Report
	// last is the number of the entry before, highest the highest so far.
	last, highest int64
	// wanted are the witnesses' sizes; recorded has the hashes of the entries so numbered,
	// of several the first.
	wanted   map[int64]bool
	recorded map[int64]Hash
}

func (w *walk) step(l Linked) {
	switch b := w.Broken; {
	case b == nil:
		if w.Broken = w.check(l); w.Broken == nil {
			w.Intact++
		}
	case b.Kind == Missing && b.Index == l.Index:
		b.Kind = OutOfOrder
		b.Text = fmt.Sprintf("entry %d is out of order: it comes after entry %d", l.Index, w.last)
	}
	if _, ok := w.recorded[l.Index]; !ok && w.wanted[l.Index] {
		w.recorded[l.Index] = l.Hash
	}
	w.Entries++
	w.Head = l.Hash
	w.last, w.highest = l.Index, max(w.highest, l.Index)
}

// check returns what is wrong with the entry that comes after the intact ones. What has
// another number than is due is first taken for the entry that is due: if its hash then
// fits, only the number was changed.
func (w *walk) check(l Linked) *Break {
	due := w.Intact + 1
	entry := l.Entry
	entry.Index = due
	hash := Link(w.Head, entry)
	switch {
	case hash == l.Hash && l.Index == due:
		return nil
	case hash == l.Hash:
		return &Break{due, Changed, fmt.Sprintf("entry %d was changed: its number is now %d", due, l.Index)}
	case l.Index == due:
		return &Break{due, Changed, fmt.Sprintf("entry %d was changed, or what is before it was changed or removed: the hash recorded with it is %s, "+
			"and its content after %s gives %s", due, l.Hash, before(due), hash)}
	case l.Index > due:
		return &Break{due, Missing, fmt.Sprintf("entry %d is missing: after %s comes entry %d", due, before(due), l.Index)}
	case l.Index >= 1:
		return &Break{l.Index, Duplicate, fmt.Sprintf("entry %d is there twice: it comes again after %s", l.Index, before(due))}
	}
	return &Break{due, Changed, fmt.Sprintf("after %s comes one with the number %d, which no entry has", before(due), l.Index)}
}

func before(index int64) string {
	if index == 1 {
		return "the beginning"
	}
	return fmt.Sprintf("entry %d", index-1)
}

// agrees reports whether every entry that x covers is there, as it was then. Between
// equal hashes nothing can differ, so the last one speaks for all.
func (w *walk) agrees(x Witness) bool {
	return x.JournalID == w.JournalID && x.Size >= 0 && x.Size <= w.Intact && w.recorded[x.Size] == x.Head
}

func (w *walk) compare(x Witness, against []Witness) Finding {
	recorded, there := w.recorded[x.Size]
	var text string
	switch {
	case w.agrees(x):
		text = fmt.Sprintf("the checkpoint of %s agrees: entry %d has the hash that it had on %s", x.Source, x.Size, clock(x.At))
		if x.Size == 0 {
			text = fmt.Sprintf("the checkpoint of %s agrees, and covers no entry", x.Source)
		}
		return Finding{x, true, text}
	case x.JournalID != w.JournalID:
		text = fmt.Sprintf("the checkpoint of %s is of another journal, %s", x.Source, x.JournalID)
	case x.Size < 0:
		text = fmt.Sprintf("the checkpoint of %s covers %d entries, which no checkpoint does", x.Source, x.Size)
	case x.Size > w.highest:
		text = w.sayCut(x)
	case x.Size <= w.Intact:
		text = fmt.Sprintf("the chain was made anew: at entry %d its hash is %s, the checkpoint of %s says %s", x.Size, recorded, x.Source, x.Head)
		if old, ok := w.agreeing(against, x.Size); ok {
			text += fmt.Sprintf(" (up to entry %d it is the old one, by the checkpoint of %s)", old.Size, old.Source)
		}
	case !there:
		text = fmt.Sprintf("the checkpoint of %s cannot be compared: it covers %d entries, and none has that number", x.Source, x.Size)
	case recorded == x.Head:
		text = fmt.Sprintf("the checkpoint of %s covers broken entries: the hash recorded at entry %d is the one that it says, but the entries after %d do not lead to it",
			x.Source, x.Size, w.Intact)
	default:
		text = fmt.Sprintf("the checkpoint of %s covers broken entries: at entry %d the hash %s is recorded, and it says %s", x.Source, x.Size, recorded, x.Head)
	}
	return Finding{Witness: x, Text: text}
}

func (w *walk) sayCut(x Witness) string {
	has := fmt.Sprintf("the chain has %d", w.highest)
	if w.Broken != nil {
		has = fmt.Sprintf("the highest number in the chain is %d", w.highest)
	}
	missing := x.Size - w.highest
	return fmt.Sprintf("the newest %s missing: the checkpoint of %s covers %s, %s",
		plural(missing, "entry is", strconv.FormatInt(missing, 10)+" entries are"), x.Source,
		plural(x.Size, "1 entry", strconv.FormatInt(x.Size, 10)+" entries"), has)
}

// agreeing returns the witness that covers most, of those that agree and cover less
// than size.
func (w *walk) agreeing(against []Witness, size int64) (old Witness, ok bool) {
	for _, x := range against {
		if x.Size > old.Size && x.Size < size && w.agrees(x) {
			old, ok = x, true
		}
	}
	return old, ok
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
