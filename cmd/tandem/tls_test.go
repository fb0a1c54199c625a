package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The wrong scheme is what TANDEM_URL has first once the gateway has a certificate, or has none
// any more.
func TestWrongSchemeIsTold(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	for url, want := range map[string]string{
		"http" + strings.TrimPrefix(secure.URL, "https"): "the gateway answers with TLS only: set TANDEM_URL to https://…",
		"https" + strings.TrimPrefix(plain.URL, "http"):  "has no TLS: set TANDEM_URL to http://…",
	} {
		env := environment{getenv: func(name string) (string, bool) { return url, name == "TANDEM_URL" }}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			_, err := newClient(env).call(t.Context(), method, "/admin/state", nil)
			if code(err) != exitUnreachable || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s %s: got %v (exit code %d), want %s", method, url, err, code(err), want)
			}
		}
	}
}
