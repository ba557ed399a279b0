// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Variables of a load: how many MiB of memory and how many open files it takes more in a second, of the one
// from startMiB on; and how many MiB it stops at. Its threads hand a byte from one to the other if
// loadPasses is set.
const (
	loadGrows  = "BPF60_E2E_GROWS"
	loadStops  = "BPF60_E2E_STOPS"
	loadLeaks  = "BPF60_E2E_LEAKS"
	loadPasses = "BPF60_E2E_PASSES"

	startMiB = 80
)

// wear begins what the variables of a load ask for.
func wear() error {
	number := func(name string) (n float64, err error) {
		if text := os.Getenv(name); text != "" {
			n, err = strconv.ParseFloat(text, 64)
		}
		return n, err
	}
	each, err := number(loadGrows)
	if err != nil {
		return err
	}
	most, err := number(loadStops)
	if err != nil {
		return err
	}
	files, err := number(loadLeaks)
	if err != nil {
		return err
	}
	if each > 0 {
		memory, err := unix.Mmap(-1, 0, int(most)<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		go grow(memory, each)
	}
	if files > 0 {
		go leak(files)
	}
	if os.Getenv(loadPasses) != "" {
		return pass()
	}
	return nil
}

// grow touches so many MiB more in each second, whatever the host lets it run.
func grow(memory []byte, each float64) {
	began, page, done := time.Now(), os.Getpagesize(), 0
	for range time.Tick(100 * time.Millisecond) {
		for upTo := min(int((startMiB+each*time.Since(began).Seconds())*(1<<20)), len(memory)); done < upTo; done += page {
			memory[done] = 1
		}
	}
}

// leak opens so many files more in each second.
func leak(each float64) {
	var files []*os.File
	began := time.Now()
	for range time.Tick(100 * time.Millisecond) {
		for float64(len(files)) < each*time.Since(began).Seconds() {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return
			}
			files = append(files, f)
		}
	}
}

// pass hands a byte to and fro between two threads on one CPU: each has to sleep until the other has run.
func pass() error {
	var pipes [2][2]int
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	var only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &only); err != nil {
		return err
	}
	for cpu := 0; only.Count() > 1; cpu++ {
		only.Clear(cpu)
	}
	for i := range 2 {
		go func() {
			if unix.SchedSetaffinity(0, &only) != nil { // of this thread, which is nobody else's
				return
			}
			b := []byte{1}
			for in, out := pipes[i][0], pipes[1-i][1]; ; {
				if _, err := unix.Read(in, b); err != nil {
					return
				}
				if _, err := unix.Write(out, b); err != nil {
					return
				}
			}
		}()
	}
	_, err := unix.Write(pipes[0][1], []byte{1})
	return err
}

// blames says that the finding has a culprit whose name begins so.
func (f *finding) blames(name string) bool {
	return slices.ContainsFunc(f.Culprits, func(n named) bool { return strings.HasPrefix(n.Name, name) })
}

// One process switches contexts all the time, another one sleeps and wakes a thousand times a second.
func TestFindingOfSwitches(t *testing.T) {
	asRoot(t)
	startLoad(t, "e2e-calm", 4, 1)
	t.Setenv(loadPasses, "1")
	startLoad(t, "e2e-passes", 1, 1)
	m := measure(t, 15*time.Second, `"cpu.switch_storm.rate" = 5000`)
	f := m.find(t, "cpu.switch_storm")
	if !f.blames("e2e-passes[") || f.blames("e2e-calm[") || !regexp.MustCompile(`^e2e-passes\[\d+\] switches \d+ k times a second`).MatchString(f.Title) {
		t.Errorf("cpu.switch_storm: %+v, want e2e-passes alone", f)
	}
}

// One process waits for flushes of a device all the time, another one only writes.
func TestFindingOfFlushes(t *testing.T) {
	asRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	write(t, image, "")
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool(t, "losetup"), "--find", "--show", image).CombinedOutput()
	if err != nil {
		lacking(t, fmt.Sprintf("cannot make a loop device: %v: %s", err, out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		until(t, "detaching "+device, func() bool { return exec.Command("losetup", "--detach", device).Run() == nil })
	})
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	stop := often(t, func() error {
		_, err := plain.WriteAt(make([]byte, 64<<10), 0)
		return err
	})
	t.Setenv(loadWrites, device)
	startLoad(t, "e2e-syncs", 1, 1)

	// The loop device is as quick as the disk below it: what is long elsewhere would be a matter of chance.
	m := measure(t, 15*time.Second, `"disk.sync_storm.ms" = 0.1`, `"disk.sync_storm.share" = 1`)
	stop()
	f := m.find(t, "disk.sync_storm")
	if f.Severity != "warning" || !f.blames("e2e-syncs[") || f.blames(filepath.Base(os.Args[0])) || !strings.Contains(f.Title, "waits for "+filepath.Base(device)) {
		t.Errorf("disk.sync_storm: %+v, want e2e-syncs on %s", f, device)
	}
}

// What takes a minute to be seen: a process grows towards the limit of its cgroup, beside one that stops;
// one leaks files; and every seven seconds a script runs something heavy.
func TestFindingsOfAMinute(t *testing.T) {
	asRoot(t)
	dir := newCgroup(t, "e2e-grows", 384<<20)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	wears := func(name string, more ...string) {
		t.Helper()
		env := append([]string{fmt.Sprintf("%s=%x", loadName, name), loadThreads + "=1", loadMillis + "=1"}, more...)
		leash(t, `echo $$ >"$1/cgroup.procs" || exit; prog=$2; shift 2; exec env "$@" "$prog"`, append([]string{dir, self}, env...)...)
	}
	wears("e2e-grows", loadGrows+"=1.5", loadStops+"=300")
	wears("e2e-stops", loadGrows+"=1.5", loadStops+"=90")

	t.Setenv(loadLeaks, "2")
	leaks := startLoad(t, "e2e-leaks", 1, 1)
	if err := unix.Prlimit(leaks, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 400, Max: 400}, nil); err != nil {
		t.Fatal(err)
	}
	beats, heavy := filepath.Join(t.TempDir(), "beats"), filepath.Join(t.TempDir(), "e2e-heavy")
	write(t, heavy, "#!/bin/sh\necho >>\"$1\"\nburn() { i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; }\nfor n in 1 2 3 4 5 6 7; do burn & done\nburn\nwait\n")
	if err := os.Chmod(heavy, 0o755); err != nil {
		t.Fatal(err)
	}
	leash(t, `(while :; do "$1" "$2"; sleep 7; done) & p=$!; read _; kill $p`, heavy, beats)

	// Others of a busy host grow, too, and have an hour's time.
	m := measure(t, 90*time.Second, `"mem.growth.minutes" = 0`)
	busy := m.idle() < 20
	if grows := slices.ContainsFunc(m.Findings, func(f finding) bool { return f.ID == "mem.growth" }); busy && !grows {
		t.Logf("a host that is idle %.0f %% of the time lets nobody look often enough to see eleven steps in 90 s", m.idle())
	} else if f := m.find(t, "mem.growth"); f.Severity != "warning" || !f.blames("e2e-grows[") || f.blames("e2e-stops[") || !strings.Contains(f.Title, "the limit of ") {
		t.Errorf("mem.growth: %+v, want e2e-grows towards the limit of its cgroup", f)
	}
	if leaking := slices.ContainsFunc(m.Findings, func(f finding) bool { return f.ID == "fd.exhaustion" }); busy && !leaking {
		t.Log("nor ten readings of open files in a minute")
	} else if f := m.find(t, "fd.exhaustion"); f.Severity != "warning" || !strings.Contains(f.Title, fmt.Sprintf("e2e-leaks[%d]", leaks)) || !strings.Contains(f.Title, "all of them in about") {
		t.Errorf("fd.exhaustion: %+v, want e2e-leaks to reach its limit", f)
	}
	beaten(t, &m, beats)
}

// beaten looks for the rhythm, unless others make the host's CPUs short, too.
func beaten(t *testing.T, m *measured, beats string) {
	t.Helper()
	i := slices.IndexFunc(m.Findings, func(f finding) bool { return f.ID == "latency.periodic" })
	if i < 0 {
		file, err := os.Open(beats)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		n := 0
		for s := bufio.NewScanner(file); s.Scan(); n++ {
		}
		if idle := m.idle(); idle < 90 || n < 8 {
			t.Logf("nobody can tell %d beats from the rest on a host that is idle %.0f %% of the time", n, idle)
			return
		}
		t.Errorf("latency.periodic is not found; found are %+v", m.Findings)
		return
	}
	if f := m.Findings[i]; !regexp.MustCompile(`^every [78] s: .*/e2e-heavy .* by sh\[`).MatchString(f.Title) || !f.blames("sh[") {
		t.Errorf("latency.periodic: %+v, want e2e-heavy every 7 s", f)
	}
}
