package e2e_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// finding is one of "tandem doctor --json".
type finding struct{ Check, Status, Found, Advice string }

type doctorReport struct {
	Status      string
	Interrupted bool
	Regions     []struct {
		Name, Endpoint, Note, Status string
		Findings                     []finding
	}
	Across []finding
}

// doctor runs "tandem doctor --json" in the gateway's folder to its end.
func (g *gateway) doctor(t *testing.T, args ...string) (r doctorReport, code int) {
	t.Helper()
	return g.doctorsReport(t, g.launch(t, append([]string{"doctor", "--json"}, args...)))
}

func (g *gateway) doctorsReport(t *testing.T, p *process) (r doctorReport, code int) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		t.Fatal("the doctor does not end")
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &r); err != nil {
		t.Fatalf("the doctor printed %q: %v", p.stdout.String(), err)
	}
	return r, p.cmd.ProcessState.ExitCode()
}

// sdk is the SDK's client of an S3 on this machine.
func sdk(endpoint, accessKey, secretKey string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")),
	})
}

// sdk of a region.
func (g *gateway) sdk(t *testing.T, name string) (client *s3.Client, bucket string) {
	t.Helper()
	at := g.servers[name].access(t)
	return sdk(at.endpoint, at.accessKey, at.secretKey), at.bucket
}

// versionsBelow are the versions and delete markers of a bucket, below a prefix.
func versionsBelow(t *testing.T, client *s3.Client, bucket, prefix string) (keys []string) {
	t.Helper()
	out, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range out.Versions {
		keys = append(keys, *v.Key+" "+*v.VersionId)
	}
	for _, v := range out.DeleteMarkers {
		keys = append(keys, *v.Key+" deleted "+*v.VersionId)
	}
	return keys
}

// In a versioned bucket a delete keeps what it deletes: the doctor removes its versions, and no one else's.
func TestDoctorLeavesNoVersions(t *testing.T) {
	needs(t, regions.versions, "buckets that keep versions")
	t.Parallel()
	g := start(t)
	client, bucket := g.sdk(t, secondary)
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.putText(t, "key", "first")
	g.waitAtRest(t, "key")
	g.putText(t, "key", "second")
	g.waitAtRest(t, "key")
	r, code := g.doctor(t, "--region", secondary)
	if code != 0 || !hasFinding(r.Regions[0].Findings, "versioning", "warning") || !hasFinding(r.Regions[0].Findings, "clean-up", "ok") {
		t.Errorf("exit code %d, %+v", code, r.Regions[0].Findings)
	}
	if left := versionsBelow(t, client, bucket, ".tandem/doctor/"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if kept := versionsBelow(t, client, bucket, "key"); len(kept) != 2 {
		t.Errorf("of two versions of a client's object there are: %q", kept)
	}
}

func hasFinding(findings []finding, check, status string) bool {
	for _, f := range findings {
		if f.Check == check && f.Status == status {
			return true
		}
	}
	return false
}

// Beside a gateway under load it harms nothing: every write is acknowledged, replicated, and nobody else's is listed.
func TestDoctorBesideABusyGateway(t *testing.T) {
	t.Parallel()
	g := start(t)
	ended := make(chan struct{})
	p := g.launch(t, []string{"doctor", "--json"})
	go func() { // joined by doctorsReport, which waits for the same
		<-p.ended
		close(ended)
	}()
	var keys []string
	for isOver := false; !isOver; {
		select {
		case <-ended:
			isOver = true
		default:
		}
		key := "key" + string(rune('a'+len(keys)%26))
		g.putText(t, key, "text")
		keys = append(keys, key)
	}
	r, code := g.doctorsReport(t, p)
	note := ""
	if regions.isEmbedded() {
		note = "served by the running gateway"
	}
	if code != 0 || len(r.Regions) != 2 || r.Regions[0].Note != note {
		t.Errorf("exit code %d, %+v", code, r)
	}
	g.waitAtRest(t, keys...)
	g.checkAgree(t)
}

// Ctrl-C in the middle of it leaves nothing in the bucket.
func TestDoctorThatIsInterruptedCleansUp(t *testing.T) {
	embeddedOnly(t, "its region is its own")
	t.Parallel()
	const bucket = "bucket"
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	reached, forever := make(chan struct{}), make(chan struct{})
	var isFirst atomic.Bool
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "CompleteMultipartUpload" && strings.HasSuffix(q.Key, "/parts") && isFirst.CompareAndSwap(false, true) {
			close(reached)
			return regiontest.Fault{Hang: forever}
		}
		return regiontest.Fault{}
	})
	g := newGateway(t, "PRIMARY_S3_ENDPOINT="+regiontest.Start(t, s), "PRIMARY_S3_BUCKET="+bucket, "PRIMARY_S3_ACCESS_KEY=key", "PRIMARY_S3_SECRET_KEY=secret")
	p := g.launch(t, []string{"doctor", "--json"})
	select {
	case <-reached:
	case <-p.ended:
		t.Fatalf("it ended: %s", p.stdout.String())
	}
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r, code := g.doctorsReport(t, p)
	if code != 1 || !r.Interrupted || !hasFinding(r.Regions[0].Findings, "clean-up", "ok") {
		t.Errorf("exit code %d, %+v", code, r)
	}
	if !strings.Contains(g.logs.String(), "interrupted") {
		t.Errorf("it said: %s", g.logs.String())
	}
	if keys, uploads := s.Keys(bucket), s.Uploads(bucket); len(keys)+len(uploads) > 0 {
		t.Errorf("left: %q, %+v", keys, uploads)
	}
}
