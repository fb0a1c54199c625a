package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const deployDir = "../../deploy"

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// monitored is a gateway over two regions in memory, with a certificate and a token.
type monitored struct {
	t       *testing.T
	url     string
	client  *http.Client
	primary *regiontest.Server
}

const monitoredToken = "eeeeeeeeeeeeeeeeeeee"

func startMonitored(t *testing.T) *monitored {
	t.Helper()
	dir, authority := t.TempDir(), certtest.NewAuthority(t)
	cert, key := authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1").Write(t, dir)
	m := &monitored{t: t, client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}}}
	t.Cleanup(m.client.CloseIdleConnections)
	path, err := exec.LookPath("tandem")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true", "DATA_DIR=" + dir, "PORT=0", "S3_PORT=0", "TLS_CERT=" + cert, "TLS_KEY=" + key,
		"ADMIN_TOKEN=" + monitoredToken, "DRAIN_TIMEOUT=1s",
	}
	for _, name := range []string{"primary", "secondary"} {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{"gnew-" + name}})
		if name == "primary" {
			m.primary = s
		}
		prefix := strings.ToUpper(name) + "_S3_"
		cmd.Env = append(cmd.Env, prefix+"ENDPOINT="+regiontest.Start(t, s), prefix+"ACCESS_KEY=key", prefix+"SECRET_KEY=secret")
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(patient, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v; it said: %s", err, log.String())
		}
	})
	late := time.AfterFunc(patient, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	greeting, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway did not greet: %v", err)
	}
	m.url = strings.TrimSpace(strings.TrimPrefix(greeting, "Tandem serves "))
	return m
}

// ask sends a request, which must be answered with the status, and returns the body.
func (m *monitored) ask(method, path, body string, status int) string {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+monitoredToken)
	resp, err := m.client.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		m.t.Fatalf("%s %s: %s, %v, %s; want %d", method, path, resp.Status, err, answer, status)
	}
	return string(answer)
}

// await asks until the body matches, within bounds.
func (m *monitored) await(path, pattern string) {
	m.t.Helper()
	deadline := time.After(patient)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		body := m.ask(http.MethodGet, path, "", http.StatusOK)
		if regexp.MustCompile(pattern).MatchString(body) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("%s is still without %s: %s", path, pattern, body)
		}
	}
}

// useAll brings every kind of series into being: a write, a copy, a repair with a fallback, and an upload that is
// found.
func (m *monitored) useAll() {
	m.t.Helper()
	m.ask(http.MethodPut, "/objects/key", "text", http.StatusCreated)
	m.await("/replication/key", `"region":"secondary","state":"current"`)
	if !m.primary.Remove("gnew-primary", "key") {
		m.t.Fatal("the primary does not hold the key")
	}
	m.ask(http.MethodGet, "/objects/key?repair=1", "", http.StatusOK)
	m.await("/replication/key", `"region":"primary","state":"current"`)
	var signed struct{ URL string }
	if err := json.Unmarshal([]byte(m.ask(http.MethodPost, "/sign", `{"op":"put","key":"uploaded"}`, http.StatusOK)), &signed); err != nil {
		m.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPut, signed.URL, strings.NewReader("text"))
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatalf("upload by a presigned URL: %s", resp.Status)
	}
	m.await("/replication/uploaded", `"region":"secondary","state":"current"`)
}

// ofHistogram is what a histogram's series are called beside its name.
var ofHistogram = regexp.MustCompile(`_(bucket|sum|count)$`)

// scrape returns the labels of each of Tandem's metrics, in alphabetical order.
func (m *monitored) scrape() map[string]string {
	m.t.Helper()
	body := m.ask(http.MethodGet, "/metrics", "", http.StatusOK)
	isHistogram := make(map[string]bool)
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\w+) histogram$`).FindAllStringSubmatch(body, -1) {
		isHistogram[found[1]] = true
	}
	metrics := make(map[string]string)
	for _, found := range regexp.MustCompile(`(?m)^(tandem_\w+)(?:\{(.*)\})? \S+$`).FindAllStringSubmatch(body, -1) {
		name := found[1]
		if base := ofHistogram.ReplaceAllString(name, ""); isHistogram[base] {
			name = base
		}
		labels := make(map[string]bool)
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(found[2], -1) {
			if l[1] != "le" {
				labels[l[1]] = true
			}
		}
		metrics[name] = strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
	}
	return metrics
}

// TestGuideAndAlertsNameEveryMetric: the guide's table has the metrics of a running gateway, with their labels, and no
// others; the alert rules use no others.
func TestGuideAndAlertsNameEveryMetric(t *testing.T) {
	t.Parallel()
	m := startMonitored(t)
	m.useAll()
	served := m.scrape()
	content, _ := guide(t)
	told := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(tandem_\\w+)` \\|([a-z, ]*)\\|").FindAllStringSubmatch(content, -1) {
		labels := strings.FieldsFunc(row[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		told[row[1]] = strings.Join(labels, ", ")
	}
	if diff := cmp.Diff(served, told); diff != "" {
		t.Errorf("the table of metrics in docs/operations.md (-served +told):\n%s", diff)
	}
	for text, where := range map[string]string{content: "docs/operations.md", string(readDeploy(t, "alerts.yaml")): "deploy/alerts.yaml"} {
		for _, name := range regexp.MustCompile(`\btandem_[a-z_]+`).FindAllString(text, -1) {
			_, isServed := served[name]
			_, isOfHistogram := served[ofHistogram.ReplaceAllString(name, "")]
			if !isServed && !isOfHistogram {
				t.Errorf("%s names %s, which a gateway does not serve", where, name)
			}
		}
	}
}

// TestAlertRulesAreWhole: the rules are in Prometheus's form. Its own parser is not here; whoever changes an
// expression runs promtool check rules.
func TestAlertRulesAreWhole(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				For         time.Duration
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	d := yaml.NewDecoder(bytes.NewReader(readDeploy(t, "alerts.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if names[r.Alert] || !strings.HasPrefix(r.Alert, "Tandem") {
				t.Errorf("%q is no name of its own that begins with Tandem", r.Alert)
			}
			names[r.Alert] = true
			if r.Expr == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: %+v has no expression, summary or description", r.Alert, r)
			}
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q, want page or ticket", r.Alert, s)
			}
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				t.Errorf("%s: the parentheses of %s do not match", r.Alert, r.Expr)
			}
		}
	}
	if len(names) < 10 {
		t.Errorf("%d rules, want those of every kind of trouble", len(names))
	}
	if path, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(path, "check", "rules", filepath.Join(deployDir, "alerts.yaml")).CombinedOutput(); err != nil {
			t.Errorf("promtool check rules: %v: %s", err, out)
		}
	}
}

// TestPermissionsAreThoseOfTheRequests: the guide's table has every request that a region's client can make, and the
// policy has every action of the table.
func TestPermissionsAreThoseOfTheRequests(t *testing.T) {
	made := make(map[string]bool)
	files, err := fs.Glob(os.DirFS("../../internal/region"), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	request := regexp.MustCompile(`\bop: *"(\w+)"|opCheckBucket = "(\w+)"|\.subresource\(ctx, "(\w+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join("../../internal/region", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range request.FindAllStringSubmatch(string(content), -1) {
			made[strings.Join(found[1:], "")] = true
		}
	}
	content, _ := guide(t)
	_, table, _ := strings.Cut(content, "\n| Request | Action | Who asks |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	told := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\|([^|]*)\\| `s3:").FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			told[name[1]] = true
		}
	}
	if diff := cmp.Diff(made, told); diff != "" {
		t.Errorf("the table of permissions in docs/operations.md (-made +told):\n%s", diff)
	}

	actions := make(map[string]bool)
	for _, found := range regexp.MustCompile("`(s3:\\w+)`").FindAllStringSubmatch(table, -1) {
		actions[found[1]] = true
	}
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(readDeploy(t, "iam-policy.json"), &policy); err != nil {
		t.Fatal(err)
	}
	allowed := make(map[string]bool)
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			allowed[action] = true
		}
	}
	if diff := cmp.Diff(actions, allowed); diff != "" {
		t.Errorf("deploy/iam-policy.json (-guide +policy):\n%s", diff)
	}
}

// TestUnitIsWhatSystemdUnderstands: its settings exist, it waits longer than a drain, and systemd has nothing to say
// against it, where it is here to be asked.
func TestUnitIsWhatSystemdUnderstands(t *testing.T) {
	unit := string(readDeploy(t, "tandem.service"))
	known := make(map[string]bool)
	var drain time.Duration
	for _, v := range config.Reference() {
		known[v.Name], known[v.Name+"_FILE"] = true, v.Secret
		if v.Name == "DRAIN_TIMEOUT" {
			var err error
			if drain, err = time.ParseDuration(v.Default); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, found := range regexp.MustCompile(`(?m)^(?:#   )?Environment=(.*)$`).FindAllStringSubmatch(unit, -1) {
		for setting := range strings.FieldsSeq(found[1]) {
			if name, _, _ := strings.Cut(setting, "="); !known[name] {
				t.Errorf("the unit sets %s, which the gateway does not read", name)
			}
		}
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\w+)$`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("the unit has no TimeoutStopSec")
	}
	const regionStop = 15 * time.Second
	if d, err := time.ParseDuration(stop[1]); err != nil || d <= drain+regionStop {
		t.Errorf("TimeoutStopSec is %s (%v), want more than %s", stop[1], err, drain+regionStop)
	}
	if want := fmt.Sprintf("RestartPreventExitStatus=%d\n", exitUsage); !strings.Contains(unit, want) {
		t.Errorf("the unit lacks %q: what the configuration has wrong is tried again and again", want)
	}

	path, err := exec.LookPath("systemd-analyze")
	if errors.Is(err, exec.ErrNotFound) {
		t.Log("systemd-analyze is not here, and was not asked")
		return
	}
	here, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tandem.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/tandem", here)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}
