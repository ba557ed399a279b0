// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// dmesgLine is the log's line of the checklist: the newest line worth reading, and how many of
// the last hour were warnings and errors.
func dmesgLine(f Frame) line {
	line := line{id: "dmesg", pane: LogPane, unit: "errors/h"}
	l := newest(f, logOf)
	if l == nil {
		line.value = math.NaN()
		line.why, _ = whyNot(f, collectors.LogID, "dmesg")
		line.parts = []part{{"-", 0}, {line.why, 1}}
		return line
	}
	line.value = float64(l.Errors + l.Warnings)
	line.unit = "lines/h"
	least := ""
	if l.Partial {
		least = "≥"
	}
	hour := part{fmt.Sprintf("last hour: err %s%d warn %s%d", least, l.Errors, least, l.Warnings), 1}
	r := newestWarning(l)
	if r == nil {
		line.parts = []part{{"no warning among " + fmt.Sprint(len(l.Tail.Records)) + " lines", 0}, hour}
	} else {
		what := string(r.Trouble)
		if what == "" {
			what = widget.Clip(clean(r.Text), 32)
		}
		age := ""
		if !r.At.IsZero() {
			age = " " + widget.Age(f.At.Sub(r.At)) + " ago"
		}
		line.row = logRow(r)
		line.parts = []part{{what + age, 0}, hour}
	}
	if l.LostTotal > 0 {
		line.parts = append(line.parts, part{"lost " + widget.Count(l.LostTotal), 2})
	}
	line.drawn = "warn and err"
	line.series = logWarnings(f, sparkSamples)
	line.hi = max(most(line.series), 1)
	return line
}

// logWarnings is how many lines of a warning or worse each of the last samples brought, at most n samples.
func logWarnings(f Frame, n int) []float64 {
	return series(f, n, logOf, func(l *collectors.Log) float64 {
		sum := uint64(0)
		for _, c := range l.Levels[:collectors.LevelWarn+1] {
			sum += c
		}
		return float64(sum)
	})
}

// newestWarning is the newest record of a warning or worse, or about a known trouble.
func newestWarning(l *collectors.Log) *collectors.LogRecord {
	for _, r := range slices.Backward(l.Tail.Records) {
		if r.Level <= collectors.LevelWarn || r.Trouble != "" {
			return r
		}
	}
	return nil
}
