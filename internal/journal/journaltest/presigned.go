package journaltest

import (
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

func presignedTests() []test {
	return []test{
		{"ASignedURLIsOnTheRecordAndTracked", signedIsTracked},
		{"ASignedGetIsOnTheRecordAlone", signedGet},
		{"AnUploadIsAdoptedHoweverOftenTheURLIsUsed", uploadedTwice},
		{"AURLIsClosedOnceNothingCanLandAnyMore", urlCloses},
		{"AWriteIsNotContestedByAnOpenURL", writtenUnderURL},
		{"APromotionListsTheOpenURLsOfTheOldActive", urlsInLedger},
		{"AnUploadToADemotedRegionGoesForwardOrIsAConflict", uploadedToDemoted},
		{"AnUploadToAReplicaLosesAgainstWhatWasAcknowledgedSince", uploadedToReplica},
		{"URLsOfOneKeyAreTrackedAsOne", urlsOfOneKey},
		{"NothingIsSignedInAnotherEpochOrRegion", signingRefused},
		{"NoPutIsSignedOverALoserOrUnderARepair", signingInTheWay},
		{"ALookThatACopyHasOvertakenFindsNothing", overtakenLook},
		{"NoPutIsSignedWhileTheKeyIsUnsettledThere", signingUnsettled},
		{"WhatOverlappedBeforeAnUploadElsewhereLosesAgainstIt", overlappedBeforeUpload},
		{"OpenURLsSurviveACrash", urlsSurviveACrash},
	}
}

// sign has a PUT of the key in a region signed: good for a while, and closed long after that.
func (s *store) sign(key, region string) journal.SignedURL {
	s.t.Helper()
	u, err := s.Sign(s.t.Context(), s.signature(key, region))
	s.ok(err)
	return u
}

func (s *store) signature(key, region string) journal.SignedURL {
	s.t.Helper()
	state, err := s.State(s.t.Context())
	s.ok(err)
	return journal.SignedURL{
		Bucket: bucket, Key: key, Region: region, Operation: journal.PresignedPut, Epoch: state.Epoch, SignedAt: s.now,
		ExpiresAt: s.now.Add(long), OpenUntil: s.now.Add(10 * long), Actor: "client",
	}
}

// seenIn is what a region was seen to hold, while the URLs are open.
func (s *store) seenIn(key, region, etag string) journal.Observation {
	s.t.Helper()
	o := s.found(key, etag)
	return s.inRegion(o, region)
}

// inRegion is the same observation, made in another region.
func (s *store) inRegion(o journal.Observation, region string) journal.Observation {
	s.t.Helper()
	o.Region = region
	if row, err := s.Lookup(s.t.Context(), bucket, o.Key); err == nil {
		o.Held = row.Copy(region)
	}
	return o
}

func (s *store) urls() []journal.SignedURL {
	s.t.Helper()
	list, err := s.SignedURLs(s.t.Context(), bucket, 0, 1000)
	s.ok(err)
	return list
}

func (s *store) presignedKeys() (keys []string) {
	s.t.Helper()
	list, err := s.Presigned(s.t.Context(), bucket, "", 1000)
	s.ok(err)
	for _, o := range list {
		keys = append(keys, o.Key)
	}
	return keys
}

func signedIsTracked(s *store) {
	s.put("a", "1")
	u := s.sign("a", active)
	v := s.sign("b", active)
	u.Actor, v.Actor = "", "" // that is in the audit
	s.same("the open URLs", s.urls(), []journal.SignedURL{u, v})
	s.same("their keys", s.presignedKeys(), []string{"a", "b"})
	open, err := s.OpenURLs(s.t.Context(), bucket)
	s.ok(err)
	s.same("their number", open, map[string]journal.OpenURLs{active: {Count: 2, Until: u.OpenUntil}})
	unsettled, err := s.Unsettled(s.t.Context(), bucket, "", 10)
	s.ok(err)
	if len(unsettled) > 0 {
		s.t.Errorf("%d keys are to be settled, want none: nothing was written", len(unsettled))
	}
	o := s.lookup("a")
	if o.Contested(active) || !o.IsOpenToURLs(active) || o.IsOpenToURLs(replica) {
		s.t.Errorf("got %+v, want it open to URLs in the active", o)
	}
	if got := s.actions("b"); !slices.Equal(got, []audit.Action{audit.Sign}) {
		s.t.Errorf("the audit has %v", got)
	}
}

func (s *store) actions(key string) (actions []audit.Action) {
	s.t.Helper()
	entries, err := s.AuditEntries(s.t.Context(), 0, 1000)
	s.ok(err)
	for _, e := range entries {
		if e.Key == key {
			actions = append(actions, e.Action)
		}
	}
	return actions
}

func signedGet(s *store) {
	s.put("a", "1")
	u := s.signature("a", replica)
	u.Operation = journal.Get
	_, err := s.Sign(s.t.Context(), u)
	s.ok(err)
	s.same("the open URLs", s.urls(), []journal.SignedURL(nil))
	s.same("the audit", s.actions("a"), []audit.Action{audit.Write, audit.Sign})
}

func uploadedTwice(s *store) {
	s.sign("k", active)
	s.settle(s.seenIn("k", active, "a"), journal.Adopted)
	first := s.lookup("k")
	if first.ETag != "a" || first.Operation != journal.PresignedPut || first.Copy(replica).State != journal.Pending || !first.IsOpenToURLs(active) {
		s.t.Errorf("got %+v, want the upload, to be copied, and the URL open", first)
	}
	s.finish(s.claimOne(replica), "a", journal.Current)
	s.settle(s.seenIn("k", active, "a"), journal.Wait)
	s.settle(s.seenIn("k", active, "b"), journal.Adopted)
	second := s.lookup("k")
	if second.Version.Compare(first.Version) <= 0 || second.ETag != "b" || second.Copy(replica).State != journal.Pending {
		s.t.Errorf("got %+v after %+v, want the second upload, to be copied", second, first)
	}
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
}

func urlCloses(s *store) {
	u := s.sign("k", active)
	s.sign("new", active)
	s.settle(s.seenIn("k", active, "a"), journal.Adopted)
	last := s.seenIn("k", active, "a")
	last.ReadAt = u.OpenUntil
	s.settle(last, journal.Stand)
	nothing := s.inRegion(s.absent("new"), active)
	nothing.ReadAt = u.OpenUntil
	s.settle(nothing, journal.NotApplied)
	s.same("the open URLs", s.urls(), []journal.SignedURL(nil))
	s.unknown("new")
}

func writtenUnderURL(s *store) {
	s.sign("k", active)
	if c := s.commit(s.open("k", journal.Put), "w"); c.Settled || s.lookup("k").Contested(active) {
		s.t.Errorf("got %+v, want a key that is open to URLs, and not contested", c)
	}
	s.settle(s.seenIn("k", active, "w"), journal.Wait)
	s.settle(s.seenIn("k", active, "x"), journal.Adopted)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{}) // the active's own order
}

func urlsInLedger(s *store) {
	u := s.sign("k", active)
	s.sign("elsewhere", replica)
	f := s.promoted(replica)
	if f.InDoubt != 1 || f.AtRisk != 0 {
		s.t.Errorf("got %d in doubt, %d at risk, want the URL alone", f.InDoubt, f.AtRisk)
	}
	s.closed(2, "k", "")
	last := s.inRegion(s.absent("k"), active)
	last.ReadAt = u.OpenUntil
	s.settle(last, journal.NotApplied)
	s.closed(2, "k", journal.WasNotApplied)
}

func uploadedToDemoted(s *store) {
	for _, key := range []string{"same", "changed"} {
		s.put(key, "a")
		s.finish(s.claimOne(replica), "a", journal.Current)
		s.sign(key, active)
	}
	s.promoted(replica)
	winner := s.put("changed", "b")
	s.finish(s.claimOne(active), "b", journal.Current)

	s.settle(s.seenIn("same", active, "x"), journal.Adopted)
	if o := s.lookup("same"); o.ETag != "x" || o.Version.Epoch != 1 || o.LastRegion != active {
		s.t.Errorf("got %+v, want the upload, with the epoch of its signing", o)
	}
	s.settle(s.seenIn("changed", active, "y"), journal.Adopted)
	if o := s.lookup("changed"); o.Version != winner || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want the write since, to be copied over the upload", o)
	}
	c := s.conflict()
	s.same("the loser", []string{c.Key, c.ETag, c.Region}, []string{"changed", "y", active})
}

func uploadedToReplica(s *store) {
	for _, key := range []string{"same", "changed"} {
		s.put(key, "a")
		s.finish(s.claimOne(replica), "a", journal.Current)
		s.sign(key, replica)
	}
	winner := s.put("changed", "b")
	s.finish(s.claimOne(replica), "b", journal.Current)

	s.settle(s.seenIn("same", replica, "x"), journal.Adopted)
	if o := s.lookup("same"); o.ETag != "x" || o.LastRegion != replica || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want the upload, to be copied to the active", o)
	}
	for _, etag := range []string{"y", "z"} { // one after the other
		s.settle(s.seenIn("changed", replica, etag), journal.Adopted)
		c := s.conflict()
		if c.ETag != etag || c.Region != replica || c.Winner != winner || c.Loser.Compare(winner) >= 0 {
			s.t.Errorf("got %+v, want the upload of %s to have lost against %v", c, etag, winner)
		}
	}
	if o := s.lookup("changed"); o.Version != winner || o.ETag != "b" {
		s.t.Errorf("got %+v, want the write", o)
	}
}

func signingRefused(s *store) {
	u := s.signature("k", active)
	u.Epoch++
	elsewhere := s.signature("k", "nowhere")
	s.nothingHappens(func() {
		_, err := s.Sign(s.t.Context(), u)
		s.refused(err, journal.ErrEpoch)
		_, err = s.Sign(s.t.Context(), elsewhere)
		s.refused(err, journal.ErrRegion)
	})
}

func signingInTheWay(s *store) {
	s.losing("k") // the old active holds the loser
	held := s.signature("k", active)
	s.nothingHappens(func() {
		_, err := s.Sign(s.t.Context(), held)
		s.refused(err, journal.ErrLoser)
	})
	s.sign("k", replica)
	i := s.intent("k", journal.Repair)
	i.Restores, i.Displaces = s.lookup("k").Version, "b"
	s.openIntent(i)
	under := s.signature("k", replica)
	s.nothingHappens(func() {
		_, err := s.Sign(s.t.Context(), under)
		s.refused(err, journal.ErrRepairing)
	})
}

func overtakenLook(s *store) {
	s.put("k", "a")
	s.finish(s.claimOne(replica), "a", journal.Current)
	s.sign("k", replica)
	s.put("k", "b")
	task := s.claimOne(replica)
	seen := s.seenIn("k", replica, "x") // uploaded, and then replaced
	s.finish(task, "b", journal.Current)
	s.settle(seen, journal.Wait)
	s.settle(s.seenIn("k", replica, "y"), journal.Adopted)
}

func signingUnsettled(s *store) {
	s.doubtful("k", journal.Put)
	u := s.signature("k", active)
	s.nothingHappens(func() {
		_, err := s.Sign(s.t.Context(), u)
		s.refused(err, journal.ErrUnsettled)
	})
	s.sign("k", replica) // where nothing is in doubt
	s.settle(s.found("k", "a"), journal.Adopted)
	s.sign("k", active)
}

func overlappedBeforeUpload(s *store) {
	s.doubtful("k", journal.Put)
	s.commit(s.open("k", journal.Put), "a")
	s.sign("k", replica)
	upload := s.inRegion(s.within(s.seenIn("k", replica, "x")), replica)
	s.settle(upload, journal.Adopted)
	version := s.lookup("k").Version
	s.promoted(replica)
	s.settle(s.seenIn("k", active, "a"), journal.Adopted)
	if o := s.lookup("k"); o.Version != version || o.ETag != "x" {
		s.t.Errorf("got %+v, want the upload", o)
	}
	c := s.conflict()
	s.same("the loser", []string{c.ETag, c.Region}, []string{"a", active})
}

func urlsSurviveACrash(s *store) {
	s.sign("k", active)
	before := s.urls()
	s = s.crashed()
	s.same("the open URLs", s.urls(), before)
	if until := before[0].OpenUntil.Sub(before[0].ExpiresAt); until < time.Second {
		s.t.Errorf("a URL is closed %v after it has expired", until)
	}
	s.settle(s.seenIn("k", active, "a"), journal.Adopted)
}

// urlsOfOneKey: they are open until the last of them is over, whichever was signed last, and what was acknowledged
// before the last one was signed is no reason for an upload to lose.
func urlsOfOneKey(s *store) {
	s.put("k", "a")
	first := s.sign("k", replica)
	s.put("k", "b")
	shorter := s.signature("k", replica)
	shorter.ExpiresAt, shorter.OpenUntil = s.now.Add(time.Second), s.now.Add(2*time.Second)
	last, err := s.Sign(s.t.Context(), shorter)
	s.ok(err)
	if last.ID != first.ID {
		s.t.Errorf("got intents %d and %d, want one", first.ID, last.ID)
	}
	first.Actor = ""
	s.same("the open URLs", s.urls(), []journal.SignedURL{first})
	s.settle(s.seenIn("k", replica, "x"), journal.Adopted)
	s.same("the version", s.lookup("k").ETag, "x")
	s.same("signed", len(s.actions("k")), 5) // two writes, two URLs, the upload
	other := s.sign("k", active)
	if other.ID == first.ID {
		s.t.Errorf("the URLs of two regions share intent %d", first.ID)
	}
	s.promoted(replica)
	if next := s.sign("k", replica); next.ID == first.ID {
		s.t.Errorf("the URLs of two epochs share intent %d", first.ID)
	}
}
