package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/config"
)

func TestReferenceNamesEveryVariableOfTheContractWithItsDefault(t *testing.T) {
	want := strings.Fields(`
		CONFIG=
		LISTEN_ADDRESS=127.0.0.1 PORT=8110 S3_PORT=8111 S3_DOMAIN= GATEWAY_ACCESS_KEY= GATEWAY_SECRET_KEY= MASTER_KEY= TLS_CERT= TLS_KEY= DATA_DIR=data DATABASE_URL=data/multi_region_store.db BUCKET=tandem
		ADMIN_TOKEN= API_TOKENS=
		PRIMARY_S3_ENDPOINT= PRIMARY_S3_PUBLIC_ENDPOINT= PRIMARY_S3_REGION= PRIMARY_S3_ACCESS_KEY= PRIMARY_S3_SECRET_KEY=
		PRIMARY_S3_BUCKET=gnew-primary PRIMARY_S3_FORCE_PATH_STYLE=0 PRIMARY_S3_CA_FILE=
		SECONDARY_S3_ENDPOINT= SECONDARY_S3_PUBLIC_ENDPOINT= SECONDARY_S3_REGION= SECONDARY_S3_ACCESS_KEY= SECONDARY_S3_SECRET_KEY=
		SECONDARY_S3_BUCKET=gnew-secondary SECONDARY_S3_FORCE_PATH_STYLE=0 SECONDARY_S3_CA_FILE=
		ACTIVE_REGION=primary FAILOVER_MODE=auto FAILOVER_HOLD_DOWN=5m HEALTH_INTERVAL=15s HEALTH_TIMEOUT=5s
		HEALTH_FAILURES=3 HEALTH_RECOVERIES=3 MARK_INTERVAL=1m PRESIGN_EXPIRES=900 PRESIGN_GRACE=1h STALE_READS=refuse LOG_LEVEL=info LOG_FORMAT=auto
		MAX_OBJECT_BYTES=5TiB MAX_JSON_BYTES=16MiB DRAIN_TIMEOUT=30s REGION_TIMEOUT=30s DOUBT_WINDOW=16m
		MIN_FREE_BYTES=256MiB REPLICATION_WORKERS=8`)
	var got []string
	for _, v := range config.Reference() {
		got = append(got, v.Name+"="+v.Default)
		if v.Help == "" || v.Allowed == "" {
			t.Errorf("%s: got help %q and allowed values %q, want both", v.Name, v.Help, v.Allowed)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reference (-want +got):\n%s", d)
	}
}

func TestSettingsTellValueAndSource(t *testing.T) {
	got := load(t, env{
		"PORT":                  " 9000 ",
		"DATA_DIR":              "/srv/tandem",
		"ADMIN_TOKEN":           "admin-0123456789",
		"PRIMARY_S3_REGION":     "eu-west-1",
		"PRIMARY_S3_ACCESS_KEY": "AKIA",
		"PRIMARY_S3_SECRET_KEY": "hush",
		"LOG_LEVEL":             "",
	}).Settings()

	type setting struct {
		Value, Default string
		Source         config.Source
		Secret         bool
	}
	want := map[string]setting{
		"PORT":                    {"9000", "8110", config.FromEnvironment, false},
		"DATA_DIR":                {"/srv/tandem", "data", config.FromEnvironment, false},
		"DATABASE_URL":            {"/srv/tandem/multi_region_store.db", "/srv/tandem/multi_region_store.db", config.FromDefault, false},
		"ADMIN_TOKEN":             {"********", "", config.FromEnvironment, true},
		"API_TOKENS":              {"", "", config.FromDefault, true},
		"PRIMARY_S3_ENDPOINT":     {"", "", config.FromDefault, false},
		"PRIMARY_S3_ACCESS_KEY":   {"********", "", config.FromEnvironment, true},
		"PRIMARY_S3_SECRET_KEY":   {"********", "", config.FromEnvironment, true},
		"SECONDARY_S3_SECRET_KEY": {"", "", config.FromDefault, true},
		"LOG_LEVEL":               {"info", "info", config.FromDefault, false},
	}
	reference := config.Reference()
	if len(got) != len(reference) {
		t.Fatalf("got %d settings, want %d", len(got), len(reference))
	}
	for i, s := range got {
		if s.Name != reference[i].Name || s.Help != reference[i].Help {
			t.Errorf("setting %d: got %s, want %s with its help", i, s.Name, reference[i].Name)
		}
		w, ok := want[s.Name]
		if d := cmp.Diff(w, setting{s.Value, s.Default, s.Source, s.Secret}); ok && d != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, d)
		}
	}
}

// secrets fills every place that can hold one; each has the word hunter2 in it.
var secrets = env{
	"ADMIN_TOKEN":             "hunter2-administrator",
	"API_TOKENS":              "ci:hunter2-continuous,app:hunter2-application",
	"MASTER_KEY":              "hunter2hunter2hunter2hunter2hunter2hunter2+=",
	"PRIMARY_S3_REGION":       "eu-west-1",
	"PRIMARY_S3_ACCESS_KEY":   "hunter2-access-1",
	"PRIMARY_S3_SECRET_KEY":   "hunter2-secret-1",
	"SECONDARY_S3_REGION":     "us-east-1",
	"SECONDARY_S3_ACCESS_KEY": "hunter2-access-2",
	"SECONDARY_S3_SECRET_KEY": "hunter2-secret-2",
}

func TestNoSecretIsShownByAnythingThatPrintsAConfiguration(t *testing.T) {
	c := load(t, secrets)
	var out bytes.Buffer
	for _, value := range []any{c, &c, c.Regions, c.APITokens, c.Regions[0], &c.APITokens[0], c.Settings()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		if err := json.NewEncoder(&out).Encode(value); err != nil {
			t.Errorf("encode %T: %v", value, err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("value", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("value", "value", value)
	}
	for _, form := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a secret is printed:\n%s", out.String())
		}
	}
}

func TestNoSecretIsShownByAMistake(t *testing.T) {
	tests := []env{
		secrets.with(env{"PORT": "x"}),
		secrets.with(env{"ADMIN_TOKEN": "hunter2"}),
		secrets.with(env{"ADMIN_TOKEN": "hunter2 hunter2 hunter2"}),
		secrets.with(env{"ADMIN_TOKEN": "hunter2-application"}),
		secrets.with(env{"MASTER_KEY": "hunter2"}),
		secrets.with(env{"MASTER_KEY": "hunter2hunter2hunter2hunter2"}),
		secrets.with(env{"API_TOKENS": "hunter2-continuous"}),
		secrets.with(env{"API_TOKENS": "ci:hunter2"}),
		secrets.with(env{"API_TOKENS": "hunter2-continuous:ci"}),
		secrets.with(env{"API_TOKENS": "hunter2 continuous:0123456789abcdef"}),
		secrets.with(env{"API_TOKENS": "ci:hunter2-continuous,ci:hunter2-continuous"}),
		secrets.with(env{"PRIMARY_S3_ACCESS_KEY": "hunter2\tx"}),
		secrets.with(env{"PRIMARY_S3_ACCESS_KEY": ""}),
		secrets.with(env{"PRIMARY_S3_SECRET_KEY": "hunter2\x00x"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "file:///srv/objects"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "https://me:hunter2@store.example"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "https://me:%hunter2@store.example"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "me:hunter2@store.example"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "https://me:hunter2@store.example  # mine"}),
		secrets.with(env{"PRIMARY_S3_ENDPOINT": "https://store.example/?X-Amz-Signature=hunter2"}),
		secrets.with(env{"DATABASE_URL": "postgres://me:hunter2@db.example/tandem"}),
		secrets.with(env{"DATABASE_URL": "postgres://db.example/tandem?password=hunter2"}),
		secrets.with(env{"DATABASE_URL": "user=me password=hunter2"}),
		secrets.with(env{"DATABASE_URL": "file:index.db?key=hunter2"}),
	}
	for _, e := range tests {
		mistakes := loadMistakes(t, e)
		if text := fmt.Sprintf("%v %+v", mistakes, mistakes.All); strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
}
