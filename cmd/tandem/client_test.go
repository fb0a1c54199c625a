package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// newTestEnv is that of a command that asks the gateway which handler stands for.
func newTestEnv(t *testing.T, handler http.HandlerFunc) (env environment, stdout *bytes.Buffer) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	stdout = new(bytes.Buffer)
	return environment{
		getenv: func(name string) (string, bool) { return s.URL, name == "TANDEM_URL" },
		stdin:  strings.NewReader(""), stdout: stdout, stderr: t.Output(),
	}, stdout
}

func code(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return -1
}

// chainOf answers as GET /admin/audit does, over n entries.
func chainOf(n int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		limit, _ := strconv.ParseInt(r.URL.Query().Get("limit"), 10, 64)
		page := struct {
			Entries []map[string]int64 `json:"entries"`
			Next    *int64             `json:"next"`
		}{Entries: []map[string]int64{}}
		for i := after + 1; i <= min(n, after+limit); i++ {
			page.Entries = append(page.Entries, map[string]int64{"index": i})
		}
		if int64(len(page.Entries)) == limit {
			page.Next = new(after + limit)
		}
		_ = json.NewEncoder(w).Encode(page)
	}
}

func TestPagesAreReadToTheEndOfTheListOrTheLimit(t *testing.T) {
	for _, c := range []struct{ entries, after, limit, want, next int64 }{
		{0, 0, 0, 0, 0},
		{3, 0, 0, 3, 0},
		{pageEntries, 0, 0, pageEntries, 0},
		{2*pageEntries + 1, 0, 0, 2*pageEntries + 1, 0},
		{2*pageEntries + 1, 5, pageEntries + 2, pageEntries + 2, pageEntries + 7},
		{10, 8, 5, 2, 0},
		{10, 12, 5, 0, 0},
	} {
		env, _ := newTestEnv(t, chainOf(c.entries))
		var got []int64
		next, err := newClient(env).pages(t.Context(), "/admin/audit?all=true", "entries", c.after, c.limit, func(raw []json.RawMessage) error {
			for _, data := range raw {
				var e auditAnswer
				if err := parse(data, &e); err != nil {
					return err
				}
				got = append(got, e.Index)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(got)) != c.want || next != c.next || !slices.IsSorted(got) || len(got) > 0 && got[0] != c.after+1 {
			t.Errorf("%+v: got %d entries and next %d", c, len(got), next)
		}
	}
}

func TestAnExportThatBreaksOffLeavesNoFile(t *testing.T) {
	env, _ := newTestEnv(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "0" {
			panic(http.ErrAbortHandler)
		}
		chainOf(2*pageEntries)(w, r)
	})
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if got := run(t.Context(), []string{"audit", "export", "--output", path}, env); got != exitUnreachable {
		t.Errorf("got exit code %d, want %d", got, exitUnreachable)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half an export is there")
	}
}

func TestALedgerThatIsCutShortIsNotTakenForWhole(t *testing.T) {
	env, stdout := newTestEnv(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "id,kind\n1,at-risk\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	path := filepath.Join(t.TempDir(), "ledger.csv")
	for _, to := range []string{"-", path} {
		if got := run(t.Context(), []string{"failovers", "show", "2", "--csv", to}, env); got != exitUnreachable {
			t.Errorf("--csv %s: got exit code %d, want %d", to, got, exitUnreachable)
		}
	}
	if !strings.HasPrefix(stdout.String(), "id,kind\n") {
		t.Errorf("got %q printed, want what arrived", stdout)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half a ledger is there")
	}
}

// Refused: nobody listens. Applied, but the answer was lost: the connection breaks.
func TestAChangeWithoutAnAnswerIsNotSaidToHaveFailed(t *testing.T) {
	broken := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	lost, _ := newTestEnv(t, broken)
	nobody := environment{getenv: func(name string) (string, bool) { return "http://127.0.0.1:1", name == "TANDEM_URL" }}
	for _, c := range []struct {
		env     environment
		method  string
		unknown bool
	}{
		{lost, http.MethodPost, true},
		{lost, http.MethodDelete, true},
		{lost, http.MethodGet, false},
		{nobody, http.MethodPost, false},
	} {
		_, err := newClient(c.env).call(t.Context(), c.method, "/admin/failover/promote", nil)
		if got := strings.Contains(fmt.Sprint(err), "may have done it or not"); got != c.unknown || code(err) != exitUnreachable {
			t.Errorf("%s: got %v (exit code %d), want its outcome unknown: %t", c.method, err, code(err), c.unknown)
		}
	}
}

func TestWhatIsNoGatewayIsToldFromOne(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusOK:         "is its version another than this command's?",
		http.StatusBadGateway: "the gateway answered 502 Bad Gateway: is something else at TANDEM_URL?",
	} {
		env, _ := newTestEnv(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>")
		})
		var s stateAnswer
		if err := newClient(env).read(t.Context(), "/admin/state", &s); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("status %d: got error %v, want %q in it", status, err, want)
		}
	}
}

func TestTextsOfOthersCannotSteerATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"docs/größe 1.md": "docs/größe 1.md",
		"a\tb":            `"a\tb"`,
		"\x1b[2Jgone":     `"\x1b[2Jgone"`,
		"a\nat-risk":      `"a\nat-risk"`,
		"\xff":            `"\xff"`,
		"a\u202etxt":      `"a\u202etxt"`,
	} {
		if got := plain(text); got != want {
			t.Errorf("plain(%q): got %s, want %s", text, got, want)
		}
	}
}

func TestSizesAreReadable(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 12698: "12.4 KiB", 1<<20 - 1: "1.0 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d): got %s, want %s", n, got, want)
		}
	}
}
