package journal_test

import (
	"slices"
	"testing"

	"github.com/gnew/tandem/internal/journal"
)

func TestVersionIsReadAsItWasWritten(t *testing.T) {
	for _, v := range []journal.Version{{Epoch: 1, Sequence: 1}, {Epoch: 12, Sequence: 1<<63 - 1}, {Epoch: 0, Sequence: 1}} {
		got, err := journal.ParseVersion(v.String())
		if err != nil || got != v {
			t.Errorf("%v: got %v, %v", v, got, err)
		}
	}
	if s := (journal.Version{}).String(); s != "" {
		t.Errorf("the zero version is written %q", s)
	}
}

func TestVersionHasOneForm(t *testing.T) {
	for _, s := range []string{
		"", "-", "1", "1-", "-1", "1-0", "1--1", "-1-1", "+1-1", "01-1", "1-01", " 1-1", "1-1 ", "1-2-3", "1-9223372036854775808", "a-b",
	} {
		if v, err := journal.ParseVersion(s); err == nil {
			t.Errorf("%q was read as %v", s, v)
		}
	}
}

func TestVersionsAreOrderedByEpochThenSequence(t *testing.T) {
	want := []journal.Version{{}, {Epoch: 1, Sequence: 2}, {Epoch: 1, Sequence: 10}, {Epoch: 2, Sequence: 1}}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, journal.Version.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, v := range want {
		if v.Compare(v) != 0 || v.IsZero() != (v == journal.Version{}) {
			t.Errorf("%v is not itself", v)
		}
	}
}
