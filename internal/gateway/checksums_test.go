package gateway

import (
	"net/http"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

// A checksum that contradicts another of its kind must not be left out, nor one whose last bits are not zero be taken for
// another (RFC 4648, section 3.5).
func TestChecksumThatCannotBeOneIsRefused(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Header{
		"two of one kind":     {"Content-Md5": {"hBotaJrYa9FhFEdFPCLG/A==", "eV8yArF8trw9S3cdjGyerw=="}},
		"bits behind the end": {"X-Amz-Checksum-Crc32": {"AAAAAB=="}},
		"too short":           {"X-Amz-Checksum-Sha256": {"AAAA"}},
		"no base64":           {"Content-Md5": {"not base64 at all, no"}},
		"empty":               {"Content-Md5": {""}},
	} {
		if _, err := newChecksums(h); s3op.KindOf(err) != s3op.Invalid {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	if c, err := newChecksums(http.Header{"X-Amz-Checksum-Crc32": {"AAAAAA=="}}); err != nil || c.verify() != nil {
		t.Errorf("the checksum of nothing: %v", err)
	}
}
