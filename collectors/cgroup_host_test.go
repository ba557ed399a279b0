// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bpf60/bpf"
)

// hostCgroup makes a cgroup on this host in the hierarchies that it has of those asked for, and
// removes it after the test. It returns the path below the mounts and the directory of each.
func hostCgroup(t *testing.T, want ...hierarchy) (path string, dirs map[hierarchy]string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		lacking(t, "no mountinfo: %v", err)
	}
	mounts := parseCgroupMounts(b)
	path = fmt.Sprintf("/bpf60-test-%d", os.Getpid())
	dirs = map[hierarchy]string{}
	for _, h := range want {
		if mounts[h] == "" {
			t.Skipf("hierarchy %d (%s) of cgroups is not mounted here", h, h.controller())
		}
		dir := mounts[h] + path
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			lacking(t, "making a cgroup needs root: %v", err)
		}
		dirs[h] = dir
		t.Cleanup(func() {
			if err := removeCgroup(dir); err != nil && !os.IsNotExist(err) {
				t.Errorf("removing the cgroup: %v", err)
			}
		})
	}
	return path, dirs
}

// removeCgroup removes a cgroup whose last processes may still be on their way out.
func removeCgroup(dir string) error {
	var err error
	for range 200 {
		if err = os.Remove(dir); !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if err := exec.Command("true").Run(); err != nil { // lets them run
			return err
		}
	}
	return err
}

// runIn runs a shell command inside of the cgroup and waits for it.
func runIn(t *testing.T, dirs map[hierarchy]string, command string) {
	t.Helper()
	script := ""
	for _, dir := range dirs {
		script += "echo $$ >" + filepath.Join(dir, "cgroup.procs") + "\n"
	}
	out, err := exec.Command("sh", "-c", script+command).CombinedOutput()
	if err != nil {
		t.Logf("%s: %v: %s", command, err, out)
	}
}

func setLimit(t *testing.T, dir, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
		t.Skipf("%s cannot be set here: %v", file, err)
	}
}

// readHost is a file of the kernel, read by the test itself.
func readHost(t *testing.T, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sumRows adds up what a collector says of one cgroup.
func sumRows(sum *CgroupRow, s *Cgroups, path string) {
	r := rowOf(s, path)
	if r == nil {
		return
	}
	sum.Usage += r.Usage
	sum.Periods += r.Periods
	sum.Throttled += r.Throttled
	sum.ThrottledFor += r.ThrottledFor
	sum.Events.OOMKill += r.Events.OOMKill
	sum.Events.Max += r.Events.Max
	sum.CgroupInfo, sum.Memory, sum.Detail = r.CgroupInfo, r.Memory, r.Detail
}

// TestCgroupQuotaHost burns CPU under a quota of a fifth of one: what the collector sums up is
// what the kernel's files say at the end.
func TestCgroupQuotaHost(t *testing.T) {
	path, dirs := hostCgroup(t, v1CPU, v1CPUAcct)
	setLimit(t, dirs[v1CPU], "cpu.cfs_quota_us", "20000")
	c := NewCgroups(NewFS(""), nil)
	start(t, c)
	watchAll(t, c)
	kernel := func() (cgroupCPU, uint64) {
		cpu, err := parseCgroupCPU(readHost(t, dirs[v1CPU], "cpu.stat"))
		if err != nil {
			t.Fatal(err)
		}
		usage, err := parseCount(readHost(t, dirs[v1CPUAcct], "cpuacct.usage"))
		if err != nil {
			t.Fatal(err)
		}
		return cpu, usage
	}
	var sum CgroupRow
	var want, after, base, baseAfter cgroupCPU // a period may end between two readings
	var usage, usageAfter uint64
	for i := range 4 {
		want, usage = kernel()
		sumRows(&sum, collectAs[*Cgroups](t, c, time.Duration(i)*time.Second), path)
		after, usageAfter = kernel()
		if i == 0 {
			base, baseAfter = want, after
		}
		if i < 3 {
			runIn(t, dirs, "exec timeout 0.5 sh -c 'while :; do :; done'")
		}
	}
	for _, x := range []struct {
		name           string
		got, low, high uint64
	}{
		{"periods", sum.Periods, want.Periods - baseAfter.Periods, after.Periods - base.Periods},
		{"throttled", sum.Throttled, want.Throttled - baseAfter.Throttled, after.Throttled - base.Throttled},
		{"throttled for", uint64(sum.ThrottledFor), want.ThrottledNs - baseAfter.ThrottledNs, after.ThrottledNs - base.ThrottledNs},
		{"usage", uint64(sum.Usage), usage, usageAfter},
	} {
		if x.got < x.low || x.got > x.high {
			t.Errorf("%s = %d, the kernel has %d before and %d after", x.name, x.got, x.low, x.high)
		}
	}
	if want.Throttled < 3 || sum.Own.CPUs != 0.2 || sum.Period != 100*time.Millisecond {
		t.Errorf("throttled %d times under %v CPUs of %v", want.Throttled, sum.Own.CPUs, sum.Period)
	}
	t.Logf("periods %d, throttled %d for %v, used %v", sum.Periods, sum.Throttled, sum.ThrottledFor, sum.Usage)
}

// TestCgroupMemoryHost fills a tmpfs with 20 MiB inside of a limit, and then runs into it.
func TestCgroupMemoryHost(t *testing.T) {
	const mib = 1 << 20
	path, dirs := hostCgroup(t, v1Memory)
	setLimit(t, dirs[v1Memory], "memory.limit_in_bytes", fmt.Sprint(32*mib))
	file := fmt.Sprintf("/dev/shm/bpf60-test-%d", os.Getpid())
	t.Cleanup(func() { os.Remove(file) })
	c := NewCgroups(NewFS(""), nil)
	start(t, c)
	watchAll(t, c)
	var sum CgroupRow
	sumRows(&sum, collectAs[*Cgroups](t, c, 0), path)
	runIn(t, dirs, "dd if=/dev/zero of="+file+" bs=1M count=20 2>/dev/null")
	if info, err := os.Stat(file); err != nil || info.Size() != 20*mib {
		lacking(t, "no tmpfs at /dev/shm: %v", err)
	}
	watchAll(t, c, sum.ID)
	sumRows(&sum, collectAs[*Cgroups](t, c, time.Second), path)
	if sum.Memory < 20*mib || sum.Memory > 22*mib {
		t.Errorf("memory = %d, want the 20 MiB of the file and little else", sum.Memory)
	}
	if d := sum.Detail; d == nil || d.Shmem < 20*mib || d.Shmem > 21*mib {
		t.Errorf("detail = %+v, want 20 MiB of shmem", d)
	}
	if sum.Own.Max != 32*mib || sum.Tight.Max != 32*mib {
		t.Errorf("limits = %+v", sum.CgroupInfo)
	}

	if b, err := os.ReadFile("/proc/swaps"); err == nil && len(b) > 0 && countLines(b) > 1 {
		t.Skip("there is swap: the limit would be met by swapping")
	}
	runIn(t, dirs, "exec dd if=/dev/zero of="+file+" bs=1M count=64 2>/dev/null")
	sumRows(&sum, collectAs[*Cgroups](t, c, 2*time.Second), path)
	events, err := parseMemEvents(readHost(t, dirs[v1Memory], "memory.oom_control"))
	if err != nil {
		t.Fatal(err)
	}
	failures, err := parseCount(readHost(t, dirs[v1Memory], "memory.failcnt"))
	if err != nil {
		t.Fatal(err)
	}
	if events.OOMKill == 0 || sum.Events.OOMKill != events.OOMKill || sum.Events.Max != failures {
		t.Errorf("events = %+v, the kernel has %+v and %d failures", sum.Events, events, failures)
	}
}

func countLines(b []byte) (n int) {
	for len(b) > 0 {
		_, b = cutLine(b)
		n++
	}
	return n
}

// TestCgroupPidsHost fills a cgroup with processes that sleep, and has forks refused, while nobody looks at it.
func TestCgroupPidsHost(t *testing.T) {
	const limit = 5 // a shell and what it starts
	path, dirs := hostCgroup(t, v1Pids)
	setLimit(t, dirs[v1Pids], "pids.max", fmt.Sprint(limit))
	c := NewCgroups(NewFS(""), nil)
	start(t, c)
	collectAs[*Cgroups](t, c, 0)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// They all wait for the end of the pipe. The last two are refused; dash ends then.
	script := "echo $$ >" + filepath.Join(dirs[v1Pids], "cgroup.procs") + "\nfor i in 1 2 3 4; do (read x) <&3 & done\n(:); (:); read x <&3"
	cmd := exec.Command("sh", "-c", script)
	cmd.ExtraFiles = []*os.File{in}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out.Close()
		in.Close()
		_ = cmd.Wait()
	})
	denied := func() uint64 {
		e, err := parseMemEvents(readHost(t, dirs[v1Pids], "pids.events"))
		if err != nil {
			t.Fatal(err)
		}
		return e.Max
	}
	for end := time.Now().Add(10 * time.Second); denied() == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	s := collectAs[*Cgroups](t, c, 9*time.Second)
	r := rowOf(s, path)
	if r == nil || r.Own.Pids != limit || r.Has&HasPids == 0 || r.Pids < limit-1 || r.PidsDenied == 0 || r.PidsDenied > denied() {
		t.Errorf("row = %+v, want %d tasks of as many and a fork refused", r, limit)
	}
}

// TestCgroupIOHost makes 23 writes past the cache to a disk of its own.
func TestCgroupIOHost(t *testing.T) {
	path, dirs := hostCgroup(t, v1Blkio)
	disk := loopDisk(t)
	setLimit(t, dirs[v1Blkio], "blkio.throttle.write_bps_device", deviceNumber(t, disk)+" 1000000000") // else it is not counted
	r := collectRounds(t, path)
	r.onlyLoop()
	runIn(t, dirs, "exec env "+jobEnv+"='write "+disk+"' /proc/"+fmt.Sprint(os.Getpid())+"/exe </dev/null")
	r.collect()
	if want := (CgroupIO{WIOs: jobCount, WBytes: jobCount * 4096}); r.sum.IO == nil || *r.sum.IO != want {
		t.Errorf("I/O = %+v, want %+v\n%s", r.sum.IO, want, readHost(t, dirs[v1Blkio], "blkio.throttle.io_serviced"))
	}
}

// TestCgroupV2Host finds a cgroup of v2 that comes while it looks, its CPU time and its stalls.
func TestCgroupV2Host(t *testing.T) {
	c := NewCgroups(NewFS(""), nil)
	start(t, c)
	watchAll(t, c)
	before := collectAs[*Cgroups](t, c, 0)
	path, dirs := hostCgroup(t, unified)
	var sum CgroupRow
	came := collectAs[*Cgroups](t, c, time.Second)
	sumRows(&sum, came, path)
	if sum.CgroupInfo == nil || !sum.V2 || !sum.Empty {
		t.Fatalf("the new cgroup = %+v; known %d, before %d", sum, came.Count, before.Count)
	}
	// Each ends after a second on a CPU, however long it waits for that.
	runIn(t, dirs, "(ulimit -t 1; while :; do :; done) & (ulimit -t 1; while :; do :; done); wait")
	s := collectAs[*Cgroups](t, c, 2*time.Second)
	sumRows(&sum, s, path)
	cpu, err := parseCgroupCPU(readHost(t, dirs[unified], "cpu.stat"))
	if err != nil {
		t.Fatal(err)
	}
	if got := sum.Usage; uint64(got) > cpu.Usage || uint64(got) < cpu.Usage-uint64(50*time.Millisecond) || got < 50*time.Millisecond {
		t.Errorf("usage = %v, the kernel has %v in all", got, time.Duration(cpu.Usage))
	}
	r := rowOf(s, path)
	if _, err := os.Stat(filepath.Join(dirs[unified], "cpu.pressure")); err == nil && (r == nil || r.PSI == nil) {
		t.Errorf("no PSI in %+v", r)
	}
	var st os.FileInfo
	if st, err = os.Stat(dirs[unified]); err != nil {
		t.Fatal(err)
	}
	if id := bpf.CgroupID(bpf.Hierarchy(NewFS("").shownHierarchy()), bpf.Unified, inode(st)); id != sum.ID {
		t.Errorf("ID = %#x, want that of the inode, %#x", sum.ID, id)
	}
	if err := removeCgroup(dirs[unified]); err != nil {
		t.Fatal(err)
	}
	gone := collectAs[*Cgroups](t, c, 3*time.Second)
	if rowOf(gone, path) != nil || len(gone.Gone) != 1 || gone.Gone[0].Bytes() != path {
		t.Errorf("after it went: row %+v, gone %v", rowOf(gone, path), gone.Gone)
	}
}

func inode(i os.FileInfo) uint64 {
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// BenchmarkCollectCgroups reads those of this host, and sixty more.
func BenchmarkCollectCgroups(b *testing.B) {
	for name, watch := range map[string]bool{"rest": false, "watch": true} {
		for _, n := range []int{0, 60} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				for i := range n {
					dir := fmt.Sprintf("/sys/fs/cgroup/unified/bpf60-bench-%d-%d", os.Getpid(), i)
					if err := os.Mkdir(dir, 0o755); err != nil {
						b.Skipf("making a cgroup of v2: %v", err)
					}
					defer os.Remove(dir)
				}
				c := NewCgroups(NewFS(""), nil)
				start(b, c)
				if watch {
					watchAll(b, c)
				}
				collectAs[*Cgroups](b, c, 0)
				b.ReportAllocs()
				rows, now := 0, time.Duration(0)
				before := cpuTime(b)
				for b.Loop() {
					now += time.Second
					rows += len(collectAs[*Cgroups](b, c, now).Rows)
				}
				b.ReportMetric(float64(rows)/now.Seconds(), "rows/op")
				b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/now.Seconds(), "cpu-µs/op")
			})
		}
	}
}

// cpuTime is what this process has used: on a busy host the time on the wall says little.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
