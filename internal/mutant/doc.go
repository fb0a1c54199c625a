// Package mutant lets a test break one rule of the protocol, to see that the simulation
// notices. Outside builds with the tag "mutant" it does nothing at all, and the compiler takes
// it out.
package mutant

// The mutants of a client's write, each with the rule that it breaks.
const (
	// CommitBeforeAnswer: a write is committed once the region has answered.
	CommitBeforeAnswer = "commit-before-answer"
	// IntentAfterSending: the end of a body is held back until the intent is on disk.
	IntentAfterSending = "intent-after-sending"
	// IntentEpoch: an intent is of the present epoch, when it is written and just before the end is let go.
	IntentEpoch = "intent-epoch"
	// CommitEpoch: no write is acknowledged under an epoch that is over.
	CommitEpoch = "commit-epoch"
	// AnswerBeforeCommit: a client is answered once the commit is on disk.
	AnswerBeforeCommit = "answer-before-commit"
	// AuditLeftOut: the audit entry is in the commit's transaction.
	AuditLeftOut = "audit-left-out"
	// ConditionUnjudgeable: a conditional write needs the key settled in the active.
	ConditionUnjudgeable = "condition-unjudgeable"
	// OverlapUnseen: the order of writes that overlap is not ours to know.
	OverlapUnseen = "overlap-unseen"
	// SentAgain: a request that may have been sent is never sent again.
	SentAgain = "sent-again"
	// ServerErrorRefuses: a 5xx does not say that nothing was written.
	ServerErrorRefuses = "server-error-refuses"
	// ErrorInside200: the answer to a completion is its body.
	ErrorInside200 = "error-inside-200"
	// OwnDuplicateRefuses: a condition may have failed on account of the write itself.
	OwnDuplicateRefuses = "own-duplicate-refuses"
	// OwnCompletionRefuses: an upload may be gone because it was completed.
	OwnCompletionRefuses = "own-completion-refuses"
)

// The mutants of what is in doubt.
const (
	// AbsenceInDoubt: within the doubt window a read never shows that a write was not applied.
	AbsenceInDoubt = "absence-in-doubt"
	// PutsAbsenceDeletes: only the intent of a delete can make a tombstone.
	PutsAbsenceDeletes = "puts-absence-deletes"
	// TombstoneAdopted: what a repair or a copy of ours brings over a tombstone is no write.
	TombstoneAdopted = "tombstone-adopted"
	// SettledUnderWay: what is read while a write is begun or committed settles nothing.
	SettledUnderWay = "settled-under-way"
	// DoubtForgottenAtStart: after a crash every open intent is in doubt.
	DoubtForgottenAtStart = "doubt-forgotten-at-start"
	// FindInNewEpoch: what a demoted region is found to hold keeps its intent's epoch.
	FindInNewEpoch = "find-in-new-epoch"
	// BucketsAbsence: only a key's 404, in a bucket that is there, is an absence.
	BucketsAbsence = "buckets-absence"
)

// The mutants of copying, and of what is written into the active.
const (
	// CopyUnconditional: a copy is a compare-and-swap on its target.
	CopyUnconditional = "copy-unconditional"
	// SourceUnconditional: the source is read on the condition that it is what the index says.
	SourceUnconditional = "source-unconditional"
	// PartsMerged: part boundaries are kept, so that ETags agree.
	PartsMerged = "parts-merged"
	// TombstoneNotCarried: a tombstone is brought to every region.
	TombstoneNotCarried = "tombstone-not-carried"
	// UnsettledIsCurrent: a copy of a key that is not settled is not current.
	UnsettledIsCurrent = "unsettled-is-current"
	// LateCopyForgotten: a copy without an answer is remembered until it cannot land any more.
	LateCopyForgotten = "late-copy-forgotten"
	// ClaimForgotten: so is what a worker that is gone may have sent.
	ClaimForgotten = "claim-forgotten"
	// RepairWithoutIntent: a repair of the active is a write, and has an intent.
	RepairWithoutIntent = "repair-without-intent"
	// RepairUnconditional: a repair holds the active to what was compared.
	RepairUnconditional = "repair-unconditional"
	// RepairOfOverwritten: a repair brings the key's version, or is not begun.
	RepairOfOverwritten = "repair-of-overwritten"
	// LoserNotKept: a loser is kept before it is overwritten.
	LoserNotKept = "loser-not-kept"
	// LoserRecordedFirst: a loser is recorded as kept once it is.
	LoserRecordedFirst = "loser-recorded-first"
)

// The mutants of reading.
const (
	// TombstoneRead: a tombstone is a 404, whatever any region holds.
	TombstoneRead = "tombstone-read"
	// StaleInSilence: what is stale says so.
	StaleInSilence = "stale-in-silence"
	// ListedTombstones: tombstones are taken out of a listing.
	ListedTombstones = "listed-tombstones"
	// UnlistedKeys: a listing shows acknowledged keys that its region lacks or has older.
	UnlistedKeys = "unlisted-keys"
	// ReplicasAnswerUnchecked: a replica's answer has the row's ETag.
	ReplicasAnswerUnchecked = "replicas-answer-unchecked"
	// UploadClosesURL: a presigned PUT is tracked however often it is used.
	UploadClosesURL = "upload-closes-url"
	// GraceForgotten: a presigned PUT is tracked until an upload that began in time is over.
	GraceForgotten = "grace-forgotten"
	// UploadWins: what is uploaded to a region that is not the active loses against what was acknowledged since.
	UploadWins = "upload-wins"
	// OldLookIsUpload: what a region was seen to hold before a copy there was recorded is no upload.
	OldLookIsUpload = "old-look-is-upload"
	// UploadUnderRepair: what is overwritten for fear that a repair brought it is kept, where it may be an upload.
	UploadUnderRepair = "upload-under-repair"
	// UploadInRegressed: what may be an upload is kept, also in a region that came back older.
	UploadInRegressed = "upload-in-regressed"
	// CopyUnderURL: nothing is copied without conditions while an upload may land on it.
	CopyUnderURL = "copy-under-url"
	// WriteCleansURL: a key stays dirty under a write while a presigned PUT is open.
	WriteCleansURL = "write-cleans-url"
	// OpenURLUnsaid: while a presigned PUT is open no replica is current.
	OpenURLUnsaid = "open-url-unsaid"
	// LockUnderURL: no condition is judged while a presigned PUT is open.
	LockUnderURL = "lock-under-url"
	// ResumedUnchecked: a download goes on only in the version that it began with.
	ResumedUnchecked = "resumed-unchecked"
	// DirtyNotLoadedAtStart: the dirty set is loaded before the first read.
	DirtyNotLoadedAtStart = "dirty-not-loaded-at-start"
	// DirtyNotLoadedAtPromotion: the dirty set is loaded before an epoch is served.
	DirtyNotLoadedAtPromotion = "dirty-not-loaded-at-promotion"
)

// The mutants of failing over, and of regions that return.
const (
	// ForbiddenIsDown: a 403 alone never promotes.
	ForbiddenIsDown = "forbidden-is-down"
	// CopiesOutlivePromotion: a promotion cuts the copies to its target, and waits for them.
	CopiesOutlivePromotion = "copies-outlive-promotion"
	// DoubtsUnlisted: the ledger has every open intent of the old active.
	DoubtsUnlisted = "doubts-unlisted"
	// DeletesUnlisted: the ledger has every write at risk, deletes too.
	DeletesUnlisted = "deletes-unlisted"
	// MarkNotCompared: a region that is older than its mark should be is regressed.
	MarkNotCompared = "mark-not-compared"
	// RegressedTrusted: no copy of a regressed region is current until it is verified.
	RegressedTrusted = "regressed-trusted"
	// RegressedImported: nothing is imported from a regressed region.
	RegressedImported = "regressed-imported"
	// RegressedActiveReads: the reads of an active that is regressed ask the index.
	RegressedActiveReads = "regressed-active-reads"
)
