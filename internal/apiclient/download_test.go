package apiclient_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/apiclient"
)

const downloadBytes = 1<<20 + 17

// newFolder is where downloads go.
func newFolder(t *testing.T) (root *os.Root, dir string) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

// requireFiles fails unless these are all the files of a folder.
func requireFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("got the files %q, want %q", got, want)
	}
}

func requireContent(t *testing.T, dir, name string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes (%v), want the object's %d", name, len(got), err, len(want))
	}
}

func TestADownloadThatIsCutGoesOnAtItsByte(t *testing.T) {
	data := randomBytes(downloadBytes)
	g := newGateway(t, data)
	g.change(func() { g.cut = 300 << 10 })
	root, dir := newFolder(t)
	var reached int64
	o, err := newClient(t, g.URL, 1).Download(t.Context(), "k", root, "f", apiclient.DownloadInput{Progress: func(done, size int64) {
		if done < reached || size != downloadBytes {
			t.Errorf("progress went from %d to %d of %d", reached, done, size)
		}
		reached = done
	}})
	if err != nil {
		t.Fatal(err)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", data)
	if reached != downloadBytes || o.Size != downloadBytes || o.ETag != g.etag {
		t.Errorf("reached %d, object %+v", reached, o)
	}
	requests := g.seen()
	if len(requests) < 4 || requests[0] != "GET" {
		t.Fatalf("got the requests %q", requests)
	}
	for _, r := range requests[1:] {
		if !strings.HasPrefix(r, "GET bytes=") || !strings.HasSuffix(r, `"`+g.etag+`"`) || strings.HasPrefix(r, "GET bytes=0") {
			t.Errorf("got %q, want a range of the object with the same ETag", r)
		}
	}
}

func TestAnInterruptedDownloadIsResumedByTheNextRun(t *testing.T) {
	data := randomBytes(downloadBytes)
	g := newGateway(t, data)
	g.change(func() { g.cut = 300 << 10 })
	root, dir := newFolder(t)
	c := newClient(t, g.URL, 0)
	for attempt := range 3 {
		if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err == nil {
			t.Fatalf("attempt %d: a cut download succeeded", attempt)
		}
		requireFiles(t, dir, "f.tandem-part", "f.tandem-part-of")
	}
	g.change(func() { g.cut = 0 })
	if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err != nil {
		t.Fatal(err)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", data)
	requests := g.seen()
	if last := requests[len(requests)-1]; last != `GET bytes=921600- "`+g.etag+`"` {
		t.Errorf("got last %q, want what three attempts left", last)
	}
}

func TestACompletePartIsNotFetchedAgain(t *testing.T) {
	data := randomBytes(1000)
	g := newGateway(t, data)
	root, dir := newFolder(t)
	writeFile(t, dir, "f.tandem-part", data)
	writeFile(t, dir, "f.tandem-part-of", []byte(`{"key":"k","etag":"`+g.etag+`","size":1000}`))
	if _, err := newClient(t, g.URL, 0).Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err != nil {
		t.Fatal(err)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", data)
	if got := g.seen(); !slices.Equal(got, []string{"HEAD"}) {
		t.Errorf("got the requests %q, want a HEAD alone", got)
	}
}

func writeFile(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPartOfAnotherObjectIsNeverContinued(t *testing.T) {
	data := randomBytes(1000)
	other := bytes.Repeat([]byte{'x'}, 400)
	for name, c := range map[string]struct{ part, note string }{
		"another version":   {"f.tandem-part", `{"key":"k","etag":"0f343b0931126a20f133d67c2b018a3b","size":1000}`},
		"another key":       {"f.tandem-part", `{"key":"j","etag":"ETAG","size":1000}`},
		"a longer one":      {"f.tandem-part", `{"key":"k","etag":"ETAG","size":100}`},
		"half a note":       {"f.tandem-part", `{"key":"k","et`},
		"no note":           {"f.tandem-part", ""},
		"complete, another": {"f.tandem-part", `{"key":"k","etag":"0f343b0931126a20f133d67c2b018a3b","size":400}`},
		"damaged on disk":   {"f.tandem-part", `{"key":"k","etag":"ETAG","size":1000}`},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, data)
			root, dir := newFolder(t)
			writeFile(t, dir, c.part, other)
			if c.note != "" {
				writeFile(t, dir, c.part+"-of", []byte(strings.Replace(c.note, "ETAG", g.etag, 1)))
			}
			if _, err := newClient(t, g.URL, 0).Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err != nil {
				t.Fatal(err)
			}
			requireFiles(t, dir, "f")
			requireContent(t, dir, "f", data)
		})
	}
}

func TestAnObjectThatChangesInTheMiddleIsFetchedWhole(t *testing.T) {
	first, second := randomBytes(downloadBytes), bytes.Repeat([]byte{'2'}, 700<<10)
	g := newGateway(t, first)
	g.change(func() { g.cut = 300 << 10 })
	root, dir := newFolder(t)
	isChanged := false
	_, err := newClient(t, g.URL, 1).Download(t.Context(), "k", root, "f", apiclient.DownloadInput{Progress: func(done, _ int64) {
		if done >= 300<<10 && !isChanged {
			isChanged = true
			g.set(second)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", second)
}

func TestWrongBytesNeverGetTheFilesName(t *testing.T) {
	g := newGateway(t, randomBytes(1000))
	g.change(func() { g.etag = "0f343b0931126a20f133d67c2b018a3b" })
	root, dir := newFolder(t)
	writeFile(t, dir, "f", []byte("before"))
	c := newClient(t, g.URL, 0)
	if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); !errors.Is(err, apiclient.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", []byte("before"))
	if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{IgnoreChecksum: true}); err != nil {
		t.Fatal(err)
	}
	requireContent(t, dir, "f", g.data)
}

func TestAnObjectThatIsNotThereLeavesNoFile(t *testing.T) {
	g := newGateway(t, nil)
	g.change(func() { g.data = nil })
	root, dir := newFolder(t)
	_, err := newClient(t, g.URL, 3).Download(t.Context(), "k", root, "f", apiclient.DownloadInput{})
	if !apiclient.IsNotFound(err) || !strings.Contains(err.Error(), "the key does not exist") {
		t.Errorf("got %v, want what the gateway said", err)
	}
	requireFiles(t, dir)
	if len(g.seen()) != 1 {
		t.Errorf("got the requests %q: an absence does not pass", g.seen())
	}
}

func TestTwoDownloadsIntoOneFileDoNotMix(t *testing.T) {
	g := newGateway(t, randomBytes(1000))
	root, dir := newFolder(t)
	c := newClient(t, g.URL, 0)
	var second error
	_, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{Progress: func(int64, int64) {
		_, second = c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{})
	}})
	if err != nil || !errors.Is(second, apiclient.ErrBusy) {
		t.Errorf("got %v and %v, want the second refused", err, second)
	}
	requireFiles(t, dir, "f")
	requireContent(t, dir, "f", g.data)
}

func TestLongNamesAndEmptyObjectsAreDownloaded(t *testing.T) {
	g := newGateway(t, nil)
	root, dir := newFolder(t)
	name := strings.Repeat("ä", 127) + "x"
	for _, data := range [][]byte{randomBytes(10), {}} {
		g.set(data)
		if _, err := newClient(t, g.URL, 0).Download(t.Context(), "k", root, name, apiclient.DownloadInput{}); err != nil {
			t.Fatal(err)
		}
		requireFiles(t, dir, name)
		requireContent(t, dir, name, data)
	}
}

func TestADownloadHasNoNameOfOneUnderWay(t *testing.T) {
	g := newGateway(t, randomBytes(10))
	root, dir := newFolder(t)
	for _, name := range []string{"f.tandem-part", "f.tandem-part-of"} {
		if _, err := newClient(t, g.URL, 0).Download(t.Context(), "k", root, name, apiclient.DownloadInput{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	requireFiles(t, dir)
}

func TestAStreamIsOfOneVersionOrFails(t *testing.T) {
	g := newGateway(t, randomBytes(downloadBytes))
	g.change(func() { g.cut = 300 << 10 })
	r, err := newClient(t, g.URL, 1).Open(t.Context(), "k", "", 0, apiclient.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 100); err != nil {
		t.Fatal(err)
	}
	g.set(randomBytes(downloadBytes - 1))
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, apiclient.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
}

func TestWhatIsStoredCompressedArrivesAsItIs(t *testing.T) {
	data := []byte("this is no gzip at all")
	g := newGateway(t, data)
	g.change(func() {
		g.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Accept-Encoding") == "" {
				w.Header().Set("Content-Encoding", "gzip")
			}
			return false
		}
	})
	c, err := apiclient.New(apiclient.Config{URL: g.URL}) // with a transport of its own
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open(t.Context(), "k", "", 0, apiclient.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %q (%v), Content-Encoding %q", got, err, r.Header.Get("Content-Encoding"))
	}
}

func TestAReadThatIsRefusedForNowIsTriedAgainAndThenGivenUp(t *testing.T) {
	g := newGateway(t, randomBytes(10))
	left := 2
	g.change(func() {
		g.before = func(w http.ResponseWriter, _ *http.Request) bool {
			if left--; left < 0 {
				return false
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"code":"NotYetReplicated","detail":"wait a little"}`)
			return true
		}
	})
	if _, err := newClient(t, g.URL, 2).Head(t.Context(), "k", apiclient.ReadOptions{}); err != nil {
		t.Errorf("got %v after two refusals", err)
	}
	g.change(func() { left = 1 << 20 })
	_, err := newClient(t, g.URL, 2).Head(t.Context(), "k", apiclient.ReadOptions{})
	if err == nil || !strings.Contains(err.Error(), "wait a little") {
		t.Errorf("got %v, want what the gateway said", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the token is in the error: %v", err)
	}
}
