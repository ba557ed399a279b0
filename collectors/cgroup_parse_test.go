// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsed is what a parser made of a text, and whether it took it.
type parsed[T any] struct {
	in   string
	want T
	ok   bool
}

func checkParser[T any](t *testing.T, name string, tests map[string]parsed[T], parse func([]byte) (T, error)) {
	t.Helper()
	for what, tt := range tests {
		t.Run(name+"/"+what, func(t *testing.T) {
			got, err := parse([]byte(tt.in))
			if (err == nil) != tt.ok {
				t.Fatalf("%s(%q) = %v, %v, want ok %v", name, tt.in, got, err, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(cgroupCPU{})); tt.ok && diff != "" {
				t.Errorf("%s(%q) (-want +got):\n%s", name, tt.in, diff)
			}
		})
	}
}

func TestParseCgroupFiles(t *testing.T) {
	checkParser(t, "parseLimit", map[string]parsed[uint64]{
		"none":         {"max\n", NoLimit, true},
		"bytes":        {"33554432\n", 32 << 20, true},
		"zero":         {"0\n", 0, true},
		"none, v1":     {"9223372036854771712\n", NoLimit, true},
		"none, 64 KiB": {"9223372036854710272\n", NoLimit, true},
		"the largest":  {"18446744073709551615\n", NoLimit, true},
		"too large":    {"18446744073709551616\n", 0, false},
		"negative":     {"-1\n", 0, false},
		"empty":        {"", 0, false},
		"words":        {"maximum\n", 0, false},
	}, parseLimit)

	type quota struct{ Quota, Period uint64 }
	checkParser(t, "parseCPUMax", map[string]parsed[quota]{
		"none":         {"max 100000\n", quota{0, 100000}, true},
		"half a CPU":   {"50000 100000\n", quota{50000, 100000}, true},
		"no period":    {"50000\n", quota{}, false},
		"period of 0":  {"50000 0\n", quota{}, false},
		"too large":    {"50000 9999999999999999\n", quota{}, false},
		"quota: words": {"many 100000\n", quota{}, false},
		"empty":        {"", quota{}, false},
	}, func(b []byte) (quota, error) {
		q, p, err := parseCPUMax(b)
		return quota{q, p}, err
	})

	checkParser(t, "parseQuotaV1", map[string]parsed[uint64]{
		"none":       {"-1\n", 0, true},
		"20 ms":      {"20000\n", 20000, true},
		"nonsense":   {"-2\n", 0, false},
		"too large":  {"99999999999999\n", 0, false},
		"no newline": {"5000", 5000, true},
	}, parseQuotaV1)

	checkParser(t, "parseCgroupCPU", map[string]parsed[cgroupCPU]{
		"v2": {
			"usage_usec 9\nuser_usec 5\nsystem_usec 4\nnice_usec 1\nnr_periods 7\nnr_throttled 3\nthrottled_usec 11\nnr_bursts 0\nburst_usec 0\n",
			cgroupCPU{Usage: 9000, User: 5000, System: 4000, Periods: 7, Throttled: 3, ThrottledNs: 11000, hasUsage: true, hasPeriods: true, hasThrottledFor: true},
			true,
		},
		"v2, no controller": {"usage_usec 9\nuser_usec 5\nsystem_usec 4\n", cgroupCPU{Usage: 9000, User: 5000, System: 4000, hasUsage: true}, true},
		"v1": {
			"nr_periods 7\nnr_throttled 3\nthrottled_time 11\nnr_bursts 0\nburst_time 0\n",
			cgroupCPU{Periods: 7, Throttled: 3, ThrottledNs: 11, hasPeriods: true, hasThrottledFor: true},
			true,
		},
		"overflow": {"usage_usec 18446744073709551615\n", cgroupCPU{}, false},
		"cut off":  {"usage_usec 9\nuser_usec", cgroupCPU{}, false},
		"neither":  {"nr_bursts 0\n", cgroupCPU{}, false},
		"empty":    {"", cgroupCPU{}, false},
	}, parseCgroupCPU)

	checkParser(t, "parseMemEvents", map[string]parsed[memEvents]{
		"v2":       {"low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n", memEvents{1, 2, 3, 4, 5}, true},
		"v1":       {"oom_kill_disable 1\nunder_oom 0\noom_kill 5\n", memEvents{OOMKill: 5}, true},
		"pids":     {"max 3\nmax.imposed 9\n", memEvents{Max: 3}, true},
		"negative": {"low -1\n", memEvents{}, false},
		"unknown":  {"sock_throttled 7\n", memEvents{}, false},
	}, parseMemEvents)

	checkParser(t, "parseMemStat v2", map[string]parsed[memStat]{
		"new": {
			"anon 1\nfile 2\nkernel 9\nsock 3\nshmem 4\ninactive_file 5\nslab 6\npgmajfault 7\nworkingset_refault_anon 8\nworkingset_refault_file 9\n",
			memStat{Anon: 1, File: 2, Sock: 3, Shmem: 4, InactiveFile: 5, Slab: 6, MajorFaults: 7, Refaults: 17},
			true,
		},
		"before 5.9": {"anon 1\nworkingset_refault 8\n", memStat{Anon: 1, Refaults: 8}, true},
		"empty":      {"", memStat{}, false},
		"no number":  {"anon x\n", memStat{}, false},
	}, func(b []byte) (memStat, error) { return parseMemStat(b, false) })

	checkParser(t, "parseMemStat v1", map[string]parsed[memStat]{
		"children's too": {"cache 1\nrss 2\ntotal_cache 10\ntotal_rss 20\ntotal_shmem 5\ntotal_pgmajfault 3\ntotal_inactive_file 4\n", memStat{Anon: 20, File: 10, Shmem: 5, MajorFaults: 3, InactiveFile: 4}, true},
		"plain alone":    {"cache 1\nrss 2\n", memStat{}, false},
	}, func(b []byte) (memStat, error) { return parseMemStat(b, true) })

	skip := func(major, _ uint32) bool { return major == 253 }
	checkParser(t, "parseIOStat", map[string]parsed[cgroupIO]{
		"a disk":            {"8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n", cgroupIO{4096, 8192, 1, 2}, true},
		"stacked":           {"8:0 rbytes=1 wbytes=2 rios=3 wios=4\n253:0 rbytes=1 wbytes=2 rios=3 wios=4\n", cgroupIO{1, 2, 3, 4}, true},
		"no figures":        {"8:16 \n8:0 rbytes=1 wbytes=2 rios=3 wios=4\n", cgroupIO{1, 2, 3, 4}, true},
		"two on a line":     {"8:16 8:0 rbytes=1 wbytes=2 rios=3 wios=4\n", cgroupIO{1, 2, 3, 4}, true},
		"stacked on a line": {"8:16 253:0 rbytes=1 wbytes=2 rios=3 wios=4\n", cgroupIO{}, true},
		"no device":         {"rbytes=1 wbytes=2\n", cgroupIO{}, true},
		"io.cost":           {"8:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.vrate=100.00\n", cgroupIO{1, 2, 3, 4}, true},
		"empty":             {"", cgroupIO{}, true},
		"no number":         {"8:0 rbytes=x\n", cgroupIO{}, false},
	}, func(b []byte) (cgroupIO, error) { return parseIOStat(b, skip) })

	checkParser(t, "parseBlkio", map[string]parsed[cgroupIO]{
		"a disk":   {"8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Async 2\n8:0 Total 12288\nTotal 12288\n", cgroupIO{RBytes: 4096, WBytes: 8192}, true},
		"two":      {"8:0 Read 1\n8:16 Read 2\nTotal 3\n", cgroupIO{RBytes: 3}, true},
		"stacked":  {"8:0 Read 1\n253:0 Read 1\nTotal 2\n", cgroupIO{RBytes: 1}, true},
		"nothing":  {"Total 0\n", cgroupIO{}, true},
		"cut off":  {"8:0 Read", cgroupIO{}, false},
		"negative": {"8:0 Write -4\n", cgroupIO{}, false},
	}, func(b []byte) (cgroupIO, error) {
		r, w, _, err := parseBlkio(b, skip)
		return cgroupIO{RBytes: r, WBytes: w}, err
	})

	checkParser(t, "parseIOMax", map[string]parsed[[]CgroupIOLimit]{
		"some":      {"8:16 rbps=2097152 wbps=max riops=max wiops=120\n", []CgroupIOLimit{{8, 16, 2 << 20, NoLimit, NoLimit, 120}}, true},
		"none":      {"", nil, true},
		"no number": {"8:16 rbps=fast\n", nil, false},
		"no device": {"default rbps=1\n", nil, true},
	}, parseIOMax)

	type flags struct{ Empty, Frozen bool }
	checkParser(t, "parseCgroupState", map[string]parsed[flags]{
		"lives":      {"populated 1\nfrozen 0\n", flags{}, true},
		"empty":      {"populated 0\nfrozen 0\n", flags{Empty: true}, true},
		"frozen":     {"populated 1\nfrozen 1\n", flags{Frozen: true}, true},
		"frozen, v1": {"FROZEN\n", flags{Frozen: true}, true},
		"thawed, v1": {"THAWED\n", flags{}, true},
	}, func(b []byte) (flags, error) {
		e, f := parseCgroupState(b)
		return flags{e, f}, nil
	})
}

func TestParseCgroupMounts(t *testing.T) {
	mount := func(set map[hierarchy]string) (m cgroupMounts) {
		for h, s := range set {
			m[h] = s
		}
		return m
	}
	tests := map[string]struct {
		in, version string
		want        cgroupMounts
	}{
		"v2": {"30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "v2", mount(map[hierarchy]string{unified: "/sys/fs/cgroup"})},
		"v1, together": {
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:1 - cgroup cgroup rw,cpu,cpuacct\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
			"v1", mount(map[hierarchy]string{v1CPU: "/sys/fs/cgroup/cpu,cpuacct", v1CPUAcct: "/sys/fs/cgroup/cpu,cpuacct", v1Memory: "/sys/fs/cgroup/memory"}),
		},
		"both": {
			"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			"v1 + v2", mount(map[hierarchy]string{unified: "/sys/fs/cgroup/unified", v1Pids: "/sys/fs/cgroup/pids"}),
		},
		"the root's mount counts": {
			"1 0 0:26 /docker/x /mnt/part rw - cgroup2 cgroup2 rw\n2 0 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n3 0 0:26 / /mnt/again rw - cgroup2 cgroup2 rw\n",
			"v2", mount(map[hierarchy]string{unified: "/sys/fs/cgroup"}),
		},
		"a part, where there is no more": {"1 0 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n", "v2", mount(map[hierarchy]string{unified: "/sys/fs/cgroup"})},
		"escaped":                        {"2 0 0:26 / /mnt/a\\040b\\134 rw - cgroup2 cgroup2 rw\n", "v2", mount(map[hierarchy]string{unified: `/mnt/a b\`})},
		"others":                         {"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,memory\n", "", cgroupMounts{}},
		"cut off":                        {"31 23 0:28 / - cgroup2", "", cgroupMounts{}},
		"empty":                          {"", "", cgroupMounts{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := parseCgroupMounts([]byte(tt.in))
			if got != tt.want || got.version() != tt.version {
				t.Errorf("parseCgroupMounts(%q) = %q, %q, want %q, %q", tt.in, got, got.version(), tt.want, tt.version)
			}
		})
	}
}
