// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// Every character that is counted without the library takes what the library says, alone and after
// every sort of neighbour.
func TestNarrow(t *testing.T) {
	n := 0
	for r := range rune(0x11000) {
		if !narrow(r) {
			continue
		}
		n++
		for _, beside := range []string{"", "a", " ", "日", "─", "🚀"} {
			if got, want := ansi.StringWidth(beside+string(r)), ansi.StringWidth(beside)+1; got != want {
				t.Errorf("%q with %U is %d cells wide, want %d", beside, r, got, want)
			}
		}
	}
	if n < 500 {
		t.Errorf("only %d characters are narrow", n)
	}
}

// Width and Clip agree with the library on whatever mixture.
func TestWidthAgrees(t *testing.T) {
	parts := []string{
		"a", "Z9", " ", "  ", "µ", "─", "▁", "█", "…", "·", "→", "◆", "±", "Δ", "é", "e\u0301", "日", "本語", "🚀", "▶", "▶\ufe0f", "◽", "\u200d",
		"\x1b[1;38;5;203m", "\x1b[0m", "\x1b[m", "\x1b[2J", "\x1b]0;x\x07", "\x1b", "\x1b[", "\t", "\xff", "\u0d4e", "\u202e", "\u00ad", "«", "€", "‼",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		s := b.String()
		want := ansi.StringWidth(s)
		if got := Width(s); got != want {
			t.Fatalf("Width(%q) = %d, want %d", s, got, want)
		}
		n := r.IntN(10)
		clipped := ""
		switch {
		case n > 0 && want <= n:
			clipped = s
		case n > 0:
			clipped = ansi.Truncate(s, n, "…")
		}
		if got := Clip(s, n); got != clipped {
			t.Fatalf("Clip(%q, %d) = %q, want %q", s, n, got, clipped)
		}
	}
}

// What we draw ourselves is measured without memory.
func TestWidthAllocates(t *testing.T) {
	const text = "── cpu ── \x1b[1mcs\x1b[0m 41.2k/s ▁▂▃ 128-255µs … →"
	cells := 0
	if n := testing.AllocsPerRun(100, func() { cells = Width(text) }); n > 0 {
		t.Errorf("Width allocates %v times", n)
	}
	if want := ansi.StringWidth(text); cells != want {
		t.Errorf("Width = %d, want %d", cells, want)
	}
}
