package region_test

import (
	"testing"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// probeStep names a request of the probe.
func probeStep(q regiontest.Request) string {
	switch {
	case q.Operation == "DeleteObject":
		return "delete"
	case q.Header.Get("If-None-Match") != "":
		return "create"
	case q.Header.Get("If-Match") != "":
		return "overwrite"
	}
	return "plain"
}

// A region that refuses a conditional request does not honour the condition; it is
// copied to all the same, with a look before each copy.
func TestRefusedProbeIsAConditionThatIsNotHonoured(t *testing.T) {
	for _, code := range []string{"AccessDenied", "InvalidArgument", "MethodNotAllowed", "NotImplemented"} {
		for step, want := range map[string]region.Conditions{
			"create": {Delete: true}, "overwrite": {Delete: true}, "delete": {Put: true},
		} {
			s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
			s.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if probeStep(q) == step {
					return regiontest.Fault{Code: code}
				}
				return regiontest.Fault{}
			})
			got, err := newRegion(t, at(regiontest.Start(t, s))).Conditions(t.Context())
			if err != nil || got != want {
				t.Errorf("%s at %s: got %+v (%v), want %+v", code, step, got, err, want)
			}
		}
	}
}

// Where nothing was learned nothing is remembered.
func TestProbeThatLearnedNothingIsMadeAgain(t *testing.T) {
	for _, tt := range []struct {
		step  string
		fault regiontest.Fault
	}{
		{"plain", regiontest.Fault{Code: "AccessDenied"}},
		{"plain", regiontest.Fault{Code: "NoSuchBucket"}},
		{"create", regiontest.Fault{Code: "SlowDown"}},
		{"create", regiontest.Fault{Status: 429, Code: "TooManyRequests"}},
		{"overwrite", regiontest.Fault{Status: 500}},
		{"overwrite", regiontest.Fault{Code: "OperationAborted"}},
		{"delete", regiontest.Fault{CutBefore: true}},
		{"delete", regiontest.Fault{Status: 502}},
	} {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		r := newRegion(t, at(regiontest.Start(t, s)))
		s.SetFaults(func(q regiontest.Request) regiontest.Fault {
			if probeStep(q) == tt.step {
				return tt.fault
			}
			return regiontest.Fault{}
		})
		if got, err := r.Conditions(t.Context()); err == nil {
			t.Errorf("%+v at %s: got %+v, want an error", tt.fault, tt.step, got)
		}
		s.SetFaults(nil)
		want := region.Conditions{Put: true, Delete: true}
		if got, err := r.Conditions(t.Context()); err != nil || got != want {
			t.Errorf("%+v at %s, then none: got %+v (%v), want %+v", tt.fault, tt.step, got, err, want)
		}
		asked := len(s.Requests())
		if _, err := r.Conditions(t.Context()); err != nil || len(s.Requests()) != asked {
			t.Errorf("asked again for what is known (%v)", err)
		}
	}
}
