package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// isHarmless reports whether a terminal shows the text as it is, and does nothing else with it.
func isHarmless(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

// hostile are texts that would be something else on a terminal, or in JSON.
var hostile = []string{"", "a/b", "\x1b[2J\x1b]0;x\x07", "a\r\nb", "\u202egpj.exe", "\xff", "a\tb", `"quoted"`, "\ufffd", "-", "é😀", "\u2028", "%s%n"}

func FuzzTextOfOthersCannotPretend(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := plain(text)
		if !isHarmless(got) || strings.Contains(got, "\n") {
			t.Errorf("%q is shown as %q", text, got)
		}
		if back, err := strconv.Unquote(got); got != text && (err != nil || back != text) {
			t.Errorf("%q is shown as %q, which says %q (%v)", text, got, back, err)
		}
	})
}

// FuzzOthersTextInAnAnswerIsHarmless puts a text where a gateway has what others wrote: keys,
// reasons, errors, types, ETags. Whatever command shows it, a terminal only prints.
func FuzzOthersTextInAnAnswerIsHarmless(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	var said string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(answersWith(said)[r.URL.Path])
	}))
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, text string) {
		said = text
		for _, args := range [][]string{
			{"status"}, {"failovers", "list"}, {"failovers", "show", "2"}, {"conflicts", "list"}, {"conflicts", "show", "1"}, {"audit", "list"},
		} {
			var stdout, stderr bytes.Buffer
			env := environment{
				getenv: func(name string) (string, bool) { return s.URL, name == "TANDEM_URL" },
				stdin:  strings.NewReader(""), stdout: &stdout, stderr: &stderr,
			}
			if got := run(t.Context(), args, env); got != exitOK {
				t.Fatalf("%v: got exit code %d: %s", args, got, &stderr)
			}
			if !isHarmless(stdout.String()) || !isHarmless(stderr.String()) {
				t.Errorf("%v prints %q, %q", args, &stdout, &stderr)
			}
		}
	})
}

// answersWith are a gateway's, by path.
func answersWith(text string) map[string]any {
	type object = map[string]any
	row := object{
		"id": 1, "index": 1, "key": text, "reason": text, "detail": text, "etag": text, "contentType": text, "lastError": text, "outcome": "lost",
		"kind": "at-risk", "operation": "put", "state": "found", "resolution": text, "resolvedBy": text, "at": "2026-03-01T12:00:00.000Z",
	}
	failover := object{"epoch": 2, "from": "a", "to": "b", "reason": text, "closed": object{"lost": 1}}
	return map[string]any{
		"/admin/state": object{
			"active": "a", "regions": []object{{"name": "a", "health": "down", "lastError": text}, {"name": "b", "health": "up", "lastError": text}},
			"blockedBy": []object{{"region": "b", "code": "x", "message": text}},
		},
		"/admin/failovers":          object{"failovers": []object{failover}},
		"/admin/failovers/2":        failover,
		"/admin/failovers/2/ledger": object{"entries": []object{row}, "next": nil},
		"/admin/conflicts":          object{"conflicts": []object{row}, "next": nil},
		"/admin/conflicts/1":        row,
		"/admin/audit":              object{"entries": []object{row}, "next": nil},
	}
}

// FuzzCheckpointOfAFileIsTheOneInIt is of the files that an auditor keeps.
func FuzzCheckpointOfAFileIsTheOneInIt(f *testing.F) {
	const note = "tandem/j\n3\nhash\ntime x\n\n— tandem/j AAAA\n"
	f.Add(note)
	f.Add("\r\n" + note + "\n")
	f.Add(`{"checkpoint":"x","note":""}`)
	f.Add(`{"checkpoint":1}`)
	f.Add("{")
	f.Add("")
	path := filepath.Join(f.TempDir(), "checkpoint")
	read := func(t *testing.T, data []byte) ([]byte, error) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return checkpointOfFile(path)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(t, []byte(text))
		isJSON := strings.HasPrefix(strings.TrimSpace(text), "{")
		if !isJSON && (err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(text)) || isJSON && err == nil && !json.Valid([]byte(text)) {
			t.Errorf("of %q: got %q, %v", text, got, err)
		}
		if text == "" || !utf8.ValidString(text) {
			return
		}
		for _, member := range []string{"checkpoint", "note"} {
			data, err := json.Marshal(map[string]any{member: text, "other": 1})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(t, data); err != nil || string(got) != text {
				t.Errorf("of %s: got %q, %v", data, got, err)
			}
		}
	})
}
