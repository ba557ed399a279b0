// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"math"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// steadySecond is a second in which everything moves as in any other.
func steadySecond(second int) *collectors.Snapshot {
	at := time.Duration(second) * time.Second
	span := collectors.Span{From: at - time.Second, To: at}
	who := collectors.Process{TGID: 7, Start: 1}
	comm := collectors.RawString("app")
	veth := &collectors.NetLink{Name: collectors.RawString("veth1"), Kind: collectors.LinkVeth}
	eth := &collectors.NetLink{Name: collectors.RawString("eth0"), Kind: collectors.LinkDevice}
	disk := device(8, 0, "sda", collectors.WholeDisk, nil)
	s := &collectors.Snapshot{At: at, Seq: uint64(second)}
	s.CPU = &collectors.CPU{Span: span, All: collectors.Ticks{User: 100, Idle: 100}, CPUs: make([]collectors.CPUTime, 2)}
	s.Tasks = &collectors.Tasks{Span: span, Source: "iter/task", Rows: []collectors.TaskRow{{ProcInfo: proc(7, 0, "app"), Run: time.Second}}}
	s.Disk = &collectors.Disk{
		Span: span, Table: &collectors.DiskTable{Devices: []*collectors.BlockDevice{disk}},
		Rows: []collectors.DiskRow{{BlockDevice: disk, DiskCounts: collectors.DiskCounts{Read: collectors.IOCounts{IOs: 10}}}},
	}
	s.Block = &collectors.Block{Span: span, Owners: []collectors.BlockOwner{{Process: who, Comm: comm, Dev: disk.Dev, Reads: 10}}}
	s.Sockets = sockets(second, map[uint64]uint64{1: 1000})
	s.Flow = flowSample(7, "10.0.0.1:80", 10, 0)
	s.Flow.Span = span
	s.Syscalls = &collectors.Syscalls{Span: span, SyscallCounts: collectors.SyscallCounts{N: 10}, Calls: []collectors.SyscallCall{{Name: "read", SyscallCounts: collectors.SyscallCounts{N: 10}}}}
	cache := collectors.RawString("dentry")
	s.Slab = &collectors.Slab{Span: span, Caches: []collectors.SlabCache{{Name: cache, Grown: 10 << 10}}}
	s.Kmem = &collectors.Kmem{Span: span, Caches: []collectors.KmemCache{{Name: cache, Allocs: 10}}}
	s.Cachestat = &collectors.Cachestat{Span: span, Host: collectors.PageCounts{Added: 10}, Rows: []collectors.PageUser{{Process: who, Comm: comm, PageCounts: collectors.PageCounts{Added: 10}}}}
	s.Exec = &collectors.Exec{Span: span, ExecCounts: collectors.ExecCounts{Forks: 10}, Forkers: []collectors.Forker{{Process: who, Comm: comm, Forks: 10}}}
	s.Opens = &collectors.Opens{Span: span, N: 10, Processes: []collectors.OpenProcess{{Process: who, Comm: comm, N: 10}}}
	moved := collectors.IfaceCounts{RxPackets: 10}
	s.Network = &collectors.Network{
		Span: span, Spaces: []collectors.NetSpace{{Span: span, NetPlace: &collectors.NetPlace{Own: true, Links: []*collectors.NetLink{eth, veth}}}},
		Ifaces: []collectors.NetIface{{NetLink: eth, IfaceCounts: moved}, {NetLink: veth, IfaceCounts: moved}},
	}
	return s
}

// TestCPUsGivenUp: the rates of a single CPU are of the time in which CPUs are told apart.
func TestCPUsGivenUp(t *testing.T) {
	const seconds, kept = 60, 10
	f := Frame{At: began}
	for i := 1; i <= seconds; i++ {
		s := steadySecond(i)
		s.CPU.CPUs = []collectors.CPUTime{{CPU: 0, Ticks: collectors.Ticks{User: 100}}, {CPU: 1, Ticks: collectors.Ticks{Idle: 100}}}
		one := collectors.SchedCPU{CPU: 0, Switches: 10}
		s.Sched = &collectors.Sched{Span: s.CPU.Span, Host: one.Counts(), CPUs: []collectors.SchedCPU{one}}
		line := collectors.SoftnetCPU{CPU: 0, Processed: 10}
		s.Network.SoftnetKnown, s.Network.SoftnetAll, s.Network.Softnet = true, line, []collectors.SoftnetCPU{line}
		if i <= seconds-kept {
			s = s.WithoutCPUs()
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[seconds-1]
	since := "single CPUs: since " + began.Add(-kept*time.Second).Format(time.TimeOnly)
	for name, tt := range map[string]struct {
		span time.Duration
		note bool
	}{"now": {0, false}, "what is kept": {kept * time.Second, false}, "all": {time.Hour, true}} {
		f.Span = tt.span
		soft := softnetTable(f, netOver(f))
		for _, row := range []string{rowAll, "0"} {
			if got := cells(soft, row)["total/s"]; got != "10.0" {
				t.Errorf("%s: softnet of %s is %s/s, want 10.0", name, row, got)
			}
		}
		page := &cpuPage{cpu: 0}
		if got := page.facts(f)[0].Cell.Format(1); got != "10.0" {
			t.Errorf("%s: %s switches/s on the CPU, want 10.0", name, got)
		}
		for _, table := range []Table{soft, cpuTable(f)} {
			if got := strings.Contains(strings.Join(table.Notes, "\n"), since); got != tt.note {
				t.Errorf("%s: the notes %q of %s name a time: %v, want %v", name, table.Notes, table.Title, got, tt.note)
			}
		}
	}
}

// TestGapOfCPU: where single CPUs were given up, the page of one draws nothing, and not that it rested.
func TestGapOfCPU(t *testing.T) {
	var f Frame
	for i := range 20 {
		s := steadySecond(i + 1)
		s.CPU.CPUs = []collectors.CPUTime{{CPU: 0, Ticks: collectors.Ticks{User: 100}}}
		if i < 15 {
			s = s.WithoutCPUs()
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[19]
	values := (&cpuPage{cpu: 0}).timeHistory(f, "%usr")
	for i, v := range values {
		if math.IsNaN(v) != (i < 15) || i >= 15 && v != 100 {
			t.Errorf("%%usr over time is %v, want 15 gaps and 100", values)
			break
		}
	}
	if len(values) != 20 {
		t.Errorf("%d values, want 20", len(values))
	}
}

// TestGapOfRows: where rows were given up, what is drawn of a process is a gap, and not that it did nothing.
func TestGapOfRows(t *testing.T) {
	var f Frame
	for i := range 20 {
		s := steadySecond(i + 1)
		s.Exec.Short = []collectors.ShortLived{{Comm: collectors.RawString("sh"), Exits: 3}}
		if i < 15 {
			s = s.WithoutRows()
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[19]
	page := newProcessPage(proc(7, 0, "app"))
	number := pageNumber{of: func(r *collectors.TaskRow, seconds float64) float64 { return 100 * r.Run.Seconds() / seconds }}
	for name, values := range map[string][]float64{"list": cpuHistory(f)["7"], "page": rowSeries(page.rows(f), number)} {
		if len(values) != 20 {
			t.Errorf("%s: %d values, want 20", name, len(values))
		}
		for i, v := range values {
			if math.IsNaN(v) != (i < 15) || i >= 15 && v != 100 {
				t.Errorf("%s: %%CPU over time is %v, want 15 gaps and 100", name, values)
				break
			}
		}
	}
	if got := lastMinute(f); got != 5*time.Second {
		t.Errorf("the rows of %v of the last minute are kept, want 5s", got)
	}
	lines := (&commandPage{comm: collectors.RawString("sh")}).history(f, Canvas{Width: 80, Height: 24, Theme: plain()})
	if want := strings.Repeat(" ", 5) + strings.Repeat(widget.Level(3, 0, 3), 5); len(lines) != 1 || !strings.HasSuffix(lines[0], want) {
		t.Errorf("what ended over time is %q, want a gap and then %q", lines, want)
	}
}

// TestRowsGivenUp: the rates of rows are of the time whose rows are kept, those of sums of the whole.
func TestRowsGivenUp(t *testing.T) {
	const seconds, kept = 60, 10
	f := Frame{At: began}
	for i := 1; i <= seconds; i++ {
		s := steadySecond(i)
		if i <= seconds-kept {
			s = s.WithoutRows()
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[seconds-1]
	f.Span = time.Hour
	var socks Table
	socketTable(f, &socks)
	owners := ownerTable(f, diskOver(f), blockOver(f.rowed()), func(collectors.DevID) bool { return true })
	for name, tt := range map[string]struct {
		table        Table
		column, want string // of the last row
		fact, says   string // a sum, of all the time
	}{
		"processes":  {NewProcesses().Table(f), "%CPU", "100.0", "gone", "0.0~"},
		"disks":      {diskTable(f, diskOver(f), func(*diskIO) bool { return true }), "r/s", "10.0", "", ""},
		"owners":     {owners, "r/s", "10.0", "", ""},
		"sockets":    {socks, "tx", "1.0", "", ""},
		"services":   {flowServiceTable(f, flowOver(f)), "conn", "10.0", "", ""},
		"programs":   {flowProcessTable(f, flowOver(f)), "conn", "10.0", "", ""},
		"calls":      {(&Syscalls{}).callTable(f), "calls/s", "10.0", "", ""},
		"caches":     {slabTable(f), colGrowth, "10.0", "", ""},
		"allocs":     {slabTable(f), "allocs/s", "10.0", "", ""},
		"page cache": {pagesTable(f), "ADDED", "10", "", ""},
		"forks":      {forkTable(f), "forks/s", "10.0", "forks", "10.0"},
		"opens":      {openerTable(f), "OPENS/s", "10.0", "opens", "10.0"},
		"interfaces": {(&Network{}).interfaces(f, netOver(f), false), "rxpck/s", "10.0", "", ""},
	} {
		if len(tt.table.Rows) == 0 {
			t.Errorf("%s: no rows: %q", name, tt.table.Notes)
			continue
		}
		if got := cells(tt.table, tt.table.Rows[len(tt.table.Rows)-1].ID)[tt.column]; got != tt.want {
			t.Errorf("%s: %s is %q, want %q", name, tt.column, got, tt.want)
		}
		for _, x := range tt.table.Facts {
			if x.ID == tt.fact && x.Cell.Format(x.Decimals) != tt.says {
				t.Errorf("%s: the fact %s is %s, want %s", name, x.ID, x.Cell.Format(x.Decimals), tt.says)
			}
		}
		if since := "rows: since " + began.Add(-kept*time.Second).Format(time.TimeOnly); !strings.HasPrefix(strings.Join(tt.table.Notes, "\n"), since) {
			t.Errorf("%s: notes %q, want %q first", name, tt.table.Notes, since)
		}
	}
	if got := flowOver(f); got.Seconds() != seconds {
		t.Errorf("the host's connections are of %v s, want all %d", got.Seconds(), seconds)
	}
	if got := callFacts(f)[0].Cell.Format(1); got != "10.0" {
		t.Errorf("the host's calls are %s/s, want 10.0", got)
	}
}
