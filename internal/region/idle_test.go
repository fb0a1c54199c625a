package region_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gnew/tandem/internal/region"
)

// A server that is to stop waits for its connections, also for those on which nothing is under way.
func TestIdleConnectionsAreClosedWhenAsked(t *testing.T) {
	t.Parallel()
	states := make(chan http.ConnState, 16)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	server.Start()
	defer server.Close()
	r, err := region.New(t.Context(), region.Config{Name: "a", Endpoint: server.URL, Bucket: "b", AccessKey: "k", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	for s := range states {
		switch s {
		case http.StateIdle:
			r.CloseIdleConnections()
		case http.StateClosed:
			return
		}
	}
}
