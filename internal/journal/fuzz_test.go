package journal_test

import (
	"regexp"
	"testing"

	"github.com/gnew/tandem/internal/journal"
)

func FuzzParseVersionReadsWhatStringWrote(f *testing.F) {
	for _, s := range []string{"1-1", "12-9223372036854775807", "", "-", "1-", "0-1", "1--1", "+1-1", "01-1", "1-1 ", "1-9223372036854775808"} {
		f.Add(s, int64(1), int64(42))
	}
	form := regexp.MustCompile(`^(0|[1-9][0-9]{0,18})-[1-9][0-9]{0,18}$`)
	f.Fuzz(func(t *testing.T, s string, epoch, sequence int64) {
		v, err := journal.ParseVersion(s)
		if err == nil && (v.String() != s || !form.MatchString(s) || v.Compare(journal.Version{}) <= 0) {
			t.Errorf("%q was read as %+v", s, v)
		}
		if err != nil && !v.IsZero() {
			t.Errorf("%q was refused, and read as %+v", s, v)
		}
		written := journal.Version{Epoch: epoch, Sequence: sequence}
		again, err := journal.ParseVersion(written.String())
		if isLegal := epoch >= 0 && sequence > 0; isLegal != (err == nil) || isLegal && again != written {
			t.Errorf("%+v was written %q and read as %+v (%v)", written, written, again, err)
		}
	})
}
