// Package route decides, without doing anything, which regions may answer a read
// of a key, in which order, and what is to be said of the answer.
package route

import (
	"slices"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Freshness is what an answer says of itself.
type Freshness string

// The values of X-Tandem-Freshness.
const (
	Current Freshness = "current"
	Stale   Freshness = "stale"
	Unknown Freshness = "unknown"
)

// Candidate is a region that may answer.
type Candidate struct {
	Region string
	// ETag that the answer must have, "" where any will do.
	ETag string
	// Freshness of the answer. Where the region's ETag is not the row's although any
	// would do, it is Unknown.
	Freshness Freshness
	// Older are the ETags of objects that are older than the acknowledged version: an answer
	// that shows one is none, or, of a key that was deleted, an absence.
	Older []string
	// Decisive: a 404 of this region is an absence. Otherwise it only says that
	// this region has it not.
	Decisive bool
}

// Verdict is what to answer when no candidate could.
type Verdict int

// The verdicts.
const (
	// Absent: the key does not exist, whatever any region holds.
	Absent Verdict = iota
	// NotYetReplicated: it exists, and no region that answers holds it.
	NotYetReplicated
	// Unavailable: it may exist; the regions that know do not answer.
	Unavailable
)

// Plan is an ordered list of regions to ask, and what to say after the last.
type Plan struct {
	Candidates []Candidate
	Otherwise  Verdict
	// Behind is the region to name with NotYetReplicated, and Since when its copy
	// began to wait; zero where none waits.
	Behind string
	Since  time.Time
}

// Input is what is known when a read is planned.
type Input struct {
	Active string
	// Regions in the configured order.
	Regions []string
	// Object is the key's row, nil where the index has none.
	Object *journal.Object
	// Compared reports whether a region's bucket was compared.
	Compared func(region string) bool
	// Uncompared: the active was promoted by force, its bucket never compared.
	Uncompared bool
	// PreferReplica asks for an answer by a replica, where that costs no freshness.
	PreferReplica bool
	// AllowStale allows an older version, said to be so.
	AllowStale bool
	// Regressed: the active came back older than it was, so nothing that it holds is news.
	Regressed bool
	// Distrusted: the active's copy is not known to be the acknowledged version, so
	// that its answer must show the row's ETag.
	Distrusted bool
}

// Read plans the read of a key whose row was looked up.
func Read(in Input) Plan {
	o := in.Object
	switch {
	case o == nil || o.Version.IsZero() && !o.Contested(in.Active):
		return readUnknown(in)
	case (o.Contested(in.Active) || o.IsOpenToURLs(in.Active) && !mutant.On(mutant.OpenURLUnsaid)) && !isOldNews(in):
		return readContested(in)
	case o.Deleted && mutant.On(mutant.TombstoneRead):
		return readUnknown(in)
	case o.Deleted:
		return Plan{Otherwise: Absent}
	}
	plan := Plan{Otherwise: NotYetReplicated}
	plan.Behind, plan.Since = in.behind()
	for _, region := range in.ordered() {
		if c := o.Copy(region); c.State == journal.Current {
			candidate := Candidate{Region: region, ETag: c.ETag, Freshness: Current}
			if region == in.Active && !in.Distrusted {
				candidate.ETag = ""
			}
			plan.Candidates = append(plan.Candidates, candidate)
		}
	}
	if in.AllowStale {
		plan.Candidates = append(plan.Candidates, staleCopies(in)...)
	}
	return plan
}

// readUnknown: the index has no row. A compared bucket's active knows; otherwise
// nobody can say how fresh the answer is, and an absence in a replica proves nothing.
func readUnknown(in Input) Plan {
	plan := Plan{Otherwise: Unavailable}
	for _, region := range in.ordered() {
		isActive := region == in.Active
		c := Candidate{Region: region, Freshness: Unknown, Decisive: in.isDecisive(region)}
		if isActive && in.Compared(region) {
			c.Freshness = Current
		}
		plan.Candidates = append(plan.Candidates, c)
	}
	return plan
}

// isDecisive reports whether a 404 of the region means that a key without a row does not
// exist. That of a region promoted by force, never compared, proves as little as a replica's.
func (in *Input) isDecisive(region string) bool {
	if region == in.Active && !in.Uncompared {
		return true
	}
	return in.Compared(in.Active) && in.Compared(region)
}

// isOldNews: the active lacks the acknowledged version, and what a write without an answer may
// have left there is older than that, or no news at all.
func isOldNews(in Input) bool {
	return in.Object.IsBehind(in.Active) && (in.Regressed || in.Object.IsReturned(in.Active))
}

// readContested: a write is under way or in doubt, the order of the last ones is not known, or
// a presigned URL is open. Only the active can say, and not by what is known to be older. (A write is at risk; a
// PUT of its key has no answer in the new active: that would answer with what it held before
// both. A copy has no answer; its region is promoted, and the key deleted there; the copy lands.)
func readContested(in Input) Plan {
	c := Candidate{
		Region: in.Active, Freshness: Current, Older: in.Object.OlderIn(in.Active), Decisive: mayBeAbsent(in.Object, in.Active),
	}
	if in.Object.IsBehind(in.Active) {
		// Where it held nothing, an absence is none of a delete's making.
		c.Decisive = c.Decisive && (in.Object.Deleted || len(c.Older) > 0)
	}
	plan := Plan{Candidates: []Candidate{c}, Otherwise: NotYetReplicated}
	plan.Behind, plan.Since = in.behind()
	if !in.Object.Contested(in.Active) && !in.Object.Deleted {
		plan.Candidates = append(plan.Candidates, unlessUploaded(in)...)
	}
	if in.AllowStale && !in.Object.Deleted {
		plan.Candidates = append(plan.Candidates, staleCopies(in)...)
	}
	return plan
}

// unlessUploaded are the replicas that hold the acknowledged version of a key that is open to presigned URLs in
// the active. Whether it was overwritten by an upload since, only the active knows.
func unlessUploaded(in Input) []Candidate {
	var candidates []Candidate
	for _, region := range in.ordered() {
		if c := in.Object.Copy(region); region != in.Active && c.State == journal.Current {
			candidates = append(candidates, Candidate{Region: region, ETag: c.ETag, Freshness: Unknown})
		}
	}
	return candidates
}

// mayBeAbsent: an acknowledged key that nobody meant to delete is not absent
// because the active does not find it.
func mayBeAbsent(o *journal.Object, active string) bool {
	if o.Deleted || o.DeleteSeen || o.Version.IsZero() {
		return true
	}
	return slices.ContainsFunc(o.Intents, func(i journal.Intent) bool { return i.Region == active && i.Operation == journal.Delete })
}

// staleCopies are the regions with an older copy, the newest of them first.
func staleCopies(in Input) []Candidate {
	var copies []journal.Copy
	for _, region := range in.Regions {
		c := in.Object.Copy(region)
		isCurrent := c.State == journal.Current && !in.Object.Contested(in.Active)
		if !isCurrent && c.ETag != "" {
			copies = append(copies, c)
		}
	}
	slices.SortStableFunc(copies, func(a, b journal.Copy) int { return b.Version.Compare(a.Version) })
	candidates := make([]Candidate, len(copies))
	for i, c := range copies {
		candidates[i] = Candidate{Region: c.Region, ETag: c.ETag, Freshness: Stale}
		if mutant.On(mutant.StaleInSilence) {
			candidates[i].Freshness = Current
		}
	}
	return candidates
}

// ordered puts the active first, or last where a replica is preferred.
func (in *Input) ordered() []string {
	replicas := slices.DeleteFunc(slices.Clone(in.Regions), func(r string) bool { return r == in.Active })
	if in.PreferReplica {
		return append(replicas, in.Active)
	}
	return append([]string{in.Active}, replicas...)
}

// behind is the region whose copy has been waiting longest, and since when; the active
// where none waits.
func (in *Input) behind() (region string, since time.Time) {
	region = in.Active
	for _, c := range in.Object.Copies {
		if !c.PendingSince.IsZero() && (since.IsZero() || c.PendingSince.Before(since)) {
			region, since = c.Region, c.PendingSince
		}
	}
	return region, since
}
