// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// objects are the ids of what a process holds in the kernel. The kernel never gives one twice. Of perf
// events, which have none, they are our own descriptors: see takeEvents.
type objects struct {
	programs []ebpf.ProgramID
	maps     []ebpf.MapID
	links    []link.ID
	events   []*os.File
}

// held reads them from the process's file descriptors.
func held(t *testing.T, pid int) (o objects) {
	t.Helper()
	o.events = takeEvents(t, pid)
	t.Cleanup(o.release)
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		f, err := os.Open(filepath.Join(dir, fd.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed since
		}
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			key, value, _ := strings.Cut(lines.Text(), ":")
			id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
			if err != nil {
				continue
			}
			switch key {
			case "prog_id": // of a program, and of the one behind a link
				o.programs = append(o.programs, ebpf.ProgramID(id))
			case "map_id":
				o.maps = append(o.maps, ebpf.MapID(id))
			case "link_id":
				o.links = append(o.links, link.ID(id))
			}
		}
		f.Close()
	}
	slices.Sort(o.programs)
	o.programs = slices.Compact(o.programs)
	for _, id := range o.programs { // and the maps that only programs hold
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			t.Fatalf("program %d: %v", id, err)
		}
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		maps, ok := info.MapIDs()
		if !ok {
			t.Fatal("this kernel does not tell the maps of a program")
		}
		o.maps = append(o.maps, maps...)
		p.Close()
	}
	slices.Sort(o.maps)
	o.maps = slices.Compact(o.maps)
	return o
}

// release gives up the perf events, which keep their program.
func (o objects) release() {
	for _, f := range o.events {
		_ = f.Close() // twice does no harm
	}
}

// left names those that are still in the kernel.
func (o objects) left(t *testing.T) (out []string) {
	t.Helper()
	note := func(kind string, id any, err error) {
		switch {
		case err == nil:
			out = append(out, fmt.Sprintf("%s %d", kind, id))
		case !errors.Is(err, fs.ErrNotExist):
			t.Fatalf("looking for %s %d: %v", kind, id, err)
		}
	}
	for _, id := range o.programs {
		p, err := ebpf.NewProgramFromID(id)
		if err == nil {
			p.Close()
		}
		note("program", id, err)
	}
	for _, id := range o.maps {
		m, err := ebpf.NewMapFromID(id)
		if err == nil {
			m.Close()
		}
		note("map", id, err)
	}
	for _, id := range o.links {
		l, err := link.NewFromID(id)
		if err == nil {
			l.Close()
		}
		note("link", id, err)
	}
	return out
}

// gone waits until none of them is left: the kernel frees them after its readers.
func (o objects) gone(t *testing.T) {
	t.Helper()
	var left []string
	defer func() {
		if len(left) > 0 {
			t.Logf("left in the kernel: %s", strings.Join(left, ", "))
		}
	}()
	until(t, "nobody holding a perf event", func() bool { left = holders(t, o.events); return len(left) == 0 })
	o.release()
	until(t, "the kernel letting go of everything", func() bool { left = o.left(t); return len(left) == 0 })
}

// attached waits until the dashboard measures with all it has, the probes that attach on demand
// included, and returns what it holds.
func attached(t *testing.T, p *player, pid int) objects {
	t.Helper()
	p.see("60 seconds", "runqlat  p50 ")
	p.send("2ii")
	p.see("by cause", "woken")
	o := held(t, pid)
	if len(o.programs) < 3 || len(o.maps) == 0 || len(o.links) == 0 || len(o.events) == 0 {
		t.Fatalf("the dashboard holds %+v, want programs, maps, links and perf events", o)
	}
	if by := holders(t, o.events); len(by) != len(o.events) {
		t.Fatalf("%d perf events are held by %v, want by the dashboard alone", len(o.events), by)
	}
	if left := o.left(t); len(left) != len(o.programs)+len(o.maps)+len(o.links) {
		t.Fatalf("of %+v only %v are found in the kernel", o, left)
	}
	return o
}

// However the dashboard ends, nothing of it stays in the kernel.
func TestKernelLeftovers(t *testing.T) {
	asRoot(t)
	for name, tt := range map[string]struct {
		end  func(*player)
		code int
	}{
		"q":       {func(p *player) { p.send("q") }, 0},
		"SIGTERM": {func(p *player) { _ = p.cmd.Process.Signal(syscall.SIGTERM) }, 128 + int(syscall.SIGTERM)},
		"SIGKILL": {func(p *player) { _ = p.cmd.Process.Kill() }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := play{}.start(t, binary())
			o := attached(t, p, p.cmd.Process.Pid)
			tt.end(p)
			if code := p.exit(); code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			o.gone(t)
		})
	}
}

// However a profile ends, nothing of it stays in the kernel.
func TestProfileLeftovers(t *testing.T) {
	asRoot(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.Command(binary(), "profile", "--for", "1h")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			until(t, "the profile sampling", func() bool { return len(perfEvents(t, cmd.Process.Pid)) > 0 })
			o := held(t, cmd.Process.Pid)
			if len(o.programs) != 1 || len(o.maps) < 3 {
				t.Fatalf("a profile holds %+v, want a program and its maps", o)
			}
			if by := holders(t, o.events); len(by) != len(o.events) || len(by) == 0 {
				t.Fatalf("%d perf events are held by %v, want by the profile alone", len(o.events), by)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the code is looked at
			if got := cmd.ProcessState.ExitCode(); sig == syscall.SIGINT && got != 128+int(sig) {
				t.Errorf("exit %d, want %d", got, 128+int(sig))
			}
			o.gone(t)
		})
	}
}
