package app_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// Once the end of a body was let go, the region decides what is true, whether or not the
// client is there to hear it.
func TestWriteIsCarriedThroughWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	gate, asked := make(chan struct{}), make(chan struct{}, 1)
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation != "PutObject" || q.Key != "k" {
			return regiontest.Fault{}
		}
		asked <- struct{}{}
		return regiontest.Fault{Hang: gate}
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, g.URL+"/objects/k", bytes.NewReader(make([]byte, 200_000)))
		if err == nil {
			var resp *http.Response
			if resp, err = g.client.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		left <- err
	}()
	<-asked
	g.eventually(func() error { return happened(!g.status("k").Settled && g.status("k").Key == "k", "the intent") })
	leave()
	if err := <-left; err == nil {
		t.Fatal("the client was answered before it left")
	}
	close(gate)
	g.awaitSettled("k")
	if s := g.status("k"); s.Size != 200_000 || s.Version == "" {
		t.Errorf("got %+v, want the write committed", s)
	}
	g.awaitConverged()
}
