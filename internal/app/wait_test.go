package app_test

import (
	"net/http"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

func wait(what string) edit { return header("X-Tandem-Wait", what) }

func upTo(timeout string) edit { return header("X-Tandem-Wait-Timeout", timeout) }

// wantRegions checks the status, and which regions an answer says have the write.
func wantRegions(t *testing.T, r response, status int, regions string) {
	t.Helper()
	if got := r.Header.Get("X-Tandem-Regions"); r.Status != status || got != regions {
		t.Errorf("got %v with regions %q, want %d with %q", r, got, status, regions)
	}
}

func TestAWriteThatWaitsIsInTheRegionsThatItNames(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, what := range []string{"secondary", "all", "2", "primary, secondary"} {
		r := g.PUT("k", []byte(what), wait(what))
		wantRegions(t, r, http.StatusCreated, "primary, secondary")
		if w := decode[written](t, r); w.Replication["secondary"] != "current" || bytesOf(g.B, bucketB, "k") != what {
			t.Errorf("wait %s: answered %v while secondary holds %q", what, r, bytesOf(g.B, bucketB, "k"))
		}
		wantRegions(t, g.DELETE("k", wait(what)), http.StatusNoContent, "primary, secondary")
		if bytesOf(g.B, bucketB, "k") != "" {
			t.Errorf("wait %s: the delete was answered while secondary has the object", what)
		}
	}
	wantRegions(t, g.PUT("k", []byte("x"), wait("1")), http.StatusCreated, "primary")
	wantRegions(t, g.PUT("k", []byte("y"), wait("primary")), http.StatusCreated, "primary")
}

func TestAWaitThatEndsLosesNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.PUT("k", []byte("old"), wait("all"))
	g.B.SetFaults(onWrites("k", regiontest.Fault{Code: "SlowDown"}))
	wantRegions(t, g.PUT("k", []byte("one"), wait("secondary"), upTo("100ms")), http.StatusAccepted, "primary")
	g.wantRead("k", "one")
	wantRegions(t, g.DELETE("k", wait("all"), upTo("0.1")), http.StatusAccepted, "primary")
	g.B.SetFaults(nil)
	g.wantDeleted("k")
}

func TestAWaitEndsWhenTheGatewayDrains(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.B.SetFaults(onWrites("k", regiontest.Fault{Code: "SlowDown"}))
	answered := make(chan response, 1)
	go func() { answered <- g.PUT("k", []byte("one"), wait("secondary"), upTo("1h")) }()
	g.awaitState("k", "secondary", "pending")
	if err := g.stop(); err != nil {
		t.Errorf("stop the gateway: %v", err)
	}
	wantRegions(t, <-answered, http.StatusAccepted, "primary")
}

func TestAWaitIsOverOnceAnotherRegionIsPromoted(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.B.SetFaults(onWrites("k", regiontest.Fault{Code: "SlowDown"}))
	answered := make(chan response, 1)
	go func() { answered <- g.PUT("k", []byte("one"), wait("secondary"), upTo("1h")) }()
	g.awaitState("k", "secondary", "pending")
	g.B.SetFaults(nil)
	refuse(g.B, "k")
	g.mustPromote("secondary")
	wantRegions(t, <-answered, http.StatusAccepted, "primary")
}

func TestAWaitThatCannotBeIsRefusedBeforeTheWrite(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, edits := range [][]edit{
		{wait("0")}, {wait("3")}, {wait("-1")}, {wait("tertiary")}, {wait("primary,")}, {wait("all, secondary")}, {upTo("1s")},
		{wait("all"), upTo("0")}, {wait("all"), upTo("2h")}, {wait("all"), upTo("soon")}, {wait("all"), upTo("NaN")},
	} {
		wantProblem(t, g.PUT("k", []byte("x"), edits...), http.StatusBadRequest, "InvalidArgument")
		wantProblem(t, g.DELETE("k", edits...), http.StatusBadRequest, "InvalidArgument")
	}
	wantProblem(t, g.GET("k"), http.StatusNotFound, "NoSuchKey")
}
