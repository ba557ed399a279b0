// SPDX-License-Identifier: Apache-2.0

package widget

import (
	"math"
	"strings"
)

const eighths = "▏▎▍▌▋▊▉█" // three bytes each

const levels = "▁▂▃▄▅▆▇█" // three bytes each

// glyph returns the i-th character of a set of three-byte characters.
func glyph(set string, i int) string { return set[3*i : 3*i+3] }

// Bar draws value of most as a bar of at most width cells, to an eighth of a cell. Anything above
// zero shows at least its thinnest part.
func Bar(value, most float64, width int) string {
	if !(value > 0) || !(most > 0) || width <= 0 {
		return ""
	}
	n := int(math.Round(min(value/most, 1) * float64(width) * 8))
	n = max(n, 1)
	s := strings.Repeat("█", n/8)
	if n%8 > 0 {
		s += glyph(eighths, n%8-1)
	}
	return s
}

// Spark draws the last width values, oldest first, between lo and hi. A value that is not a
// number is a gap. It is always width cells wide: a young series stands at the right, where the
// present is.
func Spark(values []float64, width int, lo, hi float64) string {
	if width <= 0 {
		return ""
	}
	values = values[max(len(values)-width, 0):]
	var b strings.Builder
	b.Grow(3 * width)
	for range width - len(values) {
		b.WriteByte(' ')
	}
	for _, v := range values {
		if math.IsNaN(v) {
			b.WriteByte(' ')
			continue
		}
		b.WriteString(Level(v, lo, hi))
	}
	return b.String()
}

// Level draws one value between lo and hi as a block. The full block is left out, so that the
// sparklines of neighbouring lines stay apart.
func Level(v, lo, hi float64) string {
	i := 0
	if hi > lo {
		i = int(math.Round((v - lo) / (hi - lo) * 6))
	}
	return glyph(levels, max(0, min(i, 6)))
}

// Progress draws done of whole in exactly width cells.
func Progress(done, whole float64, width int) string {
	n := 0
	if whole > 0 {
		n = int(max(0, min(done/whole, 1)) * float64(width))
	}
	return strings.Repeat("▓", n) + strings.Repeat("░", max(width-n, 0))
}
