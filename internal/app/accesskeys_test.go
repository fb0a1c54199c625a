package app_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
)

// accessKey is one that the API has made.
type accessKey struct {
	*s3.Client
	id, secret string
}

type keyAnswer struct {
	ID, Name, Role, Source           string
	Buckets, Prefixes                []string
	Enabled, LostSecret              bool
	CreatedAt, RotatedAt, DisabledAt *string
}

type issuedAnswer struct {
	Key    keyAnswer
	Secret string
}

// newKey makes an access key, and a client with it.
func (g *s3Rig) newKey(wish string) accessKey {
	g.t.Helper()
	r := g.do(http.MethodPost, "/admin/keys", strings.NewReader(wish), header("Content-Type", "application/json"))
	if r.Status != http.StatusCreated {
		g.t.Fatalf("make a key: got %v", r)
	}
	made := decode[issuedAnswer](g.t, r)
	return g.as(made.Key.ID, made.Secret)
}

// as is AWS's client with another access key.
func (g *s3Rig) as(id, secret string) accessKey {
	return accessKey{s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(g.S3), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: g.client,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""), RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}), id, secret}
}

func (g *s3Rig) change(k accessKey, what string) response {
	g.t.Helper()
	r := g.do(http.MethodPost, "/admin/keys/"+k.id+"/"+what, nil)
	if r.Status != http.StatusOK {
		g.t.Fatalf("%s: got %v", what, r)
	}
	return r
}

// tandem is the bucket that clients see.
var tandem = aws.String("tandem")

func (k accessKey) put(ctx context.Context, key string) error {
	_, err := k.PutObject(ctx, &s3.PutObjectInput{Bucket: tandem, Key: &key, Body: strings.NewReader("by " + k.id)})
	return err
}

func (k accessKey) get(ctx context.Context, key string) error {
	out, err := k.GetObject(ctx, &s3.GetObjectInput{Bucket: tandem, Key: &key})
	if err == nil {
		_, err = io.Copy(io.Discard, out.Body)
		_ = out.Body.Close()
	}
	return err
}

// presigned is the status of a request by URL.
func (g *s3Rig) presigned(method, url string) int {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.ctx, method, url, nil)
	g.must(err)
	resp, err := g.client.Do(req)
	g.must(err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	g.must(err)
	return resp.StatusCode
}

func TestAccessKeyIsInForceOnceItIsMadeAndNoMoreOnceItIsDisabled(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	k := g.newKey(`{"name": "app"}`)
	g.must(k.put(g.ctx, "k"))
	g.must(k.get(g.ctx, "k"))
	presigner := s3.NewPresignClient(k.Client)
	get, err := presigner.PresignGetObject(g.ctx, &s3.GetObjectInput{Bucket: tandem, Key: aws.String("k")}, s3.WithPresignExpires(time.Hour))
	g.must(err)
	put, err := presigner.PresignPutObject(g.ctx, &s3.PutObjectInput{Bucket: tandem, Key: aws.String("by URL")}, s3.WithPresignExpires(time.Hour))
	g.must(err)
	if got := g.presigned("GET", get.URL); got != 200 {
		t.Errorf("by URL: got %d", got)
	}
	g.change(k, "disable")
	wantCode(t, k.get(g.ctx, "k"), 403, "InvalidAccessKeyId")
	wantCode(t, k.put(g.ctx, "k"), 403, "InvalidAccessKeyId")
	for method, url := range map[string]string{"GET": get.URL, "PUT": put.URL} {
		if got := g.presigned(method, url); got != 403 {
			t.Errorf("%s by the URL of a disabled key: got %d, want 403", method, got)
		}
	}
	g.restart(nil)
	k = g.as(k.id, k.secret)
	wantCode(t, k.get(g.ctx, "k"), 403, "InvalidAccessKeyId")
	g.change(k, "enable")
	g.must(k.get(g.ctx, "k"))
}

func TestRotationEndsTheOldSecretAtOnce(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	old := g.newKey(`{}`)
	g.must(old.put(g.ctx, "k"))
	get, err := s3.NewPresignClient(old.Client).PresignGetObject(g.ctx, &s3.GetObjectInput{Bucket: tandem, Key: aws.String("k")}, s3.WithPresignExpires(time.Hour))
	g.must(err)
	rotated := decode[issuedAnswer](t, g.change(old, "rotate"))
	wantCode(t, old.get(g.ctx, "k"), 403, "SignatureDoesNotMatch")
	if got := g.presigned("GET", get.URL); got != 403 {
		t.Errorf("by a URL of the old secret: got %d, want 403", got)
	}
	g.must(g.as(rotated.Key.ID, rotated.Secret).get(g.ctx, "k"))
	g.restart(nil)
	g.must(g.as(rotated.Key.ID, rotated.Secret).get(g.ctx, "k"))
	wantCode(t, g.as(old.id, old.secret).get(g.ctx, "k"), 403, "SignatureDoesNotMatch")
}

func TestReadOnlyKeyWritesNothing(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "there")
	k := g.newKey(`{"role": "read-only"}`)
	g.must(k.get(g.ctx, "k"))
	_, err := k.ListObjectsV2(g.ctx, &s3.ListObjectsV2Input{Bucket: tandem})
	g.must(err)
	wantCode(t, k.put(g.ctx, "k"), 403, "AccessDenied")
	_, err = k.DeleteObject(g.ctx, &s3.DeleteObjectInput{Bucket: tandem, Key: aws.String("k")})
	wantCode(t, err, 403, "AccessDenied")
	_, err = k.DeleteObjects(g.ctx, &s3.DeleteObjectsInput{Bucket: tandem, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("k")}}}})
	wantCode(t, err, 403, "AccessDenied")
	_, err = k.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: tandem, Key: aws.String("copy"), CopySource: aws.String("tandem/k")})
	wantCode(t, err, 403, "AccessDenied")
	_, err = k.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: tandem, Key: aws.String("k")})
	wantCode(t, err, 403, "AccessDenied")
	put, err := s3.NewPresignClient(k.Client).PresignPutObject(g.ctx, &s3.PutObjectInput{Bucket: tandem, Key: aws.String("k")})
	g.must(err)
	if got := g.presigned("PUT", put.URL); got != 403 {
		t.Errorf("an upload by URL: got %d, want 403", got)
	}
	if got, _ := g.read("k"); got != "there" {
		t.Errorf("got %q", got)
	}
}

func TestKeyOfAPrefixSeesAndTouchesNothingElse(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	for _, key := range []string{"docs/1", "docs/2", "docs.secret/1", "other"} {
		g.write(key, "there")
	}
	k := g.newKey(`{"buckets": ["tandem"], "prefixes": ["docs/", "more/"]}`)
	g.must(k.get(g.ctx, "docs/1"))
	g.must(k.put(g.ctx, "more/1"))
	for _, key := range []string{"docs.secret/1", "docs", "other", "docs.secret/new"} {
		wantCode(t, k.get(g.ctx, key), 403, "AccessDenied")
		wantCode(t, k.put(g.ctx, key), 403, "AccessDenied")
	}
	out, err := k.ListObjectsV2(g.ctx, &s3.ListObjectsV2Input{Bucket: tandem, Prefix: aws.String("docs/")})
	g.must(err)
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	if !slices.Equal(keys, []string{"docs/1", "docs/2"}) {
		t.Errorf("got %q", keys)
	}
	for _, prefix := range []*string{nil, aws.String(""), aws.String("doc"), aws.String("docs"), aws.String("other")} {
		_, err := k.ListObjectsV2(g.ctx, &s3.ListObjectsV2Input{Bucket: tandem, Prefix: prefix})
		wantCode(t, err, 403, "AccessDenied")
		_, err = k.ListObjects(g.ctx, &s3.ListObjectsInput{Bucket: tandem, Prefix: prefix})
		wantCode(t, err, 403, "AccessDenied")
		_, err = k.ListMultipartUploads(g.ctx, &s3.ListMultipartUploadsInput{Bucket: tandem, Prefix: prefix})
		wantCode(t, err, 403, "AccessDenied")
	}
	_, err = k.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: tandem, Key: aws.String("docs/copy"), CopySource: aws.String("tandem/other")})
	wantCode(t, err, 403, "AccessDenied")
	_, err = k.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: tandem, Key: aws.String("other"), CopySource: aws.String("tandem/docs/1")})
	wantCode(t, err, 403, "AccessDenied")
	_, err = k.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: tandem, Key: aws.String("more/copy"), CopySource: aws.String("tandem/docs/1")})
	g.must(err)
	_, err = k.HeadBucket(g.ctx, &s3.HeadBucketInput{Bucket: tandem})
	g.must(err)
	_, err = k.GetBucketLocation(g.ctx, &s3.GetBucketLocationInput{Bucket: tandem})
	g.must(err)

	deleted, err := k.DeleteObjects(g.ctx, &s3.DeleteObjectsInput{Bucket: tandem, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("docs/1")}, {Key: aws.String("other")}, {Key: aws.String("docs.secret/1")},
	}}})
	g.must(err)
	if len(deleted.Deleted) != 1 || *deleted.Deleted[0].Key != "docs/1" || len(deleted.Errors) != 2 || *deleted.Errors[0].Code != "AccessDenied" || *deleted.Errors[1].Code != "AccessDenied" {
		t.Errorf("got %+v", deleted)
	}
	g.read("other")
	g.read("docs.secret/1")
}

func TestKeyOfAPrefixSeesTheUploadsBelowItAlone(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	for _, key := range []string{"docs/up", "other/up"} {
		_, err := g.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: tandem, Key: &key})
		g.must(err)
	}
	k := g.newKey(`{"role": "read-only", "prefixes": ["docs/"]}`)
	out, err := k.ListMultipartUploads(g.ctx, &s3.ListMultipartUploadsInput{Bucket: tandem, Prefix: aws.String("docs/")})
	g.must(err)
	if len(out.Uploads) != 1 || *out.Uploads[0].Key != "docs/up" {
		t.Errorf("got %+v", out.Uploads)
	}
}

func TestTheListNeverTellsASecretNorDoesTheLogOrTheJournal(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	k := g.newKey(`{"name": "app"}`)
	g.must(k.put(g.ctx, "k"))
	rotated := decode[issuedAnswer](t, g.change(k, "rotate"))
	g.change(k, "disable")
	for _, path := range []string{"/admin/keys", "/admin/audit", "/metrics", "/admin/stats", "/admin/state"} {
		r := g.do(http.MethodGet, path, nil)
		if r.Status != http.StatusOK || bytes.Contains(r.Body, []byte(k.secret)) || bytes.Contains(r.Body, []byte(rotated.Secret)) {
			t.Errorf("%s has a secret in it, or failed: %d", path, r.Status)
		}
	}
	list := decode[struct{ Keys []keyAnswer }](t, g.do(http.MethodGet, "/admin/keys", nil))
	if len(list.Keys) != 2 || list.Keys[0].ID != s3Key || list.Keys[0].Source != "configuration" || list.Keys[0].Role != "admin" || list.Keys[1].Enabled {
		t.Errorf("got %+v", list.Keys)
	}
	wantProblem(t, g.do(http.MethodPost, "/admin/keys/"+s3Key+"/disable", nil), http.StatusConflict, "ConfiguredKey")
	g.write("k", "the configuration's key is as it was")
	_ = g.stop()
	for _, name := range []string{"multi_region_store.db", "multi_region_store.db-wal"} {
		data, err := os.ReadFile(filepath.Join(g.env["DATA_DIR"], name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(k.secret)) || bytes.Contains(data, []byte(rotated.Secret)) {
			t.Errorf("%s has a secret in it", name)
		}
	}
}

// startError is why a gateway does not start on the data folder.
func (g *rig) startError(options app.Options) error {
	g.t.Helper()
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	})
	if err != nil {
		g.t.Fatal(err)
	}
	options.Logger = slog.New(slog.DiscardHandler)
	a, err := app.New(g.t.Context(), cfg, options)
	if err == nil {
		ended, cancel := context.WithCancel(g.t.Context())
		cancel()
		_ = a.Run(ended) // which closes what New has opened
	}
	return err
}

// A gateway whose master key is lost, or another one, makes none in its place: the secrets would be lost with it.
func TestMasterKeyIsMadeOnceAndItsLossIsTold(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	path := filepath.Join(g.env["DATA_DIR"], "master.key")
	first, err := os.ReadFile(path)
	g.must(err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want 0600", info, err)
	}
	g.restart(nil)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("got another key (%v)", err)
	}
	k := g.newKey(`{}`)
	g.must(k.put(g.ctx, "k"))
	_ = g.stop()

	g.must(os.Remove(path))
	if err := g.startError(app.Options{}); err == nil || !strings.Contains(err.Error(), "master.key is gone") || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v, want it to say what to do", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("got %v, want no key in its place", err)
	}
	for _, content := range []string{"", "AAAA\n", strings.Repeat("?", 44)} {
		g.must(os.WriteFile(path, []byte(content), 0o600))
		if err := g.startError(app.Options{}); err == nil || !strings.Contains(err.Error(), "holds no master key") {
			t.Errorf("%q: got %v, want it refused", content, err)
		}
	}
	g.must(os.WriteFile(path, []byte(strings.Repeat("A", 43)+"=\n"), 0o600))
	if err := g.startError(app.Options{}); err == nil || !strings.Contains(err.Error(), k.id) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want the key and the place named", err)
	}

	g.restart(map[string]string{"MASTER_KEY": strings.TrimSpace(string(first))})
	g.must(g.as(k.id, k.secret).get(g.ctx, "k"))
	_ = g.stop()
	g.must(os.Remove(path))
	g.env["MASTER_KEY"] = ""
	if err := g.startError(app.Options{ForgetAccessKeys: true}); err != nil {
		t.Fatal(err)
	}
	g.start() // without the option again
	k = g.as(k.id, k.secret)
	wantCode(t, k.get(g.ctx, "k"), 403, "InvalidAccessKeyId")
	wantProblem(t, g.do(http.MethodPost, "/admin/keys/"+k.id+"/enable", nil), http.StatusConflict, "SecretLost")
	rotated := decode[issuedAnswer](t, g.change(k, "rotate"))
	g.change(k, "enable")
	g.must(g.as(k.id, rotated.Secret).get(g.ctx, "k"))
}
