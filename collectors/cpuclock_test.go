// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// cpuTree is a tree with files of CPUs in its /sys, beside an empty /proc.
func cpuTree(t *testing.T) (FS, procTree) {
	t.Helper()
	root := t.TempDir()
	return NewFS(root + "/proc"), procTree{t, root}
}

func TestCPUClocks(t *testing.T) {
	fs, tree := cpuTree(t)
	const dir = "sys/devices/system/cpu/"
	for name, text := range map[string]string{
		"cpu0/cpufreq/scaling_cur_freq": "2400000\n", "cpu0/cpufreq/scaling_max_freq": "2800000\n",
		"cpu0/cpufreq/cpuinfo_max_freq": "3500000\n", "cpu0/cpufreq/scaling_governor": "powersave\n",
		"cpu0/cpuidle/state0/name": "POLL\n", "cpu0/cpuidle/state0/time": "1000\n", "cpu0/cpuidle/state0/usage": "10\n",
		"cpu0/cpuidle/state1/name": "C1\n", "cpu0/cpuidle/state1/time": "50000\n", "cpu0/cpuidle/state1/usage": "100\n",
		"cpu1/online": "1\n",
		"cpu0/thermal_throttle/core_throttle_count": "4\n", "cpu0/thermal_throttle/core_throttle_total_time_ms": "100\n",
		"cpu0/thermal_throttle/package_throttle_count": "9\n", "cpu0/thermal_throttle/package_throttle_total_time_ms": "900\n",
	} {
		tree.write(dir+name, text)
	}
	c := NewCPUClocks(fs).(*cpuClockCollector)
	targets := []Target{{Kind: CPUTarget, CPU: 0}, {Kind: CPUTarget, CPU: 1}, {Kind: ProcessTarget}}
	if err := c.Narrow(targets); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	collectAs[*CPUClocks](t, c, time.Second)
	tree.write(dir+"cpu0/cpuidle/state0/time", "900\n") // went back
	tree.write(dir+"cpu0/cpuidle/state1/time", "300000\n")
	tree.write(dir+"cpu0/cpuidle/state1/usage", "150\n")
	tree.write(dir+"cpu0/thermal_throttle/core_throttle_count", "7\n")
	tree.write(dir+"cpu0/thermal_throttle/core_throttle_total_time_ms", "130\n")
	tree.write(dir+"cpu0/thermal_throttle/package_throttle_total_time_ms", "1250\n")
	got := collectAs[*CPUClocks](t, c, 2*time.Second)
	sameTarget := cmp.Comparer(func(a, b Target) bool { return a == b })
	want := []Targeted[CPUClock]{
		{Target: targets[0], Since: time.Second, Sample: CPUClock{
			Now: 2400000, Limit: 2800000, Max: 3500000, Governor: RawString("powersave"), Hot: 350 * time.Millisecond, HotTimes: 3,
			Idle: []IdleState{{Name: RawString("POLL")}, {Name: RawString("C1"), Time: 250 * time.Millisecond, Entries: 50}},
		}},
		{Target: targets[1], Since: time.Second, Sample: CPUClock{
			Why:     "the kernel has no cpufreq driver here: in most virtual machines the host decides",
			IdleWhy: "the kernel has no cpuidle driver here: how a virtual CPU idles is its host's matter",
		}},
	}
	if d := cmp.Diff(want, got.Narrowed, cmpopts.IgnoreUnexported(IdleState{}, CPUClock{}), sameTarget, cmp.AllowUnexported(Raw{})); d != "" {
		t.Errorf("clocks (-want +got):\n%s", d)
	}
	if bare := got.withoutRows(); bare.Narrowed[0].Sample.Idle != nil || bare.Narrowed[0].Sample.Now == 0 || got.Narrowed[0].Sample.Idle == nil {
		t.Errorf("without rows: %+v of %+v", bare.Narrowed[0].Sample, got.Narrowed[0].Sample)
	}
}

// TestIRQsOfCPU: what one CPU took stands beside the sum, from the second reading on.
func TestIRQsOfCPU(t *testing.T) {
	fs, tree := cpuTree(t)
	const head = "           CPU0       CPU2\n"
	tree.write("proc/interrupts", head+" 24:         10         20   PCI-MSI 1-edge      eth0\nLOC:          5          5   Local timer interrupts\n")
	c := NewIRQ(fs).(*irqCollector)
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	two, none := Target{Kind: CPUTarget, CPU: 2}, Target{Kind: CPUTarget, CPU: 1}
	if err := c.Narrow([]Target{two, none, {Kind: ProcessTarget}}); err != nil {
		t.Fatal(err)
	}
	if got := collectAs[*IRQ](t, c, time.Second).Narrowed; len(got) != 1 || len(got[0].Sample.Rows) != 0 {
		t.Errorf("the first reading has %+v, want a CPU without counts", got)
	}
	tree.write("proc/interrupts", head+" 24:         11         27   PCI-MSI 1-edge      eth0\nLOC:          9          5   Local timer interrupts\n")
	got := collectAs[*IRQ](t, c, 3*time.Second)
	sameTarget := cmp.Comparer(func(a, b Target) bool { return a == b })
	want := []Targeted[CPUIRQs]{{Target: two, Since: time.Second, Sample: CPUIRQs{Rows: []CPUIRQ{{Name: RawString("24"), Device: RawString("eth0"), Count: 7}}}}}
	if d := cmp.Diff(want, got.Narrowed, sameTarget, cmp.AllowUnexported(Raw{})); d != "" {
		t.Errorf("CPU 2 (-want +got):\n%s", d)
	}
	if got.Count != 12 {
		t.Errorf("all CPUs took %d, want 12", got.Count)
	}
}
