// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"
)

// dirents is what getdents64 returns for a directory of such names.
func dirents(names ...string) (b []byte) {
	for _, name := range names {
		n := (19 + len(name) + 1 + 7) &^ 7
		entry := make([]byte, n)
		binary.NativeEndian.PutUint16(entry[16:], uint16(n))
		copy(entry[19:], name)
		b = append(b, entry...)
	}
	return b
}

func TestNextPID(t *testing.T) {
	tests := map[string]struct {
		in   []byte
		want []int32
	}{
		"mixed":     {dirents(".", "..", "1", "self", "4711", "12x", "-5", "0", "sys"), []int32{1, 4711}},
		"too large": {dirents("2147483648", "2147483647"), []int32{2147483647}},
		"cut off":   {dirents("1", "22")[:30], []int32{1}},
		"no length": {make([]byte, 64), nil},
		"empty":     {nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []int32
			for b := tt.in; len(b) > 0; {
				var pid int32
				if pid, b = nextPID(b); pid != 0 {
					got = append(got, pid)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("PIDs (-want +got):\n%s", diff)
			}
		})
	}
}

// openProc opens a scanner that is closed with the test.
func openProc(t testing.TB, root string) *procScanner {
	t.Helper()
	p := newProcScanner(NewFS(root))
	if err := p.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func scan(t testing.TB, p *procScanner) []taskRec {
	t.Helper()
	recs, err := p.Scan(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(recs, func(a, b taskRec) int { return int(a.PID - b.PID) })
	return recs
}

func TestProcScanFixture(t *testing.T) {
	got := scan(t, openProc(t, fixture))
	const lacks = LackSwitches | LackSwap | LackDelay
	want := []taskRec{
		{
			PID: 1, TGID: 1, There: 1, Start: 310e6, Wait: 10454073, Threads: 12, Prio: 20, State: 'S', Lacks: lacks | LackIO | LackThreads,
			taskCounts: taskCounts{Run: 10560e6, User: 1590e6, Sys: 8970e6, MinFlt: 38272, MajFlt: 69}, RSS: 4779, VSZ: 11799, Comm: comm("systemd"), LastCPU: 2,
		},
		{
			PID: 2, TGID: 2, There: 2, Start: 310e6, Wait: 11161816, Threads: 1, Prio: 20, State: 'S', Kernel: true, Lacks: lacks,
			taskCounts: taskCounts{Run: 7756062}, Comm: comm("kthreadd"), LastCPU: 1,
		},
		{PID: 4, TGID: 4, There: 4, PPID: 2, Start: 310e6, Threads: 1, Nice: -20, State: 'I', Kernel: true, Lacks: lacks, Comm: comm("kworker/R-rcu_gp"), LastCPU: 1},
		{
			PID: 4711, TGID: 4711, There: 4711, PPID: 1, Start: 3219370e6, Wait: 1262381, Threads: 3, Prio: 20, State: 'S', Lacks: lacks | LackIO | LackThreads,
			taskCounts: taskCounts{Run: 80e6, User: 60e6, Sys: 20e6, MinFlt: 2936, MajFlt: 4}, RSS: 3459, VSZ: 41060, Comm: comm("\x1b]0;P\n) S 1)"), LastCPU: 2,
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(taskRec{}, toldGauges{})); diff != "" {
		t.Errorf("Scan (-want +got):\n%s", diff)
	}
}

// procTree makes a tree of processes that a test can change.
type procTree struct {
	t    testing.TB
	root string
}

func (p procTree) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p procTree) process(pid int, state, start, sched string) {
	p.t.Helper()
	dir := strconv.Itoa(pid)
	p.write(dir+"/stat", dir+" (x) "+state+" 1 7 7 0 -1 0 9 9 9 9 1 1 9 9 20 0 1 0 "+start+" 4096 1 2\n")
	p.write(dir+"/schedstat", sched)
	p.write(dir+"/io", "rchar: 99\nwchar: 99\nsyscr: 9\nsyscw: 9\nread_bytes: 8192\nwrite_bytes: 4096\ncancelled_write_bytes: 512\n")
	p.write(dir+"/status", "Name:\tx\nUid:\t1000\t0\t0\t0\n")
}

func TestProcScanChanges(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	const pid, sched = 100, "30000000 5 1\n"
	tree.process(pid, "S", "50", sched)
	first := taskRec{
		PID: pid, TGID: pid, There: pid, PPID: 1, UID: 1000, Start: 500e6, Wait: 5, Threads: 1, Prio: 20, State: 'S', Lacks: LackSwitches | LackSwap | LackDelay, RSS: 1, VSZ: 1, Comm: comm("x"),
		taskCounts: taskCounts{Run: 30e6, User: 10e6, Sys: 10e6, MinFlt: 9, MajFlt: 9, Read: 8192, Write: 4096, CancelledW: 512},
	}
	with := func(change func(*taskRec)) []taskRec {
		r := first
		change(&r)
		return []taskRec{r}
	}
	steps := []struct {
		name   string
		change func()
		want   []taskRec
	}{
		{"first", func() {}, []taskRec{first}},
		{"asleep", func() {}, []taskRec{first}},
		{"ran", func() { tree.process(pid, "D", "50", "31000000 6 2\n") }, with(func(r *taskRec) { r.Run, r.Wait, r.State = 31e6, 6, 'D' })},
		{"woken, but not run yet", func() { tree.process(pid, "R", "50", "31000000 6 2\n") }, with(func(r *taskRec) { r.Run, r.Wait, r.State = 31e6, 6, 'R' })},
		{"PID reused", func() { tree.process(pid, "S", "60", "1000 7 1\n"); tree.write("100/status", "Uid:\t5\n") }, with(func(r *taskRec) { r.Start, r.Run, r.Wait, r.UID = 600e6, 20e6, 7, 5 })},
		{"no schedstat", func() { os.Remove(filepath.Join(tree.root, "100/schedstat")) }, with(func(r *taskRec) { r.Start, r.Run, r.Wait, r.UID = 600e6, 20e6, 0, 5 })},
		{"closed to us", func() { os.Remove(filepath.Join(tree.root, "100/io")) }, with(func(r *taskRec) {
			r.Start, r.Run, r.Wait, r.UID = 600e6, 20e6, 0, 5
			r.Read, r.Write, r.CancelledW = 0, 0, 0
			r.Lacks |= LackIO
		})},
		{"cut off by its end", func() { tree.write("100/stat", "100 (x) S 1") }, []taskRec{}},
		{"gone", func() { os.RemoveAll(filepath.Join(tree.root, "100")) }, []taskRec{}},
	}
	p := openProc(t, tree.root)
	for _, s := range steps {
		s.change()
		got := scan(t, p)
		if diff := cmp.Diff(s.want, append([]taskRec{}, got...), cmp.AllowUnexported(taskRec{}, toldGauges{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
	if len(p.known) != 0 {
		t.Errorf("the scanner still knows %d processes, want none", len(p.known))
	}
}

// TestProcScanSlowChanges holds that what a sleeping process does not do itself is seen too.
func TestProcScanSlowChanges(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.process(100, "S", "50", "30000000 5 1\n")
	p := openProc(t, tree.root)
	scan(t, p)
	tree.process(100, "Z", "50", "30000000 5 1\n")
	seen := -1
	for i := range 2 * knownRounds {
		if scan(t, p)[0].State == 'Z' {
			seen = i
			break
		}
	}
	if seen < 0 || seen >= knownRounds {
		t.Errorf("seen after %d scans, want less than %d", seen, knownRounds)
	}
}

// TestProcScanCrowd holds that with many processes a long sleeper is read at every other scan, that it
// loses nothing by it, and that who moved is read at each.
func TestProcScanCrowd(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.process(100, "S", "50", "30000000 5 1\n")
	p := openProc(t, tree.root)
	crowded := func(on bool) *taskRec {
		for pid := int32(1_000_000); on && len(p.known) <= crowd; pid++ {
			p.known[pid] = knownProc{round: p.round}
		}
		return &scan(t, p)[0]
	}
	for range longAsleep + 1 {
		crowded(true)
	}
	for _, moves := range []bool{false, true} { // whichever of two scans it is that leaves it out
		run := uint64(31_000_000)
		if moves {
			run = 35_000_000
			crowded(true)
		}
		tree.process(100, "S", "50", strconv.FormatUint(run, 10)+" 5 1\n")
		if first, second := crowded(true).Run, crowded(true).Run; second != run {
			t.Errorf("after two scans it ran %d and %d ns, want %d at the second", first, second, run)
		}
		tree.process(100, "S", "50", strconv.FormatUint(run+7, 10)+" 5 1\n")
		if got := crowded(true).Run; got != run+7 {
			t.Errorf("awake, it ran %d ns, want %d at once", got, run+7)
		}
		for range longAsleep + 1 {
			crowded(true)
		}
	}
	late := 0
	for i := range uint64(20) {
		run := 40_000_000 + i
		tree.process(100, "S", "50", strconv.FormatUint(run, 10)+" 5 1\n")
		p.known[100] = knownProc{rec: p.known[100].rec, sched: p.known[100].sched, asleep: longAsleep}
		if crowded(true).Run != run {
			late++
		}
	}
	if late != 10 {
		t.Errorf("a long sleeper was late %d times of 20, want every other", late)
	}
}

func TestProcScanErrors(t *testing.T) {
	if err := newProcScanner(NewFS(t.TempDir() + "/none")).Open(context.Background()); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Open of no directory = %v, want ENOENT", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := openProc(t, fixture).Scan(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan after the end = %v, want Canceled", err)
	}
	for _, err := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if got := tolerate(err); !errors.Is(got, err) {
			t.Errorf("tolerate(%v) = %v, want the same", err, got)
		}
	}
	for _, err := range []error{unix.ENOENT, unix.ESRCH, unix.EACCES, errFormat} {
		if got := tolerate(err); got != nil {
			t.Errorf("tolerate(%v) = %v, want nil", err, got)
		}
	}
	if p := openProc(t, t.TempDir()).Probe(); p.Remedy != "run as root" {
		t.Errorf("without PID 1 the probe says %+v, want that processes are hidden", p)
	}
}

// TestProcScanHost reads the real /proc, and looks for ourselves and for a child.
func TestProcScanHost(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	p := openProc(t, "")
	before := bootNs()
	var self, kid *taskRec
	recs := scan(t, p)
	for i := range recs {
		switch int(recs[i].PID) {
		case os.Getpid():
			self = &recs[i]
		case child.Process.Pid:
			kid = &recs[i]
		}
	}
	if self == nil || kid == nil {
		t.Fatalf("of %d processes, ourselves: %v, our child: %v", len(recs), self, kid)
	}
	if self.Run == 0 || self.Threads < 2 || self.UID != uint32(os.Getuid()) || self.Kernel {
		t.Errorf("ourselves = %+v", self)
	}
	if kid.PPID != int32(os.Getpid()) || kid.Start > before || before-kid.Start > uint64(10*time.Second) {
		t.Errorf("our child = %+v, at %d ns since boot", kid, before)
	}
}

// TestProcHidden mounts /proc so that it hides other users' processes, each way there is, and looks as nobody.
func TestProcHidden(t *testing.T) {
	if os.Geteuid() != 0 {
		lacking(t, "mounting needs root")
	}
	for option, want := range map[string]bool{"hidepid=0": false, "hidepid=1": true, "hidepid=2": true} {
		t.Run(option, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "bpf60-proc-") // t.TempDir is closed to others
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(dir)
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			var probe Probe
			done := make(chan error)
			go func() {
				runtime.LockOSThread() // never unlocked: the thread ends with its rights and its mounts
				done <- asNobody(dir, option, func() error {
					p := newProcScanner(NewFS(dir))
					if err := p.Open(context.Background()); err != nil {
						return err
					}
					defer p.Close()
					_, err := p.Scan(context.Background(), nil)
					probe = p.Probe()
					return err
				})
			}()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if hidden := strings.Contains(probe.Reason, "hidepid"); hidden != want || hidden && probe.Remedy != "run as root" {
				t.Errorf("probe = %+v, want that processes are hidden: %v", probe, want)
			}
		})
	}
}

// asNobody mounts a /proc of this thread alone, gives its rights away and calls f.
func asNobody(dir, option string, f func() error) error {
	const nobody = 65534
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", dir, "proc", 0, option); err != nil {
		return fmt.Errorf("mounting proc: %w", err)
	}
	// The raw calls change this thread alone. Who is in group 0 sees all.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, nobody, nobody, nobody); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
		return errno
	}
	return f()
}

// BenchmarkTaskScan sets our scan beside gopsutil's way to the same columns.
func BenchmarkTaskScan(b *testing.B) {
	var own float64 // ns a process
	b.Run("own", func(b *testing.B) {
		p := openProc(b, "")
		recs := scan(b, p)
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if recs, err = p.Scan(context.Background(), recs[:0]); err != nil {
				b.Fatal(err)
			}
		}
		own = perProcess(b, len(recs))
	})
	b.Run("gopsutil", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			all, err := process.Processes()
			if err != nil {
				b.Fatal(err)
			}
			n = len(all)
			for _, p := range all {
				_, _ = p.Times()
				_, _ = p.Name()
				_, _ = p.Ppid()
				_, _ = p.Status()
				_, _ = p.Uids()
				_, _ = p.NumThreads()
				_, _ = p.Nice()
			}
		}
		if per := perProcess(b, n); own > 0 {
			b.ReportMetric(per/own, "x-own")
		}
	})
}

func perProcess(b *testing.B, n int) float64 {
	per := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n)
	b.ReportMetric(per, "ns/process")
	b.ReportMetric(float64(n), "processes")
	return per
}
