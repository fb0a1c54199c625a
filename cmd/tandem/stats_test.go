package main

import (
	"strings"
	"testing"
)

func TestAFrameFitsTheTerminal(t *testing.T) {
	const text = "one\ntwo\nthree\nfour\n"
	for _, c := range []struct {
		height int
		want   string
	}{
		{24, "\x1b[Hone\x1b[K\ntwo\x1b[K\nthree\x1b[K\nfour\x1b[K\n\x1b[J"},
		{5, "\x1b[Hone\x1b[K\ntwo\x1b[K\nthree\x1b[K\nfour\x1b[K\n\x1b[J"},
		{4, "\x1b[Hone\x1b[K\ntwo\x1b[K\n(2 more lines: make the window taller)\x1b[K\n\x1b[J"},
		{2, "\x1b[H(4 more lines: make the window taller)\x1b[K\n\x1b[J"},
	} {
		got := string(frame([]byte(text), c.height))
		if got != c.want || strings.Count(got, "\n") >= c.height {
			t.Errorf("height %d: got %q, want %q", c.height, got, c.want)
		}
	}
}
