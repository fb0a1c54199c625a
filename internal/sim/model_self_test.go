package sim

import "testing"

// TestTheModelPermitsExactlyWhatALinearizableRegisterMayShow: the model is what judges, so its own
// cases are written out.
func TestTheModelPermitsExactlyWhatALinearizableRegisterMayShow(t *testing.T) {
	t.Parallel()
	m := newModel()
	put := func(value string, f fate) *write {
		w := &write{key: "k", value: value}
		m.begin(w)
		m.end(w, outcome{fate: f})
		return w
	}
	want := func(what, value string, permitted bool) {
		t.Helper()
		now := m.now()
		if got := m.permits("k", value, now, now); got != permitted {
			t.Errorf("%s: %q is permitted: %t, want %t", what, value, got, permitted)
		}
	}
	want("before any write", absent, true)
	want("before any write", "a", false)
	put("a", acknowledged)
	want("acknowledged", "a", true)
	want("a stale absence", absent, false)
	put("b", unknown)
	want("nobody knows of b", "a", true)
	want("nobody knows of b", "b", true)
	put("c", acknowledged)
	want("replaced", "a", false)
	want("late", "b", true)
	want("newest", "c", true)
	put("d", refused)
	want("refused", "d", false)
	put(absent, acknowledged)
	want("deleted", absent, true)
	want("resurrected", "c", false)
	put("e", unknown)
	m.observe("k", "e", m.now())
	want("seen", "e", true)
	want("a read that goes back behind what was seen", absent, false)
	w := &write{key: "k", value: "f"}
	m.begin(w)
	want("under way", "e", true)
	want("under way", "f", true)
}
