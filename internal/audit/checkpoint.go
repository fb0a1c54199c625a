package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// ErrSignature is the error of a checkpoint that the key did not sign, or that was
// changed since.
var ErrSignature = errors.New("the checkpoint has no valid signature of this key")

// Checkpoint says which hash a chain had after its first Size entries.
type Checkpoint struct {
	JournalID string
	// Size is how many entries it covers; 0 before the first.
	Size int64
	// Head is the hash of entry Size, Genesis where there is none.
	Head Hash
	// At is in whole microseconds, in UTC.
	At time.Time
}

const (
	originPrefix = "tandem/"
	timePrefix   = "time "
	timeLayout   = "2006-01-02T15:04:05.000000Z"
)

// origin is the first line of a journal's checkpoints, and the name of its key.
func origin(journalID string) string { return originPrefix + journalID }

func (c Checkpoint) text() string {
	return origin(c.JournalID) + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + c.Head.String() + "\n" +
		timePrefix + c.At.UTC().Format(timeLayout) + "\n"
}

// OpenCheckpoint reads what Signer.Sign wrote. Without a valid signature of v's key the
// error is ErrSignature; what is no signed note at all is another.
func OpenCheckpoint(data []byte, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open(data, note.VerifierList(v))
	if err != nil {
		_, unverified := errors.AsType[*note.UnverifiedNoteError](err)
		_, invalid := errors.AsType[*note.InvalidSignatureError](err)
		if unverified || invalid {
			return Checkpoint{}, fmt.Errorf("open checkpoint with key %s+%08x: %w", v.Name(), v.KeyHash(), ErrSignature)
		}
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	// A key signs for its own journal alone.
	if origin(c.JournalID) != v.Name() {
		return Checkpoint{}, fmt.Errorf("open checkpoint of journal %q with key %s: %w", c.JournalID, v.Name(), ErrSignature)
	}
	return c, nil
}

// parseCheckpoint takes lines after the fourth as a later version's: they are signed.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 5 { // the fourth ends the text at least
		return Checkpoint{}, errors.New("want four lines: origin, size, hash, time")
	}
	journalID, ours := strings.CutPrefix(lines[0], originPrefix)
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if !ours || err != nil || size < 0 {
		return Checkpoint{}, fmt.Errorf("origin %q and size %q are none of a Tandem journal", lines[0], lines[1])
	}
	head, err := ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, err
	}
	clock, timed := strings.CutPrefix(lines[3], timePrefix)
	at, err := time.Parse(timeLayout, clock)
	if !timed || err != nil {
		return Checkpoint{}, fmt.Errorf("want a line such as %q, not %q", timePrefix+timeLayout, lines[3])
	}
	c := Checkpoint{JournalID: journalID, Size: size, Head: head, At: at}
	// A checkpoint is compared as text by others, so it has one form.
	if !strings.HasPrefix(text, c.text()) {
		return Checkpoint{}, fmt.Errorf("size %q or time %q is not in the one form that they have", lines[1], clock)
	}
	return c, nil
}
