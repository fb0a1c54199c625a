package restapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/journal"
)

const (
	// configuredKey and madeKey are in every fakeKeys; the example of the document names the second.
	configuredKey = "CONFIGURED"
	madeKey       = "TANDEMEXAMPLEEXAMPLE"
	keySecret     = "k3y-c4n4ry-0123456789"
)

// fakeKeys knows what it was asked.
type fakeKeys struct {
	asked []string
	err   error
}

func (k *fakeKeys) answer(what, id string) (accesskey.Record, error) {
	switch {
	case k.err != nil:
		return accesskey.Record{}, k.err
	case id == configuredKey:
		return accesskey.Record{}, accesskey.ErrConfigured
	case id != madeKey:
		return accesskey.Record{}, accesskey.ErrNotFound
	}
	k.asked = append(k.asked, what)
	r := k.List()[1]
	if what == "disable by admin" {
		r.DisabledAt = at
	}
	return r, nil
}

func (k *fakeKeys) List() []accesskey.Record {
	return []accesskey.Record{
		{ID: configuredKey, Role: accesskey.Admin, Source: accesskey.FromConfiguration},
		{
			ID: madeKey, Name: "website", Role: accesskey.ReadOnly, Bounds: accesskey.Bounds{Buckets: []string{"tandem"}, Prefixes: []string{"docs/"}},
			Source: accesskey.FromJournal, CreatedAt: at, RotatedAt: at,
		},
	}
}

func (k *fakeKeys) Create(_ context.Context, w accesskey.Wish, actor string) (accesskey.Record, string, error) {
	if err := w.Check(); err != nil {
		return accesskey.Record{}, "", err
	}
	r, err := k.answer("create by "+actor, madeKey)
	if err != nil {
		return r, "", err
	}
	r.Name, r.Role, r.Bounds = w.Name, w.Role, w.Bounds
	return r, keySecret, nil
}

func (k *fakeKeys) Disable(_ context.Context, id, actor string) (accesskey.Record, error) {
	return k.answer("disable by "+actor, id)
}

func (k *fakeKeys) Enable(_ context.Context, id, actor string) (accesskey.Record, error) {
	return k.answer("enable by "+actor, id)
}

func (k *fakeKeys) Rotate(_ context.Context, id, actor string) (accesskey.Record, string, error) {
	r, err := k.answer("rotate by "+actor, id)
	return r, keySecret, err
}

func TestAKeyIsMadeAndItsSecretToldOnce(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	w := f.do("POST", "/admin/keys", `{"name": "ü", "role": "admin", "buckets": ["tandem"], "prefixes": ["a/", "b"]}`)
	f.want(w, http.StatusCreated, `{"secret": "`+keySecret+`", "key": {"id": "`+madeKey+`", "name": "ü", "role": "admin", "buckets": ["tandem"], "prefixes": ["a/", "b"],
		"source": "journal", "enabled": true, "lostSecret": false, "createdAt": "2026-03-01T12:00:00.123Z", "rotatedAt": "2026-03-01T12:00:00.123Z", "disabledAt": null}}`)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q: the secret could be kept on its way", got)
	}
	for _, body := range []string{"", "{}", `{"name": null, "role": null, "buckets": null, "prefixes": []}`} {
		w := f.do("POST", "/admin/keys", body)
		f.want(w, http.StatusCreated, `{"secret": "`+keySecret+`", "key": {"id": "`+madeKey+`", "name": "", "role": "read-write", "buckets": [], "prefixes": [],
			"source": "journal", "enabled": true, "lostSecret": false, "createdAt": "2026-03-01T12:00:00.123Z", "rotatedAt": "2026-03-01T12:00:00.123Z", "disabledAt": null}}`)
	}
	w = f.do("GET", "/admin/keys", "")
	f.want(w, http.StatusOK, `{"keys": [
		{"id": "CONFIGURED", "name": "", "role": "admin", "buckets": [], "prefixes": [], "source": "configuration", "enabled": true, "lostSecret": false,
			"createdAt": null, "rotatedAt": null, "disabledAt": null},
		{"id": "`+madeKey+`", "name": "website", "role": "read-only", "buckets": ["tandem"], "prefixes": ["docs/"], "source": "journal", "enabled": true, "lostSecret": false,
			"createdAt": "2026-03-01T12:00:00.123Z", "rotatedAt": "2026-03-01T12:00:00.123Z", "disabledAt": null}]}`)
	if strings.Contains(w.Body.String(), keySecret) {
		t.Error("the list has a secret in it")
	}
}

func TestAKeyIsDisabledEnabledAndRotatedByItsID(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := `"id": "` + madeKey + `", "name": "website", "role": "read-only", "buckets": ["tandem"], "prefixes": ["docs/"], "source": "journal", "lostSecret": false,
		"createdAt": "2026-03-01T12:00:00.123Z", "rotatedAt": "2026-03-01T12:00:00.123Z"`
	f.want(f.do("POST", "/admin/keys/"+madeKey+"/disable", ""), http.StatusOK, `{`+key+`, "enabled": false, "disabledAt": "2026-03-01T12:00:00.123Z"}`)
	f.want(f.do("POST", "/admin/keys/"+madeKey+"/enable", ""), http.StatusOK, `{`+key+`, "enabled": true, "disabledAt": null}`)
	f.want(f.do("POST", "/admin/keys/"+madeKey+"/rotate", ""), http.StatusOK, `{"secret": "`+keySecret+`", "key": {`+key+`, "enabled": true, "disabledAt": null}}`)
	if got := strings.Join(f.keys.asked, ", "); got != "disable by admin, enable by admin, rotate by admin" {
		t.Errorf("asked for: %s", got)
	}
}

func TestWhatCannotBeDoneToAKeyIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path, body string
		err        error
		status     int
		code       string
	}{
		{"/admin/keys", `{"role": "root"}`, nil, 400, "InvalidArgument"},
		{"/admin/keys", `{"prefixes": [""]}`, nil, 400, "InvalidArgument"},
		{"/admin/keys", `{"buckets": ["tandem", "other"]}`, nil, 404, "NoSuchBucket"},
		{"/admin/keys", `{"secret": "mine"}`, nil, 400, "MalformedJSON"},
		{"/admin/keys", `{}`, journal.ErrUnavailable, 503, "ServiceUnavailable"},
		{"/admin/keys/" + configuredKey + "/disable", "", nil, 409, "ConfiguredKey"},
		{"/admin/keys/" + configuredKey + "/enable", "", nil, 409, "ConfiguredKey"},
		{"/admin/keys/" + configuredKey + "/rotate", "", nil, 409, "ConfiguredKey"},
		{"/admin/keys/other/disable", "", nil, 404, "NoSuchAccessKey"},
		{"/admin/keys/a%2Fb/rotate", "", nil, 404, "NoSuchAccessKey"},
		{"/admin/keys/" + madeKey + "/enable", "", accesskey.ErrNoSecret, 409, "SecretLost"},
		{"/admin/keys/" + madeKey + "/rotate", "", accesskey.ErrOvertaken, 409, "Overtaken"},
		{"/admin/keys/" + madeKey + "/disable", "", journal.ErrUnknown, 503, "ServiceUnavailable"},
	} {
		f := newFront(t)
		f.keys.err = tt.err
		f.wantProblem(f.do("POST", tt.path, tt.body), tt.status, tt.code)
		if len(f.keys.asked) > 0 {
			t.Errorf("%s %s: refused, and done: %v", tt.path, tt.body, f.keys.asked)
		}
	}
}
