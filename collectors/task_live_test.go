// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// helperEnv makes the test binary a load of the tests below; its value says which.
const helperEnv = "BPF60_TEST_LOAD"

func TestMain(m *testing.M) {
	// /proc/self is the process's first thread. No test may take that thread to a network namespace of
	// its own: all others would read there.
	runtime.LockOSThread()
	if load := os.Getenv(helperEnv); load != "" {
		name, arg, _ := strings.Cut(load, " ")
		n, _ := strconv.Atoi(arg)
		if err := runLoad(name, arg, n); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	if job := os.Getenv(jobEnv); job != "" {
		if err := cgroupJob(job); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The main thread's network namespace is the one that /proc/self shows: no test that enters another
	// may have that thread.
	runtime.LockOSThread()
	os.Exit(m.Run())
}

// runLoad waits for a byte on its standard input, does something n times, says so with a byte, and
// waits for its end.
func runLoad(name, arg string, n int) error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	one := make([]byte, 1)
	wait := func() error { _, err := unix.Read(0, one); return err }
	load := map[string]func() error{
		"spin": func() error {
			for end := time.Now().Add(time.Duration(n) * time.Millisecond); time.Now().Before(end); {
			}
			return nil
		},
		"sleep": func() error {
			for range n {
				ts := unix.Timespec{Nsec: 100_000}
				_ = unix.Nanosleep(&ts, nil)
			}
			return nil
		},
		"touch": func() error {
			page := os.Getpagesize()
			b, err := unix.Mmap(-1, 0, n*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
			for i := 0; i < len(b); i += page {
				b[i] = 1
			}
			return nil
		},
		"io":     func() error { return inout(n) },
		"direct": func() error { return writeDirect(arg, unix.O_DSYNC) }, // flushes take long enough to be waited for
	}[name]
	if load == nil {
		return errors.New("no such load")
	}
	if err := errors.Join(wait(), load()); err != nil {
		return err
	}
	if _, err := unix.Write(1, one); err != nil {
		return err
	}
	return wait()
}

// inout writes n pages to a file, and reads them from storage.
func inout(n int) error {
	f, err := os.CreateTemp(os.Getenv("BPF60_TEST_DIR"), "io-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, n*4096)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	_, err = f.ReadAt(make([]byte, n*4096), 0)
	return err
}

// child is a load that has not begun.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  *os.File
	out *os.File
}

func startLoad(t testing.TB, load string, env ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(exe, "--password=hunter2", "--load"), in: inW, out: outR}
	c.cmd.Env = append(append(os.Environ(), helperEnv+"="+load, "GODEBUG=asyncpreemptoff=1"), env...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inR, outW, os.Stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait(); inW.Close(); outR.Close() })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if c.waits() {
			return c
		}
	}
	t.Fatalf("%q does not wait for its byte", load)
	return nil
}

// waits says whether a thread of c, any of them, waits for the byte that lets it go.
func (c *child) waits() bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(c.pid()) + "/task/*")
	for _, dir := range threads {
		b, _ := os.ReadFile(dir + "/wchan")
		st, _ := os.ReadFile(dir + "/syscall")
		if strings.HasPrefix(string(st), "0 0x0 ") || bytes.Contains(b, []byte("pipe_read")) {
			return true
		}
	}
	return false
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// run lets the load do what it does, and waits until it has.
func (c *child) run() {
	c.t.Helper()
	if _, err := c.in.Write([]byte{1}); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.out.Read(make([]byte, 1)); err != nil {
		c.t.Fatal("the load has failed: ", err)
	}
}

// liveTasks returns the collector with each source that works here.
func liveTasks(t *testing.T, each func(t *testing.T, collect func() *Tasks)) {
	sources := map[string]func() Collector{
		"iter": func() Collector { return newTasks(NewFS(""), nil, newIterScanner(bpf.Inspect(), &pidBook{})) },
		"proc": func() Collector { return newTasks(NewFS(""), nil) },
	}
	for name, open := range sources {
		t.Run(name, func(t *testing.T) {
			c := open()
			if err := c.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			began := time.Now()
			each(t, func() *Tasks {
				t.Helper()
				s, err := c.Collect(context.Background(), time.Since(began))
				if err != nil {
					t.Fatal(err)
				}
				tasks := s.(*Tasks)
				if name == "iter" && tasks.Source != "iter/task" {
					lacking(t, "the task iterator does not work here: %+v", c.Probes())
				}
				return tasks
			})
		})
	}
}

// did is the row of a process, zero without one.
func did(t *Tasks, pid int) TaskRow {
	for _, r := range t.Rows {
		if int(r.PID) == pid {
			if r.More == nil {
				r.More = &TaskMore{}
			}
			return r
		}
	}
	return TaskRow{More: &TaskMore{}}
}

// procSays is what /proc says of a process.
type procSays struct {
	pidStat
	switches uint64 // voluntary, of all threads
}

func procOf(t testing.TB, pid int) (s procSays) {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/stat")
	if err == nil {
		err = parsePIDStat(b, &s.pidStat)
	}
	if err != nil {
		t.Fatal(err)
	}
	threads, _ := filepath.Glob(dir + "/task/*/status")
	for _, file := range threads {
		b, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		n, _ := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
		s.switches += n
	}
	return s
}

// TestIODelayLive lets the kernel count delays while a child waits for a disk.
func TestIODelayLive(t *testing.T) {
	const control = "/proc/sys/kernel/task_delayacct" // since 5.14; before, it is always counted or never
	was, err := os.ReadFile(control)
	if err != nil {
		t.Skipf("this kernel has no such control: %v", err)
	}
	if err := os.WriteFile(control, []byte("1"), 0); err != nil {
		lacking(t, "turning delay accounting on: %v", err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(control, was, 0); err != nil {
			t.Errorf("turning delay accounting off again: %v", err)
		}
	})
	disk := loopDisk(t)
	liveTasks(t, func(t *testing.T, collect func() *Tasks) {
		// With the disk's worker on the same CPU, and the other busy, a request can be done before anyone
		// waits. Since 6.12 the kernel may begin the wait of a task whose dequeue was delayed at the boot, or where
		// another one began (__block_task takes the current one): the first must be seen as unknown.
		for range 20 {
			begun := time.Now()
			c := startLoad(t, "direct "+disk)
			before := procOf(t, c.pid())
			collect()
			c.run()
			r := did(collect(), c.pid())
			ticks := procOf(t, c.pid()).BlockTicks - before.BlockTicks
			low, high := time.Duration(ticks)*10*time.Millisecond, time.Duration(ticks+1)*10*time.Millisecond
			if age := time.Since(begun); low > age {
				if low > age+time.Second && r.Lacks&LackDelay == 0 {
					t.Errorf("/proc/PID/stat says a wait of %v, longer than its life; ours is %v, not unknown", low, r.More.BlockDelay)
				}
				continue
			}
			if r.Lacks&LackDelay != 0 && ticks > 0 || r.More.BlockDelay < low || r.More.BlockDelay >= high {
				t.Errorf("waited %v for I/O (lacks %b), /proc/PID/stat says %v to %v", r.More.BlockDelay, r.Lacks, low, high)
			}
			if r.Lacks&LackDelay != 0 || r.More.BlockDelay > 0 {
				return
			}
		}
		t.Error("20 times 23 writes past the cache and no time waited")
	})
}

// TestKnownLoads has children do a known amount of something, and looks for it in the next sample.
func TestKnownLoads(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	const tmpfs, ramfs, overlay = 0x01021994, 0x858458f6, 0x794c7630
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	disk := fs.Type != tmpfs && fs.Type != ramfs && fs.Type != overlay
	loads := map[string]func(t *testing.T, tasks *Tasks, r TaskRow, before, after procSays){
		"spin 300": func(t *testing.T, tasks *Tasks, r TaskRow, before, after procSays) {
			ticks := time.Duration(after.UTime+after.STime-before.UTime-before.STime) * 10 * time.Millisecond
			if diff := r.Run - ticks; diff < -25*time.Millisecond || diff > 25*time.Millisecond {
				t.Errorf("ran %v, /proc/PID/stat says %v", r.Run, ticks)
			}
			sys := time.Duration(after.STime-before.STime) * 10 * time.Millisecond
			if diff := r.Sys.Duration() - sys; diff < -25*time.Millisecond || diff > 25*time.Millisecond {
				t.Errorf("of it %v in the kernel, /proc/PID/stat says %v", r.Sys.Duration(), sys)
			}
		},
		"sleep 400": func(t *testing.T, tasks *Tasks, r TaskRow, before, after procSays) {
			if want := after.switches - before.switches; r.Lacks&LackSwitches == 0 && (r.Voluntary < 400 || uint64(r.Voluntary) > want) {
				t.Errorf("%d voluntary switches, want 400 and few more; /proc/PID/task says %d", r.Voluntary, want)
			}
		},
		"touch 5000": func(t *testing.T, tasks *Tasks, r TaskRow, before, after procSays) {
			if n := uint64(r.MinFlt); n < 5000 || n > 5400 || n > after.MinFlt-before.MinFlt {
				t.Errorf("%d faults, want 5000 and few more; /proc/PID/stat says %d", n, after.MinFlt-before.MinFlt)
			}
			if slack := 3 * 64 * float64(runtime.NumCPU()); math.Abs(float64(r.RSS)-float64(after.RSS)) > slack || r.RSS < 5000-uint32(slack) {
				t.Errorf("RSS = %d pages, /proc/PID/stat says %d", r.RSS, after.RSS)
			}
		},
		"io 1000": func(t *testing.T, tasks *Tasks, r TaskRow, _, _ procSays) {
			if !disk {
				t.Skipf("the test's directory is in memory (file system %#x)", fs.Type)
			}
			if r.Lacks&LackIO != 0 {
				t.Skip("this kernel does not count bytes (CONFIG_TASK_IO_ACCOUNTING)")
			}
			const want = 1000 * 4096
			if r.More.Write < want || r.More.Write > want+256<<10 {
				t.Errorf("wrote %d bytes, want %d", r.More.Write, want)
			}
			if r.More.Read < want || r.More.Read > want+4<<20 { // and its own pages, if they were not there
				t.Errorf("read %d bytes, want %d", r.More.Read, want)
			}
		},
	}
	for load, check := range loads {
		t.Run(strings.Fields(load)[0], func(t *testing.T) {
			liveTasks(t, func(t *testing.T, collect func() *Tasks) {
				c := startLoad(t, load, "BPF60_TEST_DIR="+dir)
				before := procOf(t, c.pid())
				collect()
				c.run()
				tasks := collect()
				check(t, tasks, did(tasks, c.pid()), before, procOf(t, c.pid()))
			})
		})
	}
}

// TestNamesOfAChild holds that user, cgroup and command line of a new process arrive, without the
// secret in it.
func TestNamesOfAChild(t *testing.T) {
	liveTasks(t, func(t *testing.T, collect func() *Tasks) {
		collect()
		c := startLoad(t, "spin 1")
		want := filepath.Base(os.Args[0])
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for _, r := range collect().Rows {
				if int(r.PID) != c.pid() || r.ArgsRead != ArgsRead {
					continue
				}
				if line := r.Args.Bytes(); !strings.Contains(line, want) || !strings.HasSuffix(line, " --password=*** --load") {
					t.Errorf("command line = %q, want %s and no secret", line, want)
				}
				b, _ := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/cgroup")
				path, _, _ := parseCgroups(b)
				if r.CgroupPath.Bytes() != string(path) || len(path) == 0 {
					t.Errorf("cgroup = %q, want %q", r.CgroupPath.Bytes(), path)
				}
				if os.Getuid() == 0 && r.User.Bytes() != "root" {
					t.Errorf("user = %q, want root", r.User.Bytes())
				}
				return
			}
		}
		t.Error("the command line did not come")
	})
}
