package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

// quickSigning are the settings of tests of presigned URLs: uploads are waited for as short as may be.
var quickSigning = []string{"PRESIGN_EXPIRES=60", "PRESIGN_GRACE=1s", "REPLICATION_WORKERS=1"}

// signing is what POST /sign is sent.
type signing struct {
	Op          string `json:"op"`
	Key         string `json:"key"`
	Region      string `json:"region,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	ExpiresSec  int64  `json:"expiresSec,omitempty"`
}

// signed is what it answers.
type signed struct {
	URL, Method, Region string
	Headers             map[string]string
	ExpiresAt           time.Time
	Notes               []string
}

func (g *gateway) trySign(t *testing.T, s signing) answer {
	t.Helper()
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return g.do(t, http.MethodPost, "/sign", nil, bytes.NewReader(body), int64(len(body)))
}

// sign makes a URL, which must be given out.
func (g *gateway) sign(t *testing.T, s signing) signed {
	t.Helper()
	a := g.trySign(t, s)
	var u signed
	if err := json.Unmarshal(a.body, &u); err != nil || a.status != http.StatusOK {
		t.Fatalf("sign %+v: %s (%v)", s, a, err)
	}
	return u
}

// signPut makes a URL for uploads to the active.
func (g *gateway) signPut(t *testing.T, key string) signed {
	t.Helper()
	return g.sign(t, signing{Op: "put", Key: key})
}

// curl runs the real one with a URL, and returns the status and the body that it got.
func curl(t *testing.T, u signed, args ...string) (status int, body []byte) {
	t.Helper()
	args = append([]string{"--silent", "--show-error", "--path-as-is", "--max-time", "60", "--write-out", "%{stderr}%{http_code}"}, args...)
	for name, value := range u.Headers {
		args = append(args, "--header", name+": "+value)
	}
	cmd := exec.CommandContext(t.Context(), "curl", append(args, u.URL)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()} // no proxy, no .curlrc
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("curl %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	if _, err := fmt.Sscan(stderr.String(), &status); err != nil {
		t.Fatalf("curl said %q", &stderr)
	}
	return status, stdout.Bytes()
}

// tryUpload sends text with curl to a URL.
func tryUpload(t *testing.T, u signed, text string, args ...string) (status int, body []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return curl(t, u, append([]string{"--upload-file", file}, args...)...)
}

// upload is tryUpload where that must succeed.
func upload(t *testing.T, u signed, text string) {
	t.Helper()
	if status, body := tryUpload(t, u, text); status != http.StatusOK {
		t.Fatalf("upload to %s: status %d: %s", u.Region, status, body)
	}
}

// waitHeld waits until each of the regions holds the text under the key.
func (g *gateway) waitHeld(t *testing.T, key, text string, regions ...string) {
	t.Helper()
	for _, name := range regions {
		r := g.region(t, name)
		eventually(t, fmt.Sprintf("%s holds %.20q as %q", name, text, key), func() bool { return string(bytesOf(t, r, key)) == text })
	}
}

// waitIndexed waits until the upload is in both regions, and in the index as what they hold.
func (g *gateway) waitIndexed(t *testing.T, key, text string) {
	t.Helper()
	g.waitHeld(t, key, text, primary, secondary)
	eventually(t, "every copy of "+key+" is current", func() bool {
		s := g.status(t, key)
		return s != nil && !slices.ContainsFunc(s.Regions, func(c copyStatus) bool { return c.State != "current" || c.ETag != s.ETag })
	})
	if a := g.get(t, key); a.status != http.StatusOK || string(a.body) != text {
		t.Errorf("get %q: %s, want %.100q", key, a, text)
	}
}

// waitKept waits until there is a conflict of the key whose loser, the text, is kept in both regions.
func (g *gateway) waitKept(t *testing.T, key, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q of %s is kept as a conflict's loser", text, key), func() bool {
		return slices.ContainsFunc(g.conflicts(t), func(c conflict) bool {
			return c.Key == key && c.State == "kept" && string(bytesOf(t, g.region(t, primary), c.KeptKey)) == text &&
				string(bytesOf(t, g.region(t, secondary), c.KeptKey)) == text
		})
	})
}

// openURL is one of GET /admin/presigned.
type openURL struct {
	ID, Epoch                      int64
	Key, Region                    string
	SignedAt, ExpiresAt, OpenUntil time.Time
}

func (g *gateway) openURLs(t *testing.T) []openURL {
	t.Helper()
	return getJSON[struct{ Presigned []openURL }](t, g, "/admin/presigned").Presigned
}

// checkSecret checks that no signature is where anybody but its client reads: in a log, or in the data folder.
func (g *gateway) checkSecret(t *testing.T, urls ...signed) {
	t.Helper()
	texts := map[string]string{"the log": g.logs.String(), "/metrics": string(g.do(t, http.MethodGet, "/metrics", nil, nil, 0).body)}
	for _, file := range []string{"multi_region_store.db", "multi_region_store.db-wal"} {
		data, err := os.ReadFile(filepath.Join(g.dir, "data", file))
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(data)
	}
	for _, u := range urls {
		parsed, err := url.Parse(u.URL)
		if err != nil {
			t.Fatal(err)
		}
		signature := parsed.Query().Get("X-Amz-Signature")
		if len(signature) != 64 {
			t.Fatalf("%s has no signature", u.URL)
		}
		for name, text := range texts {
			if strings.Contains(text, signature) {
				t.Errorf("%s has the signature of a URL", name)
			}
		}
	}
}

// TestPresignedURLsTakeAnyKey: what curl uploads is indexed and replicated byte for byte, under each key; and by a
// URL for reading curl gets it back.
func TestPresignedURLsTakeAnyKey(t *testing.T) {
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	keys := []string{
		"plain", "a b/c d.txt", "año/☃/😀.png", "a+b=c&d", "100%/%41", "what?x=y#z", "a/...b/..c", "it's $HOME;`id`", `back\slash"quote`, "[1-3]{a,b}*",
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return !regions.holds(key) })
	urls := make([]signed, len(keys))
	for i, key := range keys {
		urls[i] = g.signPut(t, key)
		upload(t, urls[i], "text of "+key)
	}
	for i, key := range keys {
		g.waitIndexed(t, key, "text of "+key)
		if u := urls[i]; u.Method != http.MethodPut || u.Region != primary || len(u.Notes) == 0 || !strings.Contains(u.URL, "/gnew-primary/") {
			t.Errorf("%q was signed as %+v", key, u)
		}
		for _, region := range []string{primary, secondary} {
			status, body := curl(t, g.sign(t, signing{Op: "get", Key: key, Region: region}))
			if status != http.StatusOK || string(body) != "text of "+key {
				t.Errorf("curl got %q from %s: status %d: %s", key, region, status, body)
			}
		}
	}
	g.checkAgree(t)
	g.checkSecret(t, urls...)
}

// TestUploadsOfAnySizeByURL: also one that a region makes in several pieces, or of nothing.
func TestUploadsOfAnySizeByURL(t *testing.T) {
	t.Parallel()
	g := start(t, slices.Concat(quickSigning, []string{"REGION_TIMEOUT=20s"})...)
	g.waitCompared(t)
	for i, size := range []int64{0, 1, 64*kib + 1, 20 * mib} {
		key := fmt.Sprintf("size/%d", size)
		body := content{byte(i), size}.text()
		upload(t, g.signPut(t, key), body)
		g.waitIndexed(t, key, body)
	}
	g.checkAgree(t)
}

// TestAURLIsUsedAsOftenAsOneLikes: each upload is a version, and so is what is written between them by way of the
// gateway.
func TestAURLIsUsedAsOftenAsOneLikes(t *testing.T) {
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	u := g.signPut(t, "k")
	upload(t, u, "one")
	g.waitIndexed(t, "k", "one")
	upload(t, u, "two")
	g.waitIndexed(t, "k", "two")
	g.putText(t, "k", "three")
	g.waitHeld(t, "k", "three", primary, secondary)
	g.delete(t, "k")
	g.waitHeld(t, "k", "", primary, secondary)
	if a := g.get(t, "k"); a.status != http.StatusNotFound {
		t.Errorf("get of the deleted key: %s", a)
	}
	upload(t, u, "four")
	g.waitIndexed(t, "k", "four")
	if got := g.openURLs(t); len(got) != 1 || got[0].Key != "k" || got[0].Region != primary {
		t.Errorf("open URLs %+v, want the one, however often it was used", got)
	}
	want := http.StatusServiceUnavailable
	if !regions.conditions {
		want = http.StatusNotImplemented
	}
	if a := g.do(t, http.MethodPut, object("k"), http.Header{"If-None-Match": {"*"}}, strings.NewReader("x"), 1); a.status != want {
		t.Errorf("a conditional write while the URL is open: %s, want %d", a, want)
	}
}

// TestTheTypeOfASignedUploadIsBinding: the region refuses any other, and keeps the one.
func TestTheTypeOfASignedUploadIsBinding(t *testing.T) {
	needs(t, regions.signatures, "signatures that are verified")
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	u := g.sign(t, signing{Op: "put", Key: "photo", ContentType: "image/png"})
	if diff := cmp.Diff(map[string]string{"Content-Type": "image/png"}, u.Headers); diff != "" {
		t.Fatalf("headers to send (-want +got):\n%s", diff)
	}
	bare := u
	bare.Headers = nil
	if status, body := tryUpload(t, bare, "<script>"); status != regions.lacksSigned {
		t.Errorf("upload without a type: status %d: %s, want %d", status, body, regions.lacksSigned)
	}
	if status, body := tryUpload(t, bare, "<script>", "--header", "Content-Type: text/html"); status != http.StatusForbidden {
		t.Errorf("upload with another type: status %d: %s, want 403", status, body)
	}
	if held := bytesOf(t, g.region(t, primary), "photo"); held != nil {
		t.Errorf("the region holds %q, which it refused", held)
	}
	upload(t, u, "pixels")
	g.waitIndexed(t, "photo", "pixels")
	if a := g.get(t, "photo"); a.header.Get("Content-Type") != "image/png" {
		t.Errorf("get: content type %q", a.header.Get("Content-Type"))
	}
	// The URL of one request is good for no other.
	g.putText(t, "secret", "secret")
	for _, args := range [][]string{{"--request", "DELETE"}, {"--request", "GET"}} {
		if status, body := curl(t, u, args...); status != http.StatusForbidden {
			t.Errorf("curl %q: status %d: %s, want 403", args, status, body)
		}
	}
	want := http.StatusForbidden
	if regions.takesUnsigned {
		want = http.StatusOK
	}
	if status, _ := tryUpload(t, u, "", "--header", "X-Amz-Copy-Source: /gnew-primary/secret"); status != want {
		t.Errorf("the URL of an upload, used to make a copy of another object: status %d, want %d", status, want)
	}
	if held := string(bytesOf(t, g.region(t, primary), "photo")); (held == "secret") != regions.takesUnsigned {
		t.Errorf("the region holds %q after that", held)
	}
}

// TestAnExpiredURLIsRefused: by the region, and nothing is left of it.
func TestAnExpiredURLIsRefused(t *testing.T) {
	needs(t, regions.signatures, "signatures that are verified")
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	g.putText(t, "k", "text")
	put := g.sign(t, signing{Op: "put", Key: "k", ExpiresSec: 1})
	get := g.sign(t, signing{Op: "get", Key: "k", ExpiresSec: 1})
	if s := g.state(t).region(primary).OpenURLs; s.Count != 1 || s.Until == nil || !s.Until.After(put.ExpiresAt) {
		t.Errorf("state: open URLs %+v, want one until after %s", s, put.ExpiresAt)
	}
	eventually(t, "the URLs have expired", func() bool { return time.Now().After(get.ExpiresAt.Add(time.Second)) })
	if status, body := tryUpload(t, put, "late"); status != http.StatusForbidden {
		t.Errorf("upload by an expired URL: status %d: %s", status, body)
	}
	if status, body := curl(t, get); status != http.StatusForbidden {
		t.Errorf("read by an expired URL: status %d: %s", status, body)
	}
	g.waitAtRest(t, "k")
	if got := g.openURLs(t); len(got) != 0 {
		t.Errorf("open URLs %+v, want none", got)
	}
	if s := g.state(t).region(primary).OpenURLs; s.Count != 0 || s.Until != nil {
		t.Errorf("state: open URLs %+v, want none", s)
	}
	if a := g.get(t, "k"); string(a.body) != "text" {
		t.Errorf("get: %s", a)
	}
}

// TestAnUploadThatEndsAfterTheExpiryIsFound: it began in time, so the region takes it, and the grace covers it.
func TestAnUploadThatEndsAfterTheExpiryIsFound(t *testing.T) {
	needs(t, regions.signatures, "signatures that are verified")
	t.Parallel()
	g := start(t, slices.Concat(quickSigning, []string{"PRESIGN_GRACE=20s"})...)
	g.waitCompared(t)
	g.putText(t, "k", "old")
	u := g.sign(t, signing{Op: "put", Key: "k", ExpiresSec: 2})
	text := content{seed: 7, size: mib}.text()
	body := newGate(t, strings.NewReader(text), mib/2)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u.URL, struct{ io.Reader }{body})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(text))
	ended := make(chan error, 1)
	go func() {
		resp, err := g.client.Do(req)
		if err == nil {
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", resp.Status)
			}
		}
		ended <- err
	}()
	receive(t, "the first half of the body", body.reached)
	eventually(t, "the URL has expired", func() bool { return time.Now().After(u.ExpiresAt.Add(time.Second)) })
	if status, _ := tryUpload(t, u, "too late"); status != http.StatusForbidden {
		t.Errorf("upload by an expired URL: status %d, want 403", status)
	}
	body.open()
	if err := receive(t, "the end of the upload", ended); err != nil {
		t.Fatal(err)
	}
	g.waitIndexed(t, "k", text)
	g.checkAgree(t)
}

// TestAnUploadToAReplica: goes forward where the key was not changed since the URL was signed; else it is the
// loser of a conflict, and kept.
func TestAnUploadToAReplica(t *testing.T) {
	needs(t, regions.deleteConditions, "conditions on deletes: else a copy could take away what is uploaded")
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	for _, key := range []string{"same", "changed", "deleted"} {
		g.putText(t, key, "old")
		g.waitHeld(t, key, "old", secondary)
	}
	urls := make(map[string]signed)
	for _, key := range []string{"new", "same", "changed", "deleted"} {
		urls[key] = g.sign(t, signing{Op: "put", Key: key, Region: secondary})
		if u := urls[key]; u.Region != secondary || !strings.Contains(strings.Join(u.Notes, " "), "not the active") {
			t.Errorf("signed %+v, want a note that the region is not the active", u)
		}
	}
	g.putText(t, "changed", "acknowledged")
	g.delete(t, "deleted")
	g.waitHeld(t, "changed", "acknowledged", secondary)
	g.waitHeld(t, "deleted", "", secondary)
	for key, u := range urls {
		upload(t, u, "upload of "+key)
	}
	g.waitIndexed(t, "new", "upload of new")
	g.waitIndexed(t, "same", "upload of same")
	g.waitKept(t, "changed", "upload of changed")
	g.waitKept(t, "deleted", "upload of deleted")
	g.waitIndexed(t, "changed", "acknowledged")
	g.waitHeld(t, "deleted", "", primary, secondary)
	if a := g.get(t, "deleted"); a.status != http.StatusNotFound {
		t.Errorf("the deleted key: %s", a)
	}
	g.checkAgree(t)
}

// TestUploadsAfterAPromotion: the dry run, the state and the ledger have the URLs that are open. What is uploaded by
// them goes forward where the key was not changed since, else it is a conflict, and kept.
func TestUploadsAfterAPromotion(t *testing.T) {
	needs(t, regions.deleteConditions, "conditions on deletes: else a copy could take away what is uploaded")
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	keys := []string{"same", "changed"}
	for _, key := range keys {
		g.putText(t, key, "old")
		g.waitHeld(t, key, "old", secondary)
	}
	same, changed, unused := g.signPut(t, "same"), g.signPut(t, "changed"), g.sign(t, signing{Op: "put", Key: "unused", ExpiresSec: 1})
	var dry struct{ InDoubt, OpenURLs int64 }
	if a := g.promote(t, `{"dryRun": true}`); json.Unmarshal(a.body, &dry) != nil || dry.InDoubt != 3 || dry.OpenURLs != 3 {
		t.Errorf("dry run: %s, want three URLs in doubt", a)
	}
	if a := g.promote(t, `{}`); a.status != http.StatusOK {
		t.Fatalf("promote: %s", a)
	}
	var listed []string
	for _, e := range g.ledger(t, 2) {
		if e.Kind != "in-doubt" || e.Operation != "presigned-put" || e.Region != primary || e.Outcome != nil {
			t.Errorf("ledger entry %+v, want an open URL", e)
		}
		listed = append(listed, e.Key)
	}
	slices.Sort(listed)
	if diff := cmp.Diff([]string{"changed", "same", "unused"}, listed); diff != "" {
		t.Errorf("keys in the ledger (-want +got):\n%s", diff)
	}
	if got := g.state(t).region(primary).OpenURLs; got.Count == 0 {
		t.Errorf("state: %+v, want the URLs of the old active", got)
	}
	for _, u := range g.openURLs(t) {
		if u.Region != primary || u.Epoch != 1 {
			t.Errorf("open URL %+v, want one of epoch 1 that leads to the primary", u)
		}
	}
	g.putText(t, "changed", "acknowledged")
	g.waitHeld(t, "changed", "acknowledged", primary)
	upload(t, same, "forward")
	upload(t, changed, "loser")
	g.waitIndexed(t, "same", "forward")
	g.waitKept(t, "changed", "loser")
	g.waitIndexed(t, "changed", "acknowledged")
	upload(t, changed, "another") // the ledger is closed by then; the conflicts go on
	g.waitKept(t, "changed", "another")
	g.waitIndexed(t, "changed", "acknowledged")
	want := map[string]string{"same": "recovered", "changed": "conflict", "unused": "not-applied"}
	got := make(map[string]string)
	eventually(t, "the ledger is closed", func() bool {
		for _, e := range g.ledger(t, 2) {
			got[e.Key] = e.outcome()
		}
		return !slices.Contains([]string{got["same"], got["changed"], got["unused"]}, "")
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	g.checkAgree(t)
	g.checkSecret(t, same, changed, unused)
}

// TestUploadsSurviveAKilledGateway: between signing and upload, and between upload and its adoption.
func TestUploadsSurviveAKilledGateway(t *testing.T) {
	t.Parallel()
	g := start(t, quickSigning...)
	g.waitCompared(t)
	g.putText(t, "before", "old")
	g.waitHeld(t, "before", "old", secondary)
	before := g.signPut(t, "before")
	g.kill(t)
	g.start(t)
	upload(t, before, "new")
	g.waitIndexed(t, "before", "new")

	// The key is looked at when the gateway starts, and then a second later: by then it is dead.
	adopted := true
	for i := 0; adopted && i < 5; i++ {
		key := fmt.Sprintf("after%d", i)
		after := g.signPut(t, key)
		upload(t, after, key)
		g.kill(t)
		adopted = g.indexed(t, key)
		g.start(t)
		g.waitIndexed(t, key, key)
	}
	if adopted {
		t.Error("each upload was adopted before the gateway could be killed")
	}
	g.checkAgree(t)
}

// indexed reports whether the journal of a gateway that does not run has a version of the key.
func (g *gateway) indexed(t *testing.T, key string) bool {
	t.Helper()
	j, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(g.dir, "data", "multi_region_store.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	o, err := j.Lookup(t.Context(), "tandem", key)
	if err != nil {
		t.Fatal(err)
	}
	return o != nil && !o.Version.IsZero()
}

// TestURLsNameThePublicEndpoint: for clients that cannot reach the one that the gateway uses.
func TestURLsNameThePublicEndpoint(t *testing.T) {
	t.Parallel()
	g := newGateway(t, slices.Concat(quick, quickSigning)...)
	public := newRelay(t)
	g.start(t, "PRIMARY_S3_ENDPOINT="+g.endpointOf(t, primary), "PRIMARY_S3_PUBLIC_ENDPOINT=http://"+public.address(),
		"SECONDARY_S3_ENDPOINT="+g.endpointOf(t, secondary))
	g.waitCompared(t)
	public.lead(g.region(t, primary).Endpoint())
	u := g.signPut(t, "a b")
	if !strings.HasPrefix(u.URL, "http://"+public.address()+"/gnew-primary/a%20b?") {
		t.Errorf("the URL is %s, want one of %s", u.URL, public.address())
	}
	upload(t, u, "text")
	g.waitIndexed(t, "a b", "text")
	if status, body := curl(t, g.sign(t, signing{Op: "get", Key: "a b"})); status != http.StatusOK || string(body) != "text" {
		t.Errorf("curl got status %d: %s", status, body)
	}
	if public.connections() == 0 {
		t.Error("nobody came by the public endpoint")
	}
	if u := g.sign(t, signing{Op: "get", Key: "a b", Region: secondary}); !strings.HasPrefix(u.URL, g.region(t, secondary).Endpoint()+"/") {
		t.Errorf("the URL is %s, want one of %s, which has no public endpoint", u.URL, g.region(t, secondary).Endpoint())
	}
}

// relay takes connections and leads them to a region.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	target   string
	open     []net.Conn
	accepted int
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		group.Wait()
	})
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) lead(endpoint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = strings.TrimPrefix(endpoint, "http://")
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

func (r *relay) carry(in net.Conn) {
	defer in.Close()
	r.mu.Lock()
	target := r.target
	r.accepted++
	r.mu.Unlock()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	r.mu.Lock()
	r.open = append(r.open, in, out)
	r.mu.Unlock()
	carry(in, out)
}
