package restapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gnew/tandem/internal/s3op"
)

// Bucket is one that is served.
type Bucket struct {
	// Name is the one that clients see.
	Name string
	// Gateway answers for this bucket, and for no other.
	Gateway Gateway
}

func checkBuckets(buckets []Bucket) error {
	names := make(map[string]bool)
	for _, b := range buckets {
		if b.Name == "" || b.Gateway == nil || names[b.Name] {
			return fmt.Errorf("restapi: bucket %q needs a Gateway, and a Name that no other has", b.Name)
		}
		names[b.Name] = true
	}
	return nil
}

// serve finds the bucket that a request is about, where it is about one. Who may not ask is refused before:
// the names of the buckets are told here.
func (a *API) serve(h handler, w http.ResponseWriter, r *http.Request) error {
	if h.ofBucket == nil {
		return h.ofGateway(w, r)
	}
	b, err := a.bucketOf(r)
	if err != nil {
		return err
	}
	return h.ofBucket(w, r, b)
}

// bucketParameter names the bucket, in the query.
const bucketParameter = "bucket"

// bucketOf is the bucket that a request names, or the first. What cannot be read is no request of the first: a
// write would go to another bucket than was meant. So a query of which net/url would drop a part is refused.
func (a *API) bucketOf(r *http.Request) (Bucket, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Bucket{}, s3op.WrapError(s3op.Invalid, "InvalidURI", "the query is not percent-encoded as it should be, or has a semicolon that is not", err)
	}
	named := query[bucketParameter]
	switch len(named) {
	case 0:
		return a.first(), nil
	case 1:
		if b, ok := a.bucket(named[0]); ok {
			return b, nil
		}
		var names []string
		for _, b := range a.Buckets {
			names = append(names, b.Name)
		}
		return Bucket{}, s3op.NewError(s3op.NotFound, "NoSuchBucket",
			fmt.Sprintf("there is no bucket %q; the buckets are %s, and without ?%s= it is the first", named[0], strings.Join(names, ", "), bucketParameter))
	}
	return Bucket{}, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("?%s= is there %d times; name one bucket", bucketParameter, len(named)))
}

// first is the bucket of requests that name none. What all buckets have in common is asked of it, too: the epoch and its active.
func (a *API) first() Bucket { return a.Buckets[0] }

func (a *API) bucket(name string) (Bucket, bool) {
	i := slices.IndexFunc(a.Buckets, func(b Bucket) bool { return b.Name == name })
	if i < 0 {
		return Bucket{}, false
	}
	return a.Buckets[i], true
}

// bucketParameters are those of an operation about a bucket.
func bucketParameters() []*huma.Param {
	return []*huma.Param{query(bucketParameter, "The bucket that the request is about. Left out, the first that is configured.", text(), exampleBucket)}
}

// bucketFails are those of bucketOf.
func bucketFails() fails {
	return fails{http.StatusBadRequest: {"InvalidArgument", "InvalidURI"}, http.StatusNotFound: {"NoSuchBucket"}}
}
