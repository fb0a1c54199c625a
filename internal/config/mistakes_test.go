package config_test

import (
	"strings"
	"testing"
)

// aws configures the primary and nothing else, without a mistake.
var aws = env{"PRIMARY_S3_REGION": "eu-west-1"}

// Each row is one mistake: the environment, the variable it is reported at, and a part
// of what is said about it.
var mistakeTests = []struct {
	env      env
	variable string
	says     string
}{
	{env{"PORT": "http"}, "PORT", `PORT="http" is not a whole number; allowed: 0 to 65535`},
	{env{"PORT": "65536"}, "PORT", "out of range"},
	{env{"PORT": "-1"}, "PORT", "out of range"},
	{env{"PORT": "99999999999999999999"}, "PORT", "out of range"},
	{env{"LISTEN_ADDRESS": "127.0.0.1:8110"}, "LISTEN_ADDRESS", "without brackets or a port"},
	{env{"LISTEN_ADDRESS": "[::1]"}, "LISTEN_ADDRESS", "not an IP address or a host name"},
	{env{"LISTEN_ADDRESS": "300.1.1.1"}, "LISTEN_ADDRESS", "not an IP address or a host name"},
	{env{"LISTEN_ADDRESS": "*"}, "LISTEN_ADDRESS", "not an IP address or a host name"},
	{env{"LISTEN_ADDRESS": "a..b"}, "LISTEN_ADDRESS", "not an IP address or a host name"},
	{env{"DATA_DIR": "file:///srv"}, "DATA_DIR", "is a URL"},
	{env{"DATABASE_URL": "postgres://db.example/tandem"}, "DATABASE_URL", "PostgreSQL database, which this version does not support"},
	{env{"DATABASE_URL": "PostgreSQL://db.example/tandem"}, "DATABASE_URL", "does not support"},
	{env{"DATABASE_URL": "host=db.example dbname=tandem"}, "DATABASE_URL", "does not support"},
	{env{"DATABASE_URL": "mysql://db.example/tandem"}, "DATABASE_URL", "unknown kind"},
	{env{"DATABASE_URL": ":memory:"}, "DATABASE_URL", "does not name a file"},
	{env{"DATABASE_URL": "data/"}, "DATABASE_URL", "does not name a file"},
	{env{"DATABASE_URL": "data/.."}, "DATABASE_URL", "does not name a file"},
	{env{"DATABASE_URL": "file://"}, "DATABASE_URL", "does not name a file"},
	{env{"DATABASE_URL": "file://data/index.db"}, "DATABASE_URL", "third slash"},
	{env{"DATABASE_URL": "file:index.db?mode=memory"}, "DATABASE_URL", "more in it than a path"},
	{env{"DATABASE_URL": "file:%zz"}, "DATABASE_URL", "is not a URL"},
	{env{"DATABASE_URL": "data/regions/primary/index.db"}, "DATABASE_URL", "in the folder of region primary"},
	{env{"BUCKET": "ab"}, "BUCKET", "3 to 63 lower-case letters"},
	{env{"BUCKET": "Files"}, "BUCKET", "not a bucket name"},
	{env{"BUCKET": "my_files"}, "BUCKET", "not a bucket name"},
	{env{"BUCKET": "-files"}, "BUCKET", "not a bucket name"},
	{env{"BUCKET": "my..files"}, "BUCKET", "not a bucket name"},
	{env{"BUCKET": "192.168.5.4"}, "BUCKET", "not an IP address"},
	{env{"BUCKET": strings.Repeat("a", 64)}, "BUCKET", "not a bucket name"},
	{env{"ACTIVE_REGION": "tertiary"}, "ACTIVE_REGION", "allowed: primary, secondary"},
	{aws.with(env{"ACTIVE_REGION": "secondary"}), "ACTIVE_REGION", "not configured; allowed: primary"},
	{env{"FAILOVER_MODE": "on"}, "FAILOVER_MODE", "allowed: auto, manual"},
	{env{"STALE_READS": "yes"}, "STALE_READS", "allowed: refuse, serve"},
	{env{"LOG_LEVEL": "trace"}, "LOG_LEVEL", "allowed: debug, info, warn, error"},
	{env{"LOG_FORMAT": "xml"}, "LOG_FORMAT", "allowed: auto, text, json"},
	{env{"PRESIGN_EXPIRES": "0"}, "PRESIGN_EXPIRES", "allowed: 1 to 604800 (seconds)"},
	{env{"PRESIGN_EXPIRES": "604801"}, "PRESIGN_EXPIRES", "out of range"},
	{env{"PRESIGN_EXPIRES": "15m"}, "PRESIGN_EXPIRES", "not a whole number"},
	{env{"MAX_OBJECT_BYTES": "0"}, "MAX_OBJECT_BYTES", "allowed: 1 to 5TiB"},
	{env{"MAX_OBJECT_BYTES": "6TiB"}, "MAX_OBJECT_BYTES", "out of range"},
	{env{"MAX_OBJECT_BYTES": "99999999999TiB"}, "MAX_OBJECT_BYTES", "out of range"},
	{env{"MAX_OBJECT_BYTES": "99999999999999999999"}, "MAX_OBJECT_BYTES", "out of range"},
	{env{"MAX_OBJECT_BYTES": "5GB"}, "MAX_OBJECT_BYTES", "is not a size"},
	{env{"MAX_OBJECT_BYTES": "1.5GiB"}, "MAX_OBJECT_BYTES", "is not a size"},
	{env{"MAX_OBJECT_BYTES": "-1"}, "MAX_OBJECT_BYTES", "is not a size"},
	{env{"MAX_JSON_BYTES": "1023"}, "MAX_JSON_BYTES", "allowed: 1KiB to 1GiB"},
	{env{"MIN_FREE_BYTES": "MiB"}, "MIN_FREE_BYTES", "is not a size"},
	{env{"DRAIN_TIMEOUT": "soon"}, "DRAIN_TIMEOUT", "is not a duration"},
	{env{"DRAIN_TIMEOUT": "-1s"}, "DRAIN_TIMEOUT", "allowed: 0s to 1h,"},
	{env{"REGION_TIMEOUT": "0"}, "REGION_TIMEOUT", "allowed: 10ms to 1h,"},
	{env{"DOUBT_WINDOW": "25h"}, "DOUBT_WINDOW", "allowed: 10ms to 24h,"},
	{env{"DOUBT_WINDOW": "99999999999999999999"}, "DOUBT_WINDOW", "is not a duration"},
	{env{"REPLICATION_WORKERS": "0"}, "REPLICATION_WORKERS", "allowed: 1 to 256"},
	{env{"FAILOVER_HOLD_DOWN": "-1s"}, "FAILOVER_HOLD_DOWN", "allowed: 0s to 24h,"},
	{env{"FAILOVER_HOLD_DOWN": "25h"}, "FAILOVER_HOLD_DOWN", "out of range"},
	{env{"FAILOVER_HOLD_DOWN": "off"}, "FAILOVER_HOLD_DOWN", "is not a duration"},
	{env{"HEALTH_INTERVAL": "0"}, "HEALTH_INTERVAL", "allowed: 10ms to 1h,"},
	{env{"HEALTH_INTERVAL": "61m"}, "HEALTH_INTERVAL", "out of range"},
	{env{"HEALTH_TIMEOUT": "0"}, "HEALTH_TIMEOUT", "allowed: 10ms to 10m,"},
	{env{"HEALTH_TIMEOUT": "11m"}, "HEALTH_TIMEOUT", "out of range"},
	{env{"HEALTH_FAILURES": "0"}, "HEALTH_FAILURES", "allowed: 1 to 100"},
	{env{"HEALTH_FAILURES": "101"}, "HEALTH_FAILURES", "out of range"},
	{env{"HEALTH_FAILURES": "3s"}, "HEALTH_FAILURES", "not a whole number"},
	{env{"HEALTH_RECOVERIES": "0"}, "HEALTH_RECOVERIES", "allowed: 1 to 100"},
	{env{"HEALTH_RECOVERIES": "101"}, "HEALTH_RECOVERIES", "out of range"},
	{env{"MARK_INTERVAL": "49ms"}, "MARK_INTERVAL", "allowed: 50ms to 1h,"},
	{env{"MARK_INTERVAL": "2h"}, "MARK_INTERVAL", "out of range"},

	{env{"ADMIN_TOKEN": "short"}, "ADMIN_TOKEN", "ADMIN_TOKEN=******** is shorter than 16 characters"},
	{env{"ADMIN_TOKEN": "sixteen letters and spaces"}, "ADMIN_TOKEN", "character that is not allowed"},
	{env{"ADMIN_TOKEN": "contraseña-muy-larga"}, "ADMIN_TOKEN", "character that is not allowed"},
	{env{"API_TOKENS": "0123456789abcdef"}, "API_TOKENS", "entry 1 has no colon"},
	{env{"API_TOKENS": "ci:0123456789abcdef,"}, "API_TOKENS", "entry 2 has no colon"},
	{env{"API_TOKENS": ":0123456789abcdef"}, "API_TOKENS", "entry 1 has a name that is not a name"},
	{env{"API_TOKENS": "ci:"}, "API_TOKENS", "entry 1 has a token that is shorter than 16 characters"},
	{env{"API_TOKENS": "ci:0123456789abcdef,ci:fedcba9876543210"}, "API_TOKENS", "entry 2 repeats the name or the token"},
	{env{"API_TOKENS": "ci:0123456789abcdef,app:0123456789abcdef"}, "API_TOKENS", "entry 2 repeats the name or the token"},
	{env{"API_TOKENS": "ci:short,app"}, "API_TOKENS", "entry 1 has a token that is shorter than 16 characters, entry 2 has no colon"},
	{env{"API_TOKENS": "ci:0123456789abcdef", "ADMIN_TOKEN": "0123456789abcdef"}, "API_TOKENS", "would be an administrator"},
	{env{"LISTEN_ADDRESS": "0.0.0.0"}, "ADMIN_TOKEN", "ADMIN_TOKEN is not set, but LISTEN_ADDRESS (0.0.0.0) can be reached from other machines"},
	{env{"LISTEN_ADDRESS": "0.0.0.0", "API_TOKENS": "ci:0123456789abcdef"}, "ADMIN_TOKEN", "nobody who may use the admin API"},
	{env{"LISTEN_ADDRESS": "0.0.0.0", "ADMIN_TOKEN": "short"}, "ADMIN_TOKEN", "is shorter"},

	{env{"SECONDARY_S3_REGION": "eu-west-1"}, "PRIMARY_S3_ENDPOINT", "PRIMARY_S3_ENDPOINT is not set, nor is any other variable of the first region"},
	{env{"PRIMARY_S3_BUCKET": "files"}, "PRIMARY_S3_ENDPOINT", "nor is PRIMARY_S3_REGION, but PRIMARY_S3_BUCKET is"},
	{aws.with(env{"SECONDARY_S3_BUCKET": "files"}), "SECONDARY_S3_ENDPOINT", "nor is SECONDARY_S3_REGION"},
	{env{"PRIMARY_S3_ENDPOINT": "https://s3.amazonaws.com"}, "PRIMARY_S3_REGION", "PRIMARY_S3_REGION is not set"},
	{aws.with(env{"PRIMARY_S3_ACCESS_KEY": "AKIA"}), "PRIMARY_S3_SECRET_KEY", "is not set, but PRIMARY_S3_ACCESS_KEY is; allowed: both keys, or neither"},
	{aws.with(env{"PRIMARY_S3_SECRET_KEY": "hush"}), "PRIMARY_S3_ACCESS_KEY", "is not set, but PRIMARY_S3_SECRET_KEY is"},
	{aws.with(env{"PRIMARY_S3_ACCESS_KEY": "AK IA", "PRIMARY_S3_SECRET_KEY": "hush"}), "PRIMARY_S3_ACCESS_KEY", "PRIMARY_S3_ACCESS_KEY=******** has a character"},
	{aws.with(env{"PRIMARY_S3_BUCKET": "No"}), "PRIMARY_S3_BUCKET", "not a bucket name"},
	{aws.with(env{"PRIMARY_S3_FORCE_PATH_STYLE": "yes"}), "PRIMARY_S3_FORCE_PATH_STYLE", "allowed: 0, 1, false, true"},
	{env{"PRIMARY_S3_REGION": "eu/west"}, "PRIMARY_S3_REGION", "letters, digits"},
	{env{"PRIMARY_S3_ENDPOINT": "minio.example:9000"}, "PRIMARY_S3_ENDPOINT", "http://"},
	{env{"PRIMARY_S3_ENDPOINT": "127.0.0.1:9000"}, "PRIMARY_S3_ENDPOINT", "is not a URL"},
	{env{"PRIMARY_S3_ENDPOINT": "ftp://store.example"}, "PRIMARY_S3_ENDPOINT", "does not begin with"},
	{env{"PRIMARY_S3_ENDPOINT": "https://"}, "PRIMARY_S3_ENDPOINT", "has no host"},
	{env{"PRIMARY_S3_ENDPOINT": `https://"store"`}, "PRIMARY_S3_ENDPOINT", "not an IP address or a host name"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example/bucket"}, "PRIMARY_S3_ENDPOINT", "has a path"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example?x=1"}, "PRIMARY_S3_ENDPOINT", "has parameters"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example/#x"}, "PRIMARY_S3_ENDPOINT", "or a fragment"},
	{env{"PRIMARY_S3_ENDPOINT": "https://me@store.example"}, "PRIMARY_S3_ENDPOINT", "names a user"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example:70000"}, "PRIMARY_S3_ENDPOINT", "port that does not exist"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example:"}, "PRIMARY_S3_ENDPOINT", "port that does not exist"},
	{env{"PRIMARY_S3_ENDPOINT": "https://store.example  # mine"}, "PRIMARY_S3_ENDPOINT", "keep comments as part of the value"},
	{env{"PRIMARY_S3_ENDPOINT": "file://srv/objects"}, "PRIMARY_S3_ENDPOINT", "absolute path"},
	{env{"PRIMARY_S3_ENDPOINT": "file:srv/objects"}, "PRIMARY_S3_ENDPOINT", "absolute path"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///"}, "PRIMARY_S3_ENDPOINT", "absolute path"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/%00"}, "PRIMARY_S3_ENDPOINT", "absolute path"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/a", "PRIMARY_S3_ACCESS_KEY": "AKIA"}, "PRIMARY_S3_ACCESS_KEY", "the region is a folder"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/a", "PRIMARY_S3_SECRET_KEY": "hush"}, "PRIMARY_S3_SECRET_KEY", "the region is a folder"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv", "DATA_DIR": "/srv/data"}, "DATA_DIR", "in the folder of region primary (/srv)"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv", "DATA_DIR": "/srv"}, "DATA_DIR", "in the folder of region primary"},

	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/a", "SECONDARY_S3_ENDPOINT": "file:///srv/a/"}, "SECONDARY_S3_ENDPOINT", "is the folder of region primary"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/a", "SECONDARY_S3_ENDPOINT": "file:///srv/a/b"}, "SECONDARY_S3_ENDPOINT", "one is inside the other"},
	{env{"PRIMARY_S3_ENDPOINT": "file:///srv/a/b", "SECONDARY_S3_ENDPOINT": "file:///srv/a"}, "SECONDARY_S3_ENDPOINT", "one is inside the other"},
	{sameBucket("https://store.example", "https://STORE.example:443/"), "SECONDARY_S3_BUCKET", "names the bucket of region primary (same at the same endpoint)"},
	{sameBucket("http://localhost:9000", "http://127.0.0.1:9000"), "SECONDARY_S3_BUCKET", "names the bucket of region primary"},
	{sameBucket("https://s3.eu-west-1.amazonaws.com", "https://s3.us-east-1.amazonaws.com"), "SECONDARY_S3_BUCKET", "names the bucket of region primary"},
	{env{"PRIMARY_S3_REGION": "eu-west-1", "PRIMARY_S3_BUCKET": "gnew-secondary", "SECONDARY_S3_REGION": "us-east-1"}, "SECONDARY_S3_BUCKET", "names the bucket of region primary"},
}

func sameBucket(primary, secondary string) env {
	return env{
		"PRIMARY_S3_ENDPOINT": primary, "PRIMARY_S3_BUCKET": "same",
		"SECONDARY_S3_ENDPOINT": secondary, "SECONDARY_S3_BUCKET": "same",
	}
}

func TestEachMistakeIsReportedOnceAtItsVariable(t *testing.T) {
	for _, tt := range mistakeTests {
		mistakes := loadMistakes(t, tt.env)
		if len(mistakes.All) != 1 || mistakes.All[0].Variable != tt.variable {
			t.Errorf("%v: got\n%v\nwant one mistake, of %s", tt.env, mistakes, tt.variable)
			continue
		}
		if got := mistakes.Error(); !strings.Contains(got, tt.says) {
			t.Errorf("%v: got\n%s\nwant %q in it", tt.env, got, tt.says)
		}
		if mistakes.All[0].Allowed == "" {
			t.Errorf("%v: the mistake does not say what is allowed", tt.env)
		}
	}
}

func TestAllMistakesAreInOneMessageInTheOrderOfTheReference(t *testing.T) {
	got := loadMistakes(t, env{
		"LOG_LEVEL":             "loud",
		"LISTEN_ADDRESS":        "0.0.0.0",
		"PORT":                  "eighty",
		"DATABASE_URL":          "postgres://tandem:hunter2@db.example/tandem",
		"API_TOKENS":            "ci",
		"PRIMARY_S3_ENDPOINT":   "https://me:hunter2@minio.example",
		"PRIMARY_S3_SECRET_KEY": "hunter2",
		"SECONDARY_S3_BUCKET":   "b",
		"ACTIVE_REGION":         "both",
	}).Error()
	want := `the configuration has 10 mistakes:
  PORT="eighty" is not a whole number; allowed: 0 to 65535
  DATABASE_URL="postgres://********" is a PostgreSQL database, which this version does not support; allowed: the path of a SQLite file, or a file: URL with nothing but a path
  ADMIN_TOKEN is not set, but LISTEN_ADDRESS (0.0.0.0) can be reached from other machines; API_TOKENS alone would leave nobody who may use the admin API; allowed: at least 16 visible ASCII characters without spaces (openssl rand -hex 16 prints a good one); or LISTEN_ADDRESS=127.0.0.1, which needs no token
  API_TOKENS=******** is not a list of tokens (entry 1 has no colon); allowed: name:token,name:token,…; names: unique, letters, digits, '-', '_' and '.', at most 64; tokens: unique, at least 16 visible ASCII characters without spaces (openssl rand -hex 16 prints a good one)
  PRIMARY_S3_ENDPOINT="https://********" names a user; keys have variables of their own; allowed: http://host[:port] or https://host[:port] without a path, user or parameters; or file:///absolute/path for an embedded region
  PRIMARY_S3_ACCESS_KEY is not set, but PRIMARY_S3_SECRET_KEY is; allowed: both keys, or neither (then the AWS SDK's default credential chain applies)
  SECONDARY_S3_ENDPOINT is not set, nor is SECONDARY_S3_REGION, but SECONDARY_S3_BUCKET is; allowed: an endpoint, an AWS region's name in SECONDARY_S3_REGION, or both; or no variable of any region, for embedded ones
  SECONDARY_S3_BUCKET="b" is not a bucket name; allowed: 3 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends, no "..", not an IP address
  ACTIVE_REGION="both" is not one of the choices; allowed: primary, secondary
  LOG_LEVEL="loud" is not one of the choices; allowed: debug, info, warn, error`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
