package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// metricNames are the metrics that dashboards and alerts are made of.
var metricNames = []string{
	"tandem_copied_bytes_total", "tandem_copies_total", "tandem_failing_keys", "tandem_http_request_seconds_count",
	"tandem_http_requests_total", "tandem_journal_changes_total", "tandem_journal_commit_seconds_count", "tandem_journal_commits_total",
	"tandem_journal_errors_total", "tandem_lag_seconds", "tandem_pending_bytes", "tandem_pending_keys",
	"tandem_read_fallbacks_total", "tandem_region_operations_total", "tandem_region_received_bytes_total", "tandem_region_request_seconds_count", "tandem_region_requests_total",
	"tandem_region_sent_bytes_total",
	"tandem_build_info", "tandem_in_doubt_writes", "tandem_journal_bytes", "tandem_open_conflicts", "tandem_open_ledger_entries", "tandem_region_compared",
	"tandem_region_regressed", "tandem_settled_keys_total", "tandem_unreplicable_keys", "tandem_writes_total", "go_goroutines", "process_open_fds",
}

// labelNames are all that a series may be told apart by.
var labelNames = []string{"bucket", "by", "code", "decision", "le", "op", "outcome", "quantile", "region", "result", "version"}

var (
	series = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? (\S+)$`)
	label  = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// scrape returns the values of the metrics by name and labels, as they are written.
func (g *rig) scrape() map[string]string {
	g.t.Helper()
	r := g.do(http.MethodGet, "/metrics", nil)
	if r.Status != 200 {
		g.t.Fatalf("metrics: got %v, want 200", r)
	}
	values := make(map[string]string)
	for _, line := range series.FindAllStringSubmatch(string(r.Body), -1) {
		values[line[1]+"{"+line[2]+"}"] = line[3]
	}
	return values
}

func TestMetricsAreThereAndSayNothingOfKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	const secret = "customers-secret"
	g.put(secret, "content")
	g.awaitSettled(secret)
	g.A.SetFaults(onKey("PutObject", secret, regiontest.Fault{Status: 500, Apply: true}))
	g.PUT(secret, []byte("in doubt"))
	g.awaitSettled(secret)
	g.A.SetFaults(nil)
	g.A.SetDown(true)
	g.GET(secret)
	g.A.SetDown(false)
	g.B.SetDown(true)
	g.put(secret, "waiting")
	g.do(http.MethodGet, "/"+secret, nil)
	g.do("PROPFIND", "/objects/"+secret, nil)

	values := g.scrape()
	var names []string
	for s := range values {
		name, labels, _ := strings.Cut(s, "{")
		names = append(names, name)
		for _, l := range label.FindAllStringSubmatch(labels, -1) {
			if !slices.Contains(labelNames, l[1]) {
				t.Errorf("%s: label %s is not of a closed set", s, l[1])
			}
		}
		if strings.Contains(s, secret) || strings.Contains(s, bucketA) {
			t.Errorf("%s tells of a client's data", s)
		}
	}
	for _, name := range metricNames {
		if !slices.Contains(names, name) {
			t.Errorf("metric %s is missing", name)
		}
	}
	for s, want := range map[string]string{
		`tandem_pending_keys{bucket="tandem",region="secondary"}`:                  "1",
		`tandem_pending_bytes{bucket="tandem",region="secondary"}`:                 "7",
		`tandem_pending_keys{bucket="tandem",region="primary"}`:                    "0",
		`tandem_lag_seconds{bucket="tandem",region="primary"}`:                     "0",
		`tandem_writes_total{op="put",outcome="acknowledged"}`:                     "2",
		`tandem_writes_total{op="put",outcome="in_doubt"}`:                         "1",
		`tandem_settled_keys_total{decision="adopted"}`:                            "1",
		`tandem_read_fallbacks_total{region="secondary"}`:                          "1",
		`tandem_http_requests_total{code="404",op="Unknown"}`:                      "1",
		`tandem_http_requests_total{code="405",op="Unknown"}`:                      "1",
		`tandem_copied_bytes_total{region="secondary"}`:                            "15",
		`tandem_copies_total{outcome="current",region="secondary"}`:                "2",
		`tandem_region_requests_total{code="5xx",op="PutObject",region="primary"}`: "1",
	} {
		if got := values[s]; got != want {
			t.Errorf("%s: got %q, want %s", s, got, want)
		}
	}
	if lag := values[`tandem_lag_seconds{bucket="tandem",region="secondary"}`]; lag == "" || lag == "0" {
		t.Errorf("lag of the region that waits: got %q", lag)
	}
}

// wantSeries waits for values of the metrics.
func (g *rig) wantSeries(want map[string]string) {
	g.t.Helper()
	g.eventually(func() error {
		values := g.scrape()
		for s, v := range want {
			if values[s] != v {
				return fmt.Errorf("%s is %q, want %s", s, values[s], v)
			}
		}
		return nil
	})
}

// What an operator has to look after is in the metrics: a lag of 0 is no comfort where a bucket was never compared.
func TestMetricsTellWhatAnOperatorLooksAfter(t *testing.T) {
	t.Parallel()
	uncompared := newPair(t, options{unknown: true, prepare: func(a, _ *regiontest.Server) { a.Put(bucketA, "past", []byte("from before")) }})
	uncompared.wantSeries(map[string]string{
		`tandem_region_compared{region="primary"}`: "0", `tandem_region_compared{region="secondary"}`: "0", `tandem_lag_seconds{bucket="tandem",region="secondary"}`: "0",
	})

	g := newPair(t, options{})
	g.put("k", "old")
	g.awaitConverged()
	g.awaitMarked()
	g.wantSeries(map[string]string{
		`tandem_region_compared{region="primary"}`: "1", `tandem_region_compared{region="secondary"}`: "1", `tandem_region_regressed{region="primary"}`: "0",
		`tandem_open_ledger_entries{}`: "0", `tandem_open_conflicts{}`: "0", `tandem_in_doubt_writes{}`: "0",
	})
	g.atRisk("k", "only in A")
	g.mustPromote("secondary")
	g.wantSeries(map[string]string{`tandem_open_ledger_entries{}`: "1", `tandem_epoch{}`: "2"})
	g.put("k", "of both sides")
	g.up("primary")
	g.wantSeries(map[string]string{`tandem_open_ledger_entries{}`: "0", `tandem_open_conflicts{}`: "1"})
}
