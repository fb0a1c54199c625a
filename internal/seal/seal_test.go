package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gnew/tandem/internal/seal"
)

func newSealer(t *testing.T, first byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(append([]byte{first}, make([]byte, seal.KeyBytes-1)...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsSealedOpensForItsNameAlone(t *testing.T) {
	s := newSealer(t, 1)
	for _, secret := range []string{"", "x", "a secret of some length/+="} {
		sealed := s.Seal(secret, "key 1")
		if got, err := s.Open(sealed, "key 1"); got != secret || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, secret)
		}
		if secret != "" && bytes.Contains(sealed, []byte(secret)) {
			t.Errorf("%q can be read in what is sealed", secret)
		}
		for _, name := range []string{"", "key", "key 2", "key 11", "KEY 1"} {
			if got, err := s.Open(sealed, name); got != "" || !errors.Is(err, seal.ErrNotOpened) {
				t.Errorf("for %q: got %q, %v, want it refused", name, got, err)
			}
		}
		if got, err := newSealer(t, 2).Open(sealed, "key 1"); got != "" || !errors.Is(err, seal.ErrNotOpened) {
			t.Errorf("under another master key: got %q, %v, want it refused", got, err)
		}
	}
}

func TestNoBitOfWhatIsSealedCanBeChanged(t *testing.T) {
	s := newSealer(t, 1)
	sealed := s.Seal("secret", "name")
	for i := range 8 * len(sealed) {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		if got, err := s.Open(changed, "name"); got != "" || !errors.Is(err, seal.ErrNotOpened) {
			t.Fatalf("bit %d: got %q, %v, want it refused", i, got, err)
		}
	}
	for n := range sealed {
		if _, err := s.Open(sealed[:n], "name"); !errors.Is(err, seal.ErrNotOpened) {
			t.Fatalf("the first %d bytes: got %v, want them refused", n, err)
		}
	}
	if _, err := s.Open(append(sealed, 0), "name"); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("a byte more: got %v, want it refused", err)
	}
}

func TestTheSameSecretIsNeverSealedAlike(t *testing.T) {
	s := newSealer(t, 1)
	seen := make(map[string]bool)
	for range 1000 {
		seen[string(s.Seal("secret", "name"))] = true
	}
	if len(seen) != 1000 {
		t.Errorf("got %d different ones of 1000: a nonce came twice", len(seen))
	}
}

func TestAMasterKeyOfAnotherLengthIsRefused(t *testing.T) {
	for _, n := range []int{0, 16, 24, 31, 33} {
		if _, err := seal.New(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}
