// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bpf60/panes/widget"
)

// humanRows writes the values of a table whose rows have units of their own as people read them: bytes as
// df -h does, long times in ms and s. The numbers of a report stay as they are.
func humanRows(t Table, unit int, values ...int) Table {
	rows := slices.Clone(t.Rows)
	for i := range rows {
		cells := slices.Clone(rows[i].Cells)
		of := cells[unit].Format(0)
		for _, k := range values {
			v, ok := cells[k].Num()
			if !ok {
				continue
			}
			text, shown := humanNumber(v, of)
			if text != "" {
				cells[k] = Say(text)
			}
			cells[unit] = Say(shown)
		}
		rows[i].Cells = cells
	}
	t.Rows = rows
	return t
}

// humanNumber is a number and its unit as people read them; no text: as it is.
func humanNumber(v float64, unit string) (text, shown string) {
	switch {
	case v < 0:
	case strings.HasPrefix(unit, "bytes") && v >= 1e4: // the size of a segment is known by its digits
		return humanBytes(v), unit
	case unit == "us" || unit == "µs":
		switch {
		case v >= 1e6:
			return fmt.Sprintf("%.2f", v/1e6), "s"
		case v >= 1e3:
			return fmt.Sprintf("%.2f", v/1e3), "ms"
		}
		return "", "µs"
	case unit == "ms" && v >= 60e3:
		return widget.Age(time.Duration(v) * time.Millisecond), ""
	case unit == "ms" && v >= 1e3:
		return fmt.Sprintf("%.2f", v/1e3), "s"
	}
	return "", unit
}

// humanBytes is a size in at most five cells with a decimal where it says something: 1.8M, 132K.
func humanBytes(v float64) string {
	n := v
	for _, u := range []string{"K", "M"} {
		if n /= 1024; n < 9.95 {
			return fmt.Sprintf("%.1f%s", n, u)
		}
		if n < 1023.5 {
			break
		}
	}
	return widget.Bytes(uint64(v))
}
