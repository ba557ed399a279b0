// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// cpuFrame is a frame whose newest sample has threads on two CPUs, and the interrupts and clock of CPU 1.
func cpuFrame(source string) Frame {
	f := frames()["busy"]
	at := f.Now.At
	span := collectors.Span{From: at - time.Second, To: at}
	thread := func(tid int32, last uint16, run time.Duration) collectors.ThreadRow {
		return collectors.ThreadRow{
			ProcInfo: &collectors.ProcInfo{Process: collectors.Process{TGID: 40, Start: 4e9}, Comm: collectors.RawString("web")},
			TID:      tid, State: 'R', Comm: collectors.RawString("worker"), Run: run, LastCPU: last,
		}
	}
	irq := func(name, device string, n uint64) collectors.CPUIRQ {
		return collectors.CPUIRQ{Name: collectors.RawString(name), Device: collectors.RawString(device), Count: n}
	}
	one := func(rows ...collectors.CPUIRQ) []collectors.Targeted[collectors.CPUIRQs] {
		return []collectors.Targeted[collectors.CPUIRQs]{{Target: cpuTarget(1), Sample: collectors.CPUIRQs{Rows: rows}}}
	}
	snap := *f.Now.Snapshot
	snap.Tasks = &collectors.Tasks{Span: span, Source: source, Busy: []collectors.ThreadRow{
		thread(41, 1, 500*time.Millisecond), thread(42, 2, 300*time.Millisecond), thread(43, 2, 400*time.Millisecond), thread(44, 0, time.Millisecond),
	}}
	snap.SoftIRQ = &collectors.SoftIRQ{IRQs: collectors.IRQs{Span: span, Narrowed: one(irq("NET_RX", "", 30))}}
	snap.IRQ = &collectors.IRQ{IRQs: collectors.IRQs{Span: span, Narrowed: one(irq("24", "eth0-rx", 70))}}
	snap.CPUClocks = &collectors.CPUClocks{Span: span, Narrowed: []collectors.Targeted[collectors.CPUClock]{{Target: cpuTarget(1), Sample: collectors.CPUClock{
		Now: 2_400_000, Limit: 2_800_000, Max: 3_500_000, Governor: collectors.RawString("powersave"),
		Idle: []collectors.IdleState{{Name: collectors.RawString("C1"), Time: 250 * time.Millisecond, Entries: 100}},
	}}}}
	m := triage.Moment{Snapshot: &snap}
	f.Past = append(f.Past[:len(f.Past)-1:len(f.Past)-1], m)
	f.Now = m
	return f
}

// TestCPUPageTables: a CPU's threads, interrupts and idle states are its own.
func TestCPUPageTables(t *testing.T) {
	f, p := cpuFrame("iter/task"), newCPUPage(1)
	texts := func(table Table, columns ...string) (out []string) {
		for _, r := range table.Rows {
			var line []string
			for _, id := range columns {
				for i, c := range table.Columns {
					if c.ID == id {
						line = append(line, r.Cells[i].Format(c.Decimals))
					}
				}
			}
			out = append(out, strings.Join(line, " "))
		}
		return append(out, table.Notes...)
	}
	tests := map[string]struct{ got, want []string }{
		"threads":    {texts(p.parts.table(f, 0), "TID", "%CPU"), []string{"43 40.0", "42 30.0", "of 1 threads it is not known where they ran"}},
		"interrupts": {texts(p.parts.table(f, 2), "rate", "KIND", "line", "device"), []string{"70.0 irq 24 eth0-rx", "30.0 softirq NET_RX -"}},
		"idle":       {texts(p.parts.table(f, 3), "%time", "rate", "mean", "state"), []string{"25.0 100.0 2500.0 C1"}},
	}
	for name, tt := range tests {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	var clock []string
	for _, x := range p.clockFacts(f) {
		clock = append(clock, x.ID+" "+x.Cell.Format(0))
	}
	if d := cmp.Diff([]string{"MHz 2400", "limit_MHz 2800", "max_MHz 3500"}, clock); d != "" {
		t.Errorf("clock (-want +got):\n%s", d)
	}
	if got, want := ansi.Strip(p.View(f, Canvas{Width: 100, Height: 24, Theme: plain()})), "frequency 2400 MHz of 3500 MHz held to 2800 MHz  governor powersave"; !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
	if notes := newCPUPage(1).parts.table(cpuFrame("/proc"), 0).Notes; !strings.Contains(strings.Join(notes, "\n"), "/proc is read by processes") {
		t.Errorf("from /proc the notes are %q", notes)
	}
	// The other CPU: nobody asked for its interrupts, and the reason is said.
	other := newCPUPage(0)
	if d := cmp.Diff([]string{"41 50.0", "of 1 threads it is not known where they ran"}, texts(other.parts.table(f, 0), "TID", "%CPU")); d != "" {
		t.Errorf("threads of CPU 0 (-want +got):\n%s", d)
	}
	for i := 2; i < 4; i++ {
		if table := other.parts.table(f, i); len(table.Rows) > 0 || len(table.Notes) == 0 {
			t.Errorf("table %d of a CPU that nobody asked about = %+v, want why it is empty", i, table)
		}
	}
}

// TestNoIRQTime: a kernel that does not account for interrupts has no %irq anywhere, and 0 where it does.
func TestNoIRQTime(t *testing.T) {
	for _, none := range []bool{true, false} {
		f := cpuFrame("iter/task")
		snap := *f.Now.Snapshot
		sum := *snap.CPU
		sum.NoIRQTime, sum.All.IRQ = none, 0
		sum.CPUs = slices.Clone(sum.CPUs)
		for i := range sum.CPUs {
			sum.CPUs[i].IRQ = 0
		}
		snap.CPU = &sum
		f.Now = triage.Moment{Snapshot: &snap}
		f.Past = []triage.Moment{f.Now}
		table := cpuTable(f)
		k := slices.IndexFunc(table.Columns, func(c Column) bool { return c.ID == irqColumn })
		for _, r := range table.Rows {
			if r.Cells[k].Known() == none || none && r.Cells[k].Why != noIRQTime {
				t.Errorf("no time %t: %%irq of %s is %q (%s)", none, r.ID, r.Cells[k].Format(1), r.Cells[k].Why)
			}
		}
		p := NewCPU()
		p.irqs.view = softirqView
		want := map[bool]string{true: "%irq -", false: "%irq 0.0"}[none]
		if got := ansi.Strip(p.View(f, Canvas{Width: 100, Height: 24, Theme: plain()})); !strings.Contains(got, want) {
			t.Errorf("no time %t: %q is not in\n%s", none, want, got)
		}
		for _, c := range cpuColumns() {
			if c.ID == irqColumn && newCPUPage(1).part(snap.CPU, c).Known() == none {
				t.Errorf("no time %t: the page of a CPU says the opposite", none)
			}
		}
	}
}

// TestCPUPageWants: n goes to the next CPU and asks for that one; interrupts are timed only while their table
// has the cursor.
func TestCPUPageWants(t *testing.T) {
	f, p := cpuFrame("iter/task"), newCPUPage(0)
	timed := func() (n int) {
		for _, w := range p.Wants(Scope{}) {
			if w.ID == collectors.SoftIRQTimeID || w.ID == collectors.HardIRQTimeID {
				n++
			}
			if w.Target.Kind == collectors.CPUTarget && w.Target != cpuTarget(p.cpu) {
				t.Errorf("CPU %d wants %v", p.cpu, w)
			}
		}
		return n
	}
	if n := timed(); n != 0 {
		t.Errorf("%d wants time interrupts before anybody looks", n)
	}
	p.Update(Press{ID: keyDiskNext, Frame: f})
	if p.cpu != 1 {
		t.Errorf("n leads to CPU %d, want 1", p.cpu)
	}
	p.Update(Press{ID: keySectionNext, Frame: f})
	p.Update(Press{ID: keySectionNext, Frame: f})
	if n := timed(); n != 2 {
		t.Errorf("%d wants time interrupts while they are looked at, want 2", n)
	}
}
