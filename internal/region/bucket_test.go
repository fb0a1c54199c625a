package region_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// A region whose completions do not honour what its PUTs do is not relied on for either.
func TestConditionsAreTriedOnUploadsToo(t *testing.T) {
	for name, tt := range map[string]struct {
		traits regiontest.Options
		found  region.ConditionSupport
		want   region.Conditions
	}{
		"all": {regiontest.Options{}, region.ConditionSupport{
			Create: region.Honoured, Overwrite: region.Honoured, Complete: region.Honoured, Delete: region.Honoured,
		}, region.Conditions{Put: true, Delete: true}},
		"not those of uploads": {regiontest.Options{IgnoreUploadConditions: true}, region.ConditionSupport{
			Create: region.Honoured, Overwrite: region.Honoured, Complete: region.Ignored, Delete: region.Honoured,
		}, region.Conditions{Delete: true}},
		"no uploads": {regiontest.Options{NoMultipart: true}, region.ConditionSupport{
			Create: region.Honoured, Overwrite: region.Honoured, Complete: region.Untried, Delete: region.Honoured,
		}, region.Conditions{Put: true, Delete: true}},
		"none": {regiontest.Options{NoConditions: true}, region.ConditionSupport{
			Create: region.Refused, Overwrite: region.Refused, Complete: region.Refused, Delete: region.Refused,
		}, region.Conditions{}},
	} {
		tt.traits.Buckets = []string{bucket}
		s := regiontest.NewServer(tt.traits)
		r := newRegion(t, at(regiontest.Start(t, s)))
		found, err := r.ProbeConditions(t.Context(), "probe")
		if diff := cmp.Diff(tt.found, found); err != nil || diff != "" {
			t.Errorf("%s: probe: %v, differs (-want +got):\n%s", name, err, diff)
		}
		if got, err := r.Conditions(t.Context()); err != nil || got != tt.want {
			t.Errorf("%s: got %+v (%v), want %+v", name, got, err, tt.want)
		}
		if left := s.Uploads(bucket); len(left) > 0 {
			t.Errorf("%s: the probe left %+v", name, left)
		}
	}
}

// A region that has not said whether it honours a condition is asked again, and no upload is left.
func TestProbeOfUploadsThatLearnedNothingIsMadeAgain(t *testing.T) {
	for _, operation := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		r := newRegion(t, at(regiontest.Start(t, s)))
		s.SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Operation == operation {
				return regiontest.Fault{Status: 500}
			}
			return regiontest.Fault{}
		})
		if got, err := r.Conditions(t.Context()); err == nil {
			t.Errorf("%s fails: got %+v, want an error", operation, got)
		}
		s.SetFaults(nil)
		if got, err := r.Conditions(t.Context()); err != nil || !got.Put || !got.Delete {
			t.Errorf("%s fails, then not: got %+v (%v)", operation, got, err)
		}
		if left := s.Uploads(bucket); len(left) > 0 {
			t.Errorf("%s: the probe left %+v", operation, left)
		}
	}
}

func TestSettingsOfABucketAreRead(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}, Settings: map[string]string{
		"versioning":  `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`,
		"object-lock": `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>`,
		"lifecycle": `<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>logs/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>
			<Expiration><Days>3</Days></Expiration></Rule><Rule><ID>off</ID><Status>Disabled</Status></Rule>
			<Rule><ID>b</ID><Status>Enabled</Status><Prefix>old/</Prefix><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>`,
	}})
	r := newRegion(t, at(regiontest.Start(t, s)))
	if got, err := r.Versioning(t.Context()); err != nil || got != "Enabled" {
		t.Errorf("versioning: %q, %v", got, err)
	}
	if got, err := r.ObjectLock(t.Context()); err != nil || got != (region.ObjectLock{Enabled: true, Mode: "COMPLIANCE"}) {
		t.Errorf("object lock: %+v, %v", got, err)
	}
	rules, err := r.Lifecycle(t.Context())
	want := []region.LifecycleRule{{ID: "a", Prefix: "logs/", Narrowed: true, Expires: true}, {ID: "b", Prefix: "old/", Transitions: true}}
	if diff := cmp.Diff(want, rules); err != nil || diff != "" {
		t.Errorf("lifecycle: %v, differs (-want +got):\n%s", err, diff)
	}
}

func TestSettingsThatWereNeverMadeAreNoError(t *testing.T) {
	r := newRegion(t, at(regiontest.Start(t, regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}}))))
	if got, err := r.Versioning(t.Context()); err != nil || got != "" {
		t.Errorf("versioning: %q, %v", got, err)
	}
	if got, err := r.ObjectLock(t.Context()); err != nil || got != (region.ObjectLock{}) {
		t.Errorf("object lock: %+v, %v", got, err)
	}
	if got, err := r.Lifecycle(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("lifecycle: %+v, %v", got, err)
	}
	missing := newRegion(t, at(regiontest.Start(t, regiontest.NewServer(regiontest.Options{}))))
	_, versioningErr := missing.Versioning(t.Context())
	_, lockErr := missing.ObjectLock(t.Context())
	_, lifecycleErr := missing.Lifecycle(t.Context())
	_, uploadsErr := missing.Uploads(t.Context(), "")
	for _, err := range []error{versioningErr, lockErr, lifecycleErr, uploadsErr} {
		if e, ok := errors.AsType[*region.Error](err); !ok || e.Code != "NoSuchBucket" {
			t.Errorf("without a bucket: got %v, want NoSuchBucket", err)
		}
	}
}

func TestUnfinishedUploadsAreListed(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	r := newRegion(t, at(regiontest.Start(t, s)))
	id, err := r.CreateUpload(t.Context(), "a/odd key+é", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateUpload(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	got, err := r.Uploads(t.Context(), "a/")
	if err != nil || len(got) != 1 || got[0].Key != "a/odd key+é" || got[0].ID != id || got[0].Initiated.IsZero() {
		t.Errorf("got %+v (%v)", got, err)
	}
}

// The checksum behind a body is verified by whoever takes it, and not kept as a part of it.
func TestBodyWithATrailer(t *testing.T) {
	for name, r := range map[string]*region.Region{
		"in memory": newRegion(t, at(regiontest.Start(t, regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})))),
		"embedded":  embedded(t, bucket),
	} {
		etag, err := r.PutWithTrailer(t.Context(), "key", "body", false)
		if err != nil || etag == "" {
			t.Errorf("%s: put: %q, %v", name, etag, err)
			continue
		}
		a, err := r.Head(t.Context(), "key", nil)
		if err != nil || a.Size() != 4 || a.ETag() != etag {
			t.Errorf("%s: head: %+v, %v", name, a, err)
		}
		_, err = r.PutWithTrailer(t.Context(), "key", "other", true)
		if e, ok := errors.AsType[*region.Error](err); !ok || e.Status != http.StatusBadRequest {
			t.Errorf("%s: put of a damaged body: %v, want 400", name, err)
		}
		if o, err := r.Get(t.Context(), "key", nil); err != nil || o.ETag() != etag || o.Body.Close() != nil {
			t.Errorf("%s: the damaged body was taken: %v", name, err)
		}
	}
}

func TestVersionIsNamedToTheRegion(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	r := newRegion(t, at(regiontest.Start(t, s)))
	if _, err := r.Put(t.Context(), "key", nil, strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteVersion(t.Context(), "key", "null"); err != nil {
		t.Fatal(err)
	}
	last := s.Requests()[len(s.Requests())-1]
	if last.Operation != "DeleteObject" || last.Query.Get("versionId") != "null" {
		t.Errorf("asked for %+v", last)
	}
}
