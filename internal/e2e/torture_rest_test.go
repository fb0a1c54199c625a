package e2e_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The patience with which rest is waited for.
const (
	// restPatience covers the settler's longest pause and the pause after many failed tries of a copy.
	restPatience  = 4 * time.Minute
	heldPatience  = 9 * time.Second
	slowRest      = 20 * time.Second
	restInterval  = 50 * time.Millisecond
	heldForLonger = 10 * time.Second
)

// waitQuiet waits until nothing is pending, in doubt, open, or to be kept.
func (l *life) waitQuiet(keys map[string]*keyHistory) {
	l.t.Helper()
	tick := time.NewTicker(restInterval)
	defer tick.Stop()
	nextLook := heldPatience
	isSlow := false
	for began := time.Now(); ; <-tick.C {
		unrest := l.unrest(keys)
		took := time.Since(began)
		switch {
		case unrest == "":
			l.note("at rest after %s", took.Round(time.Millisecond))
			return
		case took > restPatience:
			l.t.Fatalf("seed %d: not at rest after %s: %s\nwhat was done:\n%s", l.seed, took, unrest, strings.Join(l.notes, "\n"))
		case took > nextLook:
			nextLook += heldPatience
			if l.letTimePass() {
				l.note("minutes pass, for %s", firstLine(unrest))
			}
		}
		if took > slowRest && !isSlow {
			isSlow = true
			l.tally.add(slowRounds, 1)
			l.note("no rest for long: %s", firstLine(unrest))
		}
	}
}

// What holds a key back for minutes: a copy whose outcome could not be recorded keeps its claim for
// two; a repair, or the keeping of a loser, that was cut may land for ten, and no client's write
// for as long. A restart takes up the claims, with all that it has to remember of them; pass is what
// makes the rest be over.
var heldBack = []struct{ name, count, pass string }{
	{claimsLeft, `SELECT count(*) FROM copies WHERE claim <> 0 AND claimed_until > ?2 AND ?1 <> 0`, ""},
	{
		repairsLeft, `SELECT count(*) FROM intents WHERE doubt_until > ?2 AND ?1 <> 0`,
		`UPDATE intents SET doubt_until = ?1 WHERE doubt_until > ?2`,
	},
	{
		lateCopiesLeft, `SELECT count(*) FROM late_copies WHERE until > ?2 AND ?1 <> 0`,
		`UPDATE copies SET next_try = ?1 WHERE next_try > ?2 AND EXISTS (SELECT 1 FROM late_copies l
			WHERE l.bucket = copies.bucket AND l.key = copies.key AND l.region = copies.region AND l.until > ?2);
		UPDATE late_copies SET until = ?1 WHERE until > ?2`,
	},
}

// letTimePass has what holds keys back for minutes be over, and reports whether there was
// something. It kills the gateway, and the regions' processes: nothing that any of them was
// asked for can land after that, which is what the minutes are for.
func (l *life) letTimePass() bool {
	l.t.Helper()
	isHeld := false
	l.journal(func(db *sql.DB) {
		for _, h := range heldBack {
			var n int
			now := time.Now()
			if err := db.QueryRowContext(l.t.Context(), h.count, now.UnixMicro(), now.Add(heldForLonger).UnixMicro()).Scan(&n); err != nil {
				l.t.Fatalf("look into the journal: %v", err)
			}
			l.tally.add(h.name, n)
			isHeld = isHeld || n > 0
		}
	})
	if !isHeld {
		return false
	}
	l.endings[l.g.process] = byKill
	l.g.kill(l.t)
	for _, s := range l.g.servers {
		if comeBack, isAway := s.keepAway(l.t); isAway {
			comeBack()
		}
	}
	edited := l.journal(func(db *sql.DB) {
		for _, h := range heldBack {
			if h.pass == "" {
				continue
			}
			now := time.Now()
			if _, err := db.ExecContext(l.t.Context(), h.pass, now.UnixMicro(), now.Add(heldForLonger).UnixMicro()); err != nil {
				l.t.Fatalf("have minutes pass in the journal: %v", err)
			}
		}
	})
	if err := l.room.replaceJournal(edited); err != nil {
		l.t.Fatal(err)
	}
	l.launch()
	l.awaitServing()
	return true
}

// journal opens a copy of the journal, and returns its path. The journal itself cannot be opened
// from outside the room: SQLite would follow the link that leads there.
func (l *life) journal(use func(*sql.DB)) string {
	l.t.Helper()
	path := filepath.Join(l.g.dir, "copy.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + suffix) // there may be none
	}
	backup := l.room.command("journal", "backup", path)
	backup.Env = slices.Concat([]string{"HOME=" + l.g.dir}, l.g.env)
	if out, err := backup.CombinedOutput(); err != nil {
		l.t.Fatalf("copy the journal: %v: %s", err, out)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	use(db)
	return path
}

// unrest is what there still is to be done, "" for nothing.
func (l *life) unrest(keys map[string]*keyHistory) string {
	for _, key := range l.keys {
		s := l.g.status(l.t, key)
		if s.isAtRest() {
			continue
		}
		var text strings.Builder
		fmt.Fprintf(&text, "key %s: %+v", key, *s)
		for _, c := range s.Regions {
			if c.LastError != nil {
				fmt.Fprintf(&text, ", %s: %s", c.Region, *c.LastError)
			}
		}
		fmt.Fprintf(&text, "\n%s", keys[key])
		return text.String()
	}
	for _, r := range l.g.state(l.t).Regions {
		if r.Health != "up" || !r.Compared || r.Regressed || r.Pending.Keys > 0 {
			return fmt.Sprintf("region %+v", r)
		}
	}
	for _, f := range l.g.failovers(l.t) {
		if f.Open == 0 {
			continue
		}
		open := slices.DeleteFunc(l.g.ledger(l.t, f.Epoch), func(e ledgerEntry) bool { return e.Outcome != nil })
		return fmt.Sprintf("failover %+v: open %+v", f, open)
	}
	for _, c := range l.g.conflicts(l.t) {
		if c.State != "kept" {
			return fmt.Sprintf("conflict %+v", c)
		}
	}
	return ""
}
