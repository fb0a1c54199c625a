package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gnew/tandem/internal/apiclient"
)

// oddNames are names of files that something on the way could take for something else.
var oddNames = []string{
	"plain.txt", "two words", " leading and trailing ", "-rf", "--help", ".hidden", "...", "a..b", "100%", "%2F", "%00", "a+b", "a&b=c", "q?x=1",
	"#fragment", "semi;colon", "quote'\"`", `back\slash`, "new\nline", "tab\there", "ä ö ü", "e\u0301", "日本語", "emoji 🎉", "tandem:x", "~", "$HOME", "{}[]()<>|",
	"page.html", "UPPER.TXT", "upper.txt", strings.Repeat("long", 50),
}

// oddTree DIR makes a folder of some hundred files, empty ones and larger ones, in folders of odd names.
func oddTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oddtree dir")
	}
	n := 0
	for _, folder := range append([]string{"."}, oddNames[:9]...) {
		dir := filepath.Join(ts.MkAbs(args[0]), folder)
		if folder != "." {
			dir += " folder"
		}
		ts.Check(os.MkdirAll(dir, 0o777))
		for _, name := range oddNames {
			data := bytes.Repeat([]byte(name), n*7%1000)
			ts.Check(os.WriteFile(filepath.Join(dir, name), data, 0o666))
			n++
		}
	}
	ts.Setenv("FILES", strconv.Itoa(n))
}

// serveObject answers GET of one object, and cuts each answer after so many bytes.
func serveObject(data []byte, cut int) http.HandlerFunc {
	sum := md5.Sum(data)
	return func(w http.ResponseWriter, r *http.Request) {
		first := 0
		if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
			first, _ = strconv.Atoi(strings.TrimSuffix(text, "-"))
		}
		h := w.Header()
		h.Set("Etag", `"`+hex.EncodeToString(sum[:])+`"`)
		h.Set("X-Tandem-Region", "secondary")
		h.Set("X-Tandem-Freshness", "stale")
		h.Set("Content-Length", strconv.Itoa(len(data)-first))
		if first > 0 {
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
		}
		rest := data[first:]
		_, _ = w.Write(rest[:min(cut, len(rest))])
		if cut < len(rest) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func TestGetGoesOnInTheNextRun(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	env, stdout := newTestEnv(t, serveObject(data, 40<<10))
	var said bytes.Buffer
	env.stderr = &said
	path := filepath.Join(t.TempDir(), "f")
	if got := run(t.Context(), []string{"get", "k", path, "--retries", "0"}, env); got != exitUnreachable {
		t.Errorf("got exit code %d of a download that was cut, want %d; it said %s", got, exitUnreachable, &said)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half a file has the name of the whole")
	}
	if got := run(t.Context(), []string{"get", "k", path, "--retries", "0", "--json"}, env); got != exitOK {
		t.Errorf("got exit code %d of the next run; it said %s", got, &said)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes (%v), want %d", len(got), err, len(data))
	}
	var line downloaded
	if err := json.Unmarshal(stdout.Bytes(), &line); err != nil || line.Key != "k" || line.Size != int64(len(data)) || line.Freshness != "stale" || line.File != path {
		t.Errorf("got the line %s (%v)", stdout, err)
	}
	if !strings.Contains(said.String(), "warning: k: region secondary has an older version than was acknowledged (stale)\n") {
		t.Errorf("no warning of a stale answer: %s", &said)
	}
}

func TestGetThatIsCutGoesOnByItself(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	env, stdout := newTestEnv(t, serveObject(data, 40<<10))
	if got := run(t.Context(), []string{"get", "k", "-"}, env); got != exitOK || !bytes.Equal(stdout.Bytes(), data) {
		t.Errorf("got exit code %d and %d bytes, want %d", got, stdout.Len(), len(data))
	}
}

func TestAnInterruptedTransferSaysSoAndCanGoOn(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	env, _ := newTestEnv(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Etag", `"an-etag-of-parts-2"`)
		h.Set("X-Tandem-Region", "primary")
		h.Set("X-Tandem-Freshness", "current")
		h.Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		interrupt(errors.New("interrupt signal received"))
		<-r.Context().Done()
	})
	var said bytes.Buffer
	env.stderr = &said
	dir := t.TempDir()
	if got := run(ctx, []string{"get", "k", dir}, env); got != exitFailed || !strings.Contains(said.String(), "tandem: not done: interrupt signal received\n") {
		t.Errorf("got exit code %d, want %d; it said %s", got, exitFailed, &said)
	}
	if _, err := os.Stat(filepath.Join(dir, "k")); err == nil {
		t.Error("half a file has the name of the whole")
	}
}

func TestAListingIsPrintedPageByPage(t *testing.T) {
	const pages = 50
	env, stdout := newTestEnv(t, func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		var objects []map[string]any
		for i := range 1000 {
			objects = append(objects, map[string]any{"key": fmt.Sprintf("%06d", 1000*page+i), "etag": "e", "size": 1, "lastModified": "2026-01-02T03:04:05.000Z"})
		}
		answer := map[string]any{"objects": objects, "commonPrefixes": []string{}, "cursor": nil}
		if page+1 < pages {
			answer["cursor"] = strconv.Itoa(page + 1)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	if got := run(t.Context(), []string{"ls", "--recursive", "--json"}, env); got != exitOK {
		t.Errorf("got exit code %d", got)
	}
	if n := strings.Count(stdout.String(), "\n"); n != 1000*pages || !strings.Contains(stdout.String(), `{"key":"049999","etag":"e","size":1,"lastModified":"2026-01-02T03:04:05.000Z"}`) {
		t.Errorf("got %d lines, want %d", n, 1000*pages)
	}
}

func TestLinesOfALongTransferComeEveryFewSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		r := newReporter(environment{stdout: io.Discard, stderr: &said}, &transferFlags{}, uploading, false)
		m := r.begin(work{key: "k\x1b[2J", size: 40 << 20})
		for second := range int64(12) {
			time.Sleep(time.Second)
			m.reach((second+1)<<20, 40<<20)
		}
		m.end(12<<20, nil)
		r.end()
		want := `uploading "k\x1b[2J", 40.0 MiB
"k\x1b[2J": 5.0 MiB of 40.0 MiB (12%), 1.0 MiB/s
"k\x1b[2J": 10.0 MiB of 40.0 MiB (25%), 1.0 MiB/s
uploaded "k\x1b[2J", 12.0 MiB in 12s
`
		if said.String() != want {
			t.Errorf("got\n%swant\n%s", &said, want)
		}
	})
}

func TestWorkIsDoneAFewAtATimeAndFailuresEndNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		env := environment{getenv: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: &said}
		tr, err := newTransfers(env, transferFlags{isRecursive: true, parallel: 3}, uploading, false)
		if err != nil {
			t.Fatal(err)
		}
		running := make(chan struct{}, 3)
		var most atomic.Int64
		err = tr.all(t.Context(), func(yield func(work, error) bool) {
			for i := range 100 {
				if !yield(work{fmt.Sprint(i), 1, func(context.Context, func(done, size int64)) (any, error) {
					select {
					case running <- struct{}{}:
					default:
						return nil, fmt.Errorf("more than three at once")
					}
					time.Sleep(time.Second)
					most.Store(max(most.Load(), int64(len(running))))
					<-running
					if i%50 == 7 {
						return nil, &apiclient.StatusError{Status: http.StatusForbidden, Detail: "not this one"}
					}
					return nil, nil
				}}, nil) {
					return
				}
			}
		})
		if code(err) != exitFailed || err.Error() != "2 of 100 objects failed" || most.Load() != 3 {
			t.Errorf("got %v (exit code %d), %d at once", err, code(err), most.Load())
		}
		for _, want := range []string{
			"tandem: 7: the gateway answered 403 Forbidden: not this one\n", "tandem: 57: ", "uploaded 98 objects, 98 B in 34s; 2 failed\n",
		} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("it did not say %q:\n%s", want, &said)
			}
		}
	})
}

func TestNamesThatWouldLeaveTheFolderAreRefused(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a/b": true, "..a/b..": true, "a b\n": true, "...": true,
		"": false, ".": false, "..": false, "../a": false, "a/../../b": false, "/a": false, "a//b": false, "a/": false, "a/./b": false, "a\x00": false, "a/../b": false,
	} {
		if got := isFileName(name); got != want {
			t.Errorf("isFileName(%q): got %t, want %t", name, got, want)
		}
	}
}
