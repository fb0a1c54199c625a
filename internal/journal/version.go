package journal

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is the place of a write in the one total order of a bucket's writes:
// the epoch of its intent, then the sequence drawn when it was committed. The later
// one wins. The zero Version is no write. Epoch 0 is before the first: what an upload by a presigned
// URL left in a replica takes it when it has lost.
type Version struct {
	Epoch, Sequence int64
}

// String is the form that is used everywhere: "<epoch>-<sequence>", "" for zero.
func (v Version) String() string {
	if v.IsZero() {
		return ""
	}
	return strconv.FormatInt(v.Epoch, 10) + "-" + strconv.FormatInt(v.Sequence, 10)
}

// IsZero reports whether v is no write.
func (v Version) IsZero() bool { return v == Version{} }

// Compare is negative when v is before w, 0 when they are the same, else positive.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Epoch, w.Epoch), cmp.Compare(v.Sequence, w.Sequence))
}

// ParseVersion reads what String wrote.
func ParseVersion(s string) (Version, error) {
	before, after, _ := strings.Cut(s, "-")
	epoch, err1 := strconv.ParseInt(before, 10, 64)
	sequence, err2 := strconv.ParseInt(after, 10, 64)
	v := Version{epoch, sequence}
	// A version is compared as text by others, so it has one form.
	if err1 != nil || err2 != nil || epoch < 0 || sequence < 1 || v.String() != s {
		return Version{}, fmt.Errorf("parse version %q: want <epoch>-<sequence>, such as 1-42", s)
	}
	return v, nil
}
