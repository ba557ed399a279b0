// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"testing"
)

// cgroupSeeds are files as the kernel prints them, and what is hostile in any.
func cgroupSeeds(f *testing.F, files ...string) {
	for _, s := range append(files, "", "\n", " ", "max", "-1", "18446744073709551616\n", "8:0", ":", "total=", "some total=1") {
		f.Add([]byte(s))
		f.Add([]byte(s[:len(s)/2]))
	}
}

func FuzzCgroupCPU(f *testing.F) {
	cgroupSeeds(f, "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 7\nnr_throttled 3\nthrottled_usec 11\n", "nr_periods 7\nnr_throttled 3\nthrottled_time 11\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCgroupCPU(b)
		if err != nil {
			return
		}
		text := fmt.Sprintf("throttled_time %d\nnr_throttled %d\n", c.ThrottledNs, c.Throttled)
		if c.hasPeriods {
			text += fmt.Sprintf("nr_periods %d\n", c.Periods)
		}
		if c.hasUsage {
			text += fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec %d\n", c.Usage/1000, c.User/1000, c.System/1000)
		}
		again, err := parseCgroupCPU([]byte(text))
		again.hasThrottledFor = c.hasThrottledFor
		if !c.hasUsage {
			again.User, again.System = c.User, c.System
		}
		if err != nil || again != c {
			t.Errorf("parseCgroupCPU(%q) = %+v, printed and parsed again: %+v, %v", b, c, again, err)
		}
	})
}

func FuzzCgroupLimits(f *testing.F) {
	cgroupSeeds(f, "max 100000\n", "50000 100000\n", "9223372036854771712\n", "8:16 rbps=2097152 wbps=max riops=max wiops=120\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseLimit(b); err == nil && n != NoLimit {
			if again, err := parseLimit(fmt.Appendln(nil, n)); err != nil || again != n {
				t.Errorf("parseLimit(%q) = %d, printed and parsed again: %d, %v", b, n, again, err)
			}
		}
		if q, p, err := parseCPUMax(b); err == nil && (p == 0 || q > maxPeriod) {
			t.Errorf("parseCPUMax(%q) = %d, %d", b, q, p)
		}
		if q, err := parseQuotaV1(b); err == nil && q > maxPeriod {
			t.Errorf("parseQuotaV1(%q) = %d", b, q)
		}
		if limits, err := parseIOMax(b); err == nil && len(limits) > len(b) {
			t.Errorf("parseIOMax(%q) gives %d limits", b, len(limits))
		}
		parseCgroupState(b)
	})
}

func FuzzMemEvents(f *testing.F) {
	cgroupSeeds(f, "low 0\nhigh 3\nmax 4\noom 5\noom_kill 6\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseMemEvents(b)
		if err != nil {
			return
		}
		text := fmt.Sprintf("low %d\nhigh %d\nmax %d\noom %d\noom_kill %d\n", e.Low, e.High, e.Max, e.OOM, e.OOMKill)
		if again, err := parseMemEvents([]byte(text)); err != nil || again != e {
			t.Errorf("parseMemEvents(%q) = %v, printed and parsed again: %v, %v", b, e, again, err)
		}
	})
}

func FuzzMemStat(f *testing.F) {
	cgroupSeeds(f, "anon 1\nfile 2\nslab 6\nworkingset_refault_anon 8\nworkingset_refault_file 9\npgmajfault 7\n", "cache 1\ntotal_cache 10\ntotal_rss 20\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v1 := range []bool{false, true} {
			m, err := parseMemStat(b, v1)
			if err != nil {
				continue
			}
			text := fmt.Sprintf("anon %d\nfile %d\ninactive_file %d\nshmem %d\nslab %d\nsock %d\nworkingset_refault %d\npgmajfault %d\n",
				m.Anon, m.File, m.InactiveFile, m.Shmem, m.Slab, m.Sock, m.Refaults, m.MajorFaults)
			if again, err := parseMemStat([]byte(text), false); err != nil || again != m {
				t.Errorf("parseMemStat(%q, %v) = %v, printed and parsed again: %v, %v", b, v1, m, again, err)
			}
		}
	})
}

func FuzzCgroupIO(f *testing.F) {
	cgroupSeeds(f, "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:0 \n", "8:16 8:0 rbytes=1\n", "8:0 Read 4096\n8:0 Total 12288\nTotal 12288\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		if io, err := parseIOStat(b, nil); err == nil {
			text := fmt.Sprintf("8:0 rbytes=%d wbytes=%d rios=%d wios=%d\n", io.RBytes, io.WBytes, io.RIOs, io.WIOs)
			if again, err := parseIOStat([]byte(text), nil); err != nil || again != io {
				t.Errorf("parseIOStat(%q) = %v, printed and parsed again: %v, %v", b, io, again, err)
			}
		}
		if limits, err := parseThrottle(b, slotReads, nil); err == nil {
			for _, l := range limits {
				if l.RBytes != NoLimit || l.WIO != NoLimit {
					t.Errorf("parseThrottle(%q) = %+v", b, l)
				}
			}
		}
		if r, w, _, err := parseBlkio(b, nil); err == nil {
			text := fmt.Sprintf("8:0 Read %d\n8:0 Write %d\n", r, w)
			if r2, w2, _, err := parseBlkio([]byte(text), nil); err != nil || r2 != r || w2 != w {
				t.Errorf("parseBlkio(%q) = %d, %d, printed and parsed again: %d, %d, %v", b, r, w, r2, w2, err)
			}
		}
		if _, err := parseIOStat(b, func(uint32, uint32) bool { return true }); err == nil {
			if io, _ := parseIOStat(b, func(uint32, uint32) bool { return true }); io != (cgroupIO{}) {
				t.Errorf("parseIOStat(%q) without any device = %v", b, io)
			}
		}
	})
}

func FuzzStalls(f *testing.F) {
	cgroupSeeds(f, "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStalls(b); err == nil && (s.Some < 0 || s.Full < 0) {
			t.Errorf("parseStalls(%q) = %v", b, s)
		}
	})
}

func FuzzCgroupMounts(f *testing.F) {
	cgroupSeeds(f, "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n", "41 31 0:38 / /sys/a\\040b rw - cgroup2 cgroup2 rw\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		for h, m := range parseCgroupMounts(b) {
			if m != "" && m[0] != '/' {
				t.Errorf("parseCgroupMounts(%q)[%d] = %q", b, h, m)
			}
		}
	})
}

func FuzzInotify(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		for was := len(b) + 1; len(b) > 0; {
			if len(b) >= was {
				t.Fatalf("nextEvent leaves %d of %d bytes", len(b), was)
			}
			was = len(b)
			_, _, b = nextEvent(b)
		}
	})
}
