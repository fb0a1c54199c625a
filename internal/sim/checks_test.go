package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region/regiontest"
)

func decode(data []byte, into any) error { return json.Unmarshal(data, into) }

type gatewayState struct {
	Active  string
	Epoch   int64
	Regions []struct {
		Name, Health        string
		OpenURLs            struct{ Count int }
		Compared, Regressed bool
		Buckets             []struct{ Regressed bool }
		LastError           *string
		Pending             struct{ Keys int64 }
	}
}

type failoverRecord struct {
	Epoch, AtRisk, InDoubt, Open int64
	From, To                     string
	Closed                       map[string]int64
}

type entry struct {
	ID, Size                                    int64
	Kind, Key, Version, Operation, ETag, Region string
	Outcome, Reason                             *string
}

func (e entry) String() string {
	outcome := "open"
	if e.Outcome != nil {
		outcome = *e.Outcome + " (" + *e.Reason + ")"
	}
	return fmt.Sprintf("%s %s %s %s %q in %s: %s", e.Kind, e.Operation, e.Key, e.Version, e.ETag, e.Region, outcome)
}

type conflict struct {
	ID                                       int64
	Key, State, Loser, Winner, ETag, KeptKey string
	Bucket, Region                           string
	Deleted                                  bool
	LastError, Resolution                    *string
}

// conflicts are those of a key, resolved ones included; of every key with "".
func (w *world) conflicts(key string) ([]conflict, error) {
	var page struct{ Conflicts []conflict }
	if err := w.get("/admin/conflicts?all=1&limit=1000", &page); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(page.Conflicts, func(c conflict) bool { return key != "" && c.Key != key }), nil
}

func (w *world) ledger(epoch int64) (list []entry, err error) {
	var page struct{ Entries []entry }
	err = w.get(fmt.Sprintf("/admin/failovers/%d/ledger?limit=1000", epoch), &page)
	return page.Entries, err
}

func (w *world) bodyOf(etag string) string {
	body, _ := w.model.body(etag)
	return body
}

// describe is what the index knows of a key.
func (w *world) describe(key string) string {
	return string(w.do("GET", "/replication/"+key, nil, 0, nil).body)
}

// expectation is what the ledger of a promotion has to have.
type expectation struct {
	epoch    int64
	from, to string
	at       int64
	// atRisk are the last acknowledged writes of keys of which no region whose copies count holds what
	// they wrote. plain: no other write of the key can have changed what it is, so that it is this version.
	atRisk []riskyWrite
}

type riskyWrite struct {
	*write
	plain bool
}

// expectLedger looks at the regions in the moment of a promotion.
func (w *world) expectLedger(p journal.Promotion) expectation {
	x := expectation{to: p.Region, at: w.model.now()}
	if w.damaged.Load() {
		return x
	}
	counted := append([]string{p.Region}, p.Healthy...)
	for _, key := range keys() {
		last := w.model.last(key)
		if last == nil || last.ended > x.at {
			continue
		}
		values := []string{last.value}
		risky := riskyWrite{last, true}
		for _, o := range w.model.of(key) {
			if o.fate == refused || o.began == last.began || o.fate == acknowledged && o.ended < last.began {
				continue
			}
			risky.plain = false
			values = append(values, o.value) // it may be what the key is by now
		}
		held := slices.ContainsFunc(counted, func(name string) bool {
			s := w.site(name)
			return slices.Contains(values, s.value(key))
		})
		if !held {
			x.atRisk = append(x.atRisk, risky)
		}
	}
	return x
}

// value is what the region holds of a key.
func (s *site) value(key string) string {
	o, found := s.server.Object(s.in(s.w.bucketOf(key)), key)
	if !found {
		return absent
	}
	return strings.Trim(o.ETag, `"`)
}

// promoted is told that a promotion was made.
func (w *world) promoted(f journal.Failover, x expectation) {
	x.epoch, x.from, x.to = f.Epoch, f.From, f.To
	w.epoch.Store(f.Epoch)
	w.note("PROMOTED %s over %s in epoch %d: %d at risk, %d in doubt", f.To, f.From, f.Epoch, f.AtRisk, f.InDoubt)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledgers = append(w.ledgers, x)
}

// heal ends all that goes wrong.
func (w *world) heal() {
	w.mu.Lock()
	w.crashIn = 0
	w.mu.Unlock()
	w.journalPercent.Store(0)
	for _, s := range w.sites {
		s.server.SetDown(false)
		s.lie(regiontest.Fault{})
		s.set(0)
	}
	if w.current().isOver() {
		w.rebirth()
	}
	w.note("all is well from here on")
}

// patience is how long, in the world's time, it may take to come to rest.
const patience = 30 * time.Minute

// rest waits until nothing is open any more.
func (w *world) rest() {
	deadline := time.Now().Add(patience)
	for {
		err := w.restless()
		if err == nil {
			w.note("it has come to rest")
			w.count(quiescence)
			return
		}
		if time.Now().After(deadline) {
			w.violated(quiescence, "after %v: %v", patience, err)
			return
		}
		time.Sleep(5 * time.Second)
	}
}

func (w *world) restless() error {
	var state gatewayState
	if err := w.get("/admin/state", &state); err != nil {
		return err
	}
	for _, r := range state.Regions {
		if r.Health != "up" || r.Regressed || !r.Compared || r.OpenURLs.Count > 0 {
			pending, _ := w.pendingKeys()
			return fmt.Errorf("%+v: %s", r, pending)
		}
	}
	pending, gone := w.pendingKeys()
	if pending != "" {
		return errors.New("pending:" + pending)
	}
	for _, r := range state.Regions {
		if r.Pending.Keys > gone && !w.onlyGone() {
			return fmt.Errorf("pending, and no key of a client's: %+v", r)
		}
	}
	for _, key := range keys() {
		var s struct {
			Settled bool
			Regions []struct{ State string }
		}
		a := w.do("GET", "/replication/"+key, nil, 0, nil)
		if a.status == 404 {
			continue
		}
		if err := decode(a.body, &s); err != nil {
			return fmt.Errorf("%s: %w: %v", key, err, a)
		}
		if !s.Settled {
			return fmt.Errorf("not settled: %s", a.body)
		}
	}
	// What is kept of conflicts is read again like any key.
	for _, bucket := range w.buckets() {
		if open, err := w.life.inner.Unsettled(w.t.Context(), bucket, "", 1); err != nil || len(open) > 0 {
			return fmt.Errorf("not settled in %s: %v, %w", bucket, open, err)
		}
	}
	var page struct{ Failovers []failoverRecord }
	if err := w.get("/admin/failovers", &page); err != nil {
		return err
	}
	for _, f := range page.Failovers {
		if f.Open > 0 {
			entries, _ := w.ledger(f.Epoch)
			open := slices.DeleteFunc(entries, func(e entry) bool { return e.Outcome != nil })
			if len(open) == 0 {
				return errors.New("an entry was closed just now")
			}
			return fmt.Errorf("epoch %d: open: %v; %s", f.Epoch, open[0], w.describe(open[0].Key))
		}
	}
	conflicts, err := w.conflicts("")
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		if c.State == "found" {
			return fmt.Errorf("conflict is not kept: %+v: %v", c, deref(c.LastError))
		}
	}
	return nil
}

// pendingKeys describes the keys that wait for a copy, and counts those that wait in vain.
func (w *world) pendingKeys() (pending string, gone int64) {
	var b strings.Builder
	for _, key := range keys() {
		d := w.describe(key)
		switch {
		case w.isGone(d):
			gone++
		case strings.Contains(d, `"pending"`), strings.Contains(d, `"missing"`):
			fmt.Fprintf(&b, "\n    %s", d)
		}
	}
	return b.String(), gone
}

// onlyGone reports whether all that waits for a copy waits in vain.
func (w *world) onlyGone() bool {
	for _, s := range w.sites {
		for _, bucket := range w.buckets() {
			all, err := w.life.inner.Differing(w.t.Context(), bucket, s.name, "", "", 1000)
			if err != nil || slices.ContainsFunc(all, func(o *journal.Object) bool { return !w.isLost(o) }) {
				return false
			}
		}
	}
	return true
}

// isLost is isGone of a row.
func (w *world) isLost(o *journal.Object) bool {
	return slices.ContainsFunc(o.Copies, func(c journal.Copy) bool { return w.isGone(c.LastError) })
}

// isGone reports whether what the index knows of a key says that nobody has it any more, which only a
// region that lost something can bring about.
func (w *world) isGone(described string) bool {
	return w.damaged.Load() && strings.Contains(described, "no region is known to hold the version")
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// judge checks every promise once all has come to rest.
func (w *world) judge() {
	w.judgeAudit()
	lost := w.judgeLedgers()
	w.judgeKeys(lost)
	w.judgeRegions()
	w.judgeConflicts(lost)
	w.judgeEpochs()
}

// judgeKeys: each key reads as a value that is permitted, unless what it was is lost on the record.
func (w *world) judgeKeys(lost map[string]bool) {
	for _, key := range keys() {
		now := w.model.now()
		a := w.do("GET", "/objects/"+key, nil, 0, nil)
		value := absent
		if a.status == 200 {
			value = strings.Trim(a.header.Get("Etag"), `"`)
		}
		last := w.model.last(key)
		switch {
		case a.status == 503 && (lost[key] || w.isGone(w.describe(key))):
			continue
		case a.status != 200 && a.status != 404:
			w.violated(durability, "in the end %s is answered %v; index %s; history:%s", key, a, w.describe(key), w.model.history(key))
			continue
		}
		w.count(durability)
		if last != nil && last.value == absent {
			w.count(deletion)
		}
		if !w.model.permits(key, value, now, now) && !lost[key] {
			promise := durability
			if last != nil && last.value == absent {
				promise = deletion
			}
			w.violated(promise, "in the end %s is %q; index %s; ledgers %v; history:%s", key, value, w.describe(key), w.entriesOf(key), w.model.history(key))
		}
		for _, write := range w.model.of(key) {
			if write.fate != refused {
				continue
			}
			w.count(refusal)
			if write.value == value && value != absent && !w.mayBe(key, value) {
				w.violated(refusal, "in the end %s is what was refused: %s; history:%s", key, &write, w.model.history(key))
			}
		}
	}
}

// mayBe reports whether another write than a refused one has the value.
func (w *world) mayBe(key, value string) bool {
	return slices.ContainsFunc(w.model.of(key), func(o write) bool { return o.fate != refused && o.value == value })
}

func (w *world) entriesOf(key string) (list []entry) {
	for _, x := range w.ledgers {
		entries, _ := w.ledger(x.epoch)
		for _, e := range entries {
			if e.Key == key {
				list = append(list, e)
			}
		}
	}
	return list
}

// judgeRegions: all hold the same, byte for byte.
func (w *world) judgeRegions() {
	for _, bucket := range w.buckets() {
		gone := func(held map[string]regiontest.State) map[string]regiontest.State {
			maps.DeleteFunc(held, func(key string, _ regiontest.State) bool {
				o, err := w.life.inner.Lookup(w.t.Context(), bucket, key)
				return err == nil && w.isLost(o)
			})
			return held
		}
		first := gone(w.sites[0].held(bucket))
		for _, s := range w.sites[1:] {
			w.count(convergence)
			if diff := cmp.Diff(first, gone(s.held(bucket))); diff != "" {
				w.violated(convergence, "%s and %s differ in %s:\n%s", w.sites[0].name, s.name, bucket, diff)
			}
		}
	}
}

func (s *site) held(bucket string) map[string]regiontest.State {
	held := s.server.Snapshot()[s.in(bucket)]
	maps.DeleteFunc(held, func(key string, _ regiontest.State) bool {
		return strings.HasPrefix(key, ".tandem/") && !strings.HasPrefix(key, ".tandem/conflicts/") // marks, probes
	})
	return held
}

// judgeLedgers compares each ledger with what was to be expected in the moment of the promotion,
// and returns the keys of which something is lost on the record.
func (w *world) judgeLedgers() map[string]bool {
	lost := make(map[string]bool)
	for _, x := range w.ledgers {
		entries, err := w.ledger(x.epoch)
		if err != nil {
			w.violated(exactLedger, "%v", err)
			continue
		}
		for _, want := range x.atRisk {
			w.count(exactLedger)
			if !slices.ContainsFunc(entries, want.isIn) {
				w.violated(exactLedger, "the ledger of epoch %d lacks %s; it has %v; history:%s", x.epoch, want.write, entries, w.model.history(want.key))
			}
		}
		for _, o := range w.landedUnseen(x) {
			w.count(doubtLedger)
			if !slices.ContainsFunc(entries, func(e entry) bool { return e.Key == o.key }) {
				w.violated(doubtLedger, "the ledger of epoch %d lacks %s, which landed in %s later; it has %v; history:%s", x.epoch, &o, x.from, entries, w.model.history(o.key))
			}
		}
		for _, e := range entries {
			w.judgeEntry(x, e)
			if e.Outcome != nil && *e.Outcome == "lost" {
				lost[e.Key] = true
			}
		}
	}
	return lost
}

// isIn reports whether an entry is the one that the write is to have.
func (r riskyWrite) isIn(e entry) bool {
	v, err := journal.ParseVersion(e.Version)
	return e.Key == r.key && (!r.plain || e.Kind == "at-risk" && err == nil && v.Compare(r.version) >= 0)
}

// landedUnseen are the writes without an answer that were begun before the promotion and landed in the
// demoted region after it.
func (w *world) landedUnseen(x expectation) (list []write) {
	for _, key := range keys() {
		all := w.model.of(key)
		for _, o := range all {
			l, landed := w.landings[o.value]
			isOnly := !slices.ContainsFunc(all, func(x write) bool { return x.value == o.value && x.began != o.began })
			if landed && isOnly && o.value != absent && o.fate == unknown && l.key == key && l.site == x.from && o.began < x.at && l.at > x.at {
				list = append(list, o)
			}
		}
	}
	return list
}

func (w *world) judgeEntry(x expectation, e entry) {
	if e.Outcome == nil {
		w.violated(closedLedger, "epoch %d: %v", x.epoch, e)
		return
	}
	w.count(closedLedger)
	if deref(e.Reason) == "" {
		w.violated(closedLedger, "closed without a reason: epoch %d: %v", x.epoch, e)
	}
	if e.Kind == "at-risk" {
		w.count(failback)
	}
	if *e.Outcome == "lost" && !w.damaged.Load() {
		w.violated(failback, "lost, although no region has lost anything: epoch %d: %v; history:%s", x.epoch, e, w.model.history(e.Key))
	}
}

// judgeConflicts: every loser is kept, in every region.
func (w *world) judgeConflicts(lost map[string]bool) {
	conflicts, err := w.conflicts("")
	if err != nil {
		w.violated(losersKept, "%v", err)
		return
	}
	for _, c := range conflicts {
		if c.Deleted || c.State != "kept" || lost[c.KeptKey] {
			continue
		}
		for _, s := range w.sites {
			w.count(losersKept)
			o, found := s.server.Object(s.in(c.Bucket), c.KeptKey)
			if w.damaged.Load() && (!found || string(o.Data) != w.bodyOf(c.ETag)) {
				continue // it was in the region that was emptied, and not yet in another
			}
			if body := w.bodyOf(c.ETag); !found || string(o.Data) != body {
				w.violated(losersKept, "%s does not hold the loser of %+v; found %t %q", s.name, c, found, o.ETag)
			}
		}
	}
}

// judgeEpochs: what was acknowledged in an epoch was written to one region.
func (w *world) judgeEpochs() {
	actives := make(map[int64]string)
	for _, key := range keys() {
		for _, o := range w.model.of(key) {
			if o.fate != acknowledged || o.region == "" {
				continue
			}
			w.count(oneActive)
			if before, ok := actives[o.version.Epoch]; ok && before != o.region {
				w.violated(oneActive, "epoch %d has %s and %s", o.version.Epoch, before, o.region)
			}
			actives[o.version.Epoch] = o.region
		}
	}
}

// judgeAudit verifies the chain, and finds every acknowledged write in it.
func (w *world) judgeAudit() {
	versions := make(map[string]bool)
	ctx := w.t.Context()
	j := w.life.inner
	state, err := j.State(ctx)
	if err != nil {
		w.violated(trail, "%v", err)
		return
	}
	var all []audit.Linked
	for {
		var after int64
		if len(all) > 0 {
			after = all[len(all)-1].Index
		}
		page, err := j.AuditEntries(ctx, after, 500)
		if err != nil {
			w.violated(trail, "%v", err)
			return
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	for _, l := range all {
		versions[l.Key+" "+l.Version] = true
	}
	w.chain = all
	report, err := audit.Verify(state.JournalID, linked(all), nil)
	w.count(trail)
	if err != nil || !report.OK() {
		w.violated(trail, "the chain of %d entries does not verify: %+v %v", len(all), report, err)
	}
	for _, key := range keys() {
		for _, o := range w.model.of(key) {
			if o.fate == acknowledged && !versions[key+" "+o.version.String()] {
				w.violated(trail, "the chain has no entry of %s", &o)
			}
		}
	}
}

func linked(all []audit.Linked) iter.Seq2[audit.Linked, error] {
	return func(yield func(audit.Linked, error) bool) {
		for _, l := range all {
			if !yield(l, nil) {
				return
			}
		}
	}
}
