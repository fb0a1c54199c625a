package region_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// vault issues keys, and a region in front of which it stands takes those alone, while they
// are good.
type vault struct {
	mu     sync.Mutex
	issued []aws.Credentials
	used   map[string]int // requests that a key has signed
	// refused are the requests that were not let through, and why.
	refused []string
}

// issue makes keys; without a lifetime they never expire, and have no session token.
func (v *vault) issue(lifetime time.Duration) aws.Credentials {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.issued) + 1
	c := aws.Credentials{AccessKeyID: fmt.Sprintf("ASIATEST%d", n), SecretAccessKey: fmt.Sprintf("secret/%d+", n)}
	if lifetime > 0 {
		c.CanExpire, c.Expires, c.SessionToken = true, time.Now().Add(lifetime), fmt.Sprintf("token/%d==", n)
	}
	v.issued = append(v.issued, c)
	return c
}

// seen is how often each key was used, in the order in which they were issued, and what was refused.
func (v *vault) seen() (used []int, refused []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.issued {
		used = append(used, v.used[c.AccessKeyID])
	}
	return used, slices.Clone(v.refused)
}

// guard serves a region on loopback, behind the vault.
func (v *vault) guard(t *testing.T) (endpoint string) {
	t.Helper()
	v.used = make(map[string]int)
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := v.check(r); code != "" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.Close()
		server.Close()
	})
	return server.URL
}

// check signs the request once more, as whoever has the keys does.
func (v *vault) check(r *http.Request) (code string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() {
		if code != "" {
			v.refused = append(v.refused, code)
		}
	}()
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	id, rest, _ := strings.Cut(rest, "/")
	i := slices.IndexFunc(v.issued, func(c aws.Credentials) bool { return c.AccessKeyID == id })
	if i < 0 {
		return "InvalidAccessKeyId"
	}
	c := v.issued[i]
	v.used[id]++
	_, signed, _ := strings.Cut(rest, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	names := strings.Split(signed, ";")
	switch {
	case r.Header.Get("X-Amz-Security-Token") != c.SessionToken, c.SessionToken != "" && !slices.Contains(names, "x-amz-security-token"):
		return "InvalidToken"
	case c.CanExpire && time.Now().After(c.Expires):
		return "ExpiredToken"
	}
	again := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: make(http.Header), ContentLength: r.ContentLength}
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "AccessDenied"
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(r.Context(), c, again, r.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", at); err != nil {
		return "AccessDenied"
	}
	if again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return "SignatureDoesNotMatch"
	}
	return ""
}

// serve answers on loopback until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) (endpoint string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

const roleARN = "arn:aws:iam::123456789012:role/tandem"

// sts stands for AWS's token service: it takes what the web identity's file holds.
func (v *vault) sts(t *testing.T, lifetime time.Duration) {
	t.Helper()
	identity := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(identity, []byte("who.i.am"), 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != "who.i.am" || r.FormValue("RoleArn") != roleARN {
			t.Errorf("the token service is asked for %v", r.Form)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c := v.issue(lifetime)
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expires.UTC().Format(time.RFC3339Nano))
	})
	t.Setenv("AWS_ENDPOINT_URL_STS", endpoint)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", identity)
	t.Setenv("AWS_ROLE_ARN", roleARN)
	t.Setenv("AWS_ROLE_SESSION_NAME", "tandem")
}

// imds stands for the metadata service of an instance, version 2: it wants a token of its own.
func (v *vault) imds(t *testing.T, lifetime time.Duration) {
	t.Helper()
	const session = "session-of-the-metadata-service"
	const path = "/latest/meta-data/iam/security-credentials/"
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		const ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get(ttl) != "":
			w.Header().Set(ttl, r.Header.Get(ttl))
			_, _ = io.WriteString(w, session)
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != session:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == path:
			_, _ = io.WriteString(w, "the-role")
		case r.URL.Path == path+"the-role":
			c := v.issue(lifetime)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken, "Expiration": c.Expires,
			})
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
	t.Setenv("AWS_EC2_METADATA_V1_DISABLED", "true")
}

// file writes a shared credentials file with two profiles, of which one is named.
func (v *vault) file(t *testing.T, profile string) {
	t.Helper()
	var text bytes.Buffer
	for _, name := range []string{"default", "other"} {
		c := v.issue(0)
		fmt.Fprintf(&text, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", name, c.AccessKeyID, c.SecretAccessKey)
	}
	name := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", name)
	if profile != "" {
		t.Setenv("AWS_PROFILE", profile)
	}
}

func withoutKeys(c *region.Config) { c.AccessKey, c.SecretKey = "", "" }

// putAndGet writes an object and reads it.
func putAndGet(t *testing.T, r *region.Region) {
	t.Helper()
	text := []byte("content")
	if _, err := r.Put(t.Context(), "a key", nil, bytes.NewReader(text), int64(len(text))); err != nil {
		t.Fatalf("put: %v", err)
	}
	o, err := r.Get(t.Context(), "a key", nil)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	defer o.Body.Close()
	if got, err := io.ReadAll(o.Body); err != nil || string(got) != string(text) {
		t.Errorf("got %q (%v), want %q", got, err, text)
	}
}

// Without keys of its own a region has those that the environment leads to, from each of the
// places where the SDK looks; requests are signed with them and carry their session token.
func TestKeysAreThoseOfTheDefaultChain(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(t *testing.T, v *vault)
		used []int // requests by each key
	}{
		{"web identity", func(t *testing.T, v *vault) { v.sts(t, time.Hour) }, []int{4}},
		{"instance", func(t *testing.T, v *vault) { v.imds(t, time.Hour) }, []int{4}},
		{"shared file", func(t *testing.T, v *vault) { v.file(t, "") }, []int{4, 0}},
		{"profile of the shared file", func(t *testing.T, v *vault) { v.file(t, "other") }, []int{0, 4}},
		{"environment", func(t *testing.T, v *vault) {
			k := v.issue(time.Hour)
			t.Setenv("AWS_ACCESS_KEY_ID", k.AccessKeyID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", k.SecretAccessKey)
			t.Setenv("AWS_SESSION_TOKEN", k.SessionToken)
		}, []int{4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := new(vault)
			c.set(t, v)
			endpoint := v.guard(t)
			r := newRegion(t, at(endpoint), withoutKeys)
			putAndGet(t, r)
			// A second client of the region asks nobody again.
			putAndGet(t, newRegion(t, at(endpoint), withoutKeys, func(c *region.Config) { c.SameAs = r }))
			used, refused := v.seen()
			if !slices.Equal(used, c.used) || refused != nil {
				t.Errorf("the keys signed %v requests, of which %v were refused, want %v, and none", used, refused, c.used)
			}
		})
	}
}

// The keys of a session go out of use before the region refuses them, whoever issues them.
func TestSessionIsRenewedBeforeARequestFails(t *testing.T) {
	const lifetime = region.RenewBefore + 300*time.Millisecond
	for name, set := range map[string]func(*vault, *testing.T){
		"web identity": func(v *vault, t *testing.T) { v.sts(t, lifetime) },
		"instance":     func(v *vault, t *testing.T) { v.imds(t, lifetime) },
	} {
		t.Run(name, func(t *testing.T) {
			v := new(vault)
			set(v, t)
			r := newRegion(t, at(v.guard(t)), withoutKeys)
			began := time.Now()
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				putAndGet(t, r)
				used, refused := v.seen()
				if refused != nil {
					t.Fatalf("refused: %v", refused)
				}
				if len(used) > 1 && used[1] > 0 {
					if took := time.Since(began); took < 200*time.Millisecond {
						t.Errorf("renewed after %s", took)
					}
					return
				}
				if time.Since(began) > patient {
					t.Fatalf("never renewed; requests by key: %v", used)
				}
				<-tick.C
			}
		})
	}
}

// Nobody who issues keys: the error says so, before anything is sent.
func TestNoKeysAnywhereIsAnErrorBeforeAnythingIsSent(t *testing.T) {
	v := new(vault)
	r := newRegion(t, at(v.guard(t)), withoutKeys)
	_, err := r.Head(t.Context(), "key", nil)
	if region.OutcomeOf(err) != region.NotSent || !strings.Contains(fmt.Sprint(err), "find credentials") {
		t.Errorf("got %v, want an error about credentials", err)
	}
	if used, refused := v.seen(); used != nil || refused != nil {
		t.Errorf("the region was asked: %v, %v", used, refused)
	}
}
