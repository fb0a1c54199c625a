package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/config"
)

// environment reads NAME=value lines.
func environment(text string) env {
	e := make(env)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			e[name] = strings.ReplaceAll(value, "␤", "\n")
		}
	}
	return e
}

// FuzzEnvironmentIsSoundOrRefused is of whole environments: what is accepted is fit to be
// run with, and means the same when it is written anew; what is not is refused line by line.
func FuzzEnvironmentIsSoundOrRefused(f *testing.F) {
	for _, text := range []string{
		"",
		"PORT=0\nLISTEN_ADDRESS=::1\nDATA_DIR=/srv/t\nDATABASE_URL=file:x%20y.db\n",
		"LISTEN_ADDRESS=0.0.0.0\nADMIN_TOKEN=0123456789abcdef\nAPI_TOKENS=ci:fedcba9876543210,x:fedcba9876543211\n",
		"LISTEN_ADDRESS=::ffff:127.0.0.1\nAPI_TOKENS=ci:fedcba9876543210\n",
		"PRIMARY_S3_ENDPOINT=https://S3.eu-west-1.amazonaws.com\nSECONDARY_S3_ENDPOINT=http://[::1]:9000/\nSECONDARY_S3_ACCESS_KEY=a\nSECONDARY_S3_SECRET_KEY=b\n",
		"PRIMARY_S3_REGION=eu-west-1\nPRIMARY_S3_BUCKET=a-b.c\nACTIVE_REGION=primary\nFAILOVER_MODE=manual\n",
		"PRIMARY_S3_ENDPOINT=file:///srv/a%20b\nSECONDARY_S3_ENDPOINT=file:///srv/c\nPRIMARY_S3_FORCE_PATH_STYLE=true\n",
		"PRIMARY_S3_ENDPOINT=http://localhost\nSECONDARY_S3_ENDPOINT=http://127.0.0.1:80\nSECONDARY_S3_BUCKET=gnew-primary\n",
		"HEALTH_INTERVAL=1.5s\nMARK_INTERVAL=90\nPRESIGN_EXPIRES=1\nMAX_OBJECT_BYTES=5 TiB\nMIN_FREE_BYTES=0\nLOG_LEVEL=Debug\nSTALE_READS=SERVE\n",
		"ADMIN_TOKEN_FILE=/dev/null\nAPI_TOKENS_FILE=x\nTLS_CERT=/nowhere\nPRIMARY_S3_ENDPOINT=https://h\nPRIMARY_S3_CA_FILE=/nowhere\n",
		"PORT=http\nBUCKET=A\nLISTEN_ADDRESS=[::1]\nPRIMARY_S3_ENDPOINT=http://u:p@h\nDATABASE_URL=postgres://u:p@h/d\n",
	} {
		f.Add(text)
	}
	known := make(map[string]bool)
	for _, v := range config.Reference() {
		known[v.Name] = true
		known[v.Name+"_FILE"] = v.Secret || known[v.Name+"_FILE"]
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := environment(text)
		c, err := config.Load(e.lookup)
		if err == nil {
			checkSound(t, c)
			checkWrittenAnew(t, e, c)
			return
		}
		mistakes, ok := errors.AsType[*config.Mistakes](err)
		if !ok || len(mistakes.All) == 0 {
			t.Fatalf("got %v (%T)", err, err)
		}
		for _, m := range mistakes.All {
			if !known[m.Variable] || m.Problem == "" || m.Allowed == "" {
				t.Errorf("mistake %+v does not say what is wrong with which variable", m)
			}
		}
		if lines := strings.Count(err.Error(), "\n"); lines != len(mistakes.All) {
			t.Errorf("%d mistakes are in %d lines: %q", len(mistakes.All), lines, err)
		}
	})
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func checkSound(t *testing.T, c config.Config) {
	t.Helper()
	if host, port, err := net.SplitHostPort(c.Address()); err != nil || host != c.ListenAddress || port != strconv.Itoa(c.Port) {
		t.Errorf("nobody can listen on %q: %v", c.Address(), err)
	}
	ip, err := netip.ParseAddr(c.ListenAddress)
	if isLocal := err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(c.ListenAddress, "localhost"); !isLocal && c.AdminToken == "" {
		t.Errorf("%s is open to everybody", c.ListenAddress)
	}
	secrets := []string{c.AdminToken}
	for _, token := range c.APITokens {
		if slices.Contains(secrets, token.Secret) || token.Name == "" {
			t.Errorf("token %v is another's, or nobody's", token)
		}
		secrets = append(secrets, token.Secret)
	}
	for _, s := range secrets {
		if s != "" && (len(s) < 16 || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })) {
			t.Errorf("a token of %d bytes is accepted that no header holds, or that can be guessed", len(s))
		}
	}
	for _, d := range []struct{ d, least, most time.Duration }{
		{c.HealthInterval, 1, time.Hour}, {c.HealthTimeout, 1, time.Hour}, {c.MarkInterval, 1, time.Hour}, {c.RegionTimeout, 1, time.Hour},
		{c.DoubtWindow, 1, 24 * time.Hour}, {c.DrainTimeout, 0, time.Hour}, {c.FailoverHoldDown, 0, 24 * time.Hour}, {c.PresignExpires, time.Second, 7 * 24 * time.Hour},
	} {
		if d.d < d.least || d.d > d.most {
			t.Errorf("got %v, want %v to %v", d.d, d.least, d.most)
		}
	}
	if c.DatabasePath == "" || c.DataDir == "" || c.MaxObjectBytes < 1 || c.MaxJSONBytes < 1 || c.MinFreeBytes < 0 || c.HealthFailures < 1 || c.HealthRecoveries < 1 || c.ReplicationWorkers < 1 {
		t.Errorf("got %+v", c)
	}
	if !slices.ContainsFunc(c.Regions, func(r config.Region) bool { return r.Name == c.ActiveRegion }) {
		t.Errorf("the active, %s, is none of %v", c.ActiveRegion, c.Regions)
	}
	for _, r := range c.Regions {
		u, err := url.Parse(r.Endpoint)
		isPlain := err == nil && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
		isServer := isPlain && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.Host == strings.ToLower(u.Host)
		switch {
		case r.S3Region == "", (r.AccessKey == "") != (r.SecretKey == ""):
			t.Errorf("got %+v", r)
		case r.Embedded() && (r.Endpoint != "" || r.AccessKey != "" || strings.ContainsRune(r.EmbeddedDir, 0)):
			t.Errorf("%v is a folder and a server", r)
		case !r.Embedded() && r.Endpoint != "" && !isServer:
			t.Errorf("endpoint %q is no server's", r.Endpoint)
		}
	}
	checkBucketsSound(t, c)
}

// checkBucketsSound: each bucket is somewhere, and in the active region; each region has one; and no two are one.
func checkBucketsSound(t *testing.T, c config.Config) {
	t.Helper()
	if len(c.Buckets) == 0 {
		t.Fatal("there is no bucket")
	}
	names, places := make(map[string]bool), make(map[config.BucketRegion]bool)
	for _, b := range c.Buckets {
		if !bucketName.MatchString(b.Name) || names[b.Name] || b.In(c.ActiveRegion) == "" || b.MaxObjectBytes < 1 || b.StaleReads != config.StaleReadsRefuse && b.StaleReads != config.StaleReadsServe {
			t.Errorf("got bucket %+v, active %s", b, c.ActiveRegion)
		}
		names[b.Name] = true
		at := -1
		for _, r := range b.Regions {
			earlier := at
			at = slices.IndexFunc(c.Regions, func(has config.Region) bool { return has.Name == r.Region })
			if at <= earlier || !bucketName.MatchString(r.Bucket) || places[r] {
				t.Errorf("%s has %+v after region %d of %v, or for the second time", b.Name, r, earlier, c.Regions)
			}
			places[r] = true
		}
	}
	for _, r := range c.Regions {
		if len(c.BucketsIn(r.Name)) == 0 {
			t.Errorf("region %s has no bucket", r.Name)
		}
	}
}

// checkWrittenAnew writes what was understood, and has that read.
func checkWrittenAnew(t *testing.T, e env, c config.Config) {
	t.Helper()
	again := e.with(env{
		"LISTEN_ADDRESS": c.ListenAddress, "PORT": strconv.Itoa(c.Port), "BUCKET": c.Bucket, "DATABASE_URL": fileURL("file:", c.DatabasePath),
		"HEALTH_INTERVAL": c.HealthInterval.String(), "HEALTH_TIMEOUT": c.HealthTimeout.String(), "MARK_INTERVAL": c.MarkInterval.String(),
		"PRESIGN_EXPIRES":  strconv.Itoa(int(c.PresignExpires.Seconds())),
		"MAX_OBJECT_BYTES": strconv.FormatInt(c.MaxObjectBytes, 10), "MAX_JSON_BYTES": strconv.FormatInt(c.MaxJSONBytes, 10),
		"STALE_READS": string(c.StaleReads), "LOG_LEVEL": c.LogLevel.String(), "LOG_FORMAT": string(c.LogFormat),
		"FAILOVER_MODE": string(c.FailoverMode), "ACTIVE_REGION": c.ActiveRegion,
	})
	for _, r := range c.Regions {
		name := strings.ToUpper(r.Name) + "_S3_ENDPOINT"
		switch {
		case e[name] == "" || strings.TrimSpace(e[name]) == "":
		case r.Embedded():
			again[name] = fileURL("file://", r.EmbeddedDir)
		case r.Endpoint != "":
			again[name] = r.Endpoint
		}
	}
	got, err := config.Load(again.lookup)
	if err != nil {
		t.Fatalf("%v was understood as %v, and that is refused: %v", e, again, err)
	}
	if diff := diff(c, got); diff != "" {
		t.Errorf("%v means another thing when it is written anew as %v:\n%s", e, again, diff)
	}
}

func fileURL(scheme, path string) string {
	return scheme + strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
}

const canary = "c4n4ry-0123456789abcdef"

// FuzzSecretIsNeverShown puts a secret where one belongs, or where one may get by mistake,
// and looks for it in all that is printed.
func FuzzSecretIsNeverShown(f *testing.F) {
	f.Add(uint8(0), "", "", "")
	f.Add(uint8(1), " ", "\t", "API_TOKENS=a:b\n")
	f.Add(uint8(2), "name", ",x:y", "")
	f.Add(uint8(3), "", "é", "PRIMARY_S3_ENDPOINT=file:///x\n")
	f.Add(uint8(4), "", "", "PRIMARY_S3_REGION=a\n")
	f.Add(uint8(5), "user", "@host", "")
	f.Add(uint8(6), "user", "/%zz@host:0", "")
	f.Add(uint8(7), "user", "@host/d?x=y", "PORT=x\n")
	f.Add(uint8(8), "a b", "", "")
	f.Add(uint8(9), "", "", "")
	f.Add(uint8(10), "", "\n", "")
	f.Fuzz(func(t *testing.T, where uint8, before, after, rest string) {
		e := environment(strings.ReplaceAll(rest, canary, ""))
		if strings.Contains(before+after, canary) {
			return
		}
		switch where % 11 {
		case 0:
			e["ADMIN_TOKEN"] = before + canary + after
		case 1:
			e["PRIMARY_S3_SECRET_KEY"] = before + canary + after
		case 2:
			e["API_TOKENS"] = before + ":" + canary + after
		case 3:
			e["PRIMARY_S3_ACCESS_KEY"] = before + canary + after
		case 4:
			e["SECONDARY_S3_SECRET_KEY"] = before + canary + after
		case 5:
			e["PRIMARY_S3_ENDPOINT"] = "https://" + before + ":" + canary + after + "@host"
		case 6:
			e["SECONDARY_S3_ENDPOINT"] = before + "http://u:" + canary + after + "@host"
		case 7:
			e["DATABASE_URL"] = "postgres://" + before + ":" + canary + after + "@host/db"
		case 8:
			e["DATABASE_URL"] = "host=" + before + " password=" + canary + after
		case 9: // in place of its file
			e["ADMIN_TOKEN_FILE"] = canary + after
		case 10:
			e["TLS_KEY"] = "-----BEGIN PRIVATE KEY-----\n" + canary + after
		}
		c, err := config.Load(e.lookup)
		settings, _ := json.Marshal(c.Settings())
		all, _ := json.Marshal(c)
		for what, text := range map[string]string{
			"the mistakes": fmt.Sprint(err), "the configuration": fmt.Sprintf("%v %+v %#v %s", c, c, c, c), "its JSON": string(all),
			"the settings": string(settings), "the regions": fmt.Sprintf("%+v %#v %v", c.Regions, c.Regions, c.APITokens),
		} {
			if strings.Contains(text, canary) {
				t.Errorf("%v: the secret is in %s: %s", e, what, text)
			}
		}
	})
}

// loadOne returns the configuration with one variable, and whether it was accepted.
func loadOne(t *testing.T, name, value string) (config.Config, bool) {
	t.Helper()
	c, err := config.Load(env{name: value}.lookup)
	if mistakes, ok := errors.AsType[*config.Mistakes](err); err != nil && (!ok || mistakes.All[0].Variable != name) {
		t.Fatalf("%s=%q: got %v", name, value, err)
	}
	return c, err == nil
}

var decimal = regexp.MustCompile(`^[0-9]+$`)

func FuzzDurationIsGosOrSeconds(f *testing.F) {
	for _, text := range []string{"5s", "90", "1h30m", "500ms", "10ms", "9.99ms", "-5s", "+5s", "99999999999999999999", "1e3", "0x10", "1_0", "۵", "5 s", ".5s", "1h0m0s"} {
		f.Add(text, int64(time.Second))
	}
	const least, most = 10 * time.Millisecond, 10 * time.Minute
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if trimmed := strings.TrimSpace(text); trimmed != "" {
			want, err := time.ParseDuration(trimmed)
			if decimal.MatchString(trimmed) {
				want, err = 0, nil
				if seconds, _ := new(big.Int).SetString(trimmed, 10); seconds.Cmp(big.NewInt(int64(most/time.Second))) <= 0 {
					want = time.Duration(seconds.Int64()) * time.Second
				}
			}
			isLegal := err == nil && want >= least && want <= most
			c, ok := loadOne(t, "HEALTH_TIMEOUT", text)
			if ok != isLegal || ok && c.HealthTimeout != want {
				t.Errorf("%q: got %v (%v), want %v (%v)", text, c.HealthTimeout, ok, want, isLegal)
			}
		}
		if d := time.Duration(n); d >= least && d <= most {
			if c, ok := loadOne(t, "HEALTH_TIMEOUT", d.String()); !ok || c.HealthTimeout != d {
				t.Errorf("%v is read as %v (%v)", d, c.HealthTimeout, ok)
			}
		}
	})
}

var sizeForm = regexp.MustCompile(`^([0-9]+)[\s\v\x{85}\p{Z}]*(KiB|MiB|GiB|TiB|)$`)

func FuzzSizeIsBytesOrABinaryUnit(f *testing.F) {
	for _, text := range []string{"0", "1", "256MiB", "1 GiB", "1024TiB", "1025TiB", "16777216TiB", "99999999999999999999", "-1", "+1", "1MB", "1 MiB B", "KiB", "1.5GiB", "1_000"} {
		f.Add(text)
	}
	unit := map[string]uint{"": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
	most := new(big.Int).Lsh(big.NewInt(1024), 40)
	f.Fuzz(func(t *testing.T, text string) {
		trimmed := strings.TrimSpace(text)
		if trimmed == "" {
			return
		}
		var want *big.Int
		if m := sizeForm.FindStringSubmatch(trimmed); m != nil {
			n, _ := new(big.Int).SetString(m[1], 10)
			want = n.Lsh(n, unit[m[2]])
		}
		isLegal := want != nil && want.Cmp(most) <= 0
		c, ok := loadOne(t, "MIN_FREE_BYTES", text)
		if ok != isLegal || ok && c.MinFreeBytes != want.Int64() {
			t.Errorf("%q: got %d (%v), want %v (%v)", text, c.MinFreeBytes, ok, want, isLegal)
		}
	})
}
