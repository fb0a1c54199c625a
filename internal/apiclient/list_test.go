package apiclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/gnew/tandem/internal/apiclient"
)

func TestAListingIsReadToItsEndInOneOrder(t *testing.T) {
	pages := map[string]string{
		"":  `{"objects":[{"key":"b","etag":"1","size":1,"lastModified":"2026-01-02T03:04:05.000Z"},{"key":"d"}],"commonPrefixes":["a/","c/"],"truncated":true,"cursor":"x"}`,
		"x": `{"objects":[],"commonPrefixes":[],"truncated":true,"cursor":"y"}`,
		"y": `{"objects":[{"key":"e"}],"commonPrefixes":["f/"],"truncated":false,"cursor":null}`,
	}
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("cursor") == "y" && asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		if q.Get("prefix") != "ä &+" || q.Get("delimiter") != "/" {
			t.Errorf("got the query %q", r.URL.RawQuery)
		}
		w.Header().Set("X-Tandem-Freshness", "unknown")
		fmt.Fprint(w, pages[q.Get("cursor")])
	}))
	defer s.Close()
	var got, freshness []string
	in := apiclient.ListInput{Prefix: "ä &+", Delimiter: "/", Page: func(f, _ string) { freshness = append(freshness, f) }}
	for e, err := range newClient(t, s.URL, 1).List(t.Context(), in) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key+e.Prefix)
	}
	if want := []string{"a/", "b", "c/", "d", "e", "f/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(freshness, []string{"unknown", "unknown", "unknown"}) {
		t.Errorf("got the freshness of the pages as %q", freshness)
	}
}

func TestAListingThatGoesRoundIsAnError(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"objects":[],"commonPrefixes":[],"truncated":true,"cursor":"x"}`)
	}))
	defer s.Close()
	var last error
	for _, err := range newClient(t, s.URL, 0).List(t.Context(), apiclient.ListInput{}) {
		last = err
	}
	if last == nil {
		t.Error("a listing without an end ended well")
	}
}
