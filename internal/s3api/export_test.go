package s3api

import (
	"net/http"
	"net/http/httptest"

	"github.com/gnew/tandem/internal/s3op"
)

// Authorise judges a request of the caller as ServeHTTP does once its signature was verified.
func Authorise(caller Key, method, target string, h http.Header) (s3op.Operation, error) {
	c := callOf(caller, method, target, h)
	var err error
	if c.name, c.key, err = s3op.ParseTarget(c.r.Host, c.r.URL.EscapedPath(), ""); err != nil {
		return "", err
	}
	if c.op, err = s3op.Classify(method, c.name, c.key, c.r.URL.RawQuery, h); err != nil {
		return c.op.Operation, err
	}
	return c.op.Operation, c.authorise()
}

// AuthoriseSource judges what a copy names as its source.
func AuthoriseSource(caller Key, source string) error {
	c := callOf(caller, http.MethodPut, "/bkt/docs/copy", http.Header{"X-Amz-Copy-Source": {source}})
	_, err := c.source()
	return err
}

func callOf(caller Key, method, target string, h http.Header) *call {
	r := httptest.NewRequest(method, target, nil)
	r.Header = h
	return &call{API: &API{Config: Config{Buckets: []Bucket{{Name: "bkt"}, {Name: "other"}}}}, r: r, caller: caller}
}
