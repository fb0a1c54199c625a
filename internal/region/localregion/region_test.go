package localregion_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gnew/tandem/internal/region/localregion"
)

func TestRestartKeepsEndpointCredentialsAndObjects(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "regions", "primary")
	first, stop := start(t, dir)
	accessKey, secretKey := first.Credentials()
	etag := put(t, newClient(first), "kept", "body")
	stop()
	if first.PID() != 0 {
		t.Errorf("PID is %d after Run returned, want 0", first.PID())
	}

	second, _ := start(t, dir)
	gotAccess, gotSecret := second.Credentials()
	if second.Endpoint() != first.Endpoint() || gotAccess != accessKey || gotSecret != secretKey {
		t.Error("endpoint or credentials changed over a restart")
	}
	if got := head(t, newClient(second), "kept"); *got.ETag != etag {
		t.Errorf("ETag %s after restart, want %s", *got.ETag, etag)
	}
}

func TestAnotherBucketKeepsTheOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, stop := start(t, dir)
	put(t, newClient(first), "kept", "body")
	stop()

	cfg := config(dir, slog.New(slog.DiscardHandler))
	cfg.Buckets = []string{"another"}
	second, err := localregion.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, second)
	waitReady(t, second)
	if second.Endpoint() != first.Endpoint() {
		t.Error("endpoint changed with the bucket")
	}
	head(t, newClient(second), "kept")
	if _, err := newClient(second).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: new("another")}); err != nil {
		t.Errorf("head new bucket: %v", err)
	}
}

// A folder that was made for one bucket takes more, and less again, without losing what is in any.
func TestAFolderOfOneBucketTakesMore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, stop := start(t, dir)
	etag := put(t, newClient(first), "kept", "body")
	stop()
	file := filepath.Join(dir, "server.json")
	ofOne, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	cfg := config(dir, slog.New(slog.DiscardHandler))
	cfg.Buckets = []string{bucket, "photos", "logs"}
	second, err := localregion.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = run(t, second)
	waitReady(t, second)
	client := newClient(second)
	if got := head(t, client, "kept"); *got.ETag != etag || second.Endpoint() != first.Endpoint() {
		t.Errorf("got ETag %s at %s, want %s at %s", *got.ETag, second.Endpoint(), etag, first.Endpoint())
	}
	for _, name := range []string{"photos", "logs"} {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &name, Body: strings.NewReader(name)}); err != nil {
			t.Errorf("put into %s: %v", name, err)
		}
	}
	if _, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("photos"), Key: new("logs")}); code(err) != "NotFound" {
		t.Errorf("what is in one bucket is asked of another: got %v, want NotFound", err)
	}
	stop()

	third, _ := start(t, dir)
	head(t, newClient(third), "kept")
	if _, err := newClient(third).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("photos"), Key: new("photos")}); err != nil {
		t.Errorf("a bucket that is not configured any more is lost: %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != string(ofOne) {
		t.Errorf("the settings of one bucket are %s (%v), want %s", got, err, ofOne)
	}
}

func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	put(t, newClient(r), "kept", "body")
	for range 2 {
		killServer(t, r)
		head(t, newClient(r), "kept")
	}
}

// killServer kills the child and waits for the next.
func killServer(t *testing.T, r *localregion.Region) {
	t.Helper()
	pid := r.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the death is noticed", func() bool { return r.PID() != pid })
	waitReady(t, r)
	if r.PID() == pid || r.PID() == 0 {
		t.Fatalf("PID is %d, want that of a new process", r.PID())
	}
}

func TestServerEndsWithItsKilledParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.CommandContext(t.Context(), os.Args[0], parentRole, dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	endpoint, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read the endpoint from the parent: %v", err)
	}
	address := strings.TrimSpace(strings.TrimPrefix(endpoint, "http://"))
	if !accepts(address) {
		t.Fatalf("nothing listens on %s", address)
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	eventually(t, "the server is gone", func() bool { return !accepts(address) })
	start(t, dir)
}

func accepts(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func TestFolderIsServedByOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, stop := start(t, dir)
	second, _ := open(t, dir)
	run(t, second)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := second.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second region of the folder: %v, want it to wait for the first", err)
	}
	put(t, newClient(first), "key", "body")
	stop()
	waitReady(t, second)
	head(t, newClient(second), "key")
}

func TestServerOutlivesSignalsOfItsTerminalAndService(t *testing.T) {
	t.Parallel()
	r, stop := start(t, t.TempDir())
	pid := r.PID()
	group, err := syscall.Getpgid(pid)
	if err != nil {
		t.Fatal(err)
	}
	if group != pid {
		t.Errorf("server is in process group %d, want its own, %d", group, pid)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		put(t, newClient(r), "key", "body")
	}
	if r.PID() != pid {
		t.Error("server was restarted")
	}
	stop()
}

func TestSecretsStayInOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, log := open(t, dir)
	stop := run(t, r)
	waitReady(t, r)
	_, secret := r.Credentials()
	if runtime.GOOS == "linux" {
		for _, name := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.PID()), name))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), secret) {
				t.Errorf("secret key is in the server's %s", name)
			}
			if name == "environ" && strings.Contains(string(data), "HOME=") {
				t.Error("server has its parent's environment")
			}
		}
	}
	put(t, newClient(r), "dir/key", "body")
	stop()
	if strings.Contains(log.String(), secret) {
		t.Error("secret key is in the log")
	}

	want := map[string]fs.FileMode{
		"server.json":                    0o600,
		"server.lock":                    0o600,
		"buckets":                        0o700,
		"versions":                       0o700,
		"meta":                           0o700,
		"buckets/" + bucket:              0o700,
		"buckets/" + bucket + "/dir":     0o700,
		"buckets/" + bucket + "/dir/key": 0o600,
	}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
}

func TestFolderIsMadePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "primary")
	open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %o, want 700", info.Mode().Perm())
	}
}

func TestTakenPortIsExplained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := open(t, dir)
	port := strings.TrimPrefix(r.Endpoint(), "http://")
	listener, err := net.Listen("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	run(t, r)
	err = deathReason(t, r)
	for _, want := range []string{"in use by another program", filepath.Join(dir, "server.json")} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to contain %q", err, want)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want it to wrap the context's error", err)
	}
	listener.Close()
	waitReady(t, r)
}

// deathReason waits until WaitReady tells why the server died.
func deathReason(t *testing.T, r *localregion.Region) (err error) {
	t.Helper()
	eventually(t, "the server has died", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err = r.WaitReady(ctx); err == nil {
			t.Fatal("region is ready")
		}
		return strings.Contains(err.Error(), "died")
	})
	return err
}

func TestCrashIsLoggedInBoundedLines(t *testing.T) {
	t.Parallel()
	log := &logs{}
	cfg := config(t.TempDir(), slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	cfg.Command[1] = brokenRole
	r, err := localregion.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, r)
	if got := deathReason(t, r).Error(); !strings.Contains(got, "broken on purpose") {
		t.Errorf("got %q, want the panic's message", got)
	}
	stop()
	if !strings.Contains(log.String(), "line=short") {
		t.Error("a line after a long one is missing from the log")
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 5000 {
			t.Errorf("log line of %d bytes", len(line))
		}
	}
}

func TestMissingProgramIsExplained(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir(), slog.New(slog.DiscardHandler))
	cfg.Command = []string{filepath.Join(t.TempDir(), "nothing")}
	r, err := localregion.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, r)
	if err := deathReason(t, r); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestRunRefusesASecondCall(t *testing.T) {
	t.Parallel()
	r, stop := start(t, t.TempDir())
	if err := r.Run(t.Context()); err == nil {
		t.Error("second Run returned nil while the first runs")
	}
	stop()
	run(t, r)
	waitReady(t, r)
}

func TestNewNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := localregion.New(localregion.Config{Buckets: []string{"good", "Not_A_Bucket"}})
	if err == nil {
		t.Fatal("empty Config accepted")
	}
	for _, want := range []string{"Name", "Dir", "Command", "Logger", "Not_A_Bucket"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to mention %s", err, want)
		}
	}
	if _, err := localregion.New(localregion.Config{}); err == nil || !strings.Contains(err.Error(), "Buckets") {
		t.Errorf("got %v, want it to mention Buckets", err)
	}
}

func TestDamagedSettingsAreRefused(t *testing.T) {
	t.Parallel()
	const whole = `{"port":20000,"accessKey":"a","secretKey":"s","bucket":"tandem","metadata":"xattr"}`
	for name, damaged := range map[string]string{
		"empty":         "",
		"truncated":     whole[:20],
		"unknown field": strings.Replace(whole, `"port"`, `"surprise":1,"port"`, 1),
		"no port":       strings.Replace(whole, "20000", "0", 1),
		"no secret":     strings.Replace(whole, `"s"`, `""`, 1),
		"no name":       strings.Replace(whole, `"metadata"`, `"moreBuckets":[""],"metadata"`, 1),
		"no bucket":     strings.Replace(whole, `"tandem"`, `""`, 1),
		"bad metadata":  strings.Replace(whole, "xattr", "elsewhere", 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "server.json")
			if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := localregion.New(config(dir, slog.New(slog.DiscardHandler)))
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error that names %s", err, file)
			}
			if got, _ := os.ReadFile(file); string(got) != damaged {
				t.Error("damaged settings were replaced")
			}
		})
	}
}
