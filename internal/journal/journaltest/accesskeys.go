package journaltest

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

func accessKeyTests() []test {
	return []test{
		{"AnAccessKeyIsKeptAsItWasAdded", accessKeyIsKept},
		{"AnIDIsGivenOnce", accessKeyIDsAreUnique},
		{"ADisabledKeyStaysSoUntilItIsEnabled", accessKeyIsDisabled},
		{"ARotationReplacesTheSecretOfItsVersionAlone", accessKeyIsRotated},
		{"OfRotationsAtOnceOneWins", accessKeyRotationsRace},
		{"AKeyWhoseSecretIsDroppedIsDisabledUntilItIsRotated", accessKeySecretIsDropped},
		{"NothingIsChangedOfAKeyThatThereIsNot", accessKeyIsNotThere},
		{"AccessKeysAreOnTheRecordWithoutTheirSecrets", accessKeysAreRecorded},
		{"AccessKeysSurviveACrash", accessKeysSurviveACrash},
	}
}

const (
	keyID = "TANDEMKEY"
	// sealedText is no secret to the store, but bytes that no text has.
	sealedText = "\x00sealed\xff'"
)

// addKey adds a key that is bounded to a bucket and two prefixes.
func (s *store) addKey(id string) journal.AccessKey {
	s.t.Helper()
	k, err := s.AddAccessKey(s.t.Context(), journal.AccessKey{
		ID: id, Name: `a "name"` + "\n", Role: "read-write", Buckets: []string{bucket}, Prefixes: []string{"docs/", "ü'%_"},
		Sealed: []byte(sealedText), Version: 1,
	}, "admin")
	s.ok(err)
	return k
}

// keptAs checks that a key is listed as it was returned.
func (s *store) keptAs(want journal.AccessKey) {
	s.t.Helper()
	all, err := s.AccessKeys(s.t.Context())
	s.ok(err)
	for _, k := range all {
		if k.ID == want.ID {
			s.same("the access key", k, want)
			return
		}
	}
	s.t.Fatalf("access key %s is not among %v", want.ID, all)
}

func accessKeyIsKept(s *store) {
	all, err := s.AccessKeys(s.t.Context())
	s.ok(err)
	s.same("the access keys of a new journal", all, []journal.AccessKey{})
	first := s.addKey("Z")
	if first.CreatedAt.Before(s.now.Add(-long)) || !first.RotatedAt.IsZero() || !first.DisabledAt.IsZero() || string(first.Sealed) != sealedText {
		s.t.Errorf("got %+v, want it new and in force", first)
	}
	second, err := s.AddAccessKey(s.t.Context(), journal.AccessKey{ID: "A", Role: "admin", Sealed: []byte{0}, Version: 1, CreatedAt: s.now.Add(-long), DisabledAt: s.now}, "admin")
	s.ok(err)
	if second.CreatedAt.Before(first.CreatedAt) || !second.DisabledAt.IsZero() {
		s.t.Errorf("got %+v, want the store's own times", second)
	}
	all, err = s.AccessKeys(s.t.Context())
	s.ok(err)
	s.same("the access keys", all, []journal.AccessKey{first, second})
}

func accessKeyIDsAreUnique(s *store) {
	k := s.addKey(keyID)
	s.nothingHappens(func() {
		_, err := s.AddAccessKey(s.t.Context(), journal.AccessKey{ID: keyID, Role: "admin", Sealed: []byte("other"), Version: 1}, "admin")
		s.refused(err, journal.ErrExists)
	})
	s.keptAs(k)
}

func accessKeyIsDisabled(s *store) {
	ctx := s.t.Context()
	k := s.addKey(keyID)
	off, err := s.DisableAccessKey(ctx, keyID, "admin")
	s.ok(err)
	if off.DisabledAt.IsZero() {
		s.t.Errorf("got %+v, want it disabled", off)
	}
	s.keptAs(off)
	s.nothingHappens(func() {
		again, err := s.DisableAccessKey(ctx, keyID, "admin")
		s.ok(err)
		s.same("disabled twice", again, off)
	})
	on, err := s.EnableAccessKey(ctx, keyID, "admin")
	s.ok(err)
	s.same("enabled", on, k)
	s.nothingHappens(func() {
		again, err := s.EnableAccessKey(ctx, keyID, "admin")
		s.ok(err)
		s.same("enabled twice", again, k)
	})
	s.keptAs(k)
}

func accessKeyIsRotated(s *store) {
	ctx := s.t.Context()
	k, other := s.addKey(keyID), s.addKey("OTHER")
	rotated, err := s.RotateAccessKey(ctx, keyID, 2, []byte("second"), "admin")
	s.ok(err)
	if rotated.RotatedAt.Before(k.CreatedAt) {
		s.t.Errorf("got %+v, want the time of the rotation", rotated)
	}
	k.Version, k.Sealed, k.RotatedAt = 2, []byte("second"), rotated.RotatedAt
	s.same("rotated", rotated, k)
	s.keptAs(rotated)
	s.keptAs(other)
	s.nothingHappens(func() {
		for _, version := range []int64{0, 1, 2, 4} {
			_, err := s.RotateAccessKey(ctx, keyID, version, []byte("late"), "admin")
			s.refused(err, journal.ErrMovedOn)
		}
	})
	s.keptAs(rotated)
	_, err = s.DisableAccessKey(ctx, keyID, "admin")
	s.ok(err)
	rotated, err = s.RotateAccessKey(ctx, keyID, 3, []byte("third"), "admin")
	s.ok(err)
	if rotated.DisabledAt.IsZero() {
		s.t.Error("a rotation has enabled a key that was disabled")
	}
}

func accessKeyRotationsRace(s *store) {
	s.addKey(keyID)
	var won atomic.Int64
	atOnce(8, func(int) {
		if _, err := s.RotateAccessKey(context.Background(), keyID, 2, []byte("second"), "admin"); err == nil {
			won.Add(1)
		}
	})
	s.same("the rotations that were made", won.Load(), int64(1))
}

func accessKeySecretIsDropped(s *store) {
	ctx := s.t.Context()
	s.addKey(keyID)
	dropped, err := s.DropSecret(ctx, keyID, "operator", "lost")
	s.ok(err)
	if len(dropped.Sealed) != 0 || dropped.DisabledAt.IsZero() || dropped.Version != 1 {
		s.t.Errorf("got %+v, want it disabled and without a secret", dropped)
	}
	s.keptAs(dropped)
	s.nothingHappens(func() {
		_, err := s.EnableAccessKey(ctx, keyID, "admin")
		s.refused(err, journal.ErrNoSecret)
		again, err := s.DropSecret(ctx, keyID, "operator", "lost")
		s.ok(err)
		s.same("dropped twice", again, dropped)
	})
	_, err = s.RotateAccessKey(ctx, keyID, 2, []byte("second"), "admin")
	s.ok(err)
	k, err := s.EnableAccessKey(ctx, keyID, "admin")
	s.ok(err)
	if string(k.Sealed) != "second" || !k.DisabledAt.IsZero() {
		s.t.Errorf("got %+v, want it in force with its new secret", k)
	}
}

func accessKeyIsNotThere(s *store) {
	ctx := s.t.Context()
	s.addKey(keyID)
	s.nothingHappens(func() {
		for _, id := range []string{"", "tandemkey", keyID + "2"} {
			_, err := s.DisableAccessKey(ctx, id, "admin")
			s.refused(err, journal.ErrNotFound)
			_, err = s.EnableAccessKey(ctx, id, "admin")
			s.refused(err, journal.ErrNotFound)
			_, err = s.RotateAccessKey(ctx, id, 2, []byte("x"), "admin")
			s.refused(err, journal.ErrNotFound)
			_, err = s.DropSecret(ctx, id, "admin", "")
			s.refused(err, journal.ErrNotFound)
		}
	})
}

func accessKeysAreRecorded(s *store) {
	ctx := s.t.Context()
	before := len(s.chain())
	s.adds(func() { s.addKey(keyID) }, "create")
	s.adds(func() {
		_, err := s.DisableAccessKey(ctx, keyID, "somebody")
		s.ok(err)
	}, "disable")
	s.adds(func() {
		_, err := s.EnableAccessKey(ctx, keyID, "admin")
		s.ok(err)
	}, "enable")
	s.adds(func() {
		_, err := s.RotateAccessKey(ctx, keyID, 2, []byte(sealedText), "admin")
		s.ok(err)
	}, "rotate")
	s.adds(func() {
		_, err := s.DropSecret(ctx, keyID, "operator", "lost")
		s.ok(err)
	}, "disable")
	for _, e := range s.chain()[before:] {
		if !strings.Contains(e.Detail, keyID) || e.Key != "" {
			s.t.Errorf("got %+v, want the ID in the detail", e)
		}
		if strings.Contains(e.Detail, "sealed") {
			s.t.Errorf("the secret is in the chain: %+v", e)
		}
		if e.Action == audit.Disable && !strings.Contains(e.Detail, "lost") && e.Actor != "somebody" {
			s.t.Errorf("got %+v, want who did it", e)
		}
	}
}

func accessKeysSurviveACrash(s *store) {
	ctx := s.t.Context()
	kept := s.addKey("KEPT")
	s.addKey("OFF")
	off, err := s.DisableAccessKey(ctx, "OFF", "admin")
	s.ok(err)
	s.addKey("TURNED")
	turned, err := s.RotateAccessKey(ctx, "TURNED", 2, []byte("second"), "admin")
	s.ok(err)
	s = s.crashed()
	all, err := s.AccessKeys(ctx)
	s.ok(err)
	s.same("the access keys", all, []journal.AccessKey{kept, off, turned})
}
