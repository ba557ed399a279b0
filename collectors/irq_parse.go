// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
)

// irqTable is /proc/interrupts or /proc/softirqs.
type irqTable struct {
	cpus  []int // online, as the head lists them
	lines []irqLine
}

// irqLine is one line. Its strings outlive the table.
type irqLine struct {
	name, device, chip Raw
	tail               string   // what follows the counts
	counts             []uint32 // one a CPU; one alone where the kernel counts for all (ERR, MIS)
}

// maxIRQLines bounds a table.
const maxIRQLines = 1 << 16

// parse reads the table anew. The strings of a line that stands where it stood are taken over, so
// that a reading allocates nothing for what it knows.
func (t *irqTable) parse(b []byte) error {
	head, b := cutLine(b)
	t.cpus = t.cpus[:0]
	for {
		var f []byte
		if f, head = cutField(head); len(f) == 0 {
			break
		}
		number, ok := bytes.CutPrefix(f, []byte("CPU"))
		n, isNumber := parseUint(number)
		if !ok || !isNumber || n >= maxCPU || len(t.cpus) >= maxCPU {
			return fmt.Errorf("head %.16q: %w", f, errFormat)
		}
		t.cpus = append(t.cpus, int(n))
	}
	if len(t.cpus) == 0 {
		return fmt.Errorf("no CPU in the head: %w", errFormat)
	}
	n := 0
	for len(b) > 0 && n < maxIRQLines {
		var line []byte
		line, b = cutLine(b)
		if n == len(t.lines) {
			t.lines = append(t.lines, irqLine{})
		}
		if t.lines[n].parse(line, len(t.cpus)) {
			n++
		}
	}
	t.lines = t.lines[:n]
	return nil
}

// parse reads one line: "24:  1  0  IO-APIC  5-edge  ACPI:Ged". False for what is none.
func (x *irqLine) parse(line []byte, cpus int) bool {
	name, rest, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimLeft(name, " ")
	if !ok || len(name) == 0 {
		return false
	}
	x.counts = x.counts[:0]
	for range cpus {
		f, after := cutField(rest)
		n, ok := parseUint(f)
		if !ok || n >= 1<<32 {
			break
		}
		x.counts, rest = append(x.counts, uint32(n)), after
	}
	tail := bytes.TrimSpace(rest)
	if x.name.s != string(name) || x.tail != string(tail) {
		x.name, x.tail = RawString(string(name)), string(tail)
		_, numbered := parseUint(name)
		x.chip, x.device = splitIRQ(x.tail, numbered)
	}
	return true
}

// splitIRQ divides what follows the counts. Of a numbered line that is controller, line and
// trigger, padded, then two blanks and who asked for it (kernel/irq/proc.c, show_interrupts); of the
// architecture's own lines it is words that say what they are.
func splitIRQ(tail string, numbered bool) (chip, device Raw) {
	if !numbered {
		return Raw{}, RawString(tail)
	}
	end := len(tail)
	for i := len(tail) - 1; i > 0; i-- {
		if tail[i] == ' ' && tail[i-1] == ' ' {
			end = i
			break
		}
	}
	if end == len(tail) { // one column: nobody asked for it
		return RawString(tail), Raw{}
	}
	device = RawString(tail[end+1:])
	if isTrigger(device.s) {
		return RawString(squeeze(tail)), Raw{}
	}
	return RawString(squeeze(tail[:end])), device
}

// isTrigger says whether a word is a line of a controller and its trigger: "5-edge", "27 Level".
func isTrigger(s string) bool {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i > 0 && i < len(s) && (s[i] == '-' || s[i:] == " Level" || s[i:] == " Edge")
}

// squeeze makes one blank of many.
func squeeze(s string) string {
	return string(bytes.Join(bytes.Fields([]byte(s)), []byte{' '}))
}

// find returns the line of the same name and owner; it mostly stands at the same index.
func (t *irqTable) find(i int, x *irqLine) *irqLine {
	same := func(y *irqLine) bool { return y.name == x.name && y.tail == x.tail }
	if i < len(t.lines) && same(&t.lines[i]) {
		return &t.lines[i]
	}
	for k := range t.lines {
		if same(&t.lines[k]) {
			return &t.lines[k]
		}
	}
	return nil
}
