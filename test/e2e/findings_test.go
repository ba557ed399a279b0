// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// finding is what a report in JSON says of one.
type finding struct {
	ID       string  `json:"id"`
	Severity string  `json:"severity"`
	Title    string  `json:"title"`
	CausedBy *string `json:"caused_by"`
	Culprits []named `json:"culprits"`
	Victims  []named `json:"victims"`
}

type named struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"`
}

// measured is the part of a report that tests look at.
type measured struct {
	Rules     int       `json:"rules"`
	Findings  []finding `json:"findings"`
	Healthy   []any     `json:"healthy"`
	Unchecked []any     `json:"unchecked"`
	Panes     map[string]struct {
		Columns []struct {
			ID string `json:"id"`
		} `json:"columns"`
		Rows [][]any `json:"rows"`
	} `json:"panes"`
}

// find is the finding of that ID.
func (m *measured) find(t *testing.T, id string) finding {
	t.Helper()
	i := slices.IndexFunc(m.Findings, func(f finding) bool { return f.ID == id })
	if i < 0 {
		t.Errorf("%s is not found; found are %+v", id, m.Findings)
		return finding{}
	}
	return m.Findings[i]
}

// idle is how much of the time the CPUs were idle, in percent; -1 if it is not told.
func (m *measured) idle() float64 {
	for i, c := range m.Panes["cpu"].Columns {
		if rows := m.Panes["cpu"].Rows; c.ID == "%idle" && len(rows) > 0 {
			if idle, ok := rows[0][i].(float64); ok {
				return idle
			}
		}
	}
	return -1
}

// measure reports this host for so long, with other limits than the default ones: lines of [thresholds].
func measure(t *testing.T, span time.Duration, limits ...string) measured {
	t.Helper()
	args := []string{"report", "--for", span.String(), "--format", "json", "cpu"}
	if limits != nil {
		config := filepath.Join(t.TempDir(), "config.toml")
		write(t, config, "[thresholds]\n"+strings.Join(limits, "\n")+"\n")
		args = append(args, "--config", config)
	}
	out, err := exec.Command(binary(), args...).Output()
	if err != nil {
		t.Fatalf("reporting: %v", err)
	}
	var m measured
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("reading the report: %v", err)
	}
	return m
}

// newCgroup makes a cgroup of the memory controller, and removes it with the test. Limit is what it may
// hold, in bytes; 0 is no limit.
func newCgroup(t *testing.T, name string, limit int) (dir string) {
	t.Helper()
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(root); err != nil {
		root, file = "/sys/fs/cgroup", "memory.max"
	}
	dir = filepath.Join(root, fmt.Sprintf("%s-%d", name, os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		lacking(t, "cannot make a cgroup: "+err.Error())
	}
	t.Cleanup(func() { until(t, "removing "+dir, func() bool { return os.Remove(dir) == nil }) })
	if limit > 0 {
		write(t, filepath.Join(dir, file), fmt.Sprint(limit))
	}
	return dir
}

// Busy loops of one cgroup take the CPUs from a process of another: the report says whose they are, and
// who waits; the screen leads there and back.
func TestFindingOfHog(t *testing.T) {
	asRoot(t)
	dir := newCgroup(t, "e2e-hogs", 0)
	leash(t, `echo $$ >"$1/cgroup.procs" || exit; p=; for i in 1 2 3 4; do (while :; do :; done) & p="$p $!"; done; read _; kill $p`, dir)
	startLoad(t, "e2e-victim", 1, 20)

	// Who is blamed is who takes most: while others of the host take more than the hogs it is not they.
	var m measured
	for tries, share := 0, 0.0; share < 0.5; tries++ {
		if tries == 10 {
			t.Skipf("needs a host whose others leave half of what they use to the hogs, and not %.0f %%", 100*share)
		}
		hogs, all := usedIn(t, dir), usedByAll(t)
		m = measure(t, 16*time.Second)
		share = float64(usedIn(t, dir)-hogs) / float64(usedByAll(t)-all)
	}
	f := m.find(t, "cpu.saturated")
	if f.Severity == "info" || len(f.Culprits) == 0 || f.Culprits[0].Kind != "cgroup" || !strings.Contains(f.Culprits[0].Name, "e2e-hogs") {
		t.Errorf("found %s: %s, by %+v, want the cgroup e2e-hogs", f.Severity, f.Title, f.Culprits)
	}
	if !slices.ContainsFunc(f.Victims, func(n named) bool { return strings.HasPrefix(n.Name, "e2e-victim[") }) {
		t.Errorf("the victims are %+v, want e2e-victim among them", f.Victims)
	}
	if len(m.Findings) > 0 && m.Findings[0].ID != "cpu.saturated" {
		t.Errorf("the first finding is %+v, want cpu.saturated", m.Findings[0])
	}

	x := openWindow(t, 80, 24, binary())
	x.see(`^>!!? +cpu\.saturated .*e2e-hogs`, `^ !!? uptime`)
	x.press("Enter")
	x.see(`\[3 Proc\]`, `^>.* sh\b`)
	x.press("Escape")
	x.see(`\[1 Over\]`, `^>!!? +cpu\.saturated`)
	x.quit()
}

// usedIn is the CPU time of the processes of a cgroup, in ticks.
func usedIn(t *testing.T, dir string) (ticks uint64) {
	t.Helper()
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		ticks += sum(strings.Fields(rest)[11:13]) // utime and stime
	}
	return ticks
}

// usedByAll is the CPU time of everybody, in ticks.
func usedByAll(t *testing.T) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	return sum(strings.Fields(string(b))[1:4]) // user, nice and system
}

func sum(fields []string) (n uint64) {
	for _, f := range fields {
		v, _ := strconv.ParseUint(f, 10, 64)
		n += v
	}
	return n
}

// What fails, fills up and is killed is found with its name.
func TestFindingsOfTrouble(t *testing.T) {
	asRoot(t)
	small := newCgroup(t, "e2e-oom", 24<<20)
	leash(t, `sleep 3; echo $$ >"$1/cgroup.procs" && tail /dev/zero; read _`, small)

	mount, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	mkfs := tool(t, "mkfs.ext4")
	filled := exec.Command("/bin/sh", "-c", `truncate -s 64M "$1" && "$3" -q "$1" && mount -o loop "$1" "$2" && ! cp /dev/zero "$2/full" 2>/dev/null`, "sh", image, mount, mkfs)
	if out, err := filled.CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("cannot mount a file system of a loop device: %v: %s", err, out))
	}
	t.Cleanup(func() {
		until(t, "unmounting "+mount, func() bool { return exec.Command("umount", mount).Run() == nil })
	})

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	stop := often(t, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return errors.New("connected to nobody")
		}
		return nil
	})

	m := measure(t, 18*time.Second)
	stop()
	if f := m.find(t, "mem.oom_kill"); f.Severity != "warning" || len(f.Victims) == 0 || !strings.HasPrefix(f.Victims[0].Name, "tail[") || len(f.Culprits) == 0 || !strings.Contains(f.Culprits[0].Name, "e2e-oom") {
		t.Errorf("mem.oom_kill: %+v, want a warning about tail in e2e-oom", f)
	}
	if f := m.find(t, "fs.full"); f.Severity != "critical" || !strings.Contains(f.Title, mount) {
		t.Errorf("fs.full: %+v, want %s", f, mount)
	}
	if f := m.find(t, "net.connect_failures"); f.Severity != "warning" || !strings.Contains(f.Title, addr) || !strings.Contains(f.Title, "refused") ||
		len(f.Victims) == 0 || !strings.HasPrefix(f.Victims[0].Name, filepath.Base(os.Args[0])+"[") {
		t.Errorf("net.connect_failures: %+v, want connects to %s refused", f, addr)
	}
}

// often does something 20 times a second until stop is called.
func often(t *testing.T, f func() error) (stop func()) {
	t.Helper()
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	return func() { close(end); <-done }
}

// On a host that does nothing no rule warns, and resources are ruled out.
func TestNothingOnIdleHost(t *testing.T) {
	asRoot(t)
	m := measure(t, 15*time.Second)
	if idle := m.idle(); idle < 90 {
		t.Skipf("needs an idle host: this one is idle %.0f %% of the time", idle)
	}
	for _, f := range m.Findings {
		// What other tests provoked stays in the kernel's log.
		if f.Severity != "info" && !regexp.MustCompile(`^(kernel\.errors|mem\.oom_kill|proc\.crash_loop)$`).MatchString(f.ID) {
			t.Errorf("found %s: %s %s by %+v hits %+v", f.Severity, f.ID, f.Title, f.Culprits, f.Victims)
		}
	}
	if m.Rules == 0 || len(m.Healthy) == 0 {
		t.Errorf("%d rules, ruled out %v, unchecked %v", m.Rules, m.Healthy, m.Unchecked)
	}
}
