// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// reportOf is a report over a frame's whole run.
func reportOf(f Frame) Report {
	if f.Now.Snapshot != nil {
		f.Span = f.Now.At
	}
	zone := time.FixedZone("CET", 3600)
	return Report{Frame: f, Panes: All(), Version: "0.1.0", Started: began.In(zone), Duration: f.Span, Interval: time.Second}
}

func judgedReport() Report {
	r := reportOf(judgedFrame())
	r.Healthy = []Healthy{{Resource: "memory", Evidence: []string{"available 42 %", "psi some 0.0"}}}
	r.Unchecked = []Unchecked{{Resource: "file system latency", Reason: "not collected yet", Remedy: ""}}
	return r
}

func TestTextReport(t *testing.T) {
	reports := map[string]Report{"judged": judgedReport()}
	for name, f := range frames() {
		if name != "judged" {
			reports[name] = reportOf(f)
		}
	}
	for name, r := range reports {
		t.Run(name, func(t *testing.T) {
			var full, brief bytes.Buffer
			if err := Text(&full, r); err != nil {
				t.Fatal(err)
			}
			r.Brief = true
			if err := Text(&brief, r); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(full.String(), brief.String()) {
				t.Error("the brief report is not the beginning of the full one")
			}
			if n := strings.Count(brief.String(), "\n"); n > ticketLines {
				t.Errorf("the part for a ticket has %d lines, want at most %d", n, ticketLines)
			}
			for i, l := range strings.Split(full.String(), "\n") {
				if w := ansi.StringWidth(l); w > reportWidth {
					t.Errorf("line %d is %d columns wide, want at most %d: %q", i+1, w, reportWidth, l)
				}
				for _, c := range l {
					if c < 0x20 || c >= 0x7f && c < 0xa0 || c == '\u202e' {
						t.Errorf("line %d holds the character %#x", i+1, c)
					}
				}
			}
			golden.RequireEqual(t, full.String())
		})
	}
}

func TestJSONReport(t *testing.T) {
	for name, r := range map[string]Report{"judged": judgedReport(), "denied": reportOf(deniedFrame()), "empty": reportOf(Frame{})} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := JSON(&b, r); err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, b.Bytes(), "", " "); err != nil {
				t.Fatalf("the report is not JSON: %v", err)
			}
			golden.RequireEqual(t, pretty.String())
		})
	}
}

// The JSON report must be JSON whatever names and numbers are.
func TestJSONOfExtremes(t *testing.T) {
	for name, f := range frames() {
		var b bytes.Buffer
		if err := JSON(&b, reportOf(f)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got struct {
			Schema string
			Panes  map[string]struct {
				Columns []struct{ ID string }
				Rows    [][]any
			}
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Schema != "bpf60.report/1" {
			t.Errorf("%s: schema = %q", name, got.Schema)
		}
		for id, p := range got.Panes {
			for i, row := range p.Rows {
				if len(row) != len(p.Columns) {
					t.Errorf("%s: row %d of %s has %d cells for %d columns", name, i, id, len(row), len(p.Columns))
				}
			}
		}
	}
}

// A report sums the run: its counts are those of all samples together, not of the last.
func TestReportSumsTheRun(t *testing.T) {
	s := busyStory(91)
	f := s.frame()
	f.Span = f.Now.At
	table := NewCPU().Table(f)
	total := f.Now.Sched.WaitTotal
	if got := table.Histograms[0].Now; *got != total {
		t.Errorf("the run holds %d waits, want %d", got.Count(), total.Count())
	}
	f.Span = 10 * time.Second
	want := uint64(0)
	for _, m := range s.moments[81:] {
		want += m.Sched.Host.Wait.Count()
	}
	if got := NewCPU().Table(f).Histograms[0].Now.Count(); got != want {
		t.Errorf("the last 10 s hold %d waits, want %d", got, want)
	}
}

// mpstat's formulas: guest is inside user and is neither counted twice nor shown twice.
func TestCPUFormulas(t *testing.T) {
	tests := map[string]struct {
		ticks collectors.Ticks
		want  map[string]float64
	}{
		"plain": {
			collectors.Ticks{User: 50, System: 25, Idle: 25},
			map[string]float64{"%usr": 50, "%sys": 25, "%idle": 25, "%guest": 0},
		},
		"guest inside user": {
			collectors.Ticks{User: 60, Guest: 40, Idle: 40},
			map[string]float64{"%usr": 20, "%guest": 40, "%idle": 40},
		},
		"gnice inside nice": {
			collectors.Ticks{Nice: 30, GuestNice: 10, Idle: 70},
			map[string]float64{"%nice": 20, "%gnice": 10, "%idle": 70},
		},
		"every column": {
			collectors.Ticks{User: 10, Nice: 10, System: 10, Idle: 40, IOWait: 10, IRQ: 5, SoftIRQ: 5, Steal: 10},
			map[string]float64{"%usr": 10, "%nice": 10, "%sys": 10, "%idle": 40, "%iowait": 10, "%irq": 5, "%soft": 5, "%steal": 10},
		},
		"guest read later than user": {
			collectors.Ticks{User: 10, Guest: 12, Idle: 90},
			map[string]float64{"%usr": 0, "%guest": 12, "%idle": 90},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cols := cpuColumns()
			row := cpuRow("0", &collectors.CPU{}, tt.ticks, false, cols, Missing(""))
			got := make(map[string]float64)
			for i, c := range cols {
				if v, ok := row.Cells[i+1].Num(); ok {
					if _, asked := tt.want[c.ID]; asked {
						got[c.ID] = v
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("row of %+v (-want +got):\n%s", tt.ticks, diff)
			}
		})
	}
}

func TestVmstat(t *testing.T) {
	c := &collectors.CPU{
		Span: collectors.Span{To: 2 * time.Second}, Running: 3, Blocked: 1, Switches: 8000, Interrupts: 3000,
		VMKnown: true, SwapIn: 10, SwapOut: 5, BlocksIn: 64, BlocksOut: 2048,
		All: collectors.Ticks{User: 100, Nice: 20, Guest: 20, System: 30, IRQ: 5, SoftIRQ: 5, Idle: 200, IOWait: 30, Steal: 10},
	}
	want := vmstatRow{r: "3", b: "1", si: "20", so: "10", bi: "32", bo: "1024", in: "1.5k", cs: "4.0k", us: "25", sy: "10", id: "50", wa: "8", st: "2"}
	if got := vmstatOf(c, 4096); got != want {
		t.Errorf("vmstatOf = %+v, want %+v", got, want)
	}
	table := vmstatTable(c, 16384)
	numbers := map[string]float64{}
	for i, col := range table.Columns {
		numbers[col.ID], _ = table.Rows[0].Cells[i].Num()
	}
	if diff := cmp.Diff(map[string]float64{
		"r": 3, "b": 1, "si": 80, "so": 40, "bi": 32, "bo": 1024, "in": 1500, "cs": 4000, "us": 25, "sy": 10, "id": 50, "wa": 7.5, "st": 2.5, "gu": 5,
	}, numbers); diff != "" {
		t.Errorf("vmstatTable (-want +got):\n%s", diff)
	}
	first := vmstatOf(&collectors.CPU{Running: 2}, 4096)
	if first.r != "2" || first.cs != "-" || first.us != "-" {
		t.Errorf("the first sample has no rates: %+v", first)
	}
}

// Without /proc/vmstat what is swapped and read is not 0 but unknown.
func TestNoVMStat(t *testing.T) {
	tests := map[string]struct {
		known []bool // of each second
		si    string
	}{
		"read":                {[]bool{true, true, true}, "0"},
		"never read":          {[]bool{false, false, false}, "-"},
		"not read now":        {[]bool{true, true, false}, "-"},
		"not read for a time": {[]bool{true, false, true}, "-"},
	}
	for name, tt := range tests {
		f := Frame{Span: 3 * time.Second}
		for i, known := range tt.known {
			at := time.Duration(i+1) * time.Second
			c := &collectors.CPU{Span: collectors.Span{From: at - time.Second, To: at}, VMKnown: known}
			f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, CPU: c}})
		}
		f.Now = f.Past[len(f.Past)-1]
		c := cpuOver(f)
		row := vmstatOf(c, 4096)
		if diff := cmp.Diff([]string{tt.si, tt.si, tt.si, tt.si}, []string{row.si, row.so, row.bi, row.bo}); diff != "" {
			t.Errorf("%s: row (-want +got):\n%s", name, diff)
		}
		table := vmstatTable(c, 4096)
		for i, col := range table.Columns {
			cell := table.Rows[0].Cells[i]
			if _, ok := cell.Num(); col.Unit == "KiB/s" && ok != (tt.si != "-") {
				t.Errorf("%s: %s of the table is %+v", name, col.ID, cell)
			}
		}
		if l := vmstatLine(f); (l.why == "") != (tt.si != "-") {
			t.Errorf("%s: the checklist says %q", name, l.why)
		}
	}
}

func TestTrend(t *testing.T) {
	tests := map[string]struct {
		load [3]float64
		want string
	}{
		"rising":         {[3]float64{14, 9, 4}, "rising"},
		"falling":        {[3]float64{2, 9, 14}, "falling"},
		"steady":         {[3]float64{4.2, 4.1, 4}, "steady"},
		"idle is steady": {[3]float64{0.2, 0.05, 0.01}, "steady"},
	}
	for name, tt := range tests {
		if got := trend(tt.load); got != tt.want {
			t.Errorf("%s: trend(%v) = %s, want %s", name, tt.load, got, tt.want)
		}
	}
}

func TestTopBy(t *testing.T) {
	got := topBy(busyStory(91).frame(), 2, waited)
	if len(got) != 2 || got[0].name.String() != "php-fpm" || got[1].name.String() != "gzip" {
		t.Fatalf("waits most = %v, want php-fpm, gzip", got)
	}
	if math.Abs(got[0].share-0.41) > 0.005 {
		t.Errorf("php-fpm waits %.3f of all, want 0.41: its processes count together", got[0].share)
	}
}

// A sample that is old is not shown as now.
func TestStale(t *testing.T) {
	s := busyStory(31)
	for i := range 5 {
		s.second(busyLoad(i)).Sched = nil
		f := s.frame()
		if got, want := schedOver(f) != nil, i < staleAfter-1; got != want {
			t.Errorf("%d moments after the last sample: shown = %t, want %t", i+1, got, want)
		}
	}
}

func TestPressure(t *testing.T) {
	f := busyStory(91).frame()
	v, ok := pressure(f, psiCPU)
	if !ok || math.Abs(v-0.95) > 0.001 {
		t.Errorf("pressure of the last second = %v %t, want 0.95", v, ok)
	}
	f.Span = f.Now.At
	if whole, _ := pressure(f, psiCPU); whole >= v {
		t.Errorf("pressure over the run = %v, want less than %v: it was calm at first", whole, v)
	}
	if _, ok := pressure(Frame{}, psiCPU); ok {
		t.Error("there is pressure without a sample")
	}
}

// A mark of a line comes from findings only, and from live ones only.
func TestWorst(t *testing.T) {
	f := judgedFrame()
	for line, want := range map[string]string{"uptime": "critical", "runqlat": "warning", "mpstat": "", "vmstat": ""} {
		got := ""
		if sev, ok := worst(f.Now, line); ok {
			got = sev.String()
		}
		if got != want {
			t.Errorf("mark of %s = %q, want %q", line, got, want)
		}
	}
}

func TestListedKeepsCircles(t *testing.T) {
	f := judgedFrame()
	f.Verdict = nil
	f.Now.Findings = f.Now.Findings[:2]
	f.Now.Findings[0].CausedBy, f.Now.Findings[1].CausedBy = f.Now.Findings[1].ID, f.Now.Findings[0].ID
	if got := len(listed(f)); got != 2 {
		t.Errorf("two findings that explain each other are listed as %d", got)
	}
}

func TestLine(t *testing.T) {
	for name, want := range map[string][]string{
		"busy":   {"2026-03-14T09:27:30Z", "load 8.84", "r 13 b 0", "us 60 sy 40 id 0 wa 0", "p99 16-33ms"},
		"denied": {"runqlat - (needs CAP_BPF"},
		"lossy":  {"lost 412"},
		"empty":  {"- ", "runqlat - (waiting for the first reading)"},
	} {
		f := frames()[name]
		got := Line(f)
		if f.Now.Snapshot != nil {
			on, off := 0, 0
			for _, p := range f.Now.ProbeRows() {
				switch p.State {
				case collectors.On, collectors.Degraded:
					on++
				case collectors.Off, collectors.Failed:
					off++
				case collectors.Idle, collectors.Warming:
				}
			}
			want = append(want, fmt.Sprintf("probes %d on %d off", on, off))
		}
		if strings.Contains(got, "\n") {
			t.Errorf("%s: Line holds a line feed", name)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: Line = %q, want %q in it", name, got, w)
			}
		}
	}
}

// failing fails after n bytes.
type failing struct{ n int }

func (w *failing) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, fmt.Errorf("no space left on device")
	}
	return len(p), nil
}

func TestReportErrors(t *testing.T) {
	r := reportOf(busyStory(61).frame())
	if err := Text(&failing{100}, r); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Text to a full disk = %v, want its error", err)
	}
	if err := JSON(&failing{100}, r); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("JSON to a full disk = %v, want its error", err)
	}
}
