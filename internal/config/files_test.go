package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/config"
)

// newFile returns the path of a file with some content.
func newFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEverySecretMayBeInAFile(t *testing.T) {
	values := env{
		"ADMIN_TOKEN":             "hunter2-administrator",
		"API_TOKENS":              "ci:hunter2-continuous,app:hunter2-application",
		"GATEWAY_ACCESS_KEY":      "hunter2-gateway",
		"GATEWAY_SECRET_KEY":      "hunter2-secret-of-clients",
		"MASTER_KEY":              "hunter2hunter2hunter2hunter2hunter2hunter2+=",
		"PRIMARY_S3_ACCESS_KEY":   "hunter2-access-1",
		"PRIMARY_S3_SECRET_KEY":   "hunter2-secret-1",
		"SECONDARY_S3_ACCESS_KEY": "hunter2-access-2",
		"SECONDARY_S3_SECRET_KEY": "hunter2-secret-2",
	}
	plain := env{"PRIMARY_S3_REGION": "eu-west-1", "SECONDARY_S3_REGION": "us-east-1", "LISTEN_ADDRESS": "0.0.0.0"}
	for _, end := range []string{"", "\n", "\r\n"} {
		inFiles := plain.with(nil)
		for _, v := range config.Reference() {
			value, ok := values[v.Name]
			if ok != v.Secret {
				t.Errorf("%s: secret %v, and the test has a value for it: %v", v.Name, v.Secret, ok)
			}
			if ok {
				inFiles[v.Name+"_FILE"] = newFile(t, value+end)
			}
		}
		want, got := load(t, plain.with(values)), load(t, inFiles)
		if d := diff(want, got); d != "" {
			t.Errorf("in files that end in %q (-want +got):\n%s", end, d)
		}
		for _, s := range got.Settings() {
			if !s.Secret {
				continue
			}
			if s.Source != config.FromSecretFile || s.File != inFiles[s.Name+"_FILE"] || s.Value != "********" {
				t.Errorf("%s: got %q from %q %q, want it masked, and its file", s.Name, s.Value, s.Source, s.File)
			}
		}
		settings, err := json.Marshal(got.Settings())
		if text := fmt.Sprintf("%s %v %+v %#v", settings, got, got.Settings(), got.Regions); err != nil || strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown (%v): %s", err, text)
		}
	}
}

func TestWhatIsNoSecretIsNotLookedForInAFile(t *testing.T) {
	if d := diff(load(t, nil), load(t, env{"PORT_FILE": "/nowhere", "BUCKET_FILE": "/nowhere"})); d != "" {
		t.Errorf("got (-without +with):\n%s", d)
	}
}

func TestSecretFileThatIsNoUseIsAMistake(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	token := newFile(t, "hunter2-administrator\n")
	tests := []struct {
		env  env
		want []string // of each mistake's line
	}{
		{env{"ADMIN_TOKEN_FILE": missing}, []string{"ADMIN_TOKEN_FILE=\"" + missing + "\" cannot be read: no such file"}},
		{env{"ADMIN_TOKEN_FILE": t.TempDir()}, []string{" cannot be read: is a directory"}},
		{env{"ADMIN_TOKEN_FILE": newFile(t, "")}, []string{" names a file with nothing in it"}},
		{env{"ADMIN_TOKEN_FILE": newFile(t, "\n")}, []string{" names a file with nothing in it"}},
		{env{"ADMIN_TOKEN_FILE": "/dev/zero"}, []string{"ADMIN_TOKEN_FILE=\"/dev/zero\" names a file of more than 1MiB"}},
		{env{"ADMIN_TOKEN_FILE": newFile(t, "hunter2")}, []string{" holds a value that is shorter than 16 characters"}},
		{env{"ADMIN_TOKEN_FILE": newFile(t, "hunter2-first-line\nhunter2-second")}, []string{" holds a value that has a character that is not allowed"}},
		{env{"ADMIN_TOKEN_FILE": token, "ADMIN_TOKEN": "hunter2-administrator"}, []string{"ADMIN_TOKEN_FILE=\"" + token + "\" is set, and so is ADMIN_TOKEN; allowed: one of the two"}},
		// The secret itself, where the path belongs.
		{env{"ADMIN_TOKEN_FILE": "hunter2-administrator"}, []string{"ADMIN_TOKEN_FILE=******** cannot be read: no such file"}},
		// No other mistake follows from one in a file.
		{env{"ADMIN_TOKEN_FILE": missing, "LISTEN_ADDRESS": "0.0.0.0"}, []string{"ADMIN_TOKEN_FILE="}},
		{env{"PRIMARY_S3_REGION": "eu-west-1", "PRIMARY_S3_ACCESS_KEY": "hunter2", "PRIMARY_S3_SECRET_KEY_FILE": missing}, []string{"PRIMARY_S3_SECRET_KEY_FILE="}},
		{env{"PRIMARY_S3_REGION": "eu-west-1", "PRIMARY_S3_SECRET_KEY_FILE": token}, []string{"PRIMARY_S3_ACCESS_KEY is not set, but PRIMARY_S3_SECRET_KEY is"}},
		{env{"ADMIN_TOKEN_FILE": token, "API_TOKENS_FILE": newFile(t, "x:hunter2-administrator")}, []string{"API_TOKENS_FILE=", "has the token of ADMIN_TOKEN in it"}},
	}
	for _, tt := range tests {
		mistakes := loadMistakes(t, tt.env)
		text := mistakes.Error()
		if len(mistakes.All) != 1 {
			t.Errorf("%v: got %d mistakes, want one:\n%s", tt.env, len(mistakes.All), text)
		}
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%v: got %s\nwant %s", tt.env, text, want)
			}
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestMistakesInFilesStandInTheirOrder(t *testing.T) {
	var got []string
	for _, m := range loadMistakes(t, env{"API_TOKENS_FILE": "/nowhere", "PORT": "x", "ADMIN_TOKEN_FILE": "/nowhere", "BUCKET": "-"}).All {
		got = append(got, m.Variable)
	}
	if want := "PORT BUCKET ADMIN_TOKEN_FILE API_TOKENS_FILE"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestCertificateAndKeyBelongTogether(t *testing.T) {
	authority := certtest.NewAuthority(t)
	cert, key := authority.Issue(t, time.Now().Add(time.Hour), "localhost").Write(t, t.TempDir())
	_, otherKey := authority.Issue(t, time.Now().Add(time.Hour), "localhost").Write(t, t.TempDir())
	if c := load(t, env{"TLS_CERT": cert, "TLS_KEY": key}); c.TLSCert != cert || c.TLSKey != key {
		t.Errorf("got %q and %q, want the paths", c.TLSCert, c.TLSKey)
	}
	inline, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	garbage := "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
	tests := []struct {
		env            env
		variable, want string
	}{
		{env{"TLS_CERT": cert}, "TLS_KEY", "is not set, but TLS_CERT is; allowed: both"},
		{env{"TLS_KEY": key}, "TLS_CERT", "is not set, but TLS_KEY is; allowed: both"},
		{env{"TLS_CERT": cert + "x", "TLS_KEY": key}, "TLS_CERT", "cannot be read: no such file"},
		{env{"TLS_CERT": cert, "TLS_KEY": t.TempDir()}, "TLS_KEY", "cannot be read: is a directory"},
		{env{"TLS_CERT": cert, "TLS_KEY": otherKey}, "TLS_KEY", "does not go with the certificate in TLS_CERT: private key does not match public key"},
		{env{"TLS_CERT": cert, "TLS_KEY": cert}, "TLS_KEY", "does not go with the certificate in TLS_CERT: "},
		{env{"TLS_CERT": key, "TLS_KEY": key}, "TLS_CERT", "names a file without a certificate in PEM"},
		{env{"TLS_CERT": newFile(t, garbage), "TLS_KEY": key}, "TLS_CERT", "names a file whose certificate 1 cannot be read: "},
		{env{"TLS_CERT": cert, "TLS_KEY": string(inline)}, "TLS_KEY", "is a text in PEM; it names a file"},
	}
	for _, tt := range tests {
		all := loadMistakes(t, tt.env).All
		if len(all) != 1 || all[0].Variable != tt.variable || !strings.Contains(all[0].String(), tt.want) {
			t.Errorf("%v: got %v, want %s %s", tt.env, all, tt.variable, tt.want)
		}
		if secret := strings.Split(string(inline), "\n")[1]; strings.Contains(fmt.Sprint(all), secret) {
			t.Errorf("the key is shown: %v", all)
		}
	}
	if all := loadMistakes(t, env{"TLS_CERT": "/nowhere/c", "TLS_KEY": "/nowhere/k", "PORT": "x"}).All; len(all) != 3 {
		t.Errorf("got %v, want all three mistakes at once", all)
	}
}

func TestAuthoritiesOfARegionAreReadable(t *testing.T) {
	authority := certtest.NewAuthority(t)
	e := env{"PRIMARY_S3_ENDPOINT": "https://store.example", "PRIMARY_S3_CA_FILE": authority.File}
	if c := load(t, e); c.Regions[0].CAFile != authority.File {
		t.Errorf("got %q, want the path", c.Regions[0].CAFile)
	}
	for _, tt := range []struct {
		env  env
		want string
	}{
		{env{"PRIMARY_S3_CA_FILE": "/nowhere"}, "cannot be read: no such file"},
		{env{"PRIMARY_S3_CA_FILE": newFile(t, "x")}, "names a file without a certificate in PEM"},
		{env{"PRIMARY_S3_ENDPOINT": "http://store.example"}, "is set, but nothing is encrypted on the way to PRIMARY_S3_ENDPOINT (http://store.example)"},
		{env{"PRIMARY_S3_ENDPOINT": "file:///srv/x"}, "is set, but the region is a folder"},
	} {
		all := loadMistakes(t, e.with(tt.env)).All
		if len(all) != 1 || all[0].Variable != "PRIMARY_S3_CA_FILE" || !strings.Contains(all[0].String(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.env, all, tt.want)
		}
	}
}
