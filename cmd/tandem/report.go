package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// reporter tells of the objects that are under way. Safe for concurrent use.
type reporter interface {
	begin(w work) meter
	// note shows a line among the others.
	note(line string)
	// end leaves the terminal to what comes next.
	end()
}

// meter tells of one object.
type meter interface {
	reach(done, size int64)
	end(size int64, err error)
}

// newReporter chooses by who watches: a person at a terminal, a log, or nobody.
func newReporter(env environment, flags *transferFlags, words words, isDataOnStdout bool) reporter {
	lines := &lineReporter{to: env.stderr, words: words, isBrief: flags.isRecursive}
	f := asTerminal(env.stderr)
	isShared := (isDataOnStdout || flags.asJSON) && asTerminal(env.stdout) != nil
	switch {
	case flags.isQuiet || words.doing == "":
		return &quietReporter{lineReporter: lines}
	case f == nil || isShared || !canDraw(env, f):
		return lines
	}
	return newBarReporter(f, flags.isRecursive)
}

// canDraw reports whether a terminal has lines that can be drawn over, and room for them.
func canDraw(env environment, f *os.File) bool {
	kind, _ := env.getenv("TERM")
	width, _, err := term.GetSize(int(f.Fd()))
	return kind != "dumb" && err == nil && width > 0
}

// quietReporter says nothing of its own accord.
type quietReporter struct{ *lineReporter }

func (quietReporter) begin(work) meter { return silentMeter{} }

type silentMeter struct{}

func (silentMeter) reach(int64, int64) {}
func (silentMeter) end(int64, error)   {}

// lineInterval is how often a long transfer has a line.
const lineInterval = 5 * time.Second

// lineReporter writes lines for a log.
type lineReporter struct {
	mu    sync.Mutex
	to    io.Writer
	words words
	// isBrief: of many objects, only those that take long have a line before their last.
	isBrief bool
}

func (r *lineReporter) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.to, line)
}

func (r *lineReporter) end() {}

func (r *lineReporter) begin(w work) meter {
	m := &lineMeter{r: r, key: plain(w.key), started: time.Now()}
	m.said = m.started
	if !r.isBrief {
		line := fmt.Sprintf("%s %s", r.words.doing, m.key)
		if w.size >= 0 {
			line += ", " + formatBytes(w.size)
		}
		r.note(line)
	}
	return m
}

// lineMeter is used by one goroutine at a time.
type lineMeter struct {
	r             *lineReporter
	key           string
	started, said time.Time
}

func (m *lineMeter) reach(done, size int64) {
	now := time.Now()
	if now.Sub(m.said) < lineInterval {
		return
	}
	m.said = now
	line := fmt.Sprintf("%s: %s", m.key, formatBytes(done))
	if size > 0 {
		line += fmt.Sprintf(" of %s (%d%%)", formatBytes(size), percent(done, size))
	}
	m.r.note(fmt.Sprintf("%s, %s/s", line, formatBytes(int64(float64(done)/now.Sub(m.started).Seconds()))))
}

func (m *lineMeter) end(size int64, err error) {
	if err == nil {
		m.r.note(fmt.Sprintf("%s %s, %s in %s", m.r.words.done, m.key, formatBytes(size), time.Since(m.started).Round(time.Millisecond)))
	}
}

// barReporter draws a bar for each object, and keeps those of single ones.
type barReporter struct {
	to     *os.File
	bars   *mpb.Progress
	isMany bool
	total  *mpb.Bar

	mu    sync.Mutex
	done  int64
	bytes int64
}

func newBarReporter(f *os.File, isMany bool) *barReporter {
	r := &barReporter{to: f, bars: mpb.New(mpb.WithOutput(f)), isMany: isMany}
	if isMany {
		r.total = r.bars.New(0, mpb.NopStyle(), mpb.BarPriority(lastBar), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
				r.mu.Lock()
				defer r.mu.Unlock()
				return fmt.Sprintf("%s, %s", count(r.done, "object", "objects"), formatBytes(r.bytes))
			})))
	}
	return r
}

// lastBar is behind all others.
const lastBar = 1 << 30

func (r *barReporter) note(line string) {
	if _, err := r.bars.Write([]byte(line + "\n")); err != nil {
		fmt.Fprintln(r.to, line) // the bars are gone already
	}
}

func (r *barReporter) end() {
	if r.total != nil {
		r.total.SetTotal(-1, true)
	}
	r.bars.Wait()
}

// nameColumns is what a bar has for a key.
const nameColumns = 32

func (r *barReporter) begin(w work) meter {
	options := []mpb.BarOption{
		mpb.PrependDecorators(decor.Name(shortened(plain(w.key)), decor.WC{W: nameColumns, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(reached), decor.AverageSpeed(decor.SizeB1024(0), " % .1f")),
	}
	if r.isMany {
		options = append(options, mpb.BarRemoveOnComplete())
	}
	// A bar that knows its end completes by itself, and then cannot go back for another try.
	bar := r.bars.New(0, mpb.BarStyle(), options...)
	bar.SetTotal(max(w.size, 0), false)
	return &barMeter{r, bar}
}

// reached is how far a bar is, by its numbers.
func reached(s decor.Statistics) string {
	if s.Total <= 0 {
		return formatBytes(s.Current)
	}
	return fmt.Sprintf("%s of %s (%d%%)", formatBytes(s.Current), formatBytes(s.Total), percent(s.Current, s.Total))
}

// percent is right for sizes of any length.
func percent(part, whole int64) int { return int(100 * (float64(part) / float64(whole))) }

// shortened is the end of a key that is too long for its column.
func shortened(key string) string {
	runes := []rune(key)
	if len(runes) < nameColumns {
		return key
	}
	return "…" + string(runes[len(runes)-nameColumns+2:])
}

type barMeter struct {
	r   *barReporter
	bar *mpb.Bar
}

func (m *barMeter) reach(done, size int64) {
	if size > 0 {
		m.bar.SetTotal(size, false)
	}
	m.bar.SetCurrent(done)
}

func (m *barMeter) end(size int64, err error) {
	if err != nil {
		m.bar.Abort(true)
		return
	}
	m.r.mu.Lock()
	m.r.done++
	m.r.bytes += size
	m.r.mu.Unlock()
	m.bar.SetCurrent(size)
	m.bar.SetTotal(size, true)
}
