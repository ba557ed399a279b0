// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
)

// irqReading is one reading of the maps.
type irqReading []struct {
	cpu int
	irq bpf.IRQ
	h   bpf.Hist
}

func (r irqReading) totals() irqTotals {
	t := irqTotals{}
	for i := range r {
		t.add(r[i].cpu, r[i].irq, &r[i].h)
	}
	return t
}

// bpfHist has n events of 4–7 µs, of 5 µs each.
func bpfHist(n uint64) bpf.Hist {
	h := bpf.Hist{Sum: n * 5000}
	h.Slots[2] = n
	return h
}

func TestDeriveIRQTimes(t *testing.T) {
	type row struct {
		Name         string
		Count, Total uint64
		Top          int
		TopNs        uint64
	}
	tests := map[string]struct {
		prev, cur  irqReading
		rows       []row
		cpus       []IRQCPUTime
		count, sum uint64
	}{
		"grows on two CPUs": {
			prev:  irqReading{{0, 36, bpfHist(10)}, {1, bpf.IRQLocalTimer, bpfHist(5)}},
			cur:   irqReading{{0, 36, bpfHist(12)}, {1, 36, bpfHist(4)}, {1, bpf.IRQLocalTimer, bpfHist(6)}},
			rows:  []row{{"36", 6, 16, 1, 20_000}, {"LOC", 1, 6, 1, 5000}},
			cpus:  []IRQCPUTime{{0, 10_000, 2}, {1, 25_000, 5}},
			count: 7, sum: 35_000,
		},
		"nothing happened": {
			prev: irqReading{{1, 24, bpfHist(3)}},
			cur:  irqReading{{1, 24, bpfHist(3)}},
			rows: []row{{"24", 0, 3, -1, 0}},
			cpus: []IRQCPUTime{{1, 0, 0}},
		},
		"a counter went back": {
			prev:  irqReading{{0, 24, bpfHist(9)}},
			cur:   irqReading{{0, 24, bpfHist(2)}},
			rows:  []row{{"24", 2, 2, 0, 10_000}},
			cpus:  []IRQCPUTime{{0, 10_000, 2}},
			count: 2, sum: 10_000,
		},
		"lines without a place": {
			cur:   irqReading{{0, bpf.IRQOtherLines, bpfHist(1)}},
			rows:  []row{{OtherLines, 1, 1, 0, 5000}},
			cpus:  []IRQCPUTime{{0, 5000, 1}},
			count: 1, sum: 5000,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := deriveIRQTimes(tt.prev.totals(), tt.cur.totals(), Span{0, time.Second}, hardirqName)
			var rows []row
			for _, r := range s.Rows {
				rows = append(rows, row{r.Name, r.Time.Count(), r.Total.Count(), r.Top, r.TopNs})
			}
			if diff := cmp.Diff(tt.rows, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.cpus, s.CPUs); diff != "" {
				t.Errorf("CPUs (-want +got):\n%s", diff)
			}
			if s.Count != tt.count || s.Ns != tt.sum {
				t.Errorf("%d interrupts of %d ns, want %d of %d", s.Count, s.Ns, tt.count, tt.sum)
			}
		})
	}
}

func TestDeriveIRQTimesIsBounded(t *testing.T) {
	cur := irqTotals{}
	for i := range maxIRQTimes + 23 {
		h := bpfHist(uint64(i + 1))
		cur.add(0, bpf.IRQ(i), &h)
	}
	s := deriveIRQTimes(irqTotals{}, cur, Span{0, time.Second}, hardirqName)
	var listed, ns uint64
	for _, r := range s.Rows {
		listed += r.Time.Count()
		ns += r.Time.Sum
	}
	if len(s.Rows) != maxIRQTimes || s.Unlisted != 23*24/2 || listed+s.Unlisted != s.Count || ns+s.UnlistedNs != s.Ns {
		t.Errorf("%d rows, %d + %d of %d, %d + %d of %d ns", len(s.Rows), listed, s.Unlisted, s.Count, ns, s.UnlistedNs, s.Ns)
	}
}

func TestIRQNames(t *testing.T) {
	for irq, want := range map[bpf.IRQ]string{0: "HI", 3: "NET_RX", 9: "RCU", 10: "10", -1: "-1"} {
		if got := softirqName(irq); got != want {
			t.Errorf("softirqName(%d) = %q, want %q", irq, got, want)
		}
	}
	for irq, want := range map[bpf.IRQ]string{0: "0", 36: "36", bpf.IRQReschedule: "RES", bpf.IRQCallFunction: "CAL", bpf.IRQWork: "IWI"} {
		if got := hardirqName(irq); got != want {
			t.Errorf("hardirqName(%d) = %q, want %q", irq, got, want)
		}
	}
}

// irqFake serves its readings one after the other, the last for ever.
type irqFake struct {
	reads  []irqReading
	vector error
	closed bool
	paused bool
}

func (f *irqFake) Read(each func(int, bpf.IRQ, *bpf.Hist)) error {
	for i := range f.reads[0] {
		r := &f.reads[0][i]
		each(r.cpu, r.irq, &r.h)
	}
	if len(f.reads) > 1 {
		f.reads = f.reads[1:]
	}
	return nil
}

func (f *irqFake) LineErr() error      { return nil }
func (f *irqFake) VectorErr() error    { return f.vector }
func (f *irqFake) Pause(on bool) error { f.paused = on; return nil }
func (f *irqFake) Close() error        { f.closed = true; return nil }

// statFile makes a /proc whose stat says what it is told to.
func statFile(t *testing.T) (fs FS, say func(line string, total uint64)) {
	t.Helper()
	dir := t.TempDir()
	return NewFS(dir), func(line string, total uint64) {
		text := "cpu  1 2 3\nintr_x 9\n" + line + " " + strconv.FormatUint(total, 10) + " 7 8\n"
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIRQTimeGivesUpTheDead attaches again what is silent while the kernel counts, and stops trying.
func TestIRQTimeGivesUpTheDead(t *testing.T) {
	fs, say := statFile(t)
	c := NewHardIRQTime(nil, fs).(*irqTimeCollector)
	var opened []*irqFake
	c.open = func() (irqTimeReader, error) {
		f := &irqFake{reads: []irqReading{{}}}
		opened = append(opened, f)
		return f, nil
	}
	start(t, c)
	var err error
	for second := range 30 {
		say("intr", uint64(1000*second))
		if _, err = c.Collect(t.Context(), time.Duration(second)*time.Second); err != nil && !errors.Is(err, ErrWarming) {
			break
		}
	}
	if len(opened) != pulseRetries+1 || err == nil {
		t.Fatalf("opened %d times, then %v; want %d times, then an error", len(opened), err, pulseRetries+1)
	}
	for i, f := range opened {
		if !f.closed {
			t.Errorf("reader %d was not closed", i)
		}
	}
	if p := c.Probes()[0]; p.State != Failed || p.Reason == "" {
		t.Errorf("the row is %+v, want failed with the reason", p)
	}
}

// TestIRQTimeIsQuietWithTheHost leaves a probe alone that counts nothing while the kernel counts
// nothing, or that was paused.
func TestIRQTimeIsQuietWithTheHost(t *testing.T) {
	for name, pauses := range map[string]bool{"idle": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			fs, say := statFile(t)
			c := NewSoftIRQTime(nil, fs).(*irqTimeCollector)
			f := &irqFake{reads: []irqReading{{}}, vector: errors.New("no such vector")}
			c.open = func() (irqTimeReader, error) { return f, nil }
			start(t, c)
			for second := range 30 {
				total := uint64(second) // less than what would be told
				if pauses {
					total *= 1000
					if err := c.Pause(second%2 == 0); err != nil {
						t.Fatal(err)
					}
				}
				say("softirq", total)
				if _, err := c.Collect(t.Context(), time.Duration(second)*time.Second); err != nil && !errors.Is(err, ErrWarming) {
					t.Fatalf("at %d s: %v", second, err)
				}
			}
			if f.closed {
				t.Error("it was attached again")
			}
			if p := c.Probes()[0]; p.State != Degraded || p.Reason != "no such vector" {
				t.Errorf("the row is %+v, want degraded with the reason", p)
			}
		})
	}
}

// TestIRQTimesLive counts the 23 NET_RX of 23 datagrams through the loopback device.
func TestIRQTimesLive(t *testing.T) {
	c := NewSoftIRQTime(bpf.Inspect(), NewFS(""))
	if err := c.Start(t.Context()); err != nil {
		lacking(t, "needs BPF: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("first Collect = %v, want ErrWarming", err)
	}
	in, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := net.Dial("udp4", in.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for range 23 {
		if _, err := out.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.ReadFrom(make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
	}
	s := collectAs[*SoftIRQTime](t, c, time.Second)
	for _, r := range s.Rows {
		if r.Name == "NET_RX" && r.Time.Count() >= 23 && r.Time.Sum > 0 && r.Top >= 0 {
			if p := c.Probes()[0]; p.State != On || p.Events < 23 {
				t.Errorf("the row is %+v", p)
			}
			return
		}
	}
	t.Errorf("no 23 NET_RX for 23 datagrams in %+v", s.Rows)
}
