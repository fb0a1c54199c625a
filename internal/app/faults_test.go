package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// mishap is what the active does to a write, and what that means.
type mishap struct {
	fault regiontest.Fault
	// applied: the region holds the write in the end.
	applied bool
	// rejected: the region said that it did not apply it, so nothing is in doubt.
	rejected bool
}

// mishaps are all the ways in which a write fails. What is late is let go by closing
// the channel; what hangs ends with the client.
func mishaps(late <-chan struct{}) map[string]mishap {
	never := make(chan struct{})
	return map[string]mishap{
		"error":               {fault: regiontest.Fault{Status: 500}},
		"error, but applied":  {fault: regiontest.Fault{Status: 500, Apply: true}, applied: true},
		"bad gateway":         {fault: regiontest.Fault{Status: 502, Code: "BadGateway"}},
		"unavailable":         {fault: regiontest.Fault{Code: "ServiceUnavailable"}},
		"cut":                 {fault: regiontest.Fault{CutBefore: true}},
		"cut early":           {fault: regiontest.Fault{CutBefore: true, Early: true}},
		"reply lost":          {fault: regiontest.Fault{CutBefore: true, Apply: true}, applied: true},
		"hangs":               {fault: regiontest.Fault{Hang: never}},
		"hangs, once applied": {fault: regiontest.Fault{Hang: never, Apply: true}, applied: true},
		"late":                {fault: regiontest.Fault{ApplyLater: late}, applied: true},
		"slow down":           {fault: regiontest.Fault{Code: "SlowDown"}, rejected: true},
		"forbidden":           {fault: regiontest.Fault{Code: "AccessDenied"}, rejected: true},
		"not implemented":     {fault: regiontest.Fault{Code: "NotImplemented"}, rejected: true},
	}
}

// faultyWrite is one write, in one state of its key, that meets one mishap.
type faultyWrite struct {
	mishap
	key, operation string
	exists         bool // the key held "old" before
	send           func(g *rig, key string) response
	want           string // what is there if it is applied, "" for nothing
}

func (f faultyWrite) expected() string {
	switch {
	case f.applied:
		return f.want
	case f.exists:
		return "old"
	}
	return ""
}

// runFaultyWrites makes the writes, some at once, and holds what becomes of them
// against what the protocol says. late is closed while the writes are in doubt.
func runFaultyWrites(t *testing.T, g *rig, writes []faultyWrite, atOnce int, late chan struct{}) {
	rules := make(map[string]faultyWrite)
	for _, f := range writes {
		rules[f.key] = f
		if f.exists {
			g.put(f.key, "old")
		}
	}
	g.awaitConverged()
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if f, ok := rules[q.Key]; ok && f.operation == q.Operation {
			return f.fault
		}
		return regiontest.Fault{}
	})
	var sent sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for _, f := range writes {
		sent.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			r := f.send(g, f.key)
			if want := map[bool]int{true: 501, false: 503}[f.fault.Code == "NotImplemented"]; r.Status != want {
				t.Errorf("%s: got %v, want %d", f.key, r, want)
			}
			s := g.status(f.key)
			switch {
			case f.rejected && !s.Settled && len(s.Regions) > 0:
				t.Errorf("%s: was rejected, yet is in doubt: %+v", f.key, s)
			case !f.rejected && !f.applied && (s.Settled || len(s.Regions) == 0):
				t.Errorf("%s: was closed before the doubt window was over: %+v", f.key, s)
			}
		})
	}
	sent.Wait()
	struck := make(map[string]bool)
	for _, q := range g.A.Requests() {
		struck[q.Operation+" "+q.Key] = true
	}
	for _, f := range writes {
		if !struck[f.operation+" "+f.key] {
			t.Errorf("%s: the write never came to where it was to fail", f.key)
		}
	}
	close(late)
	g.A.WaitLate()
	for _, f := range writes {
		g.eventually(func() error {
			s := g.status(f.key)
			switch want := f.expected(); {
			case len(s.Regions) == 0 && want == "" && !f.exists:
				return nil // never was, never became
			case !s.Settled, s.Deleted != (want == ""), s.in("primary").State != "current", s.in("secondary").State != "current":
				return fmt.Errorf("%s: want %.20q, got %+v", f.key, want, s)
			}
			return nil
		})
		if want := f.expected(); want != "" {
			g.wantObject(f.key, want)
		} else if r := g.GET(f.key); r.Status != 404 {
			t.Errorf("%s: GET: got %v, want 404", f.key, r)
		}
	}
	g.awaitConverged()
}

// keyStates are the states a key may be in when the write comes.
var keyStates = map[string]bool{"new": false, "old": true}

func TestFailedWritesEndAsWhatTheActiveHolds(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	large := strings.Repeat("large", 20<<10)
	put := func(data string, edits ...edit) func(*rig, string) response {
		return func(g *rig, key string) response { return g.PUT(key, []byte(data), edits...) }
	}
	late := make(chan struct{})
	var writes []faultyWrite
	for kind, f := range map[string]faultyWrite{
		"small":    {operation: "PutObject", want: "new", send: put("new")},
		"streamed": {operation: "PutObject", want: large, send: put(large)},
		"unsized":  {operation: "PutObject", want: "new", send: put("new", unsized)},
		"delete":   {operation: "DeleteObject", send: func(g *rig, key string) response { return g.DELETE(key) }},
	} {
		for state, exists := range keyStates {
			for name, m := range mishaps(late) {
				f.key, f.exists, f.mishap = kind+"/"+state+"/"+name, exists, m
				writes = append(writes, f)
			}
		}
	}
	runFaultyWrites(t, g, writes, len(writes), late)
}

// Completing a multipart upload may fail inside of a 200.
func TestFailedCompletionsEndAsWhatTheActiveHolds(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"REGION_TIMEOUT": "1s"}}) // completing may take ten times that
	data := strings.Repeat("parts---", 1<<20) + "!"
	late := make(chan struct{})
	var writes []faultyWrite
	for name, m := range map[string]mishap{
		"error in a 200":              {fault: regiontest.Fault{Status: 200, Code: "InternalError"}},
		"error in a 200, but applied": {fault: regiontest.Fault{Status: 200, Code: "InternalError", Apply: true}, applied: true},
		"reply lost":                  {fault: regiontest.Fault{CutBefore: true, Apply: true}, applied: true},
		"cut":                         {fault: regiontest.Fault{CutBefore: true}},
		"late":                        {fault: regiontest.Fault{ApplyLater: late}, applied: true},
		"slow down in a 200":          {fault: regiontest.Fault{Status: 200, Code: "SlowDown"}, rejected: true},
		"slow down":                   {fault: regiontest.Fault{Code: "SlowDown"}, rejected: true},
	} {
		writes = append(writes, faultyWrite{
			mishap: m, key: name, operation: "CompleteMultipartUpload", exists: true, want: data,
			send: func(g *rig, key string) response { return g.PUT(key, []byte(data), unsized) },
		})
	}
	runFaultyWrites(t, g, writes, 1, late)
	for _, u := range g.A.Uploads(bucketA) {
		if strings.HasPrefix(u.Key, "slow down") {
			t.Errorf("the parts of a rejected upload are left: %q", u.Key)
		}
	}
}

// A fault before the last byte of the body leaves nothing in doubt.
func TestWriteThatFailsBeforeItsEndIsNotInDoubt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "old")
	g.awaitSettled("k")
	before := g.A.Count("PutObject")
	for name, f := range map[string]regiontest.Fault{
		"cut":   {CutBodyAfter: 70_000},
		"error": {Status: 500, Early: true},
	} {
		g.A.SetFaults(onKey("PutObject", "k", f))
		// More than what the buffers of both sockets may hold.
		if r := g.do(http.MethodPut, "/objects/k", regiontest.Pattern(0, 256<<20), sized(256<<20)); r.Status != 503 {
			t.Errorf("%s: got %v, want 503", name, r)
		}
		if s := g.status("k"); !s.Settled {
			t.Errorf("%s: the key is in doubt: %+v", name, s)
		}
	}
	if n := g.A.Count("PutObject") - before; n != 2 {
		t.Errorf("A was sent %d PUTs for 2 of the client", n)
	}
	g.wantObject("k", "old")
}

// A write whose answer is missing is never sent again by the gateway.
func TestNoWriteIsSentTwice(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("put", "old")
	g.put("delete", "old")
	g.awaitConverged()
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		return regiontest.Fault{CutBefore: q.Operation == "PutObject" || q.Operation == "DeleteObject"}
	})
	for key, send := range map[string]func() response{
		"put":    func() response { return g.PUT("put", []byte("new")) },
		"delete": func() response { return g.DELETE("delete") },
	} {
		if r := send(); r.Status != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %v %v, want 503 with Retry-After", key, r, r.Header)
		}
	}
	g.awaitSettled("put", "delete")
	count := make(map[string]int)
	for _, q := range g.A.Requests() {
		count[q.Operation+" "+q.Key]++
	}
	if count["PutObject put"] != 2 || count["DeleteObject delete"] != 1 {
		t.Errorf("A was sent %v, want each write of the client once", count)
	}
}

// While a write is in doubt, only the active says what its key holds.
func TestKeyInDoubtIsAnsweredByTheActiveAlone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "old")
	g.awaitSettled("k")
	g.A.SetFaults(onKey("PutObject", "k", regiontest.Fault{CutBefore: true}))
	if r := g.PUT("k", []byte("new")); r.Status != 503 {
		t.Fatalf("got %v, want 503", r)
	}
	if r := g.wantObject("k", "old", query("prefer", "replica")); r.Header.Get("X-Tandem-Region") != "primary" {
		t.Errorf("a replica answered for a key in doubt: %v", r.Header)
	}
	g.A.SetFaults(onKey("GetObject", "k", regiontest.Fault{Status: 500}))
	wantProblem(t, g.GET("k"), 503, "NotYetReplicated")
	r := g.wantObject("k", "old", header("X-Tandem-Allow-Stale", "true"))
	if r.Header.Get("X-Tandem-Freshness") != "stale" || r.Header.Get("X-Tandem-Region") != "secondary" {
		t.Errorf("an older version, which was allowed: got %v", r.Header)
	}
	g.A.SetFaults(nil)
	g.awaitSettled("k")
	if r := g.wantObject("k", "old"); r.Header.Get("X-Tandem-Freshness") != "current" {
		t.Errorf("once settled: got %v", r.Header)
	}
}

// A condition is judged by the region, which must hold the acknowledged version.
func TestConditionOnAKeyThatTheActiveLostIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("lock", "held")
	g.awaitSettled("lock")
	g.A.Remove(bucketA, "lock")
	if r := g.wantObject("lock", "held"); r.Header.Get("X-Tandem-Fallback") != "true" {
		t.Errorf("got %v, want a fallback", r.Header)
	}
	wantProblem(t, g.PUT("lock", []byte("mine"), header("If-None-Match", "*")), 503, "NotYetReplicated")
	if r := g.HEAD("lock", query("repair", "1")); r.Status != http.StatusOK {
		t.Errorf("repair: got %v", r)
	}
	g.awaitState("lock", "primary", "current")
	wantProblem(t, g.PUT("lock", []byte("mine"), header("If-None-Match", "*")), 412, "PreconditionFailed")
}
