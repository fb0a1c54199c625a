package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

// keyHelp is for the help of each command that takes keys.
const keyHelp = `
Keys are written as they are, without any escaping.
` + bucketHelp

// transferHelp is for the help of each command that moves objects.
const transferHelp = `
With --recursive an object that fails is reported, the others go on, and the exit code is 1.

On a terminal bars show how far it is; elsewhere there is a line at the beginning and the end
of each object, and every few seconds for long ones. Both are on stderr; --quiet leaves them out.
`

// transferFlags are those of every command that moves objects.
type transferFlags struct {
	isRecursive, isQuiet, asJSON bool
	parallel, retries            int
}

const (
	defaultParallel = 4
	maxParallel     = 256
	// defaultRetries last about ten seconds where nobody answers, and quickRetries one.
	defaultRetries = 6
	quickRetries   = 2
)

func (f *transferFlags) add(cmd *cobra.Command, recursive string, retries int) {
	cmd.Flags().BoolVarP(&f.isRecursive, "recursive", "r", false, recursive)
	cmd.Flags().IntVar(&f.parallel, "parallel", defaultParallel, "with --recursive: how many objects at once")
	cmd.Flags().BoolVarP(&f.isQuiet, "quiet", "q", false, "say nothing but what went wrong")
	f.addCommon(cmd, retries)
}

func (f *transferFlags) addCommon(cmd *cobra.Command, retries int) {
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object for each object, on stdout")
	cmd.Flags().IntVar(&f.retries, "retries", retries, "how often in a row to try again what brought nothing")
}

func (f *transferFlags) check() error {
	switch {
	case f.parallel < 1 || f.parallel > maxParallel:
		return fmt.Errorf("--parallel is %d; allowed: 1 to %d", f.parallel, maxParallel)
	case f.retries < 0:
		return fmt.Errorf("--retries is %d; allowed: 0 or more", f.retries)
	}
	return nil
}

// words are how a command speaks of what it does to an object.
type words struct{ doing, done string }

// work is what is to be done to one object.
type work struct {
	key  string
	size int64 // -1 where it is not known
	run  func(ctx context.Context, progress func(done, size int64)) (result any, err error)
}

// transfers does work, and says so.
type transfers struct {
	env    environment
	flags  transferFlags
	words  words
	client *apiclient.Client
	report reporter

	// isEmptyWrong: that there is nothing to do is a mistake.
	isEmptyWrong bool

	mu struct {
		sync.Mutex
		done, failed int
		bytes        int64
		printing     error
	}
	started time.Time
}

// newTransfers checks the flags, and has a client that reports what it tries again. Data that goes
// to stdout has a terminal for itself.
func newTransfers(env environment, flags transferFlags, words words, isDataOnStdout bool) (*transfers, error) {
	if err := flags.check(); err != nil {
		return nil, err
	}
	t := &transfers{env: env, flags: flags, words: words, started: time.Now()}
	client, err := newObjects(env, flags.retries, func(err error, delay time.Duration) {
		t.note(fmt.Sprintf("%v; trying again in %s", err, delay.Round(time.Millisecond)))
	})
	if err != nil {
		return nil, err
	}
	t.client = client
	t.report = newReporter(env, &t.flags, words, isDataOnStdout)
	return t, nil
}

// newObjects is the client of a command's objects.
func newObjects(env environment, retries int, retrying func(error, time.Duration)) (*apiclient.Client, error) {
	c := newClient(env)
	if c.err != nil {
		return nil, c.err
	}
	client, err := apiclient.New(apiclient.Config{URL: c.base, Token: c.token, Bucket: c.bucket, TLS: c.tls, Retries: retries, Retrying: retrying})
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("TANDEM_URL: %w", err)}
	}
	return client, nil
}

// note says something that --quiet does not leave out.
func (t *transfers) note(line string) { t.report.note(line) }

// noteFreshness warns of an answer that may be older than what was acknowledged.
func (t *transfers) noteFreshness(what, freshness, region string) {
	if line := staleness(what, freshness, region); line != "" {
		t.note(line)
	}
}

func staleness(what, freshness, region string) string {
	switch freshness {
	case apiclient.Stale:
		return fmt.Sprintf("warning: %s: region %s has an older version than was acknowledged (stale)", what, region)
	case apiclient.Unknown:
		return fmt.Sprintf("warning: %s: whether region %s has the newest version is not known", what, region)
	}
	return ""
}

// one does one thing, whose error is the command's.
func (t *transfers) one(ctx context.Context, w work) error {
	err := t.do(ctx, w)
	t.report.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
		return failed(fmt.Errorf("not done: %w", err))
	case err != nil:
		return objectError(err)
	}
	return failed(t.mu.printing)
}

func (t *transfers) do(ctx context.Context, w work) error {
	m := t.report.begin(w)
	size := w.size
	result, err := w.run(ctx, func(done, whole int64) {
		size = max(done, whole)
		m.reach(done, whole)
	})
	m.end(max(size, 0), err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.mu.failed++
		if t.flags.asJSON {
			t.printLocked(map[string]string{"key": w.key, "error": err.Error()})
		}
		return err
	}
	t.mu.done++
	t.mu.bytes += max(size, 0)
	if t.flags.asJSON && result != nil {
		t.printLocked(result)
	}
	return nil
}

// printLocked writes a line of JSON; mu is held.
func (t *transfers) printLocked(v any) {
	data, err := json.Marshal(v)
	if err == nil {
		_, err = t.env.stdout.Write(append(data, '\n'))
	}
	t.mu.printing = errors.Join(t.mu.printing, err)
}

// all does what comes, --parallel at a time. Single failures are reported; a failure to find out
// what else there is ends it, once what is under way has ended.
func (t *transfers) all(ctx context.Context, works iter.Seq2[work, error]) error {
	queue := make(chan work)
	var workers sync.WaitGroup
	for range t.flags.parallel {
		workers.Go(func() {
			for w := range queue {
				if err := t.do(ctx, w); err != nil && ctx.Err() == nil {
					t.note(fmt.Sprintf("tandem: %s: %v", plain(w.key), explained(err)))
				}
			}
		})
	}
	err := t.feed(ctx, queue, works)
	close(queue)
	workers.Wait()
	t.report.end()
	return t.sum(ctx, err)
}

func (t *transfers) feed(ctx context.Context, queue chan<- work, works iter.Seq2[work, error]) error {
	for w, err := range works {
		if err != nil {
			return err
		}
		select {
		case queue <- w:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// sum says what was done, and returns what the command ends with.
func (t *transfers) sum(ctx context.Context, listing error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var line strings.Builder
	fmt.Fprintf(&line, "%s %s", t.words.done, count(int64(t.mu.done), "object", "objects"))
	if t.words.doing != "" {
		fmt.Fprintf(&line, ", %s", formatBytes(t.mu.bytes))
	}
	fmt.Fprintf(&line, " in %s", time.Since(t.started).Round(time.Millisecond))
	if t.mu.failed > 0 {
		fmt.Fprintf(&line, "; %d failed", t.mu.failed)
	}
	if !t.flags.isQuiet {
		fmt.Fprintln(t.env.stderr, line.String())
	}
	switch {
	case ctx.Err() != nil:
		return failed(fmt.Errorf("not everything was done: %w", context.Cause(ctx)))
	case listing != nil:
		return objectError(listing)
	case t.mu.printing != nil:
		return failed(t.mu.printing)
	case t.mu.done+t.mu.failed == 0 && t.isEmptyWrong:
		return failed(errors.New("there is nothing below it"))
	case t.mu.failed > 0:
		return failed(fmt.Errorf("%d of %s failed", t.mu.failed, count(int64(t.mu.failed+t.mu.done), "object", "objects")))
	}
	return nil
}

// explained adds to an error what can be done about it.
func explained(err error) error {
	switch e, isUnreachable := errors.AsType[*apiclient.UnreachableError](err); {
	case isUnreachable:
		return fmt.Errorf("no gateway answers at %s (set TANDEM_URL to another): %w", e.URL, e.Err)
	case errors.Is(err, apiclient.ErrCorrupt):
		return fmt.Errorf("%w (where the region's ETags are no MD5s, as with SSE-KMS, use --ignore-checksum)", err)
	}
	return err
}

// objectError gives an error its exit code.
func objectError(err error) error {
	if err == nil {
		return nil
	}
	_, isRefused := errors.AsType[*apiclient.StatusError](err)
	_, isUnreachable := errors.AsType[*apiclient.UnreachableError](err)
	_, isUnknown := errors.AsType[*apiclient.UnknownOutcomeError](err)
	_, isCut := errors.AsType[*apiclient.CutError](err)
	if isRefused || isUnreachable || isUnknown || isCut {
		return &exitError{exitUnreachable, explained(err)}
	}
	return failed(explained(err))
}

// folder is a key's prefix that ends what it is the folder of: "docs" is not "docs2/".
func folder(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

// lastSegment is the name of a key in its folder.
func lastSegment(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// listed gives work for each object below a prefix.
func (t *transfers) listed(ctx context.Context, prefix string, options apiclient.ReadOptions, each func(apiclient.Entry) work) iter.Seq2[work, error] {
	return func(yield func(work, error) bool) {
		warned := false
		in := apiclient.ListInput{Prefix: prefix, ReadOptions: options, Page: func(freshness, region string) {
			if !warned && staleness("", freshness, region) != "" {
				warned = true
				t.noteFreshness("the listing", freshness, region)
			}
		}}
		for e, err := range t.client.List(ctx, in) {
			if err != nil {
				yield(work{}, err)
				return
			}
			if !yield(each(e), nil) {
				return
			}
		}
	}
}

// streamTo copies an object, whose bytes have to be those of its ETag.
func streamTo(w io.Writer, r io.Reader, size int64, progress func(done, size int64)) error {
	buffer := make([]byte, 128<<10)
	for done := int64(0); ; {
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return fmt.Errorf("write the object: %w", err)
			}
			done += int64(n)
			progress(done, size)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
