// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"testing"
	"time"

	"bpf60/collectors"
)

// beat is a host on which waits for a CPU are long at some seconds.
type beat struct {
	spike   func(i int) bool
	wait    time.Duration           // of 100 of 2000 waits in a spike
	usually time.Duration           // of them else
	execs   func(i int) []string    // what java runs in second i
	opens   func(i int) []string    // what it opens; nil: nobody looks
	parents func(i int) (pid int32) // that run it; nil: 901
	suffers bool
	n       int
}

func (b beat) history() *History {
	web := &collectors.ProcInfo{Process: collectors.Process{TGID: 30, Start: 30}, PID: 30, PPID: 1, Comm: collectors.RawString("web")}
	java := &collectors.ProcInfo{Process: collectors.Process{TGID: 901, Start: 901}, PID: 901, PPID: 1, Comm: collectors.RawString("java")}
	return ticking(b.n, func(i int, s *collectors.Snapshot, span collectors.Span) {
		spiky, long := b.spike(i), b.usually
		if spiky {
			long = b.wait
		}
		waits(map[time.Duration]int{20 * time.Microsecond: 1900, long: 100})(i, s, span)
		s.Tasks = &collectors.Tasks{Span: span, Rows: []collectors.TaskRow{{ProcInfo: web, Run: ms(100), Wait: ms(2)}, {ProcInfo: java, Run: ms(1), Wait: ms(1)}}}
		if spiky && b.suffers {
			s.Tasks.Rows[0].Wait = ms(200)
		}
		if i == 1 {
			s.Tasks.Key = []collectors.TaskState{{ProcInfo: web}, {ProcInfo: java}}
		}
		s.Exec = &collectors.Exec{Span: span}
		if b.execs != nil {
			for k, args := range b.execs(i) {
				parent := java.Process
				if b.parents != nil {
					parent = collectors.Process{TGID: b.parents(i), Start: uint64(i)}
				}
				p := collectors.Process{TGID: int32(10000 + 10*i + k), Start: uint64(i)}
				s.Exec.Execs = append(s.Exec.Execs, collectors.ExecRow{At: span.From + ms(500), Process: p, Parent: parent, ParentComm: java.Comm, File: collectors.RawString(args), Args: collectors.RawString(args)})
				cpu := ms(1)
				if args == "cat /proc/slabinfo" {
					cpu = ms(80)
				}
				s.Exec.Exits = append(s.Exec.Exits, collectors.ExitRow{At: span.To, Process: p, CPU: cpu})
			}
		}
		if b.opens != nil {
			s.Opens = &collectors.Opens{Span: span}
			for _, path := range b.opens(i) {
				s.Opens.Events = append(s.Opens.Events, collectors.PathEvent{At: span.From + ms(500), Process: java.Process, Comm: java.Comm, Path: collectors.RawString(path)})
			}
		}
	})
}

// every is one second in so many.
func every(n int) func(int) bool { return func(i int) bool { return i%n == 3 } }

func does(when func(int) bool, what ...string) func(int) []string {
	return func(i int) []string {
		if when(i) {
			return what
		}
		return nil
	}
}

func TestPeriodic(t *testing.T) {
	const slow, quick = 12 * time.Millisecond, 50 * time.Microsecond
	fifteen, all := every(15), func(int) bool { return true }
	wobbly := func(i int) bool { return i == 5 || i == 21 || i == 35 || i == 50 || i == 66 || i == 80 }
	random := func(i int) bool { return i == 4 || i == 9 || i == 31 || i == 37 || i == 60 || i == 88 }
	reads := "cat /proc/slabinfo"
	checkCases(t, "latency.periodic", map[string]ruleCase{
		"others wait":            {h: beat{fifteen, slow, quick, does(fifteen, reads), nil, nil, true, 80}.history(), want: "warning 8.192 ms by java[901] hits web[30]", in: "every 15 s: cat /proc/slabinfo by java[901]"},
		"nobody else waits":      {h: beat{fifteen, slow, quick, does(fifteen, reads), nil, nil, false, 80}.history(), want: "info 8.192 ms by java[901]"},
		"a second early or late": {h: beat{wobbly, slow, quick, does(wobbly, reads), nil, nil, true, 85}.history(), want: "warning 8.192 ms by java[901] hits web[30]", in: "every 15 s"},
		"what takes most of it":  {h: beat{fifteen, slow, quick, does(fifteen, "sleep 15", reads, "true"), nil, nil, true, 80}.history(), want: "warning 8.192 ms by java[901] hits web[30]", in: "cat /proc/slabinfo"},
		"another parent each time": {
			h:    beat{fifteen, slow, quick, does(fifteen, reads), nil, func(i int) int32 { return int32(500 + i) }, true, 80}.history(),
			want: "warning 8.192 ms by java hits web[30]", in: "cat /proc/slabinfo by java",
		},
		"no rhythm":            {h: beat{random, slow, quick, does(random, reads), nil, nil, true, 90}.history()},
		"run all the time":     {h: beat{fifteen, slow, quick, does(all, reads), nil, nil, true, 80}.history()},
		"run at half of them":  {h: beat{fifteen, slow, quick, does(every(30), reads), nil, nil, true, 80}.history()},
		"short waits":          {h: beat{fifteen, ms(3), quick, does(fifteen, reads), nil, nil, true, 80}.history()},
		"always long":          {h: beat{fifteen, slow, ms(5), does(fifteen, reads), nil, nil, true, 80}.history()},
		"four spikes":          {h: beat{fifteen, slow, quick, does(fifteen, reads), nil, nil, true, 60}.history()},
		"it is over":           {h: beat{func(i int) bool { return fifteen(i) && i < 80 }, slow, quick, does(fifteen, reads), nil, nil, true, 150}.history()},
		"every second one":     {h: beat{every(2), slow, quick, does(every(2), reads), nil, nil, true, 80}.history()},
		"a file is opened":     {h: beat{fifteen, slow, quick, nil, does(fifteen, "/proc/slabinfo"), nil, true, 80}.history(), want: "warning 8.192 ms by java[901] hits web[30]", in: "opening /proc/slabinfo by java[901]"},
		"nobody knows why yet": {h: beat{fifteen, slow, quick, nil, nil, nil, true, 80}.history()},
		"nobody knows why":     {h: beat{fifteen, slow, quick, nil, nil, nil, true, 170}.history(), want: "warning 8.192 ms hits web[30]", in: "every 15 s waits for a CPU are long"},
	})
	if _, wants := judge(t, "latency.periodic", beat{fifteen, slow, quick, nil, nil, nil, true, 80}.history()); len(wants) != 1 || wants[0].ID != collectors.OpensID {
		t.Errorf("asks for %v where nobody knows why, want the opens", wants)
	}
	if _, wants := judge(t, "latency.periodic", beat{fifteen, slow, quick, does(fifteen, reads), nil, nil, true, 80}.history()); wants != nil {
		t.Errorf("asks for %v where it is known", wants)
	}
}
