package localregion_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/gnew/tandem/internal/region/localregion"
)

// The test binary runs itself again in these roles; its first argument says in which.
const (
	serverRole = "region-server" // what the gateway's hidden command does
	parentRole = "region-parent" // a gateway that owns one region, to be killed
	brokenRole = "region-broken" // a server that talks too much and crashes
)

const (
	bucket  = "tandem"
	patient = 30 * time.Second // for real processes; nothing should take as long
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case serverRole:
			if localregion.Serve(context.Background(), os.Stdin, os.Stdout, os.Stderr, os.Args[2]) != nil {
				os.Exit(1)
			}
			return
		case parentRole:
			beParent(os.Args[2])
		case brokenRole:
			fmt.Println(strings.Repeat("x", 100_000))
			fmt.Println("short")
			panic("broken on purpose")
		}
	}
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}

// beParent prints the child's endpoint once it serves, and lives until it is killed.
func beParent(dir string) {
	r, err := localregion.New(config(dir, slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	go func() {
		if err := r.WaitReady(context.Background()); err != nil {
			panic(err)
		}
		fmt.Println(r.Endpoint())
	}()
	panic(r.Run(context.Background()))
}

func config(dir string, logger *slog.Logger) localregion.Config {
	return localregion.Config{
		Name:    "primary",
		Dir:     dir,
		Buckets: []string{bucket},
		Command: []string{os.Args[0], serverRole},
		Logger:  logger,
	}
}

// open makes a region that does not run yet, and returns what it logs.
func open(t *testing.T, dir string) (*localregion.Region, *logs) {
	t.Helper()
	log := &logs{}
	r, err := localregion.New(config(dir, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	return r, log
}

// run runs a region until the returned function or the end of the test.
func run(t *testing.T, r *localregion.Region) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func waitReady(t *testing.T, r *localregion.Region) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// start opens a region in dir, runs it and waits for it.
func start(t *testing.T, dir string) (r *localregion.Region, stop func()) {
	t.Helper()
	r, _ = open(t, dir)
	stop = run(t, r)
	waitReady(t, r)
	return r, stop
}

// eachMetadata runs a test in a folder for each place where metadata may be kept.
func eachMetadata(t *testing.T, test func(t *testing.T, dir string)) {
	for _, kind := range []string{"xattr", "sidecar"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			name := filepath.Join(dir, "server.json")
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data = bytes.Replace(data, []byte(`"xattr"`), []byte(`"`+kind+`"`), 1)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			test(t, dir)
		})
	}
}

// eventually polls for what another process is about to do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patient)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting until %s", what)
		}
	}
}

func newClient(r *localregion.Region) *s3.Client {
	accessKey, secretKey := r.Credentials()
	return s3.New(s3.Options{
		BaseEndpoint: new(r.Endpoint()),
		Region:       r.S3Region(),
		UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, nil
		}),
		Retryer:                    aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

func put(t *testing.T, c *s3.Client, key, body string, change ...func(*s3.PutObjectInput)) string {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: new(bucket), Key: &key, Body: strings.NewReader(body)}
	for _, f := range change {
		f(in)
	}
	out, err := c.PutObject(t.Context(), in)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return *out.ETag
}

func head(t *testing.T, c *s3.Client, key string) *s3.HeadObjectOutput {
	t.Helper()
	out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: &key})
	if err != nil {
		t.Fatalf("head %q: %v", key, err)
	}
	return out
}

// code returns the S3 error code of an answer, "" for a success.
func code(err error) string {
	if err == nil {
		return ""
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return err.Error()
}

// logs is a buffer that a logger and a test may use at once.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testTime() time.Time { return time.Date(2026, 10, 21, 7, 28, 0, 0, time.UTC) }
