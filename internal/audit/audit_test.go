package audit_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

const journalID = "5d2b7c1e-98a4-4f0b-8a55-0c6f2f1f7a10"

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// entry is the nth of a journal in which much happens.
func entry(n int64) audit.Entry {
	actions := []audit.Action{audit.Write, audit.Promote, audit.Conflict, audit.Close}
	return audit.Entry{
		Index: n, At: epoch.Add(time.Duration(n) * time.Second), Action: actions[n%4], Actor: "client",
		Bucket: "photos", Key: fmt.Sprintf("cats/%d.jpg", n), Version: fmt.Sprintf("1-%d", n), Region: "primary", Detail: `{"etag":"abc"}`,
	}
}

// chain is a journal's first n entries.
func chain(n int64) []audit.Linked {
	var entries []audit.Entry
	for i := range n {
		entries = append(entries, entry(i+1))
	}
	return link(journalID, entries...)
}

// link computes every hash, as somebody who can write the journal can too.
func link(journalID string, entries ...audit.Entry) []audit.Linked {
	var links []audit.Linked
	head := audit.Genesis(journalID)
	for _, e := range entries {
		head = audit.Link(head, e)
		links = append(links, audit.Linked{Entry: e, Hash: head})
	}
	return links
}

// relink computes the hashes of links anew from the one at position i on.
func relink(links []audit.Linked, i int) {
	for ; i < len(links); i++ {
		prev := audit.Genesis(journalID)
		if i > 0 {
			prev = links[i-1].Hash
		}
		links[i].Hash = audit.Link(prev, links[i].Entry)
	}
}

func each(links []audit.Linked) iter.Seq2[audit.Linked, error] {
	return func(yield func(audit.Linked, error) bool) {
		for _, l := range links {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// witness covers the first size entries of links.
func witness(links []audit.Linked, size int64, source string) audit.Witness {
	head := audit.Genesis(journalID)
	if size > 0 {
		head = links[size-1].Hash
	}
	return audit.Witness{
		Checkpoint: audit.Checkpoint{JournalID: journalID, Size: size, Head: head, At: epoch.Add(time.Duration(size) * time.Minute)},
		Source:     source,
	}
}

func verify(t *testing.T, links []audit.Linked, against ...audit.Witness) audit.Report {
	t.Helper()
	r, err := audit.Verify(journalID, each(links), against)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != len(against) {
		t.Fatalf("got %d findings for %d witnesses", len(r.Findings), len(against))
	}
	if r.Entries != int64(len(links)) {
		t.Errorf("got %d entries, want %d", r.Entries, len(links))
	}
	return r
}

// wantBreak checks where and how a chain is broken, and that intact entries before it count.
func wantBreak(t *testing.T, r audit.Report, index int64, kind audit.BreakKind, intact int64, words ...string) {
	t.Helper()
	switch b := r.Broken; {
	case b == nil:
		t.Errorf("got an unbroken chain, want entry %d %s", index, kind)
	case b.Index != index || b.Kind != kind || r.Intact != intact:
		t.Errorf("got entry %d %s after %d intact, want %d %s after %d: %s", b.Index, b.Kind, r.Intact, index, kind, intact, b.Text)
	default:
		wantWords(t, b.Text, words...)
	}
	if r.OK() {
		t.Error("a broken chain is OK")
	}
	if left := strings.Join(r.Unproven(), "\n"); !strings.Contains(left, fmt.Sprintf("anything of the entries after %d", intact)) {
		t.Errorf("got unproven %q, want the entries after %d in it", left, intact)
	}
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want %q in it", text, word)
		}
	}
}

func TestAnUntouchedChainIsWhole(t *testing.T) {
	for n := range int64(5) {
		links := chain(n)
		r := verify(t, links, witness(links, n, "file a"), witness(links, n/2, "region secondary"))
		if !r.OK() || r.Broken != nil || r.Intact != n || r.JournalID != journalID {
			t.Errorf("%d entries: got %+v, want it whole", n, r)
		}
		if want := witness(links, n, "").Head; r.Head != want {
			t.Errorf("%d entries: got head %v, want %v", n, r.Head, want)
		}
	}
}

// changes are what can be done to an entry without touching its number.
var changes = map[string]func(l *audit.Linked){
	"time":     func(l *audit.Linked) { l.At = l.At.Add(time.Microsecond) },
	"action":   func(l *audit.Linked) { l.Action = audit.Remove },
	"actor":    func(l *audit.Linked) { l.Actor = "admin" },
	"bucket":   func(l *audit.Linked) { l.Bucket = "" },
	"key":      func(l *audit.Linked) { l.Key += "x" },
	"version":  func(l *audit.Linked) { l.Version = "2-1" },
	"region":   func(l *audit.Linked) { l.Region = "secondary" },
	"detail":   func(l *audit.Linked) { l.Detail = "" },
	"hash":     func(l *audit.Linked) { l.Hash[31] ^= 1 },
	"boundary": func(l *audit.Linked) { l.Bucket, l.Key = l.Bucket+l.Key[:1], l.Key[1:] },
}

func TestAChangedEntryIsFound(t *testing.T) {
	const n = 7
	for name, change := range changes {
		for i := range int64(n) {
			links := chain(n)
			change(&links[i])
			t.Run(fmt.Sprintf("%s of %d", name, i+1), func(t *testing.T) {
				wantBreak(t, verify(t, links), i+1, audit.Changed, i, fmt.Sprintf("entry %d was changed", i+1))
			})
		}
	}
}

func TestAChangedNumberIsFound(t *testing.T) {
	for _, number := range []int64{-1, 0, 2, 4, 50} {
		links := chain(7)
		links[2].Index = number
		wantBreak(t, verify(t, links), 3, audit.Changed, 2, fmt.Sprintf("entry 3 was changed: its number is now %d", number))
		if number < 1 {
			links[2].Key = "other"
			wantBreak(t, verify(t, links), 3, audit.Changed, 2, fmt.Sprintf("the number %d, which no entry has", number))
		}
	}
}

// The one who changes an entry computes its hash too, but not those after it: then it is
// the next one that no longer follows.
func TestAChangedEntryWithItsHashIsFoundAtTheNext(t *testing.T) {
	for i := range int64(6) {
		links := chain(7)
		links[i].Key = "other"
		relink(links[:i+1], int(i))
		wantBreak(t, verify(t, links), i+2, audit.Changed, i+1, "or what is before it was changed")
	}
}

func TestARemovedEntryIsFound(t *testing.T) {
	const n = 7
	for i := range n - 1 {
		links := slices.Delete(chain(n), i, i+1)
		index := int64(i + 1)
		wantBreak(t, verify(t, links), index, audit.Missing, int64(i), fmt.Sprintf("entry %d is missing: after", index), fmt.Sprintf("comes entry %d", index+1))

		for j := i; j < len(links); j++ {
			links[j].Index = int64(j + 1)
		}
		wantBreak(t, verify(t, links), index, audit.Changed, int64(i), "changed or removed")
	}
}

func TestReorderedEntriesAreFound(t *testing.T) {
	const n = 7
	for i := range n {
		for j := i + 1; j < n; j++ {
			links := chain(n)
			links[i], links[j] = links[j], links[i]
			after := j
			if j == i+1 {
				after = j + 1 // the two are neighbours
			}
			wantBreak(t, verify(t, links), int64(i+1), audit.OutOfOrder, int64(i), fmt.Sprintf("entry %d is out of order: it comes after entry %d", i+1, after))

			// Numbered as if nothing had happened, the content no longer fits.
			links[i].Index, links[j].Index = int64(i+1), int64(j+1)
			wantBreak(t, verify(t, links), int64(i+1), audit.Changed, int64(i))
		}
	}
}

func TestADuplicatedEntryIsFound(t *testing.T) {
	const n = 7
	for i := range n {
		for at := i + 1; at <= n; at++ {
			links := chain(n)
			links = slices.Insert(links, at, links[i])
			wantBreak(t, verify(t, links), int64(i+1), audit.Duplicate, int64(at), fmt.Sprintf("entry %d is there twice", i+1), fmt.Sprintf("after entry %d", at))
		}
	}
}

func TestAnInsertedEntryIsFound(t *testing.T) {
	const n = 7
	for i := range n {
		links := slices.Insert(chain(n), i, audit.Linked{Entry: entry(int64(i + 1))})
		links[i].Key = "forged"
		relink(links[:i+1], i)
		// It fits, so what it displaced is the one too many.
		wantBreak(t, verify(t, links), int64(i+1), audit.Duplicate, int64(i+1))
	}
}

func TestEntriesOfAnotherJournalAreFound(t *testing.T) {
	other := link("another", entry(1), entry(2), entry(3))
	wantBreak(t, verify(t, other), 1, audit.Changed, 0)
	links := chain(3)
	links[2] = other[2]
	wantBreak(t, verify(t, links), 3, audit.Changed, 2)
}

func TestACutTailIsFoundByACheckpoint(t *testing.T) {
	links := chain(10)
	region, file := witness(links, 10, "region secondary"), witness(links, 4, "file noon.txt")
	for cut := range int64(9) {
		left := links[:cut+1]
		r := verify(t, left, region, file)
		missing := fmt.Sprintf("the newest %d entries are missing: the checkpoint of region secondary covers 10 entries, the chain has %d", 9-cut, cut+1)
		if cut == 8 {
			missing = "the newest entry is missing: the checkpoint of region secondary covers 10 entries, the chain has 9"
		}
		if f := r.Findings[0]; f.Agrees || f.Text != missing {
			t.Errorf("got %v %q, want %q", f.Agrees, f.Text, missing)
		}
		if f := r.Findings[1]; f.Agrees != (cut+1 >= 4) {
			t.Errorf("%d left: got %v %q of a checkpoint that covers 4", cut+1, f.Agrees, f.Text)
		}
		if r.OK() || r.Broken != nil {
			t.Errorf("%d left: got OK %v, broken %v", cut+1, r.OK(), r.Broken)
		}
		// Without it nothing is seen, and that is what the report says.
		alone := verify(t, left)
		if !alone.OK() {
			t.Errorf("%d left: got a fault without any witness", cut+1)
		}
		wantWords(t, alone.Unproven()[0], "the newest entries were not cut off")
	}
}

func TestAnEmptiedJournalIsFoundByACheckpoint(t *testing.T) {
	r := verify(t, nil, witness(chain(3), 3, "file a"))
	if want := "the newest 3 entries are missing: the checkpoint of file a covers 3 entries, the chain has 0"; r.OK() || r.Findings[0].Text != want {
		t.Errorf("got %q, want %q", r.Findings[0].Text, want)
	}
}

func TestAChainMadeAnewIsFoundByACheckpoint(t *testing.T) {
	const n = 10
	old := chain(n)
	for i := range n { // where the new one begins
		links := chain(n)
		links[i].Detail = "nothing to see"
		relink(links, i)
		if alone := verify(t, links); !alone.OK() || len(alone.Unproven()) != 2 {
			t.Errorf("from %d: got OK %v, unproven %q without any witness", i+1, alone.OK(), alone.Unproven())
		}
		for size := range int64(n + 1) {
			r := verify(t, links, witness(old, size, "file a"))
			f := r.Findings[0]
			if covered := size > int64(i); f.Agrees == covered || r.OK() == covered || r.Broken != nil {
				t.Errorf("new from %d, checkpoint of %d: got %v %q, broken %v", i+1, size, f.Agrees, f.Text, r.Broken)
			}
			if !f.Agrees {
				wantWords(t, f.Text, fmt.Sprintf("the chain was made anew: at entry %d its hash is %v, the checkpoint of file a says %v",
					size, links[size-1].Hash, old[size-1].Hash))
			}
		}
	}
}

func TestAnOlderCheckpointSaysWhatIsStillTheOldChain(t *testing.T) {
	old, links := chain(10), chain(10)
	links[5].Key = "other"
	relink(links, 5)
	for _, against := range [][]audit.Witness{
		{witness(old, 3, "file a"), witness(old, 8, "file b"), witness(old, 5, "region secondary"), witness(old, 10, "file c")},
		{witness(old, 8, "file b"), witness(old, 5, "region secondary")},
	} {
		r := verify(t, links, against...)
		for _, f := range r.Findings {
			if f.Agrees != (f.Witness.Size <= 5) {
				t.Errorf("checkpoint of %d: got %v %q", f.Witness.Size, f.Agrees, f.Text)
			}
			if !f.Agrees {
				wantWords(t, f.Text, "made anew", "(up to entry 5 it is the old one, by the checkpoint of region secondary)")
			}
		}
	}
}

// What is broken is not called made anew, and a checkpoint before the break still agrees.
func TestABrokenChainIsComparedWithCheckpoints(t *testing.T) {
	old := chain(10)
	against := []audit.Witness{witness(old, 4, "file a"), witness(old, 5, "file b"), witness(old, 9, "file c"), witness(old, 10, "file d")}
	changed := chain(10)
	changed[4].Actor = "nobody"
	rehashed := chain(10)
	rehashed[4].Hash = audit.Genesis("")
	removed := slices.Delete(chain(10), 4, 5)
	for _, tt := range []struct {
		name  string
		links []audit.Linked
		words []string // of the checkpoint of 5 and of the others after it
	}{
		{"changed", changed, []string{"the hash recorded at entry 5 is the one that it says, but the entries after 4", "the hash recorded at entry 9"}},
		{"hash changed", rehashed, []string{"at entry 5 the hash " + audit.Genesis("").String() + " is recorded, and it says", "the hash recorded at entry 9"}},
		{"removed", removed, []string{"covers 5 entries, and none has that number", "the hash recorded at entry 9"}},
		{"removed, and the tail cut", removed[:7], []string{
			"none has that number", "the newest entry is missing: the checkpoint of file c covers 9 entries, the highest number in the chain is 8",
			"the newest 2 entries are missing",
		}},
	} {
		r := verify(t, tt.links, against...)
		if !r.Findings[0].Agrees {
			t.Errorf("%s: a checkpoint before the break: got %q", tt.name, r.Findings[0].Text)
		}
		for i, words := range tt.words {
			f := r.Findings[i+1]
			if f.Agrees || !strings.Contains(f.Text, words) || strings.Contains(f.Text, "anew") {
				t.Errorf("%s: got %v %q, want %q", tt.name, f.Agrees, f.Text, words)
			}
		}
	}
}

func TestACheckpointOfAnotherJournalNeverAgrees(t *testing.T) {
	links := chain(3)
	other := witness(links, 3, "file a")
	other.JournalID = "another"
	negative := witness(links, 0, "file b")
	negative.Size = -1
	r := verify(t, links, other, negative)
	if r.OK() || r.Findings[0].Agrees || r.Findings[1].Agrees {
		t.Errorf("got %+v", r.Findings)
	}
	wantWords(t, r.Findings[0].Text, "of another journal, another")
	wantWords(t, r.Unproven()[0], "no checkpoint from outside the journal agrees")
}

func TestTheReportSaysWhatIsNotProven(t *testing.T) {
	links := chain(10)
	for _, tt := range []struct {
		name    string
		against []audit.Witness
		want    []string
	}{
		{"no witness", nil, []string{
			"that the newest entries were not cut off: no checkpoint from outside the journal was compared",
			"that the chain was not made anew, from its first entry or a later one, by somebody who can write the journal: " +
				"no checkpoint from outside the journal was compared",
		}},
		{"all covered", []audit.Witness{witness(links, 10, "file a"), witness(links, 3, "file b")}, []string{
			"that no entry was cut off that was recorded after the newest checkpoint that agrees (file a, of 2026-03-01T12:10:00Z)",
		}},
		{"one more", []audit.Witness{witness(links, 9, "file a")}, []string{
			"that entry 10, newer than the newest checkpoint that agrees (file a, of 2026-03-01T12:09:00Z), was not made anew: " +
				"the journal fits together there, and nothing outside it says more",
			"that no entry was cut off that was recorded after the newest checkpoint that agrees (file a, of 2026-03-01T12:09:00Z)",
		}},
		{"some covered", []audit.Witness{witness(links, 3, "file b"), witness(links, 4, "file a")}, []string{
			"that entries 5 to 10, newer than the newest checkpoint that agrees (file a, of 2026-03-01T12:04:00Z), were not made anew: " +
				"the journal fits together there, and nothing outside it says more",
			"that no entry was cut off that was recorded after the newest checkpoint that agrees (file a, of 2026-03-01T12:04:00Z)",
		}},
	} {
		if got := verify(t, links, tt.against...).Unproven(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestEntriesThatCannotBeReadAreNoReport(t *testing.T) {
	cut := errors.New("disk I/O error")
	_, err := audit.Verify(journalID, func(yield func(audit.Linked, error) bool) {
		for _, l := range chain(3) {
			if !yield(l, nil) {
				return
			}
		}
		yield(audit.Linked{}, cut)
	}, nil)
	if !errors.Is(err, cut) || !strings.Contains(err.Error(), "after 3") {
		t.Errorf("got %v, want %v and where", err, cut)
	}
}

// A million entries fit nowhere: nothing may be kept of them.
func TestMemoryDoesNotGrowWithTheChain(t *testing.T) {
	allocs := func(n int64) float64 {
		return testing.AllocsPerRun(5, func() {
			r, err := audit.Verify(journalID, func(yield func(audit.Linked, error) bool) {
				l := audit.Linked{Entry: entry(1), Hash: audit.Genesis(journalID)}
				for l.Index = 1; l.Index <= n; l.Index++ {
					if l.Hash = audit.Link(l.Hash, l.Entry); !yield(l, nil) {
						return
					}
				}
			}, nil)
			if err != nil || !r.OK() {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	// The race detector allocates now and then by itself.
	if few, many := allocs(10), allocs(1000); many > few+10 {
		t.Errorf("got %v allocations for 1000 entries, and %v for 10", many, few)
	}
}
