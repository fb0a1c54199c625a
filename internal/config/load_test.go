package config_test

import (
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gnew/tandem/internal/config"
)

// env is a set of environment variables.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// with returns e with more variables.
func (e env) with(more env) env {
	all := maps.Clone(e)
	maps.Copy(all, more)
	return all
}

func load(t *testing.T, e env) config.Config {
	t.Helper()
	c, err := config.Load(e.lookup)
	if err != nil {
		t.Fatalf("load %v: %v", e, err)
	}
	return c
}

// loadMistakes returns what Load refuses in e.
func loadMistakes(t *testing.T, e env) *config.Mistakes {
	t.Helper()
	_, err := config.Load(e.lookup)
	mistakes, ok := errors.AsType[*config.Mistakes](err)
	if !ok {
		t.Fatalf("load %v: got error %v, want *config.Mistakes", e, err)
	}
	return mistakes
}

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(config.Config{}))
}

func TestNothingSetIsTheDocumentedDefault(t *testing.T) {
	want := config.Config{
		ListenAddress: "127.0.0.1",
		Port:          8110,
		DataDir:       "data",
		DatabasePath:  "data/multi_region_store.db",
		S3Port:        8111,
		Bucket:        "tandem",
		Buckets: []config.Bucket{{
			Name:           "tandem",
			Regions:        []config.BucketRegion{{Region: "primary", Bucket: "gnew-primary"}, {Region: "secondary", Bucket: "gnew-secondary"}},
			StaleReads:     config.StaleReadsRefuse,
			MaxObjectBytes: 5 << 40,
		}},
		Regions: []config.Region{
			{Name: "primary", EmbeddedDir: "data/regions/primary", S3Region: "us-east-1", Bucket: "gnew-primary", ForcePathStyle: true},
			{Name: "secondary", EmbeddedDir: "data/regions/secondary", S3Region: "us-east-1", Bucket: "gnew-secondary", ForcePathStyle: true},
		},
		ActiveRegion:       "primary",
		FailoverMode:       config.FailoverAuto,
		FailoverHoldDown:   5 * time.Minute,
		HealthInterval:     15 * time.Second,
		HealthTimeout:      5 * time.Second,
		HealthFailures:     3,
		HealthRecoveries:   3,
		MarkInterval:       time.Minute,
		PresignExpires:     900 * time.Second,
		PresignGrace:       time.Hour,
		MaxObjectBytes:     5 << 40,
		MaxJSONBytes:       16 << 20,
		StaleReads:         config.StaleReadsRefuse,
		LogLevel:           slog.LevelInfo,
		LogFormat:          config.LogAuto,
		DrainTimeout:       30 * time.Second,
		RegionTimeout:      30 * time.Second,
		DoubtWindow:        16 * time.Minute,
		MinFreeBytes:       256 << 20,
		ReplicationWorkers: 8,
	}
	if d := diff(want, load(t, nil)); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
}

func TestEmptyAndBlankValuesCountAsNotSet(t *testing.T) {
	e := env{}
	for i, v := range config.Reference() {
		e[v.Name] = []string{"", "  "}[i%2]
	}
	if d := diff(load(t, nil), load(t, e)); d != "" {
		t.Errorf("everything empty (-nothing set +got):\n%s", d)
	}
}

func TestEveryVariableReachesItsField(t *testing.T) {
	got := load(t, env{
		"LISTEN_ADDRESS":                "0.0.0.0",
		"PORT":                          "0",
		"S3_PORT":                       "8112",
		"S3_DOMAIN":                     "S3.example.org",
		"GATEWAY_ACCESS_KEY":            "AKIAGATEWAY",
		"GATEWAY_SECRET_KEY":            "secret-of-the-gateway",
		"MASTER_KEY":                    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"DATA_DIR":                      "/var/lib/tandem/",
		"DATABASE_URL":                  "/var/db/tandem.db",
		"BUCKET":                        "files",
		"ADMIN_TOKEN":                   "admin-0123456789",
		"API_TOKENS":                    "ci:0123456789abcdef, app:fedcba:9876543210",
		"PRIMARY_S3_ENDPOINT":           "HTTPS://Minio.Example:9000/",
		"PRIMARY_S3_REGION":             "eu-west-1",
		"PRIMARY_S3_ACCESS_KEY":         " AKIAPRIMARY ",
		"PRIMARY_S3_SECRET_KEY":         "secret/primary+",
		"PRIMARY_S3_BUCKET":             "one",
		"PRIMARY_S3_FORCE_PATH_STYLE":   "1",
		"SECONDARY_S3_ENDPOINT":         "http://store.example",
		"SECONDARY_S3_REGION":           "RegionOne",
		"SECONDARY_S3_ACCESS_KEY":       "AKIASECONDARY",
		"SECONDARY_S3_SECRET_KEY":       "secret/secondary+",
		"SECONDARY_S3_BUCKET":           "two",
		"SECONDARY_S3_FORCE_PATH_STYLE": "true",
		"ACTIVE_REGION":                 "secondary",
		"FAILOVER_MODE":                 "manual",
		"FAILOVER_HOLD_DOWN":            "0",
		"HEALTH_INTERVAL":               "250ms",
		"HEALTH_TIMEOUT":                "2s",
		"HEALTH_FAILURES":               "5",
		"HEALTH_RECOVERIES":             "1",
		"MARK_INTERVAL":                 "90",
		"PRESIGN_EXPIRES":               "604800",
		"STALE_READS":                   "serve",
		"LOG_LEVEL":                     "WARN",
		"LOG_FORMAT":                    "json",
		"MAX_OBJECT_BYTES":              "1048577",
		"MAX_JSON_BYTES":                "1 GiB",
		"DRAIN_TIMEOUT":                 "90",
		"REGION_TIMEOUT":                "1m30s",
		"DOUBT_WINDOW":                  "20ms",
		"MIN_FREE_BYTES":                "0",
		"REPLICATION_WORKERS":           "32",
	})
	want := config.Config{
		ListenAddress: "0.0.0.0",
		DataDir:       "/var/lib/tandem",
		DatabasePath:  "/var/db/tandem.db",
		S3Port:        8112, S3Domain: "s3.example.org", GatewayAccessKey: "AKIAGATEWAY", GatewaySecretKey: "secret-of-the-gateway",
		MasterKey: []byte("0123456789abcdef0123456789abcdef"),
		Bucket:    "files",
		Buckets: []config.Bucket{{
			Name:           "files",
			Regions:        []config.BucketRegion{{Region: "primary", Bucket: "one"}, {Region: "secondary", Bucket: "two"}},
			StaleReads:     config.StaleReadsServe,
			MaxObjectBytes: 1048577,
		}},
		Regions: []config.Region{
			{Name: "primary", Endpoint: "https://minio.example:9000", S3Region: "eu-west-1", AccessKey: "AKIAPRIMARY", SecretKey: "secret/primary+", Bucket: "one", ForcePathStyle: true},
			{Name: "secondary", Endpoint: "http://store.example", S3Region: "RegionOne", AccessKey: "AKIASECONDARY", SecretKey: "secret/secondary+", Bucket: "two", ForcePathStyle: true},
		},
		ActiveRegion:       "secondary",
		FailoverMode:       config.FailoverManual,
		HealthInterval:     250 * time.Millisecond,
		HealthTimeout:      2 * time.Second,
		HealthFailures:     5,
		HealthRecoveries:   1,
		MarkInterval:       90 * time.Second,
		PresignExpires:     7 * 24 * time.Hour,
		PresignGrace:       time.Hour,
		AdminToken:         "admin-0123456789",
		APITokens:          []config.Token{{Name: "ci", Secret: "0123456789abcdef"}, {Name: "app", Secret: "fedcba:9876543210"}},
		MaxObjectBytes:     1048577,
		MaxJSONBytes:       1 << 30,
		StaleReads:         config.StaleReadsServe,
		LogLevel:           slog.LevelWarn,
		LogFormat:          config.LogJSON,
		DrainTimeout:       90 * time.Second,
		RegionTimeout:      90 * time.Second,
		DoubtWindow:        20 * time.Millisecond,
		ReplicationWorkers: 32,
	}
	if d := diff(want, got); d != "" {
		t.Errorf("everything set (-want +got):\n%s", d)
	}
}

func TestDatabaseIsAPathOrAFileURL(t *testing.T) {
	tests := []struct{ dataDir, database, want string }{
		{"", "data/multi_region_store.db", "data/multi_region_store.db"},
		{"/srv", "", "/srv/multi_region_store.db"},
		{"/srv", "index.db", "index.db"},
		{"", "file:index.db", "index.db"},
		{"", "file:my%20data/index.db", "my data/index.db"},
		{"", "file:/srv/index.db", "/srv/index.db"},
		{"", "file:///srv/index.db", "/srv/index.db"},
		{"", "a%20b@c.db", "a%20b@c.db"},
	}
	for _, tt := range tests {
		c := load(t, env{"DATA_DIR": tt.dataDir, "DATABASE_URL": tt.database})
		if c.DatabasePath != tt.want {
			t.Errorf("DATA_DIR=%q DATABASE_URL=%q: got path %q, want %q", tt.dataDir, tt.database, c.DatabasePath, tt.want)
		}
	}
}

func TestSizesAndDurationsAreReadInTheirUnits(t *testing.T) {
	sizes := map[string]int64{"1": 1, "1KiB": 1 << 10, "3MiB": 3 << 20, "2 GiB": 2 << 30, "5TiB": 5 << 40, "5497558138880": 5 << 40}
	for text, want := range sizes {
		if got := load(t, env{"MAX_OBJECT_BYTES": text}).MaxObjectBytes; got != want {
			t.Errorf("MAX_OBJECT_BYTES=%q: got %d, want %d", text, got, want)
		}
	}
	durations := map[string]time.Duration{"0": 0, "45": 45 * time.Second, "250ms": 250 * time.Millisecond, "1h": time.Hour, "1.5s": 1500 * time.Millisecond}
	for text, want := range durations {
		if got := load(t, env{"DRAIN_TIMEOUT": text}).DrainTimeout; got != want {
			t.Errorf("DRAIN_TIMEOUT=%q: got %v, want %v", text, got, want)
		}
	}
}

func TestOnlyLoopbackAddressesCountAsLoopback(t *testing.T) {
	tests := []struct {
		address  string
		loopback bool
		joined   string
	}{
		{"127.0.0.1", true, "127.0.0.1:8110"},
		{"127.8.9.10", true, "127.8.9.10:8110"},
		{"::1", true, "[::1]:8110"},
		{"::ffff:127.0.0.1", true, "[::ffff:127.0.0.1]:8110"},
		{"localhost", true, "localhost:8110"},
		{"LocalHost", true, "LocalHost:8110"},
		{"0.0.0.0", false, "0.0.0.0:8110"},
		{"::", false, "[::]:8110"},
		{"192.168.1.7", false, "192.168.1.7:8110"},
		{"fe80::1%eth0", false, "[fe80::1%eth0]:8110"},
		{"storage.example", false, "storage.example:8110"},
		{"localhost.example", false, "localhost.example:8110"},
	}
	for _, tt := range tests {
		c := load(t, env{"LISTEN_ADDRESS": tt.address, "ADMIN_TOKEN": "admin-0123456789"})
		if c.Loopback() != tt.loopback || c.Address() != tt.joined {
			t.Errorf("%s: got loopback %v and address %s, want %v and %s", tt.address, c.Loopback(), c.Address(), tt.loopback, tt.joined)
		}
		_, err := config.Load(env{"LISTEN_ADDRESS": tt.address}.lookup)
		if (err == nil) != tt.loopback {
			t.Errorf("%s without tokens: got error %v, want one only beyond loopback", tt.address, err)
		}
	}
}
