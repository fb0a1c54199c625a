package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// plain is a text that cannot pretend to be something else on a terminal: keys, reasons
// and error texts are others', and may hold any character.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(text)
	}
	return text
}

// count is "1 key", "3 keys".
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// formatBytes is "6 B", "12.4 KiB".
func formatBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/(1<<10), 0
	const units = "KMGTPE"
	for size >= 1023.95 && unit < len(units)-1 {
		size, unit = size/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}

func formatSeconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

func orDash(text *string) string {
	if text == nil || *text == "" {
		return "-"
	}
	return plain(*text)
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// newTable writes cells that end in tabs, aligned, once it is flushed.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// writeLines writes each entry on a line, as the gateway wrote it.
func writeLines(w io.Writer, entries []json.RawMessage) error {
	out := bufio.NewWriter(w)
	for _, e := range entries {
		_, _ = out.Write(e) // Flush has the error
		_ = out.WriteByte('\n')
	}
	return out.Flush()
}

// asTerminal returns what a person sits at, nil where nobody does.
func asTerminal(stream any) *os.File {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// progress tells a person how far something long is; it says nothing to a program.
type progress struct {
	to   io.Writer // nil where nobody watches
	what string
	next time.Time
	said bool
}

const progressInterval = time.Second

func newProgress(env environment, what string) *progress {
	p := &progress{what: what, next: time.Now().Add(progressInterval)}
	if f := asTerminal(env.stderr); f != nil {
		p.to = f
	}
	return p
}

func (p *progress) reached(n int64) {
	if p.to == nil || time.Now().Before(p.next) {
		return
	}
	fmt.Fprintf(p.to, "\r%s: %s so far", p.what, count(n, "entry", "entries"))
	p.next, p.said = time.Now().Add(progressInterval), true
}

// end leaves the line to what comes next.
func (p *progress) end() {
	if p.said {
		fmt.Fprintln(p.to)
	}
}

// writeNew has something written to a new file, or printed where that is "-". A file that
// could not be written to its end is removed.
func writeNew(env environment, path string, write func(io.Writer) error) error {
	if path == "-" {
		return failed(write(env.stdout))
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return failed(fmt.Errorf("make the file: %w", err))
	}
	err = write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return failed(errors.Join(err, os.Remove(path)))
	}
	return nil
}
