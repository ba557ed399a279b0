// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/collectors"
	"bpf60/triage"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: mostGC, 1 << 20: mostGC, heapGoal / 3: mostGC, heapGoal * 2 / 3: 50, heapGoal * 4 / 5: 25, heapGoal - 1: leastGC, heapGoal: leastGC, 1 << 40: leastGC,
	} {
		if got := gcPercent(live, heapGoal); got != want {
			t.Errorf("gcPercent(%d) = %d, want %d", live, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	const mb = 1_000_000
	tests := map[string]struct {
		beside        float64
		live          uint64
		held          int
		heap, history int
	}{
		"at the start":         {17 * mb, 0, 0, 17_500_000, 13_158_000},
		"small host":           {12 * mb, 9 * mb, 5 * mb, heapGoal, 12_556_000},
		"5,000 processes":      {22 * mb, 13 * mb, 7 * mb, 12_500_000, leastHistory},
		"others take too much": {22 * mb, 20 * mb, 7 * mb, 12_500_000, leastHistory},
		"no room at all":       {60 * mb, 13 * mb, 7 * mb, leastHeap, leastHistory},
		"more than lived":      {17 * mb, 5 * mb, 7 * mb, 17_500_000, 13_158_000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			heap, history := share(tt.beside, tt.live, tt.held)
			if heap != uint64(tt.heap) || history-tt.history > mb/20 || tt.history-history > mb/20 {
				t.Errorf("share(%.0f, %d, %d) = %d, %d, want %d, %d", tt.beside, tt.live, tt.held, heap, history, tt.heap, tt.history)
			}
		})
	}
}

// beats is a source that does nothing but tick.
type beats struct{}

func (beats) Run(ctx context.Context, emit func(*collectors.Snapshot)) error {
	for i := 0; ctx.Err() == nil; i++ {
		emit(&collectors.Snapshot{Seq: uint64(i), At: time.Duration(i) * time.Second})
	}
	return nil
}

// TestMemoryCeiling: more memory than may be taken ends a run, after the past was given up for it.
func TestMemoryCeiling(t *testing.T) {
	m := &memory{most: mostMemory}
	forgot := 0
	for i, tt := range []struct {
		rss, forgot int
		ends        bool
	}{
		{mostMemory, 0, false},
		{mostMemory + 1, 1, false},
		{mostMemory + 1, 2, false},
		{mostMemory, 2, false},
		{mostMemory + 1, 3, false},
		{mostMemory + 1, 4, false},
		{mostMemory + 1, 5, false},
		{200 << 20, 5, true},
	} {
		if err := m.ceiling(tt.rss, func() { forgot++ }); (err != nil) != tt.ends || forgot != tt.forgot {
			t.Errorf("tick %d: error %v, forgot %d times, want %t, %d", i, err, forgot, tt.ends, tt.forgot)
		}
	}
	old := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(old)
	run := &measurement{o: defaults(), source: beats{}, history: &triage.History{}, settled: true, most: 1 << 20}
	run.engine = triage.NewEngine(nil, run.history, func(string, []collectors.Want) {})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := run.Run(ctx, func() {})
	var over *tooMuchMemory
	if !errors.As(err, &over) || over.rss < 1<<20 || !strings.Contains(err.Error(), "MiB of memory, more than the 1 that it may") {
		t.Errorf("Run = %v, want that it takes too much memory", err)
	}
	if got := debug.SetMemoryLimit(-1); got != softMemory {
		t.Errorf("the runtime's limit is %d, want %d", got, softMemory)
	}
}

// memoryVariable makes the test binary a process that settles and says how much it holds: locking
// memory and its peak cannot be undone in the tests' own process.
const memoryVariable = "BPF60_TEST_MEMORY"

// own is a field of /proc/self/status in KiB.
func own(field string) (kib int) {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

func memoryMain(what string) {
	defer os.Exit(0)
	defer settle()()
	switch what {
	case "peak":
		block := make([]byte, 64<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		high := own("RssAnon")
		runtime.KeepAlive(block) // and no longer
		debug.FreeOSMemory()
		fmt.Println(high, own("RssAnon"), own("VmLck"))
	case "history":
		fullHistory()
	}
}

// fullHistory keeps ten minutes of 5,000 processes of which a tenth moves, each tick with as much
// garbage as the real ones make, and prints how large the heap may grow then.
func fullHistory() {
	const processes, moving, ticks, garbage, size = 5000, 500, 600, 4 << 20, 100 << 10
	infos := make([]*collectors.ProcInfo, processes)
	for i := range infos {
		infos[i] = &collectors.ProcInfo{
			PID: int32(i), Process: collectors.Process{TGID: int32(i), Start: uint64(i)}, Comm: collectors.RawString(fmt.Sprint("worker-", i)),
			Args: collectors.RawString(fmt.Sprintf("/usr/lib/service/worker --instance %d --config /etc/service/worker.conf", i)),
		}
	}
	h, memory := &triage.History{}, newMemory()
	defer memory.Close()
	var waste []byte
	ballast := make([]byte, 7<<20) // what the collectors hold of so many
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	for tick := range ticks {
		span := collectors.Span{From: time.Duration(tick) * time.Second, To: time.Duration(tick+1) * time.Second}
		tasks := &collectors.Tasks{Span: span, Processes: processes, Rows: make([]collectors.TaskRow, moving)}
		for i := range tasks.Rows {
			tasks.Rows[i] = collectors.TaskRow{ProcInfo: infos[(tick*7+i)%processes], Run: time.Millisecond}
		}
		if tick%60 == 0 {
			for _, info := range infos {
				tasks.Key = append(tasks.Key, collectors.TaskState{ProcInfo: info, RSS: 1})
			}
		}
		h.Append(triage.Moment{Snapshot: &collectors.Snapshot{
			Seq: uint64(tick), At: span.To, Host: &collectors.Host{Span: span}, Tasks: tasks,
			CPU: &collectors.CPU{Span: span, CPUs: make([]collectors.CPUTime, 8)}, Sched: &collectors.Sched{Span: span, CPUs: make([]collectors.SchedCPU, 8)},
		}})
		for range garbage / size {
			waste = make([]byte, size)
			for i := 0; i < len(waste); i += 4096 {
				waste[i] = 1
			}
		}
		h.Limit(memory.tune(h.Held()))
	}
	runtime.KeepAlive(waste)
	runtime.KeepAlive(ballast)
	last, _ := h.Last()
	fmt.Println(memory.resident()>>10, h.Len(), int((last.At - h.RowsSince()).Seconds()))
}

func ask(t *testing.T, what string, into ...any) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), memoryVariable+"="+what)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", what, err, out)
	}
	if _, err := fmt.Sscan(string(out), into...); err != nil {
		t.Fatalf("%s says %q: %v", what, out, err)
	}
}

// A peak goes again although memory is locked, and our text stays.
func TestMemoryComesBack(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("needs root: others lock nothing")
	}
	if raceDetector {
		t.Skip("the race detector has a memory of its own")
	}
	var high, after, locked int
	ask(t, "peak", &high, &after, &locked)
	if high < 64<<10 || after > 24<<10 {
		t.Errorf("%d KiB at the peak of 64 MiB, %d KiB after it was given up; want little left", high, after)
	}
	if locked < 4<<10 {
		t.Errorf("%d KiB are locked, want our text", locked)
	}
}

// With ten minutes of 5,000 processes the whole program stays at its goal.
func TestFullHistory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has a memory of its own")
	}
	var rss, moments, rows int
	ask(t, "history", &rss, &moments, &rows)
	t.Logf("%d KiB resident; %d moments, rows of %d s", rss, moments, rows)
	if rss > 40_000_000>>10 {
		t.Errorf("%d KiB resident with a full history, want %d", rss, rssGoal>>10)
	}
	if moments != 600 || rows < 50 { // 58 where the host is so busy that the history has its least
		t.Errorf("%d moments, rows of %d s; want 600 and what the least history holds", moments, rows)
	}
}
