// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"testing"
	"time"
)

// TestCgroupsAtRest: who does nothing is read every 8 s, who works at every tick, and never more
// than so many at once.
func TestCgroupsAtRest(t *testing.T) {
	tree := newCgroups(t, mountV2)
	tree.put("/", "cpu.stat", cpuStat(0, 0, 0, 0, 0, 0))
	const n = 300
	stat := func(i, usage int) { tree.put(fmt.Sprintf("/s%03d", i), "cpu.stat", cpuStat(usage, 0, 0, 0, 0, 0)) }
	for i := range n {
		stat(i, 1000)
	}
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	seen, busy, most := map[string]int{}, 0, 0
	for sec := range 60 {
		stat(7, 100_000*sec)
		s := collectAs[*Cgroups](t, c, time.Duration(sec)*time.Second)
		if s.Count != n {
			t.Fatalf("at %d s %d known, want %d", sec, s.Count, n)
		}
		if sec > 42 {
			most = max(most, len(s.Rows))
			for _, r := range s.Rows {
				seen[r.Path.Bytes()]++
			}
			if r := rowOf(s, "/s007"); r != nil && r.Usage == 100*time.Millisecond && r.From == s.From {
				busy++
			}
			if s.Oldest > 10*time.Second {
				t.Errorf("at %d s the oldest reading is %v old", sec, s.Oldest)
			}
		}
	}
	if busy != 17 {
		t.Errorf("the busy one was read at %d of 17 ticks", busy)
	}
	if most > idleCgroupReads+1 {
		t.Errorf("%d were read at one tick, want at most %d and the busy one", most, idleCgroupReads)
	}
	for i := range n {
		if k := seen[fmt.Sprintf("/s%03d", i)]; k < 1 || k > 4 && i != 7 {
			t.Errorf("/s%03d at rest was read %d times in 17 s", i, k)
		}
	}
	if r := c.(*cgroupCollector).reader; r.open > r.max {
		t.Errorf("%d files are open, want at most %d", r.open, r.max)
	}
}

// TestCgroupsStill: of a cgroup in which nothing runs only the I/O is read at every tick, the rest
// again after a few.
func TestCgroupsStill(t *testing.T) {
	tree := newCgroups(t, mountV2)
	put := func(usage, memory, written, some int) {
		tree.put("/a", "cpu.stat", cpuStat(usage, 0, 0, 0, 0, 0), "memory.current", fmt.Sprintln(memory),
			"io.stat", fmt.Sprintf("8:0 rbytes=0 wbytes=%d rios=0 wios=0\n", written), "cpu.pressure", psi(some, 0), "memory.pressure", psi(0, 0), "io.pressure", psi(0, 0))
	}
	put(1000, 1, 0, 0)
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	watchAll(t, c)
	at := time.Duration(0)
	read := func() *CgroupRow {
		t.Helper()
		at += time.Second
		r := rowOf(collectAs[*Cgroups](t, c, at), "/a")
		if r == nil || at > time.Second && (r.Seconds() != 1 || r.PSI == nil || r.IO == nil) {
			t.Fatalf("at %v row = %+v", at, r)
		}
		return r
	}
	read()
	read()
	put(1000, 2, 4096, 0)
	if r := read(); r.Memory != 1 || r.IO.WBytes != 4096 || r.Usage != 0 {
		t.Errorf("still = %+v, %+v, want its I/O and its memory as it was", r, r.IO)
	}
	for range stillFor {
		read()
	}
	if r := read(); r.Memory != 2 {
		t.Errorf("after %d ticks its memory is %d, want it read again", stillFor+1, r.Memory)
	}
	put(2000, 3, 4096, 0)
	if r := read(); r.Memory != 3 || r.Usage != time.Millisecond {
		t.Errorf("it ran: %+v, want all of it read", r)
	}
	// A stall is seen though nothing runs, and who waited is not still.
	put(2000, 4, 4096, 5)
	seen := time.Duration(0)
	for range stillFor + 1 {
		seen += read().PSI.CPU.Some
	}
	put(2000, 5, 4096, 9)
	if r := read(); seen != 5*time.Microsecond || r.PSI.CPU.Some != 4*time.Microsecond || r.Memory != 5 {
		t.Errorf("stalled for %v, then %v with memory %d, want 5 µs, 4 µs and 5", seen, r.PSI.CPU.Some, r.Memory)
	}
}

// TestCgroupsAtRestPids: of who does nothing the tasks are counted all the same where they are limited, and
// nothing stays open for it.
func TestCgroupsAtRestPids(t *testing.T) {
	tree := newCgroups(t, mountV2)
	tree.put("/", "cpu.stat", cpuStat(0, 0, 0, 0, 0, 0))
	put := func(dir, limit string, denied int) {
		tree.put(dir, "cpu.stat", cpuStat(1000, 0, 0, 0, 0, 0), "pids.current", "990\n", "pids.max", limit+"\n", "pids.events", fmt.Sprintf("max %d\n", denied))
	}
	put("/pod", "1000", 3)
	put("/free", "max", 0)
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	collectAs[*Cgroups](t, c, 0)
	put("/pod", "1000", 8)
	s := collectAs[*Cgroups](t, c, 9*time.Second)
	r := rowOf(s, "/pod")
	if r == nil || r.Has&HasPids == 0 || r.Has&HasDenied == 0 || r.Pids != 990 || r.PidsDenied != 5 {
		t.Errorf("limited and at rest = %+v, want 990 tasks and 5 forks refused", r)
	}
	if r := rowOf(s, "/free"); r == nil || r.Has&HasPids != 0 {
		t.Errorf("without a limit = %+v, want it not read", r)
	}
	for _, n := range c.(*cgroupCollector).tree.order {
		if n.slots[slotPids].fd != 0 || n.slots[slotDenied].fd != 0 {
			t.Errorf("%s keeps files open", n.path)
		}
	}
}
