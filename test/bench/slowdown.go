// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// workArg makes this program one of the works that the default probes may not slow down.
const workArg = "-work"

// work is one load: so many operations, each in the same way.
type work struct {
	name string
	n    int // operations of a run, about half a second
	run  func(n int) error
}

func works() []work {
	return []work{
		{"switch ping-pong", 100_000, func(n int) error { return pingPong(lastCPU(), n/2) }},
		{"4 KiB random I/O", 4000, randomIO},
		{"loopback TCP", 30_000, echo},
		{"exec loop", 300, execs},
	}
}

// loads are the works, and those that only programs are compared under.
func loads() []work {
	return append(works(),
		work{"getppid loop", 400_000, getppids}, work{"open loop", 50_000, opens}, work{"TCP connections", 3000, connections},
		work{"signals", 50_000, hangups},
	)
}

// effort is what an operation took, in ns: of CPU time, children included, and of time that passed.
type effort struct{ cpu, wall float64 }

// do runs a work in a process of its own.
func do(name string) (effort, error) {
	self, err := os.Executable()
	if err != nil {
		return effort{}, err
	}
	cmd := exec.Command(self, workArg, name)
	// As for a storm: no signals to the threads that work, no collection that stops them.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=4", "GOGC=off")
	cmd.SysProcAttr = mortal()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return effort{}, fmt.Errorf("running %s: %w", name, err)
	}
	var e effort
	if _, err := fmt.Sscan(string(out), &e.cpu, &e.wall); err != nil {
		return effort{}, fmt.Errorf("reading what %s says: %w", name, err)
	}
	return e, nil
}

// workMain is the process that do starts.
func workMain(args []string) error {
	for _, w := range loads() {
		if len(args) != 1 || args[0] != w.name {
			continue
		}
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20) // ahead of a busy host's others; as root only
		if err := w.run(max(w.n/10, 1)); err != nil {   // warms caches
			return err
		}
		begun, before := time.Now(), usedTime()
		if err := w.run(w.n); err != nil {
			return err
		}
		n := float64(w.n)
		fmt.Println(float64(usedTime()-before)/n, float64(time.Since(begun))/n)
		return nil
	}
	return fmt.Errorf("%s takes the name of a work", workArg)
}

// usedTime is the CPU time of this process and of its ended children.
func usedTime() time.Duration {
	var children unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &children)
	return ownTime() + time.Duration(children.Utime.Nano()+children.Stime.Nano())
}

// randomIO reads and writes blocks of a file in turn, past the page cache.
func randomIO(n int) error {
	const (
		block = 4 << 10
		size  = 16 << 20
	)
	base := os.TempDir()
	var st unix.Statfs_t
	if unix.Statfs(base, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		base = "/var/tmp"
	}
	dir, err := os.MkdirTemp(base, "bpf60-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f, err := os.OpenFile(filepath.Join(dir, "blocks"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, 64*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for at := int64(0); at < size; at += int64(len(buf)) { // a hole would not be read from the disk
		if _, err := f.WriteAt(buf, at); err != nil {
			return err
		}
	}
	buf = buf[:block]
	random := rand.New(rand.NewPCG(1, 2)) // the same places each time
	for i := range n {
		at := block * random.Int64N(size/block)
		if i%2 == 0 {
			_, err = unix.Pwrite(int(f.Fd()), buf, at)
		} else {
			_, err = unix.Pread(int(f.Fd()), buf, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// echo sends a byte over a loopback connection and waits for it to come back, n times.
func echo(n int) error {
	server, client, err := connected()
	if err != nil {
		return err
	}
	defer unix.Close(server)
	defer unix.Close(client)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for range n {
			move(unix.SYS_READ, server)
			move(unix.SYS_WRITE, server)
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range n {
		move(unix.SYS_WRITE, client)
		move(unix.SYS_READ, client)
	}
	<-ended
	return nil
}

// connected is a TCP connection with itself, both ends blocking.
func connected() (server, client int, err error) {
	const stream = unix.SOCK_STREAM | unix.SOCK_CLOEXEC
	l, err := unix.Socket(unix.AF_INET, stream, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, 0, err
	}
	if err := unix.Listen(l, 1); err != nil {
		return 0, 0, err
	}
	address, err := unix.Getsockname(l)
	if err != nil {
		return 0, 0, err
	}
	if client, err = unix.Socket(unix.AF_INET, stream, 0); err != nil {
		return 0, 0, err
	}
	if err = unix.Connect(client, address); err == nil {
		server, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
	}
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.SetsockoptInt(server, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	if err != nil {
		unix.Close(client)
	}
	return server, client, err
}

// execs starts a program that does nothing, n times.
func execs(n int) error {
	path, err := find("true")
	if err != nil {
		return err
	}
	for range n {
		if err := exec.Command(path).Run(); err != nil {
			return err
		}
	}
	return nil
}

// hangups sends this process n signals that it ignores, of a kind that may end a process.
func hangups(n int) error {
	signal.Ignore(unix.SIGHUP)
	for range n {
		if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
			return fmt.Errorf("signalling: %w", err)
		}
	}
	return nil
}

// slowdownRows compares each work with the default probes on and without. Rounds are A B A: what the
// two A differ by is the noise.
func slowdownRows(o options) ([]row, error) {
	begun := pressureNow()
	// By work: without, with us, without again.
	var took [3]map[string][]effort
	for i := range took {
		took[i] = map[string][]effort{}
	}
	all := func(into map[string][]effort) error {
		for _, w := range works() {
			e, err := do(w.name)
			if err != nil {
				return err
			}
			into[w.name] = append(into[w.name], e)
		}
		return nil
	}
	watched := func() error {
		_, stop, err := shipped(o.path).start()
		if err != nil {
			return err
		}
		defer stop()
		return all(took[1])
	}
	for range o.rounds {
		for _, part := range []func() error{func() error { return all(took[0]) }, watched, func() error { return all(took[2]) }} {
			if err := part(); err != nil {
				return nil, err
			}
		}
	}
	var rows []row
	for _, w := range works() {
		rows = append(rows, slowdownRow(w.name, took[0][w.name], took[1][w.name], took[2][w.name]).busySince(begun))
	}
	return rows, nil
}

// slowdownRow judges by CPU time: on a host that others use too, time that passes says little.
func slowdownRow(name string, without, with, again []effort) row {
	const limit = 1.02
	cpu := func(e effort) float64 { return e.cpu }
	wall := func(e effort) float64 { return e.wall }
	part := func(list []effort, get func(effort) float64) (out []float64) {
		for _, e := range list {
			out = append(out, get(e))
		}
		return out
	}
	// Of each round beside the mean of its two neighbours, so that what slows a round falls out.
	slower := func(get func(effort) float64) (ours, noise float64) {
		a, b, c := part(without, get), part(with, get), part(again, get)
		var ratios, same []float64
		for i := range b {
			ratios = append(ratios, 2*b[i]/(a[i]+c[i]))
			same = append(same, c[i]/a[i])
		}
		return median(ratios), median(same) - 1
	}
	ours, noise := slower(cpu)
	passed, noisePassed := slower(wall)
	base := median(part(without, cpu))
	return row{
		what: name + ", an operation", ours: fmt.Sprintf("%.2f µs", ours*base/1e3), peer: fmt.Sprintf("%.2f µs", base/1e3),
		note: fmt.Sprintf("CPU time with the default probes beside none; A/A %+.1f %%; time passed %+.1f %%, A/A %+.1f %%; %d rounds",
			100*noise, 100*(passed-1), 100*noisePassed, len(with)),
	}.against(ours, 1, limit, max(noise, -noise))
}
