package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// browserNames are what Chromium is called.
var browserNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// newBrowser starts a browser that reaches nothing beyond loopback, with a profile of its own. It is gone at the end
// of the test.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range browserNames {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		const reason = "no browser: install Debian's package chromium, as make test does"
		if os.Getenv("TANDEM_TEST_ALL") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], // which make a profile of their own, and remove it
		chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-default-apps", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
		chromedp.Env("HOME="+t.TempDir()),
	)
	ctx, cancelTime := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancelTime)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// fetched is what a page saw of an answer; of one that the browser keeps from it, Err.
type fetched struct {
	Status int    `json:"status"`
	ETag   string `json:"etag"`
	Type   string `json:"type"`
	Err    string `json:"err"`
}

type pageAnswer struct {
	fetched
	Body []byte `json:"body"`
}

// page is a web page that uses presigned URLs.
const page = `<!doctype html><meta charset="utf-8"><title>upload</title><script>
const toBase64 = bytes => btoa(Array.from(bytes, b => String.fromCharCode(b)).join(''));
const bytesOf = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
async function send(request) {
	const init = {method: request.method, headers: request.headers, cache: 'no-store'};
	if (request.method === 'PUT') init.body = bytesOf(request.body);
	try {
		const answer = await fetch(request.url, init);
		const body = new Uint8Array(await answer.arrayBuffer());
		return {status: answer.status, etag: answer.headers.get('ETag') ?? '', type: answer.headers.get('Content-Type') ?? '', body: toBase64(body)};
	} catch (e) {
		return {err: String(e)};
	}
}
</script>`

// send has the page fetch a URL.
func send(t *testing.T, browser context.Context, u signed, body []byte) (fetched, []byte) {
	t.Helper()
	request, err := json.Marshal(struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers,omitempty"`
		Body    []byte            `json:"body"`
	}{u.URL, u.Method, u.Headers, body})
	if err != nil {
		t.Fatal(err)
	}
	result, err := chromedp.Run(browser, chromedp.Evaluate[pageAnswer]("send("+string(request)+")", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("the page could not send to %s: %v", u.Region, err)
	}
	return result.fetched, result.Body
}

// TestAWebPageUploadsAndReads: a page of another origin uses presigned URLs of embedded regions from a real browser:
// preflight, ETag, bytes, and errors that it can read.
func TestAWebPageUploadsAndReads(t *testing.T) {
	embeddedOnly(t, "what web pages may do elsewhere is the operator's to set")
	t.Parallel()
	browser := newBrowser(t)
	g := start(t, quickSigning...)
	g.waitCompared(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(origin.Close)
	if err := chromedp.Do(browser, chromedp.Navigate(origin.URL+"/")); err != nil {
		t.Fatalf("open the page: %v", err)
	}

	for _, region := range []string{primary, secondary} {
		key := "from a page/ñ+%?#" + region + ".png"
		body := content{seed: 3, size: 300 * kib}.text()
		put := g.sign(t, signing{Op: "put", Key: key, ContentType: "image/png", Region: region})
		a, _ := send(t, browser, put, []byte(body))
		if a.Status != http.StatusOK || len(a.ETag) != len(`""`)+32 {
			t.Fatalf("the page's PUT to %s: %+v, want 200 and an ETag that it can read", region, a)
		}
		g.waitIndexed(t, key, body)
		if s := g.status(t, key); s.ETag != strings.Trim(a.ETag, `"`) {
			t.Errorf("the index has ETag %s, the page saw %s", s.ETag, a.ETag)
		}
		for _, from := range []string{primary, secondary} {
			got, bytes := send(t, browser, g.sign(t, signing{Op: "get", Key: key, Region: from}), nil)
			if diff := cmp.Diff(fetched{Status: http.StatusOK, ETag: a.ETag, Type: "image/png"}, got); diff != "" || string(bytes) != body {
				t.Errorf("the page's GET from %s: %d bytes that are right: %t (-want +got):\n%s", from, len(bytes), string(bytes) == body, diff)
			}
		}
	}

	// What is refused is not hidden behind an error of the network.
	wrong := g.sign(t, signing{Op: "put", Key: "wrong", ContentType: "image/png"})
	wrong.Headers["Content-Type"] = "text/html"
	if a, body := send(t, browser, wrong, []byte("x")); a.Status != http.StatusForbidden || !strings.Contains(string(body), "SignatureDoesNotMatch") {
		t.Errorf("a PUT with another type: %+v: %s, want 403 and the region's reason", a, body)
	}
	if a, body := send(t, browser, g.sign(t, signing{Op: "get", Key: "nothing"}), nil); a.Status != http.StatusNotFound || !strings.Contains(string(body), "NoSuchKey") {
		t.Errorf("a GET of nothing: %+v: %s, want 404 and the region's reason", a, body)
	}
	expired := g.sign(t, signing{Op: "get", Key: "nothing", ExpiresSec: 1})
	eventually(t, "the URL has expired", func() bool { return time.Now().After(expired.ExpiresAt.Add(time.Second)) })
	if a, body := send(t, browser, expired, nil); a.Status != http.StatusForbidden {
		t.Errorf("a GET by an expired URL: %+v: %s, want 403", a, body)
	}
	// Without a URL a page gets nothing.
	bare := signed{URL: fmt.Sprintf("%s/gnew-primary/wrong", g.region(t, primary).Endpoint()), Method: http.MethodGet}
	if a, _ := send(t, browser, bare, nil); a.Status != http.StatusForbidden {
		t.Errorf("a GET without a signature: %+v, want 403", a)
	}
}
