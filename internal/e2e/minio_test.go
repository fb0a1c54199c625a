//go:build minio

package e2e_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// These tests ask a MinIO, whose binary `make test-minio` builds and names in TANDEM_MINIO. What they want
// of it is what MinIO does, where that is not what Amazon S3 does.

// minio is a server of one empty folder.
type minio struct {
	endpoint string
	client   *s3.Client
}

// startMinIO runs a MinIO until the test ends.
func startMinIO(t *testing.T) minio {
	t.Helper()
	address := freeAddress(t)
	supervise(t, minioCommand(t, address, t.TempDir()))
	return minio{endpoint: "http://" + address, client: waitMinIO(t, address)}
}

// bucket makes an empty one.
func (m minio) bucket(t *testing.T) string {
	t.Helper()
	name := "b-" + strings.ToLower(rand.Text())
	if _, err := m.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

// region is a client of a bucket.
func (m minio) region(t *testing.T, bucket string) *region.Region {
	t.Helper()
	transport, err := region.NewTransport("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := region.New(t.Context(), region.Config{
		Name: "minio", Endpoint: m.endpoint, Bucket: bucket, AccessKey: minioKey, SecretKey: minioSecret, Timeout: patience, Transport: transport,
		CheckKey: func(key string) error {
			if !minioHolds(key) {
				return fmt.Errorf("MinIO does not hold %q", key)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMinIOConforms(t *testing.T) {
	m := startMinIO(t)
	regiontest.Run(t, func(t *testing.T) *region.Region { return m.region(t, m.bucket(t)) }, regiontest.Facts{
		WithoutBucket:      func(t *testing.T) *region.Region { return m.region(t, "missing-"+strings.ToLower(rand.Text())) },
		CanHold:            minioHolds,
		NoDeleteConditions: true,
		// It has two storage classes, no websites, and gives metadata back encoded (RFC 2047) that is not ASCII.
		Drops:     []string{"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location", "X-Amz-Meta-Utf8"},
		PlainTags: true,
	})
}

func (m minio) env(t *testing.T, bucket string) []string {
	return []string{
		"PRIMARY_S3_ENDPOINT=" + m.endpoint, "PRIMARY_S3_BUCKET=" + bucket, "PRIMARY_S3_ACCESS_KEY=" + minioKey, "PRIMARY_S3_SECRET_KEY=" + minioSecret,
		"SECONDARY_S3_ENDPOINT=file://" + t.TempDir() + "/secondary",
	}
}

// The doctor finds what is otherwise than in Amazon S3, and leaves nothing, versions included.
func TestDoctorOfMinIO(t *testing.T) {
	m := startMinIO(t)
	for _, versioned := range []bool{false, true} {
		bucket := m.bucket(t)
		want := []string{"metadata beyond ASCII not supported", "storage classes not supported", "If-Match on DELETE warning", "keys not supported"}
		if versioned {
			_, err := m.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
			})
			if err != nil {
				t.Fatal(err)
			}
			want = slices.Insert(want, 0, "versioning warning")
		}
		g := newGateway(t, m.env(t, bucket)...)
		r, code := g.doctor(t)
		var got []string
		for _, f := range r.Regions[0].Findings {
			if f.Status != "ok" {
				got = append(got, f.Check+" "+f.Status)
			}
		}
		if code != 0 || !slices.Equal(got, want) {
			t.Errorf("versioned %v: exit code %d, got %q, want %q: %+v", versioned, code, got, want, r.Regions[0].Findings)
		}
		if len(r.Across) != 2 || r.Across[0].Status != "ok" || r.Across[1].Status != "ok" {
			t.Errorf("across: %+v", r.Across)
		}
		if left := versionsBelow(t, m.client, bucket, ""); len(left) > 0 {
			t.Errorf("versioned %v: left: %q", versioned, left)
		}
	}
}

// A MinIO and an embedded region behind one gateway: writes of each kind, both ways, and a failover by hand.
func TestMinIOBehindAGateway(t *testing.T) {
	m := startMinIO(t)
	bucket := m.bucket(t)
	g := start(t, m.env(t, bucket)...)
	large := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	put := func(key string, body []byte, size int64, h http.Header) {
		t.Helper()
		if a := g.do(t, http.MethodPut, object(key), h, bytes.NewReader(body), size); a.status != http.StatusCreated {
			t.Fatalf("PUT %s: %v", key, a)
		}
	}
	put("small", []byte("small"), 5, http.Header{"X-Amz-Tagging": {"a=1"}, "X-Amz-Meta-Name": {"value"}})
	put("large", large, int64(len(large)), nil)
	put("parts", large, -1, nil)
	put("gone", []byte("gone"), 4, nil)
	put("once", []byte("once"), 4, http.Header{"If-None-Match": {"*"}})
	if a := g.do(t, http.MethodPut, object("once"), http.Header{"If-None-Match": {"*"}}, strings.NewReader("x"), 1); a.status != http.StatusPreconditionFailed {
		t.Errorf("PUT of what is there, on the condition that it is not: %v", a)
	}
	if a := g.do(t, http.MethodDelete, object("once"), http.Header{"If-Match": {`"00000000000000000000000000000000"`}}, nil, 0); a.status != http.StatusNotImplemented {
		t.Errorf("conditional DELETE, which MinIO ignores: %v, want 501", a)
	}
	if a := g.do(t, http.MethodPut, object("a//b"), nil, strings.NewReader("x"), 1); a.status != http.StatusBadRequest {
		t.Errorf("PUT of a key that MinIO does not hold: %v, want 400", a)
	}
	g.waitAtRest(t, "small", "large", "parts", "gone", "once")
	g.delete(t, "gone")
	g.waitAtRest(t, "gone")
	check := func(when string) {
		t.Helper()
		for key, want := range map[string][]byte{"small": []byte("small"), "large": large, "parts": large, "once": []byte("once")} {
			if a := g.get(t, key); a.status != http.StatusOK || !bytes.Equal(a.body, want) {
				t.Errorf("%s: GET %s: status %d, %d bytes", when, key, a.status, len(a.body))
			}
		}
		if a := g.get(t, "gone"); a.status != http.StatusNotFound {
			t.Errorf("%s: GET of what was deleted: %v", when, a)
		}
	}
	check("MinIO is active")
	promote := func(name string) {
		t.Helper()
		p := g.launch(t, []string{"promote", name}, "TANDEM_URL="+g.url)
		<-p.ended
		if p.err != nil {
			t.Fatalf("promote %s: %v: %s", name, p.err, p.stdout.String())
		}
	}
	promote(secondary)
	check("the embedded region is active")
	put("later", []byte("later"), 5, nil)
	put("later parts", large, -1, nil)
	g.delete(t, "once")
	g.waitAtRest(t, "later", "later parts", "once")
	promote(primary)
	for key, want := range map[string]string{"later": "later", "later parts": string(large)} {
		if a := g.get(t, key); a.status != http.StatusOK || string(a.body) != want {
			t.Errorf("GET %s from MinIO: status %d, %d bytes", key, a.status, len(a.body))
		}
	}
	if a := g.get(t, "once"); a.status != http.StatusNotFound {
		t.Errorf("GET of what was deleted in the other region: %v", a)
	}
}
