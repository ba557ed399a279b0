// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testHz makes a test short. No kernel samples less often than this unless somebody told it to.
const testHz = 997

// threadTime is what the calling thread has run for: other tasks take nothing away from it.
//
//go:nosplit
//go:norace
func threadTime() int64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Sec*1e9 + ts.Nsec
}

// spinThrice and spinOnce run for a while, mostly in their own loop: who calls a function without a frame
// of its own is not in the stack.
//
//go:noinline
//go:norace
func spinThrice(d time.Duration) (x uint64) {
	for end := threadTime() + int64(d); threadTime() < end; {
		for i := range uint64(20_000) {
			x = x*3 + i
		}
	}
	return x
}

//go:noinline
//go:norace
func spinOnce(d time.Duration) (x uint64) {
	for end := threadTime() + int64(d); threadTime() < end; {
		for i := range uint64(20_000) {
			x = x*5 + i
		}
	}
	return x
}

func openTestProfile(t testing.TB, k *Kernel, ring uint32, targets ...Filter) *Profile {
	t.Helper()
	p, err := openProfile(k, testHz, ring, targets)
	if err != nil {
		t.Fatalf("OpenProfile: %v", err)
	}
	closing(t, p)
	return p
}

func profileCounts(t testing.TB, p *Profile) ProfileCounts {
	t.Helper()
	c, err := p.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProfileShares: two functions of one process, which run three to one, are sampled so, and nobody else
// is.
func TestProfileShares(t *testing.T) {
	k := need(t)
	cpus := onlineCPUs(t)
	a := newActor(t, "splits", cpus[len(cpus)-1])
	p := openTestProfile(t, k, 1<<20, Filter{ID: uint64(a.pid), Kind: FilterProcess})
	a.begin()
	a.hear(t, "running")
	if err := p.SampleCPUs(cpus); err != nil {
		t.Fatal(err)
	}
	// Samples are evenly spread: of 2,000 the share is right to a percent or two.
	var thrice, once, others, kernel int
	awaiting(t, "2000 samples", func() bool {
		err := p.Drain(func(s *ProfileSample) {
			if int(s.TGID) != a.pid || s.Thread {
				t.Fatalf("a sample of process %d, want %d alone", s.TGID, a.pid)
			}
			if len(s.Kernel) > 0 {
				kernel++
			}
			for _, addr := range s.User { // it is this program, and does not move
				switch f := runtime.FuncForPC(uintptr(addr)); {
				case f == nil:
				case f.Name() == "bpf60/bpf.spinThrice":
					thrice++
					return
				case f.Name() == "bpf60/bpf.spinOnce":
					once++
					return
				}
			}
			others++
		})
		if err != nil {
			t.Fatal(err)
		}
		return thrice+once >= 2000
	})
	fmt.Fprintln(a.in)
	a.end(t)
	if share := 100 * float64(thrice) / float64(thrice+once); math.Abs(share-75) > 5 {
		t.Errorf("the one has %.1f%% of %d samples, want 75 within 5", share, thrice+once)
	}
	if all := thrice + once + others; others > all/5 || kernel == all {
		t.Errorf("of %d samples %d are in neither function, %d in the kernel", all, others, kernel)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if c := profileCounts(t, p); c.Passed+c.Idle == 0 || c.Lost != 0 {
		t.Errorf("%+v: want others and idle CPUs counted, and nothing lost", c)
	}
}

// TestProfileCounts: every run of the program that the kernel counts is a sample, lost, idle or passed, and
// every sample is in the ring, also where that is much too small.
func TestProfileCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		ring  uint32
		drain bool
	}{
		"room":    {1 << 20, true},
		"no room": {uint32(os.Getpagesize()), false},
	} {
		t.Run(name, func(t *testing.T) {
			k := need(t)
			stats, err := k.CountRuns()
			if err != nil {
				t.Fatal(err)
			}
			closing(t, stats)
			p := openTestProfile(t, k, tt.ring)
			cpus := onlineCPUs(t)
			if err := p.SampleCPUs(cpus); err != nil {
				t.Fatal(err)
			}
			samples := uint64(0)
			own := false
			drain := func() {
				if err := p.Drain(func(s *ProfileSample) {
					samples++
					own = own || int(s.TGID) == os.Getpid()
				}); err != nil {
					t.Fatal(err)
				}
			}
			awaiting(t, "samples", func() bool {
				spin(10 * time.Millisecond)
				if tt.drain {
					drain()
				}
				c := profileCounts(t, p)
				return c.Sampled+c.Lost >= 300 && (tt.drain || c.Lost > 0)
			})
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			drain()
			c := profileCounts(t, p)
			if c.Sampled != samples || (c.Lost > 0) == tt.drain {
				t.Errorf("%d samples, counted are %+v", samples, c)
			}
			if tt.drain && !own {
				t.Error("no sample of this process, which ran")
			}
			runs, err := k.Runs()
			if err != nil || len(runs) != 1 {
				t.Fatalf("Runs() = %v, %v, want one program", runs, err)
			}
			if n := c.Sampled + c.Lost + c.Passed + c.Idle; n != runs[0].Count {
				t.Errorf("%+v are %d, but the program ran %d times", c, n, runs[0].Count)
			}
			t.Logf("%+v, a run takes %v", c, runs[0].Time/time.Duration(max(runs[0].Count, 1)))
		})
	}
}

// TestProfileCgroup: of a cgroup those below it are sampled, too, and no others.
func TestProfileCgroup(t *testing.T) {
	k := need(t)
	cpus := onlineCPUs(t)
	a := newActor(t, "splits", cpus[0])
	top := filepath.Join(unifiedDir(t), fmt.Sprintf("bpf60-profile-%d", os.Getpid()))
	key := func(id uint64) uint64 { return CgroupID(k.shown, Unified, id) }
	topID := key(makeCgroup(t, top))
	inner := filepath.Join(top, "inner")
	innerID := key(makeCgroup(t, inner))
	t.Cleanup(func() { _ = unix.Kill(a.pid, unix.SIGKILL) }) // or its cgroup could not be removed
	if err := os.WriteFile(filepath.Join(inner, "cgroup.procs"), []byte(fmt.Sprint(a.pid)), 0); err != nil {
		t.Fatal(err)
	}
	p := openTestProfile(t, k, 1<<20, Filter{ID: topID, Kind: FilterCgroup})
	if err := p.SampleCPUs(cpus); err != nil {
		t.Fatal(err)
	}
	a.begin()
	a.hear(t, "running")
	samples := 0
	drain := func() {
		if err := p.Drain(func(s *ProfileSample) {
			if samples++; int(s.TGID) != a.pid {
				t.Errorf("a sample of process %d, want %d alone", s.TGID, a.pid)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	awaiting(t, "samples of others", func() bool { spin(10 * time.Millisecond); return profileCounts(t, p).Passed > 50 })
	if drain(); samples != 0 {
		t.Errorf("%d samples of a cgroup below one whose tree is not known", samples)
	}
	if err := k.FollowCgroups(Cgroups{topID: {innerID}}); err != nil {
		t.Fatal(err)
	}
	awaiting(t, "samples", func() bool { drain(); return samples > 20 })
}

// TestProfileComesAndGoes: a CPU that is no longer among those online is not sampled any more.
func TestProfileComesAndGoes(t *testing.T) {
	k := need(t)
	p := openTestProfile(t, k, 1<<20)
	cpus := onlineCPUs(t)
	sum := func() uint64 {
		c := profileCounts(t, p)
		return c.Sampled + c.Lost + c.Passed + c.Idle
	}
	for range 2 {
		was := sum()
		if err := p.SampleCPUs(cpus); err != nil {
			t.Fatal(err)
		}
		awaiting(t, "samples", func() bool { return sum() > was })
		if err := p.SampleCPUs(nil); err != nil || len(p.events) != 0 {
			t.Fatalf("SampleCPUs(nil) = %v, %d CPUs left", err, len(p.events))
		}
		was = sum()
		nap(20 * time.Millisecond)
		if now := sum(); now != was {
			t.Errorf("%d samples of no CPU", now-was)
		}
	}
}

func TestProfileRing(t *testing.T) {
	for cpus, want := range map[int]uint32{1: 256 << 10, 2: 512 << 10, 64: 16 << 20, 4096: 16 << 20} {
		if got := profileRing(cpus, ProfileHz(cpus)); got != want {
			t.Errorf("profileRing(%d CPUs) = %d, want %d", cpus, got, want)
		}
	}
}
