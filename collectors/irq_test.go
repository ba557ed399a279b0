// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const interrupts = `           CPU0       CPU2
 24:          1         10  IO-APIC   5-edge      ACPI:Ged
 30:        100          0  PCI-MSIX-0000:00:01.0   2-edge      virtio0-input.0, eth0
 31:          5          5  IO-APIC   7-edge
LOC:       1000       2000   Local timer interrupts
ERR:          3
`

func row(name, device, chip string, count uint64, top int, n uint64) IRQRow {
	return IRQRow{Name: RawString(name), Device: RawString(device), Chip: RawString(chip), Count: count, Top: top, TopN: n}
}

func TestIRQ(t *testing.T) {
	tests := map[string]struct {
		next string
		want []IRQRow
	}{
		"counts": {
			strings.NewReplacer("100  ", "150  ", "2000", "2300", ":          3", ":          4").Replace(interrupts),
			[]IRQRow{row("LOC", "Local timer interrupts", "", 300, 2, 300), row("30", "virtio0-input.0, eth0", "PCI-MSIX-0000:00:01.0 2-edge", 50, 0, 50), row("ERR", "", "", 1, 0, 1)},
		},
		"goes back": {strings.Replace(interrupts, "1000       2000", " 900       2001", 1), []IRQRow{row("LOC", "Local timer interrupts", "", 1, 2, 1)}},
		"a CPU goes": {
			"           CPU2\n 24:         11  IO-APIC   5-edge      ACPI:Ged\nLOC:       2001   Local timer interrupts\n",
			[]IRQRow{row("24", "ACPI:Ged", "IO-APIC 5-edge", 1, 2, 1), row("LOC", "Local timer interrupts", "", 1, 2, 1)},
		},
		"a CPU comes": {
			"           CPU0       CPU1       CPU2\nLOC:       1001       9000       2000   Local timer interrupts\n",
			[]IRQRow{row("LOC", "Local timer interrupts", "", 1, 0, 1)},
		},
		"a line takes another's place": {
			strings.Replace(strings.Replace(interrupts, "virtio0-input.0, eth0", "virtio9", 1), "100  ", "900  ", 1), nil,
		},
		"a line goes": {
			"           CPU0       CPU2\n 30:        101          0  PCI-MSIX-0000:00:01.0   2-edge      virtio0-input.0, eth0\n",
			[]IRQRow{row("30", "virtio0-input.0, eth0", "PCI-MSIX-0000:00:01.0 2-edge", 1, 0, 1)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := procTree{t, t.TempDir()}
			tree.write("interrupts", interrupts)
			c := NewIRQ(NewFS(tree.root))
			start(t, c)
			if s := collectAs[*IRQ](t, c, 0); s.Count != 0 || len(s.Rows) != 0 || s.Lines != 5 || s.CPUs != 2 {
				t.Errorf("the first sample = %+v, want no counts", s)
			}
			tree.write("interrupts", tt.next)
			s := collectAs[*IRQ](t, c, 10*time.Second)
			if diff := cmp.Diff(tt.want, s.Rows, cmp.AllowUnexported(Raw{})); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIRQWraps(t *testing.T) {
	at := func(n uint32) *irqTable {
		var x irqTable
		if err := x.parse(fmt.Appendf(nil, "  CPU0\n 1: %d dummy\n", n)); err != nil {
			t.Fatal(err)
		}
		return &x
	}
	for _, tt := range []struct {
		prev, cur uint32
		want      uint64
	}{{1<<32 - 10, 5, 15}, {10, 5, 0}, {0, 1<<31 - 1, 1<<31 - 1}, {7, 7, 0}} {
		if got := deriveIRQs(at(tt.prev), at(tt.cur), Span{}, true, true).Count; got != tt.want {
			t.Errorf("from %d to %d = %d, want %d", tt.prev, tt.cur, got, tt.want)
		}
	}
}

func TestSoftIRQ(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.write("softirqs", "                    CPU0       CPU1\n          HI:          0          0\n      NET_RX:         10         20\n")
	c := NewSoftIRQ(NewFS(tree.root))
	start(t, c)
	collectAs[*SoftIRQ](t, c, 0)
	tree.write("softirqs", "                    CPU0       CPU1\n          HI:          0          0\n      NET_RX:         11         27\n")
	s := collectAs[*SoftIRQ](t, c, 10*time.Second)
	if diff := cmp.Diff([]IRQRow{row("HI", "", "", 0, -1, 0), row("NET_RX", "", "", 8, 1, 7)}, s.Rows, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestSplitIRQ(t *testing.T) {
	tests := map[string]struct{ tail, chip, device string }{
		"x86":       {"IO-APIC   5-edge      ACPI:Ged", "IO-APIC 5-edge", "ACPI:Ged"},
		"arm64":     {"GICv3  27 Level     arch_timer", "GICv3 27 Level", "arch_timer"},
		"nobody":    {"IO-APIC   7-edge", "IO-APIC 7-edge", ""},
		"nobody on": {"GICv3  27 Level", "GICv3 27 Level", ""},
		"a column":  {"dummy", "dummy", ""},
		"empty":     {"", "", ""},
		"hostile":   {"IR-PCI-MSI 1-edge      x\x1b[31m", "IR-PCI-MSI 1-edge", "x\x1b[31m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chip, device := splitIRQ(tt.tail, true)
			if chip.s != tt.chip || device.s != tt.device {
				t.Errorf("splitIRQ(%q) = %q, %q, want %q, %q", tt.tail, chip.s, device.s, tt.chip, tt.device)
			}
		})
	}
}

// TestIRQLive compares with /proc/stat, which counts the same interrupts elsewhere.
func TestIRQLive(t *testing.T) {
	cpu, irq := cpuIn(NewFS("")), NewIRQ(NewFS(""))
	start(t, cpu)
	start(t, irq)
	collectAs[*CPU](t, cpu, 0)
	collectAs[*IRQ](t, irq, 0)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		_, _ = os.ReadFile("/proc/self/stat")
		time.Sleep(time.Millisecond)
	}
	inner := collectAs[*IRQ](t, irq, time.Minute)
	outer := collectAs[*CPU](t, cpu, time.Minute)
	if inner.Count == 0 || inner.Count > outer.Interrupts || inner.Count < outer.Interrupts/2 {
		t.Errorf("%d interrupts by line, %d by /proc/stat", inner.Count, outer.Interrupts)
	}
	if !slices.ContainsFunc(inner.Rows, func(r IRQRow) bool { return r.Count > 0 && r.Top >= 0 }) {
		t.Error("no line counted")
	}
}

func FuzzIRQ(f *testing.F) {
	f.Add([]byte(interrupts))
	f.Add([]byte("CPU0\n:\nx: 4294967296\n  y:1 2 3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x, again irqTable
		if x.parse(b) != nil {
			return
		}
		text := ""
		for _, c := range x.cpus {
			text += fmt.Sprint(" CPU", c)
		}
		for _, l := range x.lines {
			if len(l.counts) > len(x.cpus) {
				t.Errorf("%d counts of %d CPUs", len(l.counts), len(x.cpus))
			}
			text += "\n" + l.name.s + ":"
			for _, n := range l.counts {
				text += fmt.Sprint(" ", n)
			}
			text += " " + l.tail
		}
		if err := again.parse([]byte(text)); err != nil || len(again.lines) < len(x.lines) {
			t.Errorf("parse(%q) has %d lines, printed and parsed again %d: %v", b, len(x.lines), len(again.lines), err)
		}
		if s := deriveIRQs(&x, &x, Span{}, true, true); s.Count != 0 {
			t.Errorf("a table differs from itself by %d", s.Count)
		}
	})
}

func BenchmarkCollectSoftIRQ(b *testing.B) { benchmarkIRQ(b, NewSoftIRQ(NewFS(""))) }
func BenchmarkCollectIRQ(b *testing.B)     { benchmarkIRQ(b, NewIRQ(NewFS(""))) }

func benchmarkIRQ(b *testing.B, c Collector) {
	start(b, c)
	b.ReportAllocs()
	for now := time.Duration(0); b.Loop(); now += time.Minute {
		if _, err := c.Collect(b.Context(), now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIRQLarge parses 2,000 lines of 256 CPUs.
func BenchmarkIRQLarge(b *testing.B) {
	var text strings.Builder
	for i := range 256 {
		fmt.Fprintf(&text, " CPU%d", i)
	}
	for i := range 2000 {
		fmt.Fprintf(&text, "\n%d:%s  PCI-MSI  %d-edge      nvme0q%d", i, strings.Repeat("         12", 256), i, i)
	}
	var x irqTable
	b.ReportAllocs()
	for b.Loop() {
		if err := x.parse([]byte(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
