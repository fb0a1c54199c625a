package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// stateOf is what GET /admin/state answers of two regions, with each bucket in both of them.
func stateOf(buckets ...string) string {
	var regions []string
	for _, region := range []string{"primary", "secondary"} {
		var of []string
		for i, name := range buckets {
			of = append(of, fmt.Sprintf(`{"name":%q,"bucket":%q,"pending":{"keys":%d,"bytes":%d,"unreplicable":%d},"lagSeconds":%d,"regressed":%t}`,
				name, name+"-of-"+region, i+1, 10*i, i, i, i == 1 && region == "secondary"))
		}
		regions = append(regions, fmt.Sprintf(`{"name":%q,"role":"replica","endpoint":"https://%s","bucket":"%s-of-%[2]s","health":"up",
			"pending":{"keys":7},"lagSeconds":3,"buckets":[%[4]s]}`, region, region, buckets[0], strings.Join(of, ",")))
	}
	return `{"active":"primary","epoch":1,"mode":"auto","regions":[` + strings.Join(regions, ",") + `]}`
}

// serveRecords answers as the admin API does, of a gateway with these buckets, and of records that are in the buckets of.
func serveRecords(t *testing.T, state string, of ...string) environment {
	env, _ := newTestEnv(t, func(w http.ResponseWriter, r *http.Request) {
		var records []string
		for i, name := range of {
			records = append(records, fmt.Sprintf(`{"id":%d,"bucket":%q,"key":"k","kind":"at-risk","state":"kept","foundAt":"then"}`, i+1, name))
		}
		list := strings.Join(records, ",")
		answers := map[string]string{
			"/admin/state": state, "/admin/conflicts": `{"conflicts":[` + list + `],"next":null}`, "/admin/failovers/2/ledger": `{"entries":[` + list + `],"next":null}`,
		}
		if strings.HasPrefix(r.URL.Path, "/admin/conflicts/") {
			answers[r.URL.Path] = records[0]
		}
		_, _ = io.WriteString(w, answers[r.URL.Path])
	})
	return env
}

func output(t *testing.T, env environment, args ...string) string {
	t.Helper()
	var out strings.Builder
	env.stdout = &out
	if got := run(t.Context(), args, env); got != exitOK {
		t.Fatalf("%q: got exit code %d", args, got)
	}
	return out.String()
}

// columns are the words of each line.
func columns(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestRecordsNameTheirBucketWhereThereIsMoreThanOne(t *testing.T) {
	for name, c := range map[string]struct {
		state string
		of    []string
		want  bool
	}{
		"one bucket":              {stateOf("photos"), []string{"photos"}, false},
		"two buckets":             {stateOf("photos", "logs"), []string{"photos"}, true},
		"one is not there now":    {stateOf("photos"), []string{"gone", "photos"}, true},
		"an older gateway's word": {`{"regions":[{"name":"primary","bucket":"b"}]}`, []string{""}, false},
	} {
		env := serveRecords(t, c.state, c.of...)
		list, ledger, show := columns(output(t, env, "conflicts", "list")), columns(output(t, env, "failovers", "show", "2", "--ledger")), columns(output(t, env, "conflicts", "show", "1"))
		wantList, wantLedger := "ID KEY STATE", "KIND KEY VERSION"
		if c.want {
			wantList, wantLedger = "ID BUCKET KEY STATE", "KIND BUCKET KEY VERSION"
		}
		if !strings.HasPrefix(list[0], wantList+" ") || !strings.HasPrefix(ledger[0], wantLedger+" ") || slices.Contains(show, "bucket "+c.of[0]) != c.want {
			t.Errorf("%s: got %q, %q and %q, want the bucket: %t", name, list, ledger, show, c.want)
		}
		if len(list) != len(c.of)+1 || c.want && (!strings.HasPrefix(list[1], "1 "+c.of[0]+" k ") || !strings.HasPrefix(ledger[1], "at-risk "+c.of[0]+" k ")) {
			t.Errorf("%s: got %q and %q", name, list, ledger)
		}
	}
}

func TestStatusHasALineForEachBucketOfARegion(t *testing.T) {
	lines := columns(output(t, serveRecords(t, stateOf("photos", "logs")), "status"))
	want := []string{
		"epoch 1, failover mode auto",
		"REGION ROLE HEALTH BUCKET CALLED THERE ENDPOINT PENDING KEYS BYTES FAILING LAG",
		"primary replica up photos photos-of-primary https://primary 1 0 0 0s",
		"primary replica up logs logs-of-primary https://primary 2 10 0 1s",
		"secondary replica up photos photos-of-secondary https://secondary 1 0 0 0s",
		"secondary replica up, regressed logs logs-of-secondary https://secondary 2 10 0 1s",
		"bucket logs in primary cannot hold 1 key, so no copy of them is made there",
		"bucket logs in secondary came back older than it was: each of its copies is verified before it is relied on",
		"bucket logs in secondary cannot hold 1 key, so no copy of them is made there",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	lines = columns(output(t, serveRecords(t, stateOf("photos")), "status"))
	want = []string{
		"epoch 1, failover mode auto",
		"REGION ROLE HEALTH BUCKET ENDPOINT PENDING KEYS BYTES FAILING LAG",
		"primary replica up photos-of-primary https://primary 7 0 0 3s",
		"secondary replica up photos-of-secondary https://secondary 7 0 0 3s",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("of one bucket: got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// The flag wins over the variable, as others do.
func TestACommandIsAboutTheBucketThatItNames(t *testing.T) {
	for _, c := range []struct{ variable, flag, want string }{
		{"", "", ""}, {"logs", "", "bucket=logs"}, {"", "photos", "bucket=photos"}, {"logs", "photos", "bucket=photos"},
	} {
		for _, args := range [][]string{
			{"put", "-", "k"}, {"get", "k", "-"}, {"ls"}, {"rm", "k"}, {"head", "k"}, {"cp", "tandem:k", "-"}, {"replication", "k"}, {"sign", "get", "k"},
		} {
			var mu sync.Mutex
			var asked []string
			env, _ := newTestEnv(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, r.URL.RawQuery)
				w.WriteHeader(http.StatusForbidden)
			})
			inner := env.getenv
			env.getenv = func(name string) (string, bool) {
				if name == "TANDEM_BUCKET" {
					return c.variable, c.variable != ""
				}
				return inner(name)
			}
			if c.flag != "" {
				args = append(args, "--bucket", c.flag)
			}
			if got := run(t.Context(), args, env); got != exitUnreachable {
				t.Errorf("%q: got exit code %d", args, got)
			}
			mu.Lock()
			for _, query := range asked {
				if rest := strings.TrimPrefix(query, "delimiter=%2F"); strings.TrimSuffix(query, "&delimiter=%2F") != c.want && rest != c.want {
					t.Errorf("%q with TANDEM_BUCKET=%s: got the query %q, want %q", args, c.variable, query, c.want)
				}
			}
			if len(asked) == 0 {
				t.Errorf("%q asked nothing", args)
			}
			mu.Unlock()
		}
	}
}
