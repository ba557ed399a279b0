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
	if load := os.Getenv(helperEnv); load != "" {
		name, arg, _ := strings.Cut(load, " ")
		n, _ := strconv.Atoi(arg)
		if err := runLoad(name, n); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runLoad waits for a byte on its standard input, does something n times, says so with a byte, and
// waits for its end.
func runLoad(name string, n int) error {
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
		"io": func() error { return inout(n) },
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
	for { // until it waits for its byte
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/wchan")
		st, _ := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/syscall")
		if strings.HasPrefix(string(st), "0 0x0 ") || bytes.Contains(b, []byte("pipe_read")) {
			return c
		}
		time.Sleep(time.Millisecond)
	}
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
		"iter": func() Collector { return NewTasks(NewFS(""), newIterScanner(bpf.Inspect())) },
		"proc": func() Collector { return NewTasks(NewFS("")) },
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
		for range 500 {
			for _, r := range collect().Rows {
				if int(r.PID) != c.pid() || r.ArgsRead != ArgsRead {
					continue
				}
				if line := r.Args.Bytes(); !strings.Contains(line, want) || !strings.HasSuffix(line, " --password=*** --load") {
					t.Errorf("command line = %q, want %s and no secret", line, want)
				}
				b, _ := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/cgroup")
				path, _ := parseCgroups(b)
				if r.CgroupPath.Bytes() != string(path) || len(path) == 0 {
					t.Errorf("cgroup = %q, want %q", r.CgroupPath.Bytes(), path)
				}
				if os.Getuid() == 0 && r.User.Bytes() != "root" {
					t.Errorf("user = %q, want root", r.User.Bytes())
				}
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("the command line did not come")
	})
}

// Test5000Processes measures a scan of a host with 5,000 sleeping processes more.
func Test5000Processes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts 5,000 processes")
	}
	const n = 5000
	sleeper, err := exec.LookPath("sleep")
	if err != nil {
		lacking(t, "needs sleep(1)")
	}
	script := "i=0; while [ $i -lt " + strconv.Itoa(n) + " ]; do " + sleeper + " 60 & i=$((i+1)); done; echo; read x"
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	in, _ := cmd.StdinPipe()
	defer in.Close()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	limits := map[string]time.Duration{"iter/task": 50 * time.Millisecond, "/proc": 200 * time.Millisecond} // on a busy machine
	liveTasks(t, func(t *testing.T, collect func() *Tasks) {
		first := collect()
		if len(first.Key) < n {
			t.Fatalf("%d processes listed, want %d and more", len(first.Key), n)
		}
		for range longAsleep + 1 { // until it is known who sleeps
			collect()
		}
		least := time.Hour
		for range 10 {
			began := processCPU(t)
			collect()
			got := collect()
			least = min(least, (processCPU(t)-began)/2) // of two, as /proc reads sleepers at every other
			if got.Processes < n {
				t.Errorf("%d processes counted, want %d and more", got.Processes, n)
			}
		}
		t.Logf("%s: the first has %d processes; at least %v of CPU time a scan", first.Source, len(first.Key), least)
		if least > limits[first.Source] {
			t.Errorf("a scan takes %v of CPU time, want %v", least, limits[first.Source])
		}
	})
}

// cpuTime is what this process has used, in user and kernel mode.
func processCPU(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTasks measures a Collect of this host, by source.
func BenchmarkTasks(b *testing.B) {
	for name, c := range map[string]Collector{
		"iter": NewTasks(NewFS(""), newIterScanner(bpf.Inspect())),
		"proc": NewTasks(NewFS("")),
	} {
		b.Run(name, func(b *testing.B) {
			if err := c.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			at := time.Duration(0)
			began := processCPU(b)
			var n int
			b.ReportAllocs()
			for b.Loop() {
				at += time.Second
				s, err := c.Collect(context.Background(), at)
				if err != nil {
					b.Fatal(err)
				}
				n = s.(*Tasks).Threads
			}
			b.ReportMetric(float64((processCPU(b)-began).Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
			b.ReportMetric(float64(n), "threads")
		})
	}
}
