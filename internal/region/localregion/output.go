package localregion

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// What the child tells its parent: the first on stdout, the second on stderr
// and followed by the reason. Everything else it prints is for the log.
const (
	readyLine    = "tandem region server: ready"
	failedPrefix = "tandem region server: failed: "
)

const maxLineBytes = 4096

// childOutput reads one child's output. Its lines are logged at debug level, for
// they may name objects; those from a crash on as errors.
type childOutput struct {
	log   *slog.Logger
	ready func()

	mu struct {
		sync.Mutex
		failed string // what the child said of its end
		crash  string // the first line of a crash of its runtime
	}
}

func (o *childOutput) stdout(line string) {
	if line == readyLine {
		o.ready()
		return
	}
	o.log.Debug("region server output", "stream", "stdout", "line", line)
}

func (o *childOutput) stderr(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if reason, ok := strings.CutPrefix(line, failedPrefix); ok {
		o.mu.failed = reason
		return
	}
	if o.mu.crash == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		o.mu.crash = line
	}
	level := slog.LevelDebug
	if o.mu.crash != "" {
		level = slog.LevelError
	}
	o.log.Log(context.Background(), level, "region server output", "stream", "stderr", "line", line)
}

// explain adds to a child's exit what it said about it.
func (o *childOutput) explain(exit error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	reason := cmp.Or(o.mu.failed, o.mu.crash)
	switch {
	case reason == "":
		return exit
	case exit == nil:
		return errors.New(reason)
	default:
		return fmt.Errorf("%w: %s", exit, reason)
	}
}

// lineWriter hands on what is written to it line by line, without the end of
// lines beyond maxLineBytes. Owned by the goroutine that writes.
type lineWriter struct {
	emit func(line string)
	line []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		head, rest, found := bytes.Cut(p, []byte("\n"))
		w.line = append(w.line, head[:min(len(head), maxLineBytes-len(w.line))]...)
		if !found {
			return n, nil
		}
		w.flush()
		p = rest
	}
}

// flush hands on the line begun, if any.
func (w *lineWriter) flush() {
	if len(w.line) > 0 {
		w.emit(string(w.line))
	}
	w.line = w.line[:0]
}
