package doctor_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/doctor"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const bucket = "tandem"

// target is a region at the endpoint.
func target(name, endpoint string) doctor.Target {
	return doctor.Target{Region: region.Config{Name: name, Endpoint: endpoint, Bucket: bucket, AccessKey: "AKIATEST", SecretKey: "secret"}}
}

// newServer is a region in memory with the bucket, and something of somebody else's in it.
func newServer(o regiontest.Options) *regiontest.Server {
	o.Buckets, o.AccessKey = []string{bucket}, "AKIATEST"
	s := regiontest.NewServer(o)
	s.Put(bucket, "theirs", []byte("theirs"))
	s.Put(bucket, ".tandem/region", []byte("mark"))
	return s
}

func examine(t *testing.T, ctx context.Context, targets ...doctor.Target) doctor.Report {
	t.Helper()
	for i := range targets {
		transport, err := region.NewTransport("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(transport.CloseIdleConnections)
		targets[i].Region.Transport = transport
	}
	d, err := doctor.New(doctor.Config{Targets: targets, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return d.Run(ctx)
}

// flawed are the findings other than OK, as "check: status".
func flawed(findings []doctor.Finding) []string {
	list := []string{}
	for _, f := range findings {
		if f.Status != doctor.OK {
			list = append(list, f.Check+": "+string(f.Status))
		}
	}
	return list
}

// wantNothingLeft checks that the bucket holds what it held, and no unfinished upload.
func wantNothingLeft(t *testing.T, s *regiontest.Server) {
	t.Helper()
	if got, want := s.Keys(bucket), []string{".tandem/region", "theirs"}; !slices.Equal(got, want) {
		t.Errorf("the bucket holds %q, want %q", got, want)
	}
	if uploads := s.Uploads(bucket); len(uploads) > 0 {
		t.Errorf("uploads are left: %+v", uploads)
	}
}

func TestSoundRegionsHaveNoFlaw(t *testing.T) {
	a, b := newServer(regiontest.Options{}), newServer(regiontest.Options{ForgetUploads: true})
	r := examine(t, t.Context(), target("primary", regiontest.Start(t, a)), target("secondary", regiontest.Start(t, b)))
	for _, found := range r.Regions {
		if diff := cmp.Diff([]string{}, flawed(found.Findings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s%+v", found.Name, diff, found.Findings)
		}
		if len(found.Calls) < 8 {
			t.Errorf("%s: times of %d kinds of calls only: %+v", found.Name, len(found.Calls), found.Calls)
		}
	}
	if len(r.Across) != 2 || len(flawed(r.Across)) > 0 {
		t.Errorf("across: %+v, want two findings without a flaw", r.Across)
	}
	if r.Status != doctor.OK || r.Interrupted || r.Counts[doctor.Failed]+r.Counts[doctor.Warning] > 0 {
		t.Errorf("report: %+v", r)
	}
	wantNothingLeft(t, a)
	wantNothingLeft(t, b)
}

// Whatever a region lacks is found where it is, and nowhere else; each has its advice.
func TestWhatARegionLacksIsFound(t *testing.T) {
	lifecycle := func(rule string) map[string]string {
		return map[string]string{"lifecycle": "<LifecycleConfiguration>" + rule + "</LifecycleConfiguration>"}
	}
	for name, tt := range map[string]struct {
		traits regiontest.Options
		want   []string
		status doctor.Status
	}{
		"ignores conditions": {regiontest.Options{IgnoreConditions: true}, []string{
			"If-None-Match on PUT: warning", "If-Match on PUT: warning", "If-None-Match on complete: warning", "If-Match on DELETE: warning",
		}, doctor.Warning},
		"refuses conditions": {regiontest.Options{NoConditions: true}, []string{
			"If-None-Match on PUT: not supported", "If-Match on PUT: not supported", "If-None-Match on complete: not supported", "If-Match on DELETE: not supported",
		}, doctor.Warning},
		"ignores conditions of uploads": {regiontest.Options{IgnoreUploadConditions: true}, []string{"If-None-Match on complete: warning"}, doctor.Warning},
		"no multipart":                  {regiontest.Options{NoMultipart: true}, []string{"If-None-Match on complete: skipped", "multipart: not supported"}, doctor.Warning},
		"no tags":                       {regiontest.Options{NoTags: true}, []string{"tags: not supported"}, doctor.Warning},
		"forgets tags":                  {regiontest.Options{ForgetTags: true}, []string{"tags: warning"}, doctor.Warning},
		"no trailers":                   {regiontest.Options{NoTrailers: true}, []string{"trailers: not supported"}, doctor.Warning},
		"ignores checksums":             {regiontest.Options{IgnoreChecksums: true}, []string{"checksums: warning", "checksums: not supported"}, doctor.Warning},
		"clock 2 min ahead":             {regiontest.Options{ClockAhead: 2 * time.Minute}, []string{"clock: warning"}, doctor.Warning},
		"clock 20 min behind":           {regiontest.Options{ClockAhead: -20 * time.Minute}, []string{"clock: failed", "other checks: skipped"}, doctor.Failed},
		"versioned": {regiontest.Options{Settings: map[string]string{"versioning": "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}},
			[]string{"versioning: warning"}, doctor.Warning},
		"versioning suspended": {regiontest.Options{Settings: map[string]string{"versioning": "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"}},
			[]string{}, doctor.OK},
		"object lock": {regiontest.Options{Settings: map[string]string{"object-lock": "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"}},
			[]string{"object lock: warning"}, doctor.Warning},
		"default retention": {regiontest.Options{Settings: map[string]string{"object-lock": "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" +
			"<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"}},
			[]string{"object lock: failed", "other checks: skipped"}, doctor.Failed},
		"everything expires": {regiontest.Options{Settings: lifecycle("<Rule><ID>all</ID><Status>Enabled</Status><Filter/><Expiration><Days>30</Days></Expiration></Rule>")},
			[]string{"lifecycle: failed"}, doctor.Failed},
		"everything expires, in the old form": {regiontest.Options{Settings: lifecycle("<Rule><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>")},
			[]string{"lifecycle: failed"}, doctor.Failed},
		"what is Tandem's expires": {regiontest.Options{Settings: lifecycle("<Rule><Status>Enabled</Status><Filter><Prefix>.tandem/lo</Prefix></Filter><Expiration><Days>30</Days></Expiration></Rule>")},
			[]string{"lifecycle: failed"}, doctor.Failed},
		"another prefix expires": {regiontest.Options{Settings: lifecycle("<Rule><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>")},
			[]string{"lifecycle: warning"}, doctor.Warning},
		"what is tagged expires": {regiontest.Options{Settings: lifecycle("<Rule><Status>Enabled</Status><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter><Expiration><Days>1</Days></Expiration></Rule>")},
			[]string{"lifecycle: warning"}, doctor.Warning},
		"a rule is off": {regiontest.Options{Settings: lifecycle("<Rule><Status>Disabled</Status><Filter/><Expiration><Days>30</Days></Expiration></Rule>")},
			[]string{}, doctor.OK},
		"versions and uploads expire": {regiontest.Options{Settings: lifecycle("<Rule><Status>Enabled</Status><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>" +
			"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>" +
			"<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>")}, []string{}, doctor.OK},
		"objects move": {regiontest.Options{Settings: lifecycle("<Rule><Status>Enabled</Status><Filter><And><Prefix>a</Prefix><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter>" +
			"<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>")}, []string{"lifecycle: warning"}, doctor.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(tt.traits)
			r := examine(t, t.Context(), target("primary", regiontest.Start(t, s)))
			found := r.Regions[0]
			if diff := cmp.Diff(tt.want, flawed(found.Findings)); diff != "" || r.Status != tt.status || found.Status != tt.status {
				t.Errorf("status %s, want %s; findings differ (-want +got):\n%s%+v", r.Status, tt.status, diff, found.Findings)
			}
			for _, f := range found.Findings {
				if f.Status != doctor.OK && f.Status != doctor.Skipped && f.Advice == "" {
					t.Errorf("%s: %s, and no advice", f.Check, f.Status)
				}
			}
			wantNothingLeft(t, s)
		})
	}
}

// A region that cannot be used is said to be so by the first check that shows it.
func TestRegionThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newServer(regiontest.Options{})
	endpoint := regiontest.Start(t, s)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }))
	t.Cleanup(page.Close)
	untrusted := httptest.NewUnstartedServer(s)
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, tt := range map[string]struct {
		edit  func(*doctor.Target)
		check string
		says  string
	}{
		"nobody listens": {func(t *doctor.Target) { t.Region.Endpoint = "http://127.0.0.1:1" }, "endpoint", "no connection to http://127.0.0.1:1"},
		"no S3":          {func(t *doctor.Target) { t.Region.Endpoint = page.URL }, "endpoint", "does not answer as an S3"},
		"no answer":      {func(t *doctor.Target) { t.Region.Endpoint = "http://" + silent.Addr().String() }, "endpoint", "gets no answer in time"},
		"not trusted":    {func(t *doctor.Target) { t.Region.Endpoint = untrusted.URL }, "endpoint", "no TLS with"},
		"wrong key":      {func(t *doctor.Target) { t.Region.AccessKey = "other" }, "credentials", "InvalidAccessKeyId"},
		"no bucket":      {func(t *doctor.Target) { t.Region.Bucket = "missing" }, "bucket", "missing does not exist"},
		"not started":    {func(t *doctor.Target) { t.Unavailable = errors.New("its port is in use") }, "endpoint", "its port is in use"},
	} {
		t.Run(name, func(t *testing.T) {
			tg := target("primary", endpoint)
			tt.edit(&tg)
			r := examine(t, t.Context(), tg, target("secondary", endpoint))
			first := r.Regions[0].Findings
			i := slices.IndexFunc(first, func(f doctor.Finding) bool { return f.Status == doctor.Failed })
			if i < 0 || first[i].Check != tt.check || !strings.Contains(first[i].Found, tt.says) || first[i].Advice == "" {
				t.Errorf("got %+v, want a failure of %s that says %q", first, tt.check, tt.says)
			}
			if r.Status != doctor.Failed || r.Regions[1].Status != doctor.OK || len(r.Across) > 0 {
				t.Errorf("the other region: %+v", r.Regions[1])
			}
			if text := fmt.Sprintf("%+v", r); strings.Contains(text, "secret") {
				t.Errorf("the report tells a secret: %s", text)
			}
			wantNothingLeft(t, s)
		})
	}
}

// With a certificate of the operator's own authority it says until when that is good.
func TestRegionOfAnAuthorityOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := newServer(regiontest.Options{})
	served := httptest.NewTLSServer(s)
	t.Cleanup(served.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate().Raw})
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]doctor.Status{file: doctor.OK, file + ".missing": doctor.Failed} {
		tg := target("primary", served.URL)
		tg.Region.CAFile = name
		d, err := doctor.New(doctor.Config{Targets: []doctor.Target{tg}})
		if err != nil {
			t.Fatal(err)
		}
		r := d.Run(t.Context())
		first := r.Regions[0].Findings[0]
		if r.Status != want || first.Check != "endpoint" || first.Status != want || want == doctor.OK && !strings.Contains(first.Found, "certificate until 20") {
			t.Errorf("%s: %s, %+v", name, r.Status, first)
		}
	}
	wantNothingLeft(t, s)
}

// What may be read and not written, and the like, is said by the right it lacks.
func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	for operation, says := range map[string]string{
		"PutObject": "s3:PutObject", "GetObject": "s3:GetObject", "DeleteObject": "s3:DeleteObject", "ListObjectsV2": "s3:ListBucket",
		"GetBucketVersioning": "s3:GetBucketVersioning", "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration", "GetObjectTagging": "s3:GetObjectTagging",
	} {
		s := newServer(regiontest.Options{})
		endpoint := regiontest.Start(t, s)
		var isOver atomic.Bool
		s.SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Operation == operation && !isOver.Load() {
				return regiontest.Fault{Code: "AccessDenied"}
			}
			return regiontest.Fault{}
		})
		r := examine(t, t.Context(), target("primary", endpoint))
		if !slices.ContainsFunc(r.Regions[0].Findings, func(f doctor.Finding) bool {
			return f.Status != doctor.OK && strings.Contains(f.Advice, says) && strings.Contains(f.Found, "AccessDenied")
		}) {
			t.Errorf("%s denied: nothing names %s: %+v", operation, says, r.Regions[0].Findings)
		}
	}
}

func TestOneBucketForTwoRegionsIsAFailure(t *testing.T) {
	t.Parallel()
	s := newServer(regiontest.Options{})
	r := examine(t, t.Context(), target("primary", regiontest.Start(t, s)), target("secondary", regiontest.Start(t, s)))
	if diff := cmp.Diff([]string{"separate buckets: failed"}, flawed(r.Across)); diff != "" || r.Status != doctor.Failed {
		t.Errorf("%s (-want +got):\n%s", r.Status, diff)
	}
	wantNothingLeft(t, s)
}

// targetOf is a bucket of a region; clients know it under another name.
func targetOf(name, endpoint, clients, there string) doctor.Target {
	t := target(name, endpoint)
	t.Bucket, t.Region.Bucket = clients, there
	return t
}

func TestEachBucketOfEachRegionIsExamined(t *testing.T) {
	t.Parallel()
	newServer := func(buckets ...string) (*regiontest.Server, string) {
		s := regiontest.NewServer(regiontest.Options{Buckets: buckets, AccessKey: "AKIATEST"})
		return s, regiontest.Start(t, s)
	}
	a, primary := newServer("photos-eu", "logs-eu")
	b, secondary := newServer("photos-us") // logs-us is missing
	r := examine(t, t.Context(), targetOf("primary", primary, "photos", "photos-eu"), targetOf("primary", primary, "logs", "logs-eu"),
		targetOf("secondary", secondary, "photos", "photos-us"), targetOf("secondary", secondary, "logs", "logs-us"))
	var titles []string
	for _, found := range r.Regions {
		titles = append(titles, found.Title()+" "+found.Bucket+" "+string(found.Status))
	}
	if diff := cmp.Diff([]string{"primary (photos) photos-eu ok", "primary (logs) logs-eu ok", "secondary (photos) photos-us ok", "secondary (logs) logs-us failed"}, titles); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if i := slices.IndexFunc(r.Regions[3].Findings, func(f doctor.Finding) bool { return f.Check == "bucket" }); i < 0 ||
		r.Regions[3].Findings[i].Found != "logs-us does not exist" || !strings.Contains(r.Regions[3].Findings[i].Advice, "list of buckets") {
		t.Errorf("the missing bucket: %+v", r.Regions[3].Findings)
	}
	if diff := cmp.Diff([]doctor.Finding{
		{Check: "separate buckets", Status: doctor.OK, Found: "primary (photos) and secondary (photos) are two"},
		{Check: "same ETag", Status: doctor.OK, Found: "primary (photos) and secondary (photos) give the same parts the same ETag"},
		{Check: "separate buckets", Status: doctor.OK, Found: "photos and logs are two"},
	}, r.Across); diff != "" || r.Status != doctor.Failed {
		t.Errorf("%s, across (-want +got):\n%s", r.Status, diff)
	}
	for _, found := range r.Regions[:3] {
		data, err := json.Marshal(found)
		if want := `"clientBucket":"` + found.ClientBucket + `"`; err != nil || !strings.Contains(string(data), want) {
			t.Errorf("got %s (%v), want %s in it", data, err, want)
		}
	}
	if left := slices.Concat(a.Keys("photos-eu"), a.Keys("logs-eu"), b.Keys("photos-us")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// However it comes about that two buckets are one, by another name of the endpoint or by the S3's own
// replication: it is seen.
func TestTwoBucketsThatAreOneAreAFailure(t *testing.T) {
	t.Parallel()
	s := newServer(regiontest.Options{})
	endpoint := regiontest.Start(t, s)
	r := examine(t, t.Context(), targetOf("primary", endpoint, "photos", bucket), targetOf("primary", endpoint, "logs", bucket))
	if len(r.Across) != 1 || r.Across[0].Status != doctor.Failed || r.Across[0].Found != "what is written in primary (photos) is in primary (logs)" || r.Status != doctor.Failed {
		t.Errorf("%s, across: %+v", r.Status, r.Across)
	}
	for _, found := range r.Regions {
		if len(flawed(found.Findings)) > 0 {
			t.Errorf("%s meets what is another's: %+v", found.Title(), found.Findings)
		}
	}
	wantNothingLeft(t, s)
}

// What a fault interrupts is removed all the same, also what was applied without an answer.
func TestNothingIsLeftOfWhatFailed(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2"} {
		for what, fault := range map[string]regiontest.Fault{"error": {Status: 500}, "lost answer": {Apply: true, CutBefore: true}, "error, applied": {Apply: true, Status: 500}} {
			for _, nth := range []int64{0, 3} {
				s := newServer(regiontest.Options{})
				var count atomic.Int64
				s.SetFaults(func(q regiontest.Request) regiontest.Fault {
					if q.Operation == operation && count.Add(1) == nth+1 {
						return fault
					}
					return regiontest.Fault{}
				})
				r := examine(t, t.Context(), target("primary", regiontest.Start(t, s)))
				wantNothingLeft(t, s)
				if t.Failed() {
					t.Fatalf("%s of %s %d: %+v", what, operation, nth, r.Regions[0].Findings)
				}
			}
		}
	}
}

// Wherever it is interrupted, it ends, says so, and leaves nothing.
func TestInterruptedExaminationIsCleanedUp(t *testing.T) {
	t.Parallel()
	for nth := int64(1); ; nth += 13 {
		s := newServer(regiontest.Options{})
		endpoint := regiontest.Start(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var count atomic.Int64
		s.SetFaults(func(regiontest.Request) regiontest.Fault {
			if count.Add(1) == nth {
				cancel()
			}
			return regiontest.Fault{}
		})
		r := examine(t, ctx, target("primary", endpoint), target("secondary", endpoint))
		cancel()
		wantDone := count.Load() < nth
		if r.Interrupted == wantDone {
			t.Errorf("request %d of %d: interrupted is %v", nth, count.Load(), r.Interrupted)
		}
		for _, found := range r.Regions {
			if found.Status == doctor.Failed && !wantDone {
				t.Errorf("request %d: the interruption passes for a failure: %+v", nth, found.Findings)
			}
		}
		wantNothingLeft(t, s)
		if wantDone || t.Failed() {
			if nth < 50 {
				t.Errorf("it was interrupted %d times only", nth)
			}
			return
		}
	}
}

// What it could not remove is said, with where it is.
func TestWhatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	s := newServer(regiontest.Options{})
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "DeleteObject" && strings.Contains(q.Key, "/list/") {
			return regiontest.Fault{Code: "AccessDenied"}
		}
		return regiontest.Fault{}
	})
	r := examine(t, t.Context(), target("primary", regiontest.Start(t, s)))
	last := r.Regions[0].Findings[len(r.Regions[0].Findings)-1]
	if last.Check != "clean-up" || last.Status != doctor.Failed || !strings.Contains(last.Advice, ".tandem/doctor/") {
		t.Errorf("got %+v", last)
	}
}

// Programs build on these names.
func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	r := examine(t, t.Context(), target("primary", regiontest.Start(t, newServer(regiontest.Options{}))))
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	found := got["regions"].([]any)[0].(map[string]any)
	for _, name := range []string{"name", "endpoint", "bucket", "embedded", "note", "status", "findings", "calls"} {
		if _, ok := found[name]; !ok {
			t.Errorf("a region has no %q: %s", name, data)
		}
	}
	call := found["calls"].([]any)[0].(map[string]any)
	finding := found["findings"].([]any)[0].(map[string]any)
	if call["medianSeconds"].(float64) <= 0 || finding["check"] != "endpoint" || finding["status"] != "ok" || got["across"] == nil || got["status"] != "ok" {
		t.Errorf("got %s", data)
	}
}
