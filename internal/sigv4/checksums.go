package sigv4

import (
	"hash"
	"net/http"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// checksum is a header of a trailer, and what it is verified against.
type checksum struct {
	name, algorithm string
	hash            hash.Hash
	value           string // "" until it came
}

// newChecksums returns the checksums that the values of X-Amz-Trailer promise. A trailer that cannot be verified is
// refused before anything is read.
func newChecksums(values []string) ([]*checksum, error) {
	const maxTrailers = 5 // one of each algorithm
	sums := make([]*checksum, 0, 1)
	for name := range strings.SplitSeq(strings.Join(values, ","), ",") {
		sum := newChecksum(strings.ToLower(strings.TrimSpace(name)))
		if sum == nil || len(sums) == maxTrailers {
			return nil, invalid("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

func newChecksum(name string) *checksum {
	sum := s3op.NewChecksum(http.CanonicalHeaderKey(name))
	if sum == nil {
		return nil
	}
	return &checksum{name: name, algorithm: strings.ToUpper(strings.TrimPrefix(name, "x-amz-checksum-")), hash: sum}
}
