package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// twoBuckets is a gateway of photos, which A and B have, and of logs, which withLogs have.
func twoBuckets(t *testing.T, o options, withLogs ...string) *rig {
	t.Helper()
	var logs strings.Builder
	for _, name := range withLogs {
		fmt.Fprintf(&logs, "      %s: logs-%s\n", name, name)
	}
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	text := "buckets:\n  - name: photos\n    regions: {primary: " + bucketA + ", secondary: " + bucketB + "}\n  - name: logs\n    regions:\n" + logs.String()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.env == nil {
		o.env = make(map[string]string)
	}
	o.env["CONFIG"], o.env["PRIMARY_S3_BUCKET"], o.env["SECONDARY_S3_BUCKET"] = path, "", ""
	o.a.Buckets, o.b.Buckets = []string{"logs-primary"}, []string{"logs-secondary"}
	return newGateway(t, o)
}

var inLogs = query("bucket", "logs")

// awaitCopied waits until nothing is pending in any bucket.
func (g *rig) awaitCopied() {
	g.t.Helper()
	g.eventually(func() error {
		for _, r := range g.state().Regions {
			if r.Pending.Keys > 0 {
				return fmt.Errorf("region %s has %d keys pending", r.Name, r.Pending.Keys)
			}
		}
		return nil
	})
}

func TestBucketsOfOneGatewayAreServedApart(t *testing.T) {
	t.Parallel()
	g := twoBuckets(t, options{}, "primary", "secondary")
	first, second := g.put("k", "a photo"), g.put("k", "a log", inLogs)
	if first.Bucket != "photos" || second.Bucket != "logs" || first.Version == second.Version {
		t.Errorf("got %+v and %+v, want two writes in two buckets", first, second)
	}
	g.put("only/log", "a log", inLogs)
	g.wantObject("k", "a photo")
	g.wantObject("k", "a photo", query("bucket", "photos"))
	g.wantObject("k", "a log", inLogs)
	if r := g.GET("only/log"); r.Status != http.StatusNotFound {
		t.Errorf("GET of a key of the other bucket: got %v, want 404", r)
	}
	if r := g.do(http.MethodGet, "/objects", nil, inLogs); r.Status != http.StatusOK || !strings.Contains(string(r.Body), "only/log") {
		t.Errorf("the listing of logs: got %v", r)
	}
	wantProblem(t, g.GET("k", query("bucket", "other")), http.StatusNotFound, "NoSuchBucket")
	g.awaitCopied()
	for _, s := range []struct {
		server *regiontest.Server
		bucket string
		want   string
	}{{g.A, bucketA, "a photo"}, {g.B, bucketB, "a photo"}, {g.A, "logs-primary", "a log"}, {g.B, "logs-secondary", "a log"}} {
		if o, _ := s.server.Object(s.bucket, "k"); string(o.Data) != s.want {
			t.Errorf("%s holds %q, want %q", s.bucket, o.Data, s.want)
		}
	}
	if r := g.DELETE("k", inLogs); r.Status != http.StatusNoContent {
		t.Fatalf("DELETE: got %v", r)
	}
	g.awaitCopied()
	g.wantObject("k", "a photo")
	g.restart(nil)
	g.wantObject("k", "a photo")
	if r := g.GET("k", inLogs); r.Status != http.StatusNotFound {
		t.Errorf("GET of what was deleted: got %v, want 404", r)
	}
}

func TestAFailoverIsOfEveryBucket(t *testing.T) {
	t.Parallel()
	g := twoBuckets(t, options{env: map[string]string{"HEALTH_INTERVAL": "50ms", "HEALTH_TIMEOUT": "1s", "MARK_INTERVAL": "100ms"}}, "primary", "secondary")
	g.awaitHealth("primary", "up")
	g.awaitHealth("secondary", "up")
	g.put("k", "old")
	g.put("k", "old", inLogs)
	g.awaitCopied()
	g.B.SetFaults(onKey("PutObject", "k", regiontest.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}))
	g.put("k", "a photo at risk")
	g.put("k", "a log at risk", inLogs)
	g.A.SetDown(true)
	g.awaitHealth("primary", "down")
	g.awaitHealth("secondary", "up")
	made := decode[promoted](t, g.promote(promotion{Region: "secondary", Force: true}))
	if made.AtRisk != 2 {
		t.Errorf("got %+v, want a write of each bucket at risk", made)
	}
	for _, e := range g.ledger(made.Epoch) {
		if e.Key != "k" || e.Bucket != "photos" && e.Bucket != "logs" {
			t.Errorf("got entry %+v", e)
		}
	}
	g.B.SetFaults(nil)
	g.put("new", "a photo")
	if w := g.put("new", "a log", inLogs); w.Region != "secondary" {
		t.Errorf("got %+v, want it written to the secondary", w)
	}
	g.A.SetDown(false)
	g.awaitCopied()
	g.eventually(func() error {
		for _, e := range g.ledger(made.Epoch) {
			if e.outcome() != "recovered" {
				return fmt.Errorf("%s of %s is %s", e.Key, e.Bucket, e.outcome())
			}
		}
		return nil
	})
	g.wantObject("k", "a photo at risk")
	g.wantObject("k", "a log at risk", inLogs)
}

func TestARegionThatLacksABucketIsAReplicaOfTheOthers(t *testing.T) {
	t.Parallel()
	g := twoBuckets(t, options{}, "primary")
	g.put("k", "a photo")
	g.put("k", "a log", inLogs)
	g.awaitCopied()
	if o, _ := g.B.Object(bucketB, "k"); string(o.Data) != "a photo" {
		t.Errorf("the secondary holds %q, want the photo", o.Data)
	}
	if n := len(g.B.Snapshot()["logs-secondary"]); n != 0 {
		t.Errorf("the secondary holds %d objects of a bucket that it does not have", n)
	}
	for _, force := range []bool{false, true} {
		p := wantProblem(t, g.promote(promotion{Region: "secondary", Force: force}), http.StatusConflict, "PromotionRefused")
		if len(p.Objections) == 0 || p.Objections[0].Code != "lacks-bucket" {
			t.Errorf("force %t: got %+v, want it refused for the bucket that it lacks", force, p)
		}
	}
	for _, r := range g.state().Regions {
		want := map[string]int{"primary": 2, "secondary": 1}[r.Name]
		if len(r.Buckets) != want {
			t.Errorf("%s has %+v, want %d buckets", r.Name, r.Buckets, want)
		}
	}
}

func TestEachBucketOfARegionIsProbed(t *testing.T) {
	t.Parallel()
	g := twoBuckets(t, options{env: map[string]string{"HEALTH_INTERVAL": "50ms"}}, "primary", "secondary")
	g.awaitHealth("secondary", "up")
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "HeadBucket" && q.Bucket == "logs-secondary" {
			return regiontest.Fault{Status: http.StatusNotFound, Code: "NoSuchBucket", Early: true}
		}
		return regiontest.Fault{}
	})
	g.awaitHealth("secondary", "no such bucket")
	g.B.SetFaults(nil)
	g.awaitHealth("secondary", "up")
}

func TestABucketThatTheActiveLacksIsNotServed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	if r := g.promote(promotion{Region: "secondary", Force: true}); r.Status != http.StatusOK {
		t.Fatalf("promote: got %v", r)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	text := "buckets:\n  - name: tandem\n    regions: {primary: " + bucketA + ", secondary: " + bucketB + "}\n  - name: logs\n    regions: {primary: logs}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.env["CONFIG"], g.env["PRIMARY_S3_BUCKET"], g.env["SECONDARY_S3_BUCKET"] = path, "", ""
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.New(t.Context(), cfg, app.Options{Logger: newLogger(t)}); err == nil || !strings.Contains(err.Error(), `"secondary" is active, and it has no bucket for logs`) {
		t.Errorf("got %v, want it refused for the bucket that the active lacks", err)
	}
}
