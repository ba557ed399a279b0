// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// execWatch is the facade with what it lists.
type execWatch struct {
	*Exec
	events *Events
	execs  []ExecEvent
	exits  []ExitEvent
	reaps  []ReapEvent
}

// watchExec opens everything, with this process as a target, so that the host leaves its children room
// in the lists.
func watchExec(t testing.TB) *execWatch {
	t.Helper()
	k := need(t)
	ev, err := OpenEvents(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, ev)
	e, err := OpenExec(k, ExecParts{Exec: true, Fork: true, Exit: true})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, e)
	if errs := e.Errs(); errs != (ExecErrs{}) {
		t.Fatalf("parts are missing: %+v", errs)
	}
	slots, err := e.Narrow([]Filter{{ID: uint64(os.Getpid()), Kind: FilterProcess}})
	if err != nil || slots[1].ID != uint64(os.Getpid()) {
		t.Fatalf("Narrow = %v, %v", slots, err)
	}
	return &execWatch{Exec: e, events: ev}
}

// take empties the ring.
func (w *execWatch) take(t testing.TB) {
	t.Helper()
	err := w.events.Drain(func(kind EventKind, rec []byte) {
		ok := true
		switch kind {
		case EventExec:
			var e ExecEvent
			if e, ok = ParseExec(rec); ok {
				e.Args = []byte(string(e.Args))
				w.execs = append(w.execs, e)
			}
		case EventExit:
			var e ExitEvent
			if e, ok = ParseExit(rec); ok {
				w.exits = append(w.exits, e)
			}
		case EventReap:
			var e ReapEvent
			if e, ok = ParseReap(rec); ok {
				w.reaps = append(w.reaps, e)
			}
		}
		if !ok {
			t.Errorf("a record of kind %d and %d bytes is not whole", kind, len(rec))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// counts reads the maps.
func (w *execWatch) counts(t testing.TB) *ExecCounts {
	t.Helper()
	var c ExecCounts
	if err := w.Read(&c, 0); err != nil {
		t.Fatal(err)
	}
	return &c
}

// dead is what is known of the dead of a name that are ours.
func (c *ExecCounts) dead(comm string) (sum DeadCount) {
	for _, d := range c.Dead {
		if d.Comm == comm && d.ParentTGID == int32(os.Getpid()) {
			sum = d
		}
	}
	return sum
}

// settled waits until n children of this process that were waited for are counted so: the kernel frees
// them after a grace period, and in a storm not all of them in our sight.
func (w *execWatch) settled(t testing.TB, comm string, n uint64) DeadCount {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c := w.counts(t)
		if c.Totals[1].Reaped >= n || time.Now().After(end) {
			return c.dead(comm)
		}
	}
}

// joined is arguments as the kernel keeps them.
func joined(args ...string) string {
	var b strings.Builder
	for _, a := range args {
		b.WriteString(a + "\x00")
	}
	return b.String()
}

// TestExecs starts 23 programs with odd names and arguments.
func TestExecs(t *testing.T) {
	w := watchExec(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "bpf60-execs")
	tiny(t, path, 0, false)
	script := filepath.Join(dir, "bpf60-script")
	if err := os.WriteFile(script, []byte("#!"+path+" -x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "bpf60 \x1b[31m\n\xff")
	tiny(t, odd, 0, false)
	deep := dir
	for len(deep) < 280 {
		deep = filepath.Join(deep, strings.Repeat("d", 60))
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	deep = filepath.Join(deep, "bpf60-deep")
	tiny(t, deep, 0, false)
	long := strings.Repeat("x", 100_000)

	type want struct {
		File, Args string
		Whole      int
	}
	var starts []func() int
	var wants []want
	add := func(path string, args []string, file, seen string, whole int) {
		starts = append(starts, func() int { return spawn(t, path, args) })
		wants = append(wants, want{file, seen, whole})
	}
	plain := func(path string, args ...string) {
		all := joined(args...)
		add(path, args, path[:min(len(path), MaxExecFile)], all[:min(len(all), MaxExecArgs)], len(all))
	}
	plain(odd, odd, "\x1b]0;title\x07", "\xff\xfe", "\u202e")
	plain(path, path, long)
	plain(deep, "deep")
	plain(path, path, "", "", "--password=x")
	add(script, []string{"ignored", "one"}, script, joined(path, "-x", script, "one"), len(joined(path, "-x", script, "one")))
	// Since 5.18 there is an empty argument at least.
	add(path, nil, path, "", -1)
	for i := len(starts); i < 23; i++ {
		plain(path, "bpf60", strconv.Itoa(i))
	}

	before := w.counts(t)
	pids := make(map[int32]int)
	for i, start := range starts {
		pid := start()
		pids[int32(pid)] = i
		reap(t, pid)
	}
	w.take(t)
	got := make([]want, len(wants))
	for _, e := range w.execs {
		i, ours := pids[e.TGID]
		if !ours || e.ParentTGID != int32(os.Getpid()) {
			continue
		}
		if got[i] != (want{}) {
			t.Errorf("exec %d is listed twice", i)
		}
		got[i] = want{e.File, string(e.Args), int(e.ArgsWhole)}
		if e.OldPID != e.TGID || e.Slots != 1<<1 || e.UID != uint32(os.Getuid()) || e.Start == 0 || e.ParentStart == 0 || e.At < e.Start {
			t.Errorf("exec %d: %+v", i, e)
		}
	}
	if args := got[5].Args; args == "" || args == "\x00" {
		wants[5].Args, wants[5].Whole = args, len(args)
	}
	if diff := cmp.Diff(wants, got); diff != "" {
		t.Errorf("execs (-want +got):\n%s", diff)
	}
	after := w.counts(t)
	if n := after.Totals[1].Execs - before.Totals[1].Execs; n != 23 {
		t.Errorf("%d execs of this process's children, want 23", n)
	}
	var files int
	for _, c := range after.Execs {
		switch c.Name {
		case path:
			files += int(c.Execs)
			if c.Execs != 20 {
				t.Errorf("%d execs of %s, want 20", c.Execs, c.Name)
			}
		case script, odd, deep[:127]:
			files += int(c.Execs)
		}
	}
	if files != 23 {
		t.Errorf("%d execs by file, want 23: %+v", files, after.Execs)
	}
}

// TestExits lets 23 processes end: by exit codes, by signals, one that dumps its core.
func TestExits(t *testing.T) {
	w := watchExec(t)
	if err := w.Scanned(bootNow(t)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wants := make(map[int32]int32)
	before := w.counts(t)
	begin := func(exit byte, fault bool) int {
		path := filepath.Join(dir, fmt.Sprintf("bpf60-exit%d", exit))
		tiny(t, path, exit, fault)
		// All of one name.
		name := filepath.Join(dir, "bpf60-exits")
		if err := os.Rename(path, name); err != nil {
			t.Fatal(err)
		}
		return spawn(t, name, []string{"x"})
	}
	var failed, killed uint64
	for i := range 23 {
		code := byte(0)
		if i > 10 {
			code = byte(i)
		}
		pid := begin(code, i >= 20)
		ws, _ := reap(t, pid)
		nap(10 * time.Millisecond) // so that the kernel does not free all of them at once
		wants[int32(pid)] = int32(ws)
		switch {
		case ws.Signaled():
			killed++
		case ws != 0:
			failed++
		}
	}
	if failed != 9 || killed != 3 {
		t.Fatalf("%d failed and %d killed, want 9 and 3", failed, killed)
	}
	sum := w.settled(t, "bpf60-exits", 23)
	w.take(t)
	got := make(map[int32]int32)
	for _, e := range w.exits {
		if _, ours := wants[e.TGID]; !ours || e.Comm != "bpf60-exits" {
			continue
		}
		if _, twice := got[e.TGID]; twice {
			t.Errorf("the exit of %d is listed twice", e.TGID)
		}
		got[e.TGID] = e.Code
		if e.ParentTGID != int32(os.Getpid()) || e.Slots != 1<<1 || e.At-e.Start < e.Age/2 || e.Age == 0 || e.Threads != 1 {
			t.Errorf("exit of %d: %+v", e.TGID, e)
		}
	}
	if diff := cmp.Diff(wants, got); diff != "" {
		t.Errorf("status as wait(2) has it (-want +got):\n%s", diff)
	}
	if sum.Exits != 23 || sum.Failed != failed || sum.Killed != killed || sum.Unseen != 23 || sum.CPU == 0 || sum.UnseenCPU != sum.CPU || sum.UnseenAge != sum.Age {
		t.Errorf("sums %+v, want 23 exits that no scan has seen, %d failed, %d killed", sum, failed, killed)
	}
	after := w.counts(t).Totals[1]
	if after.Exits-before.Totals[1].Exits != 23 || after.Failed != failed || after.Killed != killed || after.Forks-before.Totals[1].Forks != 23 {
		t.Errorf("totals of this process's children: %+v", after)
	}
	reaped := make(map[int32]bool)
	for _, e := range w.reaps {
		if _, ours := wants[e.TGID]; ours {
			reaped[e.TGID] = true
		}
	}
	// What is freed while a task runs that the kernel keeps out of its tracepoints, nobody sees.
	if len(reaped) < 15 {
		t.Errorf("%d of 23 processes are listed as waited for, want nearly all", len(reaped))
	}
}

// TestSeen: what began before the last scan is not counted as unseen.
func TestSeen(t *testing.T) {
	w := watchExec(t)
	pid := startReady(t, "handle 10")
	if err := w.Scanned(bootNow(t)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	reap(t, pid)
	d := w.settled(t, "exe", 1)
	if d.Exits != 1 || d.Unseen != 0 || d.Killed != 1 {
		t.Errorf("sums %+v, want one that a scan has seen and a signal killed", d)
	}
}
