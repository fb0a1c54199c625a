// Package failpoint lets a test stop the process dead between two steps. Outside
// builds with the tag "failpoint" it does nothing at all.
package failpoint

// The points, in the order in which a write passes them.
const (
	// BeforeIntent: nothing is on disk, the region has all but the end of the body.
	BeforeIntent = "before-intent"
	// AfterIntent: the intent is on disk, the end of the body is still held back.
	AfterIntent = "after-intent"
	// AfterRegion: the region has applied the write, the commit is not on disk.
	AfterRegion = "after-region"
	// AfterCommit: the commit is on disk, the client has no answer.
	AfterCommit = "after-commit"
	// AfterCopy: a replica has the copy, the journal does not know.
	AfterCopy = "after-copy"
	// AfterLoserCopied: a conflict's loser is copied, the journal does not know.
	AfterLoserCopied = "after-loser-copied"
	// BeforePromotion: writes are held back, the journal has the old epoch.
	BeforePromotion = "before-promotion"
	// AfterPromotion: the journal has the new epoch, nobody serves it.
	AfterPromotion = "after-promotion"
)
