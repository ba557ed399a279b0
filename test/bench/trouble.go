// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// trouble is a state of the host.
type trouble struct {
	name  string
	first float64 // ms, budget of the first frame
	slow  bool    // the line to the terminal is
	begin func() (end func(), err error)
}

// span is how long keys of a gesture are pressed at most. Over the slow line a key takes a third of a second:
// its state lasts longer than a minute anyway, by the forty starts.
func (t trouble) span(o options) time.Duration {
	if t.slow {
		return o.span / 5
	}
	return o.span / 3
}

const asItIs = "host as it is"

func troubles() []trouble {
	none := func() (func(), error) { return func() {}, nil }
	return []trouble{
		{name: asItIs, first: 100, begin: none},
		{name: "64 runnable a CPU", first: 300, begin: runnable},
		{name: "memory thrash", first: 300, begin: thrash},
		{name: "hung disk", first: 300, begin: hungDisk},
		{name: "dead mount", first: 300, begin: deadMount},
		{name: "5,000 processes", first: 300, begin: func() (func(), error) { return sleepers(5000) }},
		{name: "line of 9.6 kB/s and 300 ms", first: 100, slow: true, begin: none},
	}
}

// runnable keeps 64 tasks for each CPU runnable.
func runnable() (func(), error) {
	path, err := find("stress-ng")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "--quiet", "--cpu", fmt.Sprint(64*runtime.NumCPU()), "--cpu-method", "loop")
	return inBackground(cmd)
}

// thrash makes a program read a file again and again of which its memory cgroup holds a quarter.
func thrash() (func(), error) {
	const limit = 64 << 20
	dir, err := memoryCgroup(limit)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("/var/tmp", "bpf60-bench-")
	if err != nil {
		return nil, err
	}
	away := func() { os.RemoveAll(tmp); _ = os.Remove(dir) }
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, make([]byte, 4*limit), 0o600); err != nil {
		away()
		return nil, err
	}
	cmd := exec.Command("sh", "-c", fmt.Sprintf("echo $$ > %s/cgroup.procs; while :; do cat %s > /dev/null; done", dir, file))
	stop, err := inBackground(cmd)
	if err != nil {
		away()
		return nil, err
	}
	return func() {
		stop()
		time.Sleep(200 * time.Millisecond) // until the cgroup is empty
		away()
	}, nil
}

// memoryCgroup makes a memory cgroup with a limit, on version 1 or 2.
func memoryCgroup(limit int) (string, error) {
	name := fmt.Sprintf("bpf60-bench-%d", os.Getpid())
	for _, c := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(c.root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(dir, c.limit), fmt.Append(nil, limit), 0o600) == nil {
			return dir, nil
		}
		_ = os.Remove(dir)
	}
	return "", errors.New("no memory cgroup can be made")
}

// The numbers of FIFREEZE and FITHAW: include/uapi/linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// hungDisk freezes a file system on a loop device, on which eight programs then wait to write.
func hungDisk() (func(), error) {
	tmp, err := os.MkdirTemp("/var/tmp", "bpf60-bench-")
	if err != nil {
		return nil, err
	}
	undo := []func(){func() { os.RemoveAll(tmp) }}
	end := func() {
		for len(undo) > 0 {
			undo[len(undo)-1]()
			undo = undo[:len(undo)-1]
		}
	}
	img, at := filepath.Join(tmp, "disk"), filepath.Join(tmp, "mnt")
	script := fmt.Sprintf("truncate -s 64M %[1]s && mkfs.ext4 -q %[1]s && mkdir %[2]s && mount -o loop %[1]s %[2]s", img, at)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		end()
		return nil, fmt.Errorf("making a disk: %w: %s", err, out)
	}
	undo = append(undo, func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	d, err := os.Open(at)
	if err != nil {
		end()
		return nil, err
	}
	undo = append(undo, func() { d.Close() })
	if err := unix.IoctlSetInt(int(d.Fd()), fiFreeze, 0); err != nil {
		end()
		return nil, fmt.Errorf("freezing a file system: %w", err)
	}
	var stops []func()
	undo = append(undo, func() {
		_ = unix.IoctlSetInt(int(d.Fd()), fiThaw, 0)
		for _, stop := range stops {
			stop()
		}
	})
	for i := range 8 {
		stop, err := inBackground(exec.Command("sh", "-c", fmt.Sprintf("while :; do echo x > %s/%d; done", at, i)))
		if err != nil {
			end()
			return nil, err
		}
		stops = append(stops, stop)
	}
	return end, nil
}

// deadMount mounts a file system whose server never answers.
func deadMount() (func(), error) {
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bpf60-bench-")
	if err != nil {
		server.Close()
		return nil, err
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd())
	if err := unix.Mount("dead", dir, "fuse", 0, data); err != nil {
		server.Close()
		os.Remove(dir)
		return nil, fmt.Errorf("mounting: %w", err)
	}
	return func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		server.Close()
		os.Remove(dir)
	}, nil
}

// inBackground starts a load in a session of its own, until it is told to stop.
func inBackground(cmd *exec.Cmd) (stop func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	}, nil
}
