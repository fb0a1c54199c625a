package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/config"
)

// write puts a configuration file into a folder of its own, and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inFile is an environment that names a file with this text, and has more variables.
func inFile(t testing.TB, text string, more env) env {
	t.Helper()
	return env{"CONFIG": write(t, text)}.with(more)
}

const threeRegions = `
regions:
  - name: eu-west
    endpoint: https://s3.eu-west-1.amazonaws.com
    bucket: ours-eu
  - name: us
    region: us-east-1
    accessKey: AKIA
    secretKey: "hush"
  - {name: store, endpoint: "http://127.0.0.1:9000", forcePathStyle: false}
activeRegion: us
`

func TestAFileHoldsWhatTheEnvironmentHolds(t *testing.T) {
	for _, v := range config.Reference() {
		if v.Key == "" && v.Name != "CONFIG" {
			t.Errorf("%s cannot stand in a file", v.Name)
		}
	}
	e := env{
		"LISTEN_ADDRESS": "0.0.0.0", "PORT": "0", "DATA_DIR": "/srv/t", "DATABASE_URL": "/srv/t.db", "BUCKET": "files", "ADMIN_TOKEN": "admin-0123456789",
		"API_TOKENS": "ci:0123456789abcdef,app:fedcba9876543210", "FAILOVER_MODE": "manual", "FAILOVER_HOLD_DOWN": "1m", "HEALTH_INTERVAL": "1s",
		"HEALTH_TIMEOUT": "2s", "HEALTH_FAILURES": "5", "HEALTH_RECOVERIES": "1", "MARK_INTERVAL": "90", "PRESIGN_EXPIRES": "60", "STALE_READS": "serve",
		"LOG_LEVEL": "warn", "LOG_FORMAT": "json", "MAX_OBJECT_BYTES": "7 MiB", "MAX_JSON_BYTES": "2048", "DRAIN_TIMEOUT": "1h", "REGION_TIMEOUT": "5s",
		"DOUBT_WINDOW": "1s", "MIN_FREE_BYTES": "0", "REPLICATION_WORKERS": "3", "ACTIVE_REGION": "secondary",
		"PRIMARY_S3_ENDPOINT": "https://one.example", "PRIMARY_S3_REGION": "eu", "PRIMARY_S3_ACCESS_KEY": "a", "PRIMARY_S3_SECRET_KEY": "b",
		"PRIMARY_S3_BUCKET": "one", "PRIMARY_S3_FORCE_PATH_STYLE": "1", "SECONDARY_S3_ENDPOINT": "file:///srv/two",
	}
	want := load(t, e)
	text := `# everything
listenAddress: 0.0.0.0
port: 0
dataDir: /srv/t
databaseUrl: /srv/t.db
bucket: files
adminToken: admin-0123456789
apiTokens:
  - ci:0123456789abcdef
  - app:fedcba9876543210
failover: {mode: manual, holdDown: 1m}
health:
  interval: 1s
  timeout: 2
  failures: 5
  recoveries: 1
markInterval: 90
presignExpires: 60
staleReads: serve
log: {level: warn, format: json}
maxObjectBytes: 7 MiB
maxJsonBytes: 2048
drainTimeout: 1h
regionTimeout: 5s
doubtWindow: 1s
minFreeBytes: 0
replicationWorkers: 3
activeRegion: secondary
regions:
  - name: primary
    endpoint: https://one.example
    region: eu
    accessKey: a
    secretKey: b
    bucket: one
    forcePathStyle: true
  - name: secondary
    endpoint: file:///srv/two
`
	got := load(t, inFile(t, text, nil))
	want.File = got.File
	if d := diff(want, got); d != "" {
		t.Errorf("environment and file differ (-environment +file):\n%s", d)
	}
	if filepath.Base(got.File) != "tandem.yaml" {
		t.Errorf("got file %q", got.File)
	}
}

func TestAFileNamesAnyRegionsInItsOrder(t *testing.T) {
	got := load(t, inFile(t, threeRegions, nil))
	want := []config.Region{
		{Name: "eu-west", Endpoint: "https://s3.eu-west-1.amazonaws.com", S3Region: "eu-west-1", Bucket: "ours-eu"},
		{Name: "us", S3Region: "us-east-1", AccessKey: "AKIA", SecretKey: "hush", Bucket: "gnew-us"},
		{Name: "store", Endpoint: "http://127.0.0.1:9000", S3Region: "us-east-1", Bucket: "gnew-store", ForcePathStyle: true},
	}
	if d := cmp.Diff(want, got.Regions); d != "" {
		t.Errorf("regions (-want +got):\n%s", d)
	}
	if got.ActiveRegion != "us" {
		t.Errorf("got active %q, want us", got.ActiveRegion)
	}
	if got := load(t, inFile(t, "regions: [{name: b}, {name: a}, {name: 3-c}]", nil)); got.ActiveRegion != "b" || got.Regions[2].EmbeddedDir != "data/regions/3-c" {
		t.Errorf("got %v, active %q; want three embedded regions, the first active", got.Regions, got.ActiveRegion)
	}
	if got := load(t, inFile(t, "regions: [{name: only}]", nil)); len(got.Regions) != 1 || !got.Regions[0].Embedded() {
		t.Errorf("got %v, want one embedded region", got.Regions)
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	e := inFile(t, threeRegions+"port: 9000\nfailover: {mode: manual}\nhealth: {failures: x}\n", env{
		"PORT": "9001", "HEALTH_FAILURES": "7", "EU_WEST_S3_BUCKET": "theirs-eu", "US_S3_SECRET_KEY": "secret", "STORE_S3_ENDPOINT": "file:///srv/store",
		"ACTIVE_REGION": "store", "FAILOVER_MODE": "  ",
	})
	got := load(t, e)
	if got.Port != 9001 || got.HealthFailures != 7 || got.FailoverMode != config.FailoverManual || got.ActiveRegion != "store" {
		t.Errorf("got %+v", got)
	}
	if got.Regions[0].Bucket != "theirs-eu" || got.Regions[1].SecretKey != "secret" || got.Regions[1].AccessKey != "AKIA" || got.Regions[2].EmbeddedDir != "/srv/store" {
		t.Errorf("got regions %v", got.Regions)
	}
}

func TestSettingsTellTheFileAndTheLine(t *testing.T) {
	c := load(t, inFile(t, threeRegions+"health:\n  failures: 4\n", env{"EU_WEST_S3_BUCKET": "theirs-eu"}))
	type setting struct {
		Value  string
		Source config.Source
		Place  string
	}
	got := make(map[string]setting)
	for _, s := range c.Settings() {
		got[s.Name] = setting{s.Value, s.Source, filepath.Base(s.Place)}
	}
	for name, want := range map[string]setting{
		"EU_WEST_S3_ENDPOINT": {"https://s3.eu-west-1.amazonaws.com", config.FromFile, "tandem.yaml:4"},
		"EU_WEST_S3_BUCKET":   {"theirs-eu", config.FromEnvironment, "."},
		"US_S3_SECRET_KEY":    {"********", config.FromFile, "tandem.yaml:9"},
		"STORE_S3_BUCKET":     {"gnew-store", config.FromDefault, "."},
		"ACTIVE_REGION":       {"us", config.FromFile, "tandem.yaml:11"},
		"HEALTH_FAILURES":     {"4", config.FromFile, "tandem.yaml:13"},
		"HEALTH_TIMEOUT":      {"5s", config.FromDefault, "."},
	} {
		if got[name] != want {
			t.Errorf("%s: got %+v, want %+v", name, got[name], want)
		}
	}
	if _, ok := got["PRIMARY_S3_ENDPOINT"]; ok {
		t.Error("a region that the file does not name has settings")
	}
}

func TestAFileThatSaysNothingChangesNothing(t *testing.T) {
	for _, text := range []string{"", "\n# nothing\n", "---\n", "{}", "null", "port:\nhealth:\nregions:\nfailover: {mode: ''}\n"} {
		got := load(t, inFile(t, text, nil))
		got.File = ""
		if d := diff(load(t, nil), got); d != "" {
			t.Errorf("%q (-nothing set +got):\n%s", text, d)
		}
	}
}

func TestEveryMistakeOfAFileIsToldAtItsLine(t *testing.T) {
	path := write(t, `port: eighty
ports: 8110
health:
  interval: 1s
  intervals: 2s
  interval: 3s
failover: auto
bucket: [a, b]
adminToken: {value: hunter2hunter2hunter2}
dataDir: &anchor data
logLevel: info
regions:
  - name: eu
    endpoint: https://eu.example
    accessKey: hunter2
    bucket: A
  - name: EU
    endpoint: https://eu2.example
  - name: eu
  - endpoint: https://none.example
  - us
  - name: us
    zone: b
activeRegion: mars
port: 1
`)
	got := strings.ReplaceAll(loadMistakes(t, env{"CONFIG": path}).Error(), path, "tandem.yaml")
	want := `the configuration has 18 mistakes:
  tandem.yaml:2: ports is not a setting; allowed: `
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	var lines []string
	for line := range strings.Lines(got) {
		before, _, _ := strings.Cut(strings.TrimSpace(line), "; allowed")
		lines = append(lines, before)
	}
	if d := cmp.Diff([]string{
		"the configuration has 18 mistakes:",
		"tandem.yaml:2: ports is not a setting",
		"tandem.yaml:5: health.intervals is not a setting",
		"tandem.yaml:6: health.interval is repeated; it is set at line 4 already",
		"tandem.yaml:7: failover is not a block of settings",
		"tandem.yaml:8: bucket is a list or a block, not a value",
		"tandem.yaml:9: adminToken is a list or a block, not a value",
		"tandem.yaml:10: dataDir has an anchor or an alias",
		"tandem.yaml:11: logLevel is not a setting",
		"tandem.yaml:17: regions[1].name is not the name of a region",
		"tandem.yaml:19: regions[2].name is the name of the region at line 13",
		"tandem.yaml:20: regions[3].name is not set",
		"tandem.yaml:21: regions[4] is not a region",
		"tandem.yaml:23: regions.us.zone is not a setting",
		"tandem.yaml:25: port is repeated; it is set at line 1 already",
		`tandem.yaml:1: port="eighty" is not a whole number`,
		"tandem.yaml:13: regions.eu.secretKey is not set, but regions.eu.accessKey is",
		`tandem.yaml:16: regions.eu.bucket="A" is not a bucket name`,
		"tandem.yaml:22: regions.us.endpoint is not set, nor is regions.us.region, but other regions say where they are",
	}, lines); d != "" {
		t.Errorf("mistakes (-want +got):\n%s", d)
	}
}

func TestEachMistakeOfAFileIsTold(t *testing.T) {
	for _, tt := range []struct {
		text string
		env  env
		says string
	}{
		{"port: [", nil, `tandem.yaml:1: is not YAML: did not find expected node content`},
		{"port: 1\n  x: 2\n", nil, "is not YAML: mapping values are not allowed in this context"},
		{"a: *hunter2", nil, "is not YAML: unknown anchor ******** referenced"},
		{"port: 1\n---\nport: 2\n", nil, "tandem.yaml:2: begins a second document; allowed: one document"},
		{"- port\n", nil, "tandem.yaml:1: is not a block of settings"},
		{"port", nil, "tandem.yaml:1: is not a block of settings"},
		{"regions: eu", nil, "regions is not a list, or has nothing in it"},
		{"regions: []", nil, "regions is not a list, or has nothing in it"},
		{"regions: {eu: {}}", nil, "regions is not a list"},
		{"regions: [{name: [x]}]", nil, "regions[0].name is not text"},
		{"regions: [{name: eu.west}]", nil, "is not the name of a region; allowed: 1 to 40 lower-case letters"},
		{"regions: [{name: -eu}]", nil, "is not the name of a region"},
		{"regions: [{name: '" + strings.Repeat("a", 41) + "'}]", nil, "is not the name of a region"},
		{"regions: [{name: a, endpoint: 'file:///s'}, {name: b, endpoint: 'file:///s'}]", nil, "regions.b.endpoint=\"file:///s\" is the folder of region a"},
		{"regions: [{name: eu}, {name: us}]\nactiveRegion: mars", nil, `activeRegion="mars" is not one of the choices; allowed: eu, us`},
		{"regions: [{name: eu}]", env{"PRIMARY_S3_REGION": "eu"}, "PRIMARY_S3_REGION is set, but"},
		{"regions: [{name: eu}]", env{"EU_S3_ENDPOINT": "x"}, `EU_S3_ENDPOINT="x" does not begin with`},
		{"apiTokens: [ci:0123456789abcdef, [x]]", nil, "apiTokens has an item that is not text"},
		{"apiTokens: [x]", nil, "apiTokens=******** is not a list of tokens (entry 1 has no colon)"},
		{"adminToken: !!str hunter2hunter2hunter2", nil, "adminToken has a tag"},
		{"config: other.yaml", nil, "config is not a setting"},
		{"<<: {port: 1}", nil, "<< "},
		{"? [a, b]\n: c", nil, "… is not a setting"},
		{"adminToken hunter2: x", nil, "… is not a setting"},
		{"listenAddress: 0.0.0.0", nil, "ADMIN_TOKEN is not set, but listenAddress (0.0.0.0) can be reached"},
		{"adminToken: hunter2", nil, "tandem.yaml:1: adminToken=******** is shorter than 16 characters"},
	} {
		got := loadMistakes(t, inFile(t, tt.text, tt.env)).Error()
		if tt.says != "<< " && !strings.Contains(got, tt.says) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: got\n%s\nwant one mistake, with %q in it", tt.text, got, tt.says)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%q: a secret is shown: %s", tt.text, got)
		}
	}
	for path, says := range map[string]string{
		filepath.Join(t.TempDir(), "none.yaml"):     "cannot be read: no such file or directory",
		t.TempDir():                                 "cannot be read: is a directory",
		write(t, strings.Repeat("# long\n", 1<<18)): "is larger than 1MiB",
	} {
		got := loadMistakes(t, env{"CONFIG": path}).Error()
		if want := fmt.Sprintf("CONFIG=%q %s", path, says); !strings.Contains(got, want) {
			t.Errorf("got %s\nwant %q in it", got, want)
		}
	}
}

func TestOneRegionsVariablesAreNotAnothers(t *testing.T) {
	c := load(t, inFile(t, "regions: [{name: eu, region: eu-west-1}, {name: eu-s3, region: us-east-1}]", env{"EU_S3_S3_BUCKET": "other"}))
	if c.Regions[0].Bucket != "gnew-eu" || c.Regions[1].Bucket != "other" {
		t.Errorf("got %v", c.Regions)
	}
}

func TestKeysOfAFileAreDistinct(t *testing.T) {
	var keys []string
	for _, v := range config.Reference() {
		if v.Key == "" {
			continue
		}
		for _, other := range keys {
			if other == v.Key || strings.HasPrefix(other, v.Key+".") || strings.HasPrefix(v.Key, other+".") {
				t.Errorf("%s is in the way of %s", v.Key, other)
			}
		}
		keys = append(keys, v.Key)
	}
	if !slices.Contains(keys, "regions.secondary.forcePathStyle") || !slices.Contains(keys, "failover.holdDown") {
		t.Errorf("got %v", keys)
	}
}

// FuzzFileIsSoundOrRefused: what is accepted is fit to be run with; what is not is refused
// line by line, and shows no secret.
func FuzzFileIsSoundOrRefused(f *testing.F) {
	for _, text := range []string{
		threeRegions, twoBuckets, "buckets: [{name: one, regions: {primary: aaa, secondary: bbb}}]\nbucket: x", "buckets: [{regions: [x]}, 1, *a]", "", "port: [", "a: &a [*a]", "<<: *x", "regions: [{name: a}, {name: b}]\nadminToken: " + canary, "secretKey: *" + canary,
		"regions:\n- name: x\n  secretKey: &" + canary + "\n", "apiTokens: {" + canary + ": x}", "%YAML 1.1\n---\nport: 1\n...\n", "\xff\xfe", "port: !!int " + canary,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Load(inFile(t, text, nil).lookup)
		if err == nil {
			checkSound(t, c)
			return
		}
		for line := range strings.Lines(err.Error()) {
			if strings.Contains(line, "adminToken=") && !strings.Contains(line, "adminToken=********") {
				t.Errorf("a secret is shown: %s", line)
			}
		}
		if strings.Contains(err.Error(), "unknown anchor '") {
			t.Errorf("an anchor is shown: %s", err)
		}
	})
}

func TestAFileMayNameTheFilesOfSecrets(t *testing.T) {
	secret := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	admin, key := secret("admin-0123456789"), secret("hush")
	text := "adminTokenFile: " + admin + "\nregions: [{name: eu, region: eu-west-1, accessKey: AKIA, secretKeyFile: " + key + "}, {name: us, region: us-east-1}]\n"
	c := load(t, inFile(t, text, nil))
	if c.AdminToken != "admin-0123456789" || c.Regions[0].SecretKey != "hush" {
		t.Errorf("got %q and %q", c.AdminToken, c.Regions[0].SecretKey)
	}
	for _, s := range c.Settings() {
		if s.Name == "EU_S3_SECRET_KEY" && (s.Value != "********" || s.Source != config.FromSecretFile || s.File != key || filepath.Base(s.Place) != "tandem.yaml:2") {
			t.Errorf("got %+v", s)
		}
	}
	// The environment wins, in either way.
	for _, e := range []env{{"ADMIN_TOKEN": "other-0123456789"}, {"ADMIN_TOKEN_FILE": secret("other-0123456789")}} {
		if c := load(t, inFile(t, text, e)); c.AdminToken != "other-0123456789" {
			t.Errorf("%v: got %q", e, c.AdminToken)
		}
	}
	for text, says := range map[string]string{
		"adminTokenFile: ./none":                                 `tandem.yaml:1: adminTokenFile="./none" cannot be read: no such file or directory`,
		"adminToken: admin-0123456789\nadminTokenFile: " + admin: `adminTokenFile="` + admin + `" is set, and so is adminToken; allowed: one of the two`,
		"adminTokenFile: " + secret("short"):                     "holds a value that is shorter than 16 characters",
		"portFile: x":                                            "portFile is not a setting",
	} {
		if got := loadMistakes(t, inFile(t, text, nil)).Error(); !strings.Contains(got, says) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: got %s\nwant %q in it", text, got, says)
		}
	}
}
