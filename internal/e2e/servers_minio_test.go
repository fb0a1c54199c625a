package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const minioKey, minioSecret = "minioroot", "miniosecret"

// minioCommand serves a folder with the MinIO that `make test-minio` builds.
func minioCommand(t *testing.T, address, dir string) func() *exec.Cmd {
	t.Helper()
	path, home := os.Getenv("TANDEM_MINIO"), t.TempDir()
	if path == "" {
		t.Fatal("TANDEM_MINIO is not set: `make test-minio` builds a MinIO and sets it")
	}
	return func() *exec.Cmd {
		cmd := exec.Command(path, "server", "--quiet", "--address", address, dir)
		cmd.Env = []string{"HOME=" + home, "MINIO_ROOT_USER=" + minioKey, "MINIO_ROOT_PASSWORD=" + minioSecret, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
		return cmd
	}
}

// waitMinIO waits until a MinIO takes requests, and returns the SDK's client of it. The SDK tries again at its leisure, so it
// is not asked before somebody listens.
func waitMinIO(t *testing.T, address string) *s3.Client {
	t.Helper()
	eventually(t, "MinIO listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	client := sdk("http://"+address, minioKey, minioSecret)
	eventually(t, "MinIO serves", func() bool {
		_, err := client.ListBuckets(t.Context(), &s3.ListBucketsInput{})
		return err == nil
	})
	return client
}

// minioHolds: keys are paths of files there.
func minioHolds(key string) bool {
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
			return false
		}
	}
	return !strings.Contains(key, "\x00")
}

// minioRegion is a MinIO of its own, with one folder.
type minioRegion struct {
	remote
	dir string
}

func startMinIORegion(t *testing.T, name, bucket string) server {
	t.Helper()
	address, dir := freeAddress(t), t.TempDir()
	m := minioRegion{dir: dir, remote: newRemote(t, name, access{"http://" + address, bucket, minioKey, minioSecret}, minioCommand(t, address, dir))}
	if _, err := waitMinIO(t, address).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	return m
}

// objects is the folder in which each object is a folder. What MinIO knows of the bucket is elsewhere, and stays.
func (m minioRegion) objects() string { return filepath.Join(m.dir, m.at.bucket) }

func (m minioRegion) size(t *testing.T, key string) int64 {
	t.Helper()
	if !m.isAway() {
		return m.remote.size(t, key)
	}
	if _, err := os.Stat(filepath.Join(m.objects(), filepath.FromSlash(key), "xl.meta")); err != nil {
		return -1
	}
	return 0
}

func (m minioRegion) save(t *testing.T) (restore func()) { return saveTree(t, m.objects()) }

func (m minioRegion) clear(t *testing.T) { clearTree(t, m.objects()) }

// unfinished are the parts of uploads, and what is still written. What was given up is in a folder that is emptied later.
func (m minioRegion) unfinished(*testing.T) []string {
	own := filepath.Join(m.dir, ".minio.sys")
	return slices.Concat(filesBelow(filepath.Join(own, "multipart"), ""), filesBelow(filepath.Join(own, "tmp"), ".trash"))
}
