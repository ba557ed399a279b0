// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every target holds two things: no bytes make a parser panic, and a value that it accepts is
// the same when it is printed as the kernel would and parsed again.

// seed adds a captured file, and what is hostile in any file: nothing, a half, a name that closes
// its own parenthesis, escapes, numbers beyond 64 bits.
func seed(f *testing.F, names ...string) {
	for _, name := range names {
		b := fixtureFile(f, name)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	for _, s := range []string{
		"", "\n", " ", "cpu", "some total=", "1 (", ")(", "1 ()) S 1)\n\x1b]0;x\x07) R",
		"cpu99999999999999999999 1 1 1 1\n", "18446744073709551615 18446744073709551616 -1\n", "0.00", "-0.1 .5 5.",
	} {
		f.Add([]byte(s))
	}
}

func FuzzStat(f *testing.F) {
	seed(f, "stat")
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again kernelStat
		if parseStat(b, &s) != nil {
			return
		}
		text := printTicks("cpu", s.All)
		for _, c := range s.CPUs {
			text += printTicks(fmt.Sprintf("cpu%d", c.CPU), c.Ticks)
		}
		text += fmt.Sprintf("intr %d 7\nctxt %d\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked %d\n",
			s.Interrupts, s.Switches, s.BootTime, s.Forks, s.Running, s.Blocked)
		if err := parseStat([]byte(text), &again); err != nil || fmt.Sprint(s) != fmt.Sprint(again) {
			t.Errorf("parseStat(%q) = %v, printed and parsed again: %v, %v", b, s, again, err)
		}
	})
}

func printTicks(name string, t Ticks) string {
	return fmt.Sprintln(name, t.User, t.Nice, t.System, t.Idle, t.IOWait, t.IRQ, t.SoftIRQ, t.Steal, t.Guest, t.GuestNice)
}

func FuzzLoadavg(f *testing.F) {
	seed(f, "loadavg")
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLoadavg(b)
		if err != nil {
			return
		}
		if l.Runnable < 0 || l.Threads < 0 || l.Load[0] < 0 || l.Load[1] < 0 || l.Load[2] < 0 {
			t.Errorf("parseLoadavg(%q) = %v: negative", b, l)
		}
	})
}

func FuzzUptime(f *testing.F) {
	seed(f, "uptime")
	f.Fuzz(func(t *testing.T, b []byte) {
		up, err := parseUptime(b)
		if err != nil {
			return
		}
		hundredths := up / (10 * time.Millisecond)
		text := fmt.Sprintf("%d.%02d 1.00\n", hundredths/100, hundredths%100)
		if again, err := parseUptime([]byte(text)); again != up || up < 0 {
			t.Errorf("parseUptime(%q) = %v, printed and parsed again: %v, %v", b, up, again, err)
		}
	})
}

func FuzzMeminfo(f *testing.F) {
	seed(f, "meminfo")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeminfo(b)
		if err != nil {
			return
		}
		text := fmt.Sprintf("MemTotal: %d kB\nMemFree: %d kB\nMemAvailable: %d kB\nBuffers: %d kB\nCached: %d kB\nSReclaimable: %d kB\nShmem: %d kB\nSwapTotal: %d kB\nSwapFree: %d kB\n",
			m.Total>>10, m.Free>>10, m.Available>>10, m.Buffers>>10, m.Cached>>10, m.SReclaimable>>10, m.Shmem>>10, m.SwapTotal>>10, m.SwapFree>>10)
		if again, err := parseMeminfo([]byte(text)); again != m {
			t.Errorf("parseMeminfo(%q) = %v, printed and parsed again: %v, %v", b, m, again, err)
		}
	})
}

func FuzzVMStat(f *testing.F) {
	seed(f, "vmstat")
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVMStat(b)
		if err != nil {
			return
		}
		text := fmt.Sprintf("pgpgin %d\npgpgout %d\npswpin %d\npswpout %d\n", v.In, v.Out, v.SwapIn, v.SwapOut)
		if again, err := parseVMStat([]byte(text)); again != v {
			t.Errorf("parseVMStat(%q) = %v, printed and parsed again: %v, %v", b, v, again, err)
		}
	})
}

func FuzzPressure(f *testing.F) {
	seed(f, "pressure/cpu", "pressure/io")
	f.Fuzz(func(t *testing.T, b []byte) {
		some, full, err := parsePressure(b)
		if err != nil {
			return
		}
		text := fmt.Sprintf("some avg10=0.00 total=%d\nfull avg10=0.00 total=%d\n", some.Microseconds(), full.Microseconds())
		if s, fl, err := parsePressure([]byte(text)); s != some || fl != full || some < 0 || full < 0 {
			t.Errorf("parsePressure(%q) = %v, %v, printed and parsed again: %v, %v, %v", b, some, full, s, fl, err)
		}
	})
}

func FuzzPIDStat(f *testing.F) {
	seed(f, "1/stat", "4/stat", "4711/stat", "6/stat")
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again pidStat
		if parsePIDStat(b, &s) != nil {
			return
		}
		rec, cpu := taskRec{Comm: s.Comm}, maxCPU // none
		if s.LastCPU > 0 {
			cpu = int(s.LastCPU) - 1
		}
		text := fmt.Sprintf("%d (%s) %c %d 0 0 0 -1 %d %d 0 %d 0 %d %d 0 0 %d %d %d 0 %d %d %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d 0 %d %d\n",
			s.PID, rec.name(), s.State, s.PPID, s.Flags, s.MinFlt, s.MajFlt, s.UTime, s.STime, s.Prio, s.Nice, s.Threads, s.StartTicks,
			s.VSize, s.RSS, cpu, s.Policy, s.BlockTicks)
		if err := parsePIDStat([]byte(text), &again); err != nil || again != s {
			t.Errorf("parsePIDStat(%q) = %v, printed and parsed again: %v, %v", b, s, again, err)
		}
		if s.PID <= 0 || s.PPID < 0 || s.Comm[commLen-1] != 0 {
			t.Errorf("parsePIDStat(%q) = %v", b, s)
		}
	})
}

func FuzzSchedstat(f *testing.F) {
	seed(f, "1/schedstat")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSchedstat(b)
		if err != nil {
			return
		}
		if again, err := parseSchedstat(fmt.Appendln(nil, s.Run, s.Wait, s.Slices)); again != s {
			t.Errorf("parseSchedstat(%q) = %v, printed and parsed again: %v, %v", b, s, again, err)
		}
	})
}

func FuzzStatusUID(f *testing.F) {
	seed(f, "1/status", "4711/status")
	f.Fuzz(func(t *testing.T, b []byte) {
		uid, err := parseStatusUID(b)
		if err != nil {
			return
		}
		if again, err := parseStatusUID(fmt.Appendf(nil, "Name:\tx\nUid:\t%d\t0\t0\t0\n", uid)); again != uid {
			t.Errorf("parseStatusUID(%q) = %d, printed and parsed again: %d, %v", b, uid, again, err)
		}
	})
}

func FuzzDirents(f *testing.F) {
	f.Add([]byte{})
	f.Add(dirents("1", "self", "4711"))
	f.Add(dirents("99999999999")[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := 0; len(b) > 0; n++ {
			var pid int32
			was := len(b)
			if pid, b = nextPID(b); pid < 0 || len(b) >= was {
				t.Fatalf("nextPID = %d with %d of %d bytes left", pid, len(b), was)
			}
		}
	})
}

func FuzzCPUList(f *testing.F) {
	seed(f)
	f.Add([]byte("0-3,5,8-11\n"))
	f.Add([]byte("0-65535,0-65535,0-65535"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cpus, err := parseCPUList(b)
		if err != nil {
			return
		}
		if len(cpus) == 0 || len(cpus) > maxCPU || !slices.IsSorted(cpus) || cpus[len(cpus)-1] >= maxCPU {
			t.Errorf("parseCPUList(%q) is %d CPUs from %v", b, len(cpus), cpus[:min(len(cpus), 5)])
		}
		text := ""
		for _, cpu := range cpus[:min(len(cpus), 100)] {
			text += fmt.Sprintf("%d,", cpu)
		}
		again, err := parseCPUList([]byte(strings.TrimSuffix(text, ",") + "\n"))
		if err != nil || !slices.Equal(again, cpus[:min(len(cpus), 100)]) {
			t.Errorf("parseCPUList(%q) printed and parsed again is %v, %v", b, again, err)
		}
	})
}

func FuzzForks(f *testing.F) {
	seed(f, "stat")
	f.Add([]byte("ctxt 12\nbtime 1\nprocesses 4711\nprocs_running 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseForks(b)
		if err != nil {
			return
		}
		if again, err := parseForks(fmt.Appendf(nil, "cpu 1\nprocesses %d\n", n)); err != nil || again != n {
			t.Errorf("parseForks(%q) = %d, printed and parsed again %d, %v", b, n, again, err)
		}
	})
}
