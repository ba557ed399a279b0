// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cgroupTreeOf is a copy of a host's cgroups: /proc beside /sys.
type cgroupTreeOf struct{ procTree }

// newCgroups returns a tree with that mountinfo.
func newCgroups(t testing.TB, mountinfo string) cgroupTreeOf {
	t.Helper()
	tree := cgroupTreeOf{procTree{t, filepath.Join(t.TempDir(), "proc")}}
	tree.write("self/mountinfo", mountinfo)
	hierarchy := 0
	if strings.Contains(mountinfo, "cgroup rw,memory") {
		hierarchy = 4
	}
	tree.write("cgroups", fmt.Sprintf("#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t%d\t80\t1\n", hierarchy))
	return tree
}

const (
	mountV2 = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	mountV1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"34 31 0:31 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
		"35 31 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
		"36 31 0:33 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
)

// put writes files of a cgroup: name, text, name, text and so on.
func (c cgroupTreeOf) put(dir string, files ...string) {
	c.t.Helper()
	for i := 0; i < len(files); i += 2 {
		c.write(filepath.Join("../sys/fs/cgroup", dir, files[i]), files[i+1])
	}
}

func (c cgroupTreeOf) remove(dir string) {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.root, "../sys/fs/cgroup", dir)); err != nil {
		c.t.Fatal(err)
	}
}

// watchAll is what a pane that shows all cgroups wants.
func watchAll(t testing.TB, c Collector, ids ...uint64) {
	t.Helper()
	targets := []Target{{Kind: CgroupTarget}}
	for _, id := range ids {
		targets = append(targets, Target{Kind: CgroupTarget, Cgroup: id})
	}
	if err := c.(Narrower).Narrow(targets); err != nil {
		t.Fatal(err)
	}
}

// rowOf finds a row; nil if there is none.
func rowOf(s *Cgroups, path string) *CgroupRow {
	for i := range s.Rows {
		if s.Rows[i].Path.Bytes() == path {
			return &s.Rows[i]
		}
	}
	return nil
}

func cpuStat(usage, user, system, periods, throttled, forUsec int) string {
	return fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec %d\nnr_periods %d\nnr_throttled %d\nthrottled_usec %d\n", usage, user, system, periods, throttled, forUsec)
}

func psi(some, full int) string {
	return fmt.Sprintf("some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%d\n", some, full)
}

func TestCgroupsV2(t *testing.T) {
	tree := newCgroups(t, mountV2)
	tree.put("/", "cpu.stat", "usage_usec 900\nuser_usec 500\nsystem_usec 400\n")
	tree.put("/web.slice", "cpu.stat", cpuStat(100, 60, 40, 0, 0, 0), "cpu.max", "max 100000\n", "memory.max", "1000000\n", "memory.current", "700000\n", "memory.high", "max\n")
	web := func(usage, high, some, rbytes, memory int) {
		tree.put("/web.slice/nginx.service",
			"cpu.stat", cpuStat(usage, usage/2, usage/2, 10, 4, 77), "cpu.max", "50000 100000\n", "cpu.weight", "200\n",
			"memory.current", fmt.Sprintln(memory), "memory.high", "500000\n", "memory.max", "max\n", "memory.swap.current", "4096\n", "memory.swap.max", "8192\n",
			"memory.events", fmt.Sprintf("low 0\nhigh %d\nmax 0\noom 0\noom_kill 2\n", high),
			"memory.stat", "anon 100\nfile 200\nworkingset_refault_file 5\npgmajfault 6\n",
			"cpu.pressure", psi(some, 0), "memory.pressure", psi(2*some, some), "io.pressure", psi(0, 0),
			"io.stat", fmt.Sprintf("8:0 rbytes=%d wbytes=0 rios=3 wios=0\n7:0 rbytes=99999 wbytes=0 rios=9 wios=0\n", rbytes),
			"pids.current", "5\n", "pids.max", "100\n", "pids.events", "max 3\n", "cgroup.events", "populated 1\nfrozen 0\n")
	}
	web(1000, 7, 100, 4096, 480000)

	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	watchAll(t, c)
	first := collectAs[*Cgroups](t, c, time.Second)
	if first.Count != 2 || first.Leaves != 1 || first.Limited != 2 || first.Version != "v2" || first.Span != (Span{time.Second, time.Second}) {
		t.Errorf("first sample = %+v", first)
	}
	r := rowOf(first, "/web.slice/nginx.service")
	if r == nil {
		t.Fatalf("no row of nginx in %+v", first.Rows)
	}
	wantInfo := &CgroupInfo{
		ID: r.ID, V2: true, Path: RawString("/web.slice/nginx.service"), Name: RawString("nginx.service"), Depth: 2, Leaf: true,
		Weight: 200, Period: 100 * time.Millisecond,
		Own:   CgroupLimits{CPUs: 0.5, High: 500000, Max: NoLimit, Swap: 8192, Pids: 100},
		Tight: CgroupLimits{CPUs: 0.5, High: 500000, Max: 1000000, Swap: 8192, Pids: 100},
		Owner: CgroupOwners{CPU: 2, High: 2, Max: 1, Swap: 2, Pids: 2},
	}
	raw := cmp.AllowUnexported(Raw{})
	if diff := cmp.Diff(wantInfo, r.CgroupInfo, raw); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	want := &CgroupRow{
		CgroupInfo: wantInfo, Span: first.Span, Has: HasMemory | HasSwap | HasPids | HasDetail, Memory: 480000, Swap: 4096, Pids: 5,
		Detail: &CgroupDetail{Anon: 100, File: 200, OOMKills: 2, PidsDenied: 3},
	} // within a tenth of memory.high
	if diff := cmp.Diff(want, r, raw); diff != "" {
		t.Errorf("first row (-want +got):\n%s", diff)
	}

	web(201000, 9, 350, 8192, 480000)
	second := collectAs[*Cgroups](t, c, 3*time.Second)
	want = &CgroupRow{
		CgroupInfo: wantInfo, Span: Span{time.Second, 3 * time.Second},
		Has:   HasMemory | HasSwap | HasPids | HasDetail | HasUsage | HasSplit | HasThrottle | HasEvents | HasHigh | HasPSI | HasIO | HasDenied,
		Usage: 200 * time.Millisecond, User: 100 * time.Millisecond, System: 100 * time.Millisecond,
		Memory: 480000, Swap: 4096, Pids: 5, Events: CgroupEvents{High: 2},
		PSI:    &CgroupPSI{CPU: CgroupStall{Some: 250 * time.Microsecond}, Memory: CgroupStall{500 * time.Microsecond, 250 * time.Microsecond}},
		IO:     &CgroupIO{RBytes: 4096}, // the loop device is not counted twice
		Detail: &CgroupDetail{Anon: 100, File: 200, OOMKills: 2, PidsDenied: 3},
	}
	r = rowOf(second, "/web.slice/nginx.service")
	if diff := cmp.Diff(want, r, raw); diff != "" {
		t.Errorf("second row (-want +got):\n%s", diff)
	}
	if r.CgroupInfo != rowOf(first, "/web.slice/nginx.service").CgroupInfo {
		t.Error("the info of a cgroup that did not change is not shared")
	}
	if slice := rowOf(second, "/web.slice"); slice.Leaf || slice.Tight.Max != 1000000 || slice.Has&HasPSI != 0 || slice.PSI != nil {
		t.Errorf("the slice = %+v", slice)
	}
	for _, p := range c.Probes() {
		if p.State != On {
			t.Errorf("probe %+v, want on", p)
		}
	}

	// Counters that step back give 0; a file that is half a line takes away its own cells.
	web(1, 0, 0, 0, 100)
	tree.put("/web.slice/nginx.service", "memory.events", "low", "memory.stat", "")
	third := rowOf(collectAs[*Cgroups](t, c, 4*time.Second), "/web.slice/nginx.service")
	if third.Usage != 0 || third.Events != (CgroupEvents{}) || third.PSI.CPU.Some != 0 || third.IO.RBytes != 0 || third.Memory != 100 {
		t.Errorf("after a step back = %+v, %+v, %+v", third, third.PSI, third.IO)
	}
	if third.Has&(HasEvents|HasHigh|HasDetail) != 0 || third.Has&HasUsage == 0 {
		t.Errorf("Has = %b, want no events and no detail, and the rest", third.Has)
	}
	if p := c.Probes()[2]; p.Name != "cgroup memory" {
		t.Errorf("probe 2 is %q", p.Name)
	}
	if diff := cmp.Diff(want, r, raw); diff != "" {
		t.Errorf("a returned row was written (-want +got):\n%s", diff)
	}
}

// TestCgroupsComeAndGo finds what is new, drops what is gone, and takes a cgroup that was made
// anew for another.
func TestCgroupsComeAndGo(t *testing.T) {
	tree := newCgroups(t, mountV2)
	stat := func(dir string, usage int) { tree.put(dir, "cpu.stat", cpuStat(usage, 0, 0, 0, 0, 0)) }
	stat("/", 1)
	stat("/a", 1000)
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	watchAll(t, c)
	collectAs[*Cgroups](t, c, 0)

	stat("/b/c/d", 5)
	s := collectAs[*Cgroups](t, c, time.Second)
	if s.Count != 4 || rowOf(s, "/b/c/d") == nil || rowOf(s, "/b/c/d").Has&HasUsage != 0 {
		t.Errorf("after /b/c/d came: %+v", s)
	}
	if a := rowOf(s, "/a"); a == nil || a.Has&HasUsage == 0 || !a.Leaf {
		t.Errorf("/a = %+v", a)
	}

	tree.remove("/b")
	s = collectAs[*Cgroups](t, c, 2*time.Second)
	if s.Count != 1 || rowOf(s, "/b/c/d") != nil || len(s.Gone) != 3 {
		t.Errorf("after /b went: %d known, gone %v", s.Count, s.Gone)
	}

	tree.remove("/a")
	if err := os.MkdirAll(filepath.Join(tree.root, "../sys/fs/cgroup/other"), 0o755); err != nil { // takes the inode of /a, where the file system gives them again
		t.Fatal(err)
	}
	stat("/a", 50_000_000)
	s = collectAs[*Cgroups](t, c, 3*time.Second)
	a := rowOf(s, "/a")
	if a == nil {
		s = collectAs[*Cgroups](t, c, 4*time.Second)
		a = rowOf(s, "/a")
	}
	if a == nil || a.Has&HasUsage != 0 && a.Usage > 0 {
		t.Errorf("/a made anew = %+v, want a baseline", a)
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	if s := collectAs[*Cgroups](t, c, 9*time.Second); rowOf(s, "/a") == nil || rowOf(s, "/a").Has&HasUsage != 0 {
		t.Errorf("started again: %+v, want a baseline", s)
	}
}

// TestCgroupIOAlone: limits on I/O are told of a cgroup that counts no memory.
func TestCgroupIOAlone(t *testing.T) {
	tree := newCgroups(t, mountV2)
	tree.put("disk", "cpu.stat", "usage_usec 1\nuser_usec 1\nsystem_usec 0\n", "io.max", "8:0 rbps=max wbps=max riops=max wiops=50\n", "io.stat", "")
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	watchAll(t, c)
	r := rowOf(collectAs[*Cgroups](t, c, time.Second), "/disk")
	if r == nil {
		t.Fatal("no row")
	}
	watchAll(t, c, r.ID)
	r = rowOf(collectAs[*Cgroups](t, c, 2*time.Second), "/disk")
	if r == nil || r.Has&HasDetail != 0 || r.Detail == nil || !slices.Equal(r.Detail.IOMax, []CgroupIOLimit{{8, 0, NoLimit, NoLimit, NoLimit, 50}}) {
		t.Errorf("row = %+v, want its limit of writes, and no memory", r)
	}
}

func TestCgroupsV1(t *testing.T) {
	tree := newCgroups(t, mountV1)
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	put := func(usage, throttled, kills, read int) {
		tree.put("cpu,cpuacct/docker/"+id, "cpuacct.usage", fmt.Sprintln(usage), "cpuacct.stat", "user 100\nsystem 50\n",
			"cpu.stat", fmt.Sprintf("nr_periods 20\nnr_throttled %d\nthrottled_time %d\n", throttled, 1000*throttled),
			"cpu.cfs_quota_us", "20000\n", "cpu.cfs_period_us", "100000\n", "cpu.shares", "1024\n")
		tree.put("memory/docker/"+id, "memory.usage_in_bytes", "5000\n", "memory.memsw.usage_in_bytes", "7000\n", "memory.limit_in_bytes", "9223372036854771712\n",
			"memory.memsw.limit_in_bytes", "9223372036854771712\n", "memory.failcnt", "12\n", "memory.oom_control", fmt.Sprintf("oom_kill_disable 0\nunder_oom 0\noom_kill %d\n", kills))
		tree.put("blkio/docker/"+id, "blkio.throttle.io_service_bytes_recursive", fmt.Sprintf("8:0 Read %d\n8:0 Write 2\nTotal 9\n", read),
			"blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\nTotal 3\n")
		tree.put("pids/docker/"+id, "pids.current", "4\n", "pids.max", "max\n", "pids.events", "max 0\n")
		tree.put("freezer/docker/"+id, "freezer.state", "FROZEN\n")
	}
	put(1000, 1, 0, 4096)
	tree.put("memory/docker", "memory.limit_in_bytes", "6000\n", "memory.usage_in_bytes", "5000\n")
	tree.put("memory/only", "memory.usage_in_bytes", "9\n")
	tree.put("memory/docker/"+id, "memory.stat", "total_cache 8192\ntotal_rss 4096\n", "memory.soft_limit_in_bytes", "4096\n")
	tree.put("blkio/docker/"+id, "blkio.throttle.read_bps_device", "8:0 1048576\n", "blkio.throttle.write_bps_device", "",
		"blkio.throttle.read_iops_device", "8:16 100\n", "blkio.throttle.write_iops_device", "8:0 50\n")
	c := NewCgroups(NewFS(tree.root), nil)
	start(t, c)
	watchAll(t, c)
	first := rowOf(collectAs[*Cgroups](t, c, 0), "/docker/"+id)
	if first == nil {
		t.Fatal("no row of the container")
	}
	watchAll(t, c, first.ID)
	limited := rowOf(collectAs[*Cgroups](t, c, 0), "/docker/"+id).Detail
	wantMax := []CgroupIOLimit{{8, 0, 1 << 20, NoLimit, NoLimit, 50}, {8, 16, NoLimit, NoLimit, 100, NoLimit}}
	if limited == nil || limited.Soft != 4096 || limited.Anon != 4096 || !slices.Equal(limited.IOMax, wantMax) {
		t.Errorf("detail = %+v, want a soft limit of 4096 and %v", limited, wantMax)
	}
	watchAll(t, c)
	put(500_001_000, 3, 1, 8192)
	s := collectAs[*Cgroups](t, c, time.Second)
	r := rowOf(s, "/docker/"+id)
	if s.Version != "v1" || s.Count != 3 || r == nil {
		t.Fatalf("sample = %+v", s)
	}
	want := &CgroupRow{
		CgroupInfo: r.CgroupInfo, Span: Span{0, time.Second},
		Has:    HasUsage | HasSplit | HasThrottle | HasMemory | HasSwap | HasEvents | HasPids | HasIO | HasDenied,
		Usage:  500 * time.Millisecond,
		Memory: 5000, Swap: 2000, Pids: 4, Throttled: 2, ThrottledFor: 2 * time.Microsecond,
		Events: CgroupEvents{OOMKill: 1}, IO: &CgroupIO{RBytes: 4096},
	}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	i := r.CgroupInfo
	if i.V2 || i.Name.Bytes() != "docker:0123456789ab" || i.Own.CPUs != 0.2 || i.Own.Max != NoLimit || i.Tight.Max != 6000 || i.Owner.Max != 1 || !i.Frozen || i.Weight != 1024 {
		t.Errorf("info = %+v", i)
	}
	if only := rowOf(s, "/only"); only == nil || only.Has != HasMemory || only.Memory != 9 {
		t.Errorf("a cgroup of one hierarchy = %+v", only)
	}
	probes := c.Probes()
	if p := probes[5]; p.Name != "cgroup psi" || p.State != Off || p.Reason == "" || p.Remedy == "" {
		t.Errorf("PSI of v1 = %+v, want off with reason and remedy", p)
	}
	if p := probes[1]; p.State != On || !strings.Contains(p.Hook, "v1") {
		t.Errorf("CPU of v1 = %+v", p)
	}
}

// Since Linux 6.10 v1 counts no I/O of a disk that nobody has limited: that is no 0.
func TestCgroupsV1CountNoIO(t *testing.T) {
	none := []string{"blkio.throttle.io_service_bytes_recursive", "Total 0\n", "blkio.throttle.io_serviced_recursive", "Total 0\n"}
	some := []string{"blkio.throttle.io_service_bytes_recursive", "8:0 Read 0\n8:0 Write 4096\nTotal 4096\n", "blkio.throttle.io_serviced_recursive", "8:0 Read 0\n8:0 Write 1\nTotal 1\n"}
	tests := map[string]struct {
		root []string
		has  CgroupHas
		want State
	}{
		"the root's either": {none, 0, Off},
		"only the root's":   {some, HasIO, On},
		"no file at all":    {nil, 0, Off},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := newCgroups(t, mountV1)
			tree.put("blkio", tt.root...)
			tree.put("blkio/a", none...)
			tree.put("memory/a", "memory.usage_in_bytes", "5000\n")
			c := NewCgroups(NewFS(tree.root), nil)
			start(t, c)
			watchAll(t, c)
			collectAs[*Cgroups](t, c, 0)
			r := rowOf(collectAs[*Cgroups](t, c, time.Second), "/a")
			if r == nil || r.Has&HasIO != tt.has {
				t.Errorf("row = %+v, want I/O %v", r, tt.has)
			}
			if p := c.Probes()[3]; p.Name != "cgroup io" || p.State != tt.want || tt.want == Off && (p.Reason == "" || p.Remedy == "") {
				t.Errorf("probe = %+v, want %v", p, tt.want)
			}
		})
	}
}

func TestCgroupsNotMounted(t *testing.T) {
	tree := newCgroups(t, "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n")
	c := NewCgroups(NewFS(tree.root), nil)
	var need *NeedError
	if err := c.Start(context.Background()); !errors.As(err, &need) || need.Remedy == "" {
		t.Errorf("Start = %v, want a need with a remedy", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
