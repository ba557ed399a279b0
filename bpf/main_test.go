// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"golang.org/x/sys/unix"
)

// worldEnv names what the mount namespace of a re-executed test shows of the kernel.
const worldEnv = "BPF60_TEST_WORLD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		child(what)
	}
	if job := os.Getenv(eaterEnv); job != "" {
		eat(job)
	}
	// Go's scheduler must not signal the threads of the loads: a signal ends a sleep.
	const calm = "asyncpreemptoff=1"
	if !strings.Contains(os.Getenv("GODEBUG"), calm) {
		env := append(os.Environ(), "GODEBUG="+calm)
		fmt.Fprintln(os.Stderr, "starting again with", calm+":", unix.Exec("/proc/self/exe", os.Args, env))
		os.Exit(1)
	}
	// The threads of the loads keep their processors, so that none could be stopped for a collection.
	runtime.GOMAXPROCS(16)
	debug.SetGCPercent(-1)
	if world := os.Getenv(worldEnv); world != "" {
		if err := enter(strings.Split(world, ",")); err != nil {
			fmt.Fprintln(os.Stderr, "making the test's world:", err)
			os.Exit(1)
		}
	}
	if name := os.Getenv(actorEnv); name != "" {
		act(name)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// enter changes what this process sees; its mount namespace is its own.
func enter(world []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for _, w := range world {
		var err error
		switch w {
		case "tracefs":
			err = unix.Mount("nodev", "/sys/kernel/tracing", "tracefs", 0, "")
			if errors.Is(err, unix.EBUSY) {
				err = nil
			}
		case "notracefs":
			for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug"} {
				if err == nil {
					err = unix.Mount("none", dir, "tmpfs", 0, "")
				}
			}
		case "cgroup2":
			err = unix.Mount("none", "/sys/fs/cgroup", "cgroup2", 0, "")
			if errors.Is(err, unix.EBUSY) {
				err = nil
			}
		case "pids": // inWorld has made it
		case "proc":
			err = unix.Mount("proc", "/proc", "proc", 0, "")
		case "nobtf":
			err = unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, "")
		default:
			err = errors.New("no such world")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// inWorld runs the calling test again in a process that sees the kernel otherwise, and says
// whether it has: the caller returns if so.
func inWorld(t *testing.T, world string) bool {
	t.Helper()
	if os.Getenv(worldEnv) == world {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), worldEnv+"="+world)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if slices.Contains(strings.Split(world, ","), "pids") {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		t.Skipf("in a world of %s:\n%s", world, out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a world of %s: %v\n%s", world, err, out)
	}
	return true
}

// need returns what this kernel allows, or skips: with the missing feature named, and not in CI,
// where every machine can run BPF.
func need(t testing.TB) *Kernel {
	t.Helper()
	k := Inspect()
	err := k.mayLoad()
	if err == nil && os.Getenv(worldEnv) == "" {
		err = k.needBTF()
	}
	if err == nil {
		return k
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%v; CI must be able to run BPF", err)
	}
	t.Skipf("%v", err)
	return nil
}

// closing closes a facade when the test ends.
func closing(t testing.TB, f interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
}

func openSched(t testing.TB, k *Kernel) *Sched {
	t.Helper()
	s, err := OpenSched(k, SchedParts{From: ByStamp, Switch: true, Queue: true})
	if err != nil {
		t.Fatalf("OpenSched: %v", err)
	}
	closing(t, s)
	return s
}

func openWake(t testing.TB, k *Kernel) *Wake {
	t.Helper()
	w, err := OpenWake(k)
	if err != nil {
		t.Fatalf("OpenWake: %v", err)
	}
	closing(t, w)
	return w
}

func readSched(t testing.TB, s *Sched) []SchedCounts {
	t.Helper()
	c, err := s.Read(nil)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return c
}

func onlineCPUs(t testing.TB) []int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for i := range 4096 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

// waits adds up the waits of all CPUs.
func waits(cpus []SchedCounts) (h Hist) {
	for i := range cpus {
		h.plus(&cpus[i].Wait)
	}
	return h
}

func (h *Hist) plus(o *Hist) {
	for i, n := range o.Slots {
		h.Slots[i] += n
	}
	h.Sum += o.Sum
}

func (h *Hist) minus(o *Hist) {
	for i, n := range o.Slots {
		h.Slots[i] -= n
	}
	h.Sum -= o.Sum
}

func (h *Hist) count() (n uint64) {
	for _, c := range h.Slots {
		n += c
	}
	return n
}

// quantile is the slot of the q-th quantile, -1 if empty.
func (h *Hist) quantile(q float64) int {
	n, seen := h.count(), uint64(0)
	for i, c := range h.Slots {
		if seen += c; c > 0 && float64(seen) >= q*float64(n) {
			return i
		}
	}
	return -1
}

func (h *Hist) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "n %d, mean %d ns:", h.count(), h.Sum/max(h.count(), 1))
	for i, n := range h.Slots {
		if n > 0 {
			b.WriteString(" " + strconv.Itoa(1<<i) + "us=" + strconv.FormatUint(n, 10))
		}
	}
	return b.String()
}

// elf is the embedded object of o.
func elf(t testing.TB, o *object) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := o.elf()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}
