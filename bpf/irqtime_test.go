// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func openSoftirqs(t testing.TB) *IRQTime {
	t.Helper()
	x, err := OpenSoftirqs(need(t))
	if err != nil {
		t.Fatalf("OpenSoftirqs: %v", err)
	}
	closing(t, x)
	return x
}

func openHardirqs(t testing.TB) *IRQTime {
	t.Helper()
	x, err := OpenHardirqs(need(t))
	if err != nil {
		t.Fatalf("OpenHardirqs: %v", err)
	}
	closing(t, x)
	if err := x.LineErr(); err != nil {
		t.Fatalf("lines: %v", err)
	}
	return x
}

// irqHists adds up what interrupted all CPUs.
func irqHists(t testing.TB, x *IRQTime) map[IRQ]Hist {
	t.Helper()
	out := make(map[IRQ]Hist)
	if err := x.Read(func(_ int, irq IRQ, h *Hist) {
		sum := out[irq]
		sum.plus(h)
		out[irq] = sum
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func irqCounts(t testing.TB, x *IRQTime) map[IRQ]uint64 {
	t.Helper()
	out := make(map[IRQ]uint64)
	for irq, h := range irqHists(t, x) {
		out[irq] = h.count()
	}
	return out
}

// procIRQs reads /proc/softirqs or /proc/interrupts: what all CPUs counted, by our names.
func procIRQs(t testing.TB, file string, name func(i int, line string) (IRQ, bool)) map[IRQ]uint64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make(map[IRQ]uint64)
	s := bufio.NewScanner(f)
	s.Scan()
	cpus := len(strings.Fields(s.Text()))
	for i := 0; s.Scan(); i++ {
		field := strings.Fields(s.Text())
		irq, ok := name(i, strings.TrimSuffix(field[0], ":"))
		if !ok {
			continue
		}
		for _, v := range field[1:min(len(field), cpus+1)] {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, s.Text(), err)
			}
			out[irq] += n
		}
	}
	return out
}

func procSoftirqs(t testing.TB) map[IRQ]uint64 {
	return procIRQs(t, "/proc/softirqs", func(i int, _ string) (IRQ, bool) { return IRQ(i), true })
}

func procInterrupts(t testing.TB) map[IRQ]uint64 {
	return procIRQs(t, "/proc/interrupts", func(_ int, line string) (IRQ, bool) {
		if n, err := strconv.Atoi(line); err == nil {
			return IRQ(n), true
		}
		irq, ok := map[string]IRQ{"LOC": IRQLocalTimer, "RES": IRQReschedule, "CAL": IRQCallFunction, "IWI": IRQWork}[line]
		return irq, ok
	})
}

// agree runs a load and holds that every count grew as the kernel's own did. Ours are read around
// the kernel's, so that whatever else the host does is between bounds: only what is under way on
// another CPU at a reading, counted by the kernel at its beginning and by us at its end, is not. Of
// five loads one must agree: a kernel may leave out of its tracepoints what interrupts a task that it
// hides from them.
func agree(t *testing.T, x *IRQTime, kernel func(testing.TB) map[IRQ]uint64, load func()) map[IRQ]uint64 {
	t.Helper()
	var why []string
	for range 5 {
		first := irqCounts(t, x)
		before := kernel(t)
		begin := irqCounts(t, x)
		load()
		end := irqCounts(t, x)
		after := kernel(t)
		last := irqCounts(t, x)
		slack := uint64(len(onlineCPUs(t)))
		grown := make(map[IRQ]uint64)
		why = nil
		for irq, n := range after {
			theirs := n - before[irq]
			least, most := end[irq]-begin[irq], last[irq]-first[irq]
			if least > theirs+slack || most+slack < theirs {
				why = append(why, fmt.Sprintf("interrupt %d: counted %d to %d times, the kernel says %d", irq, least, most, theirs))
			}
			grown[irq] = least
		}
		if len(why) == 0 {
			return grown
		}
		t.Log(strings.Join(why, "; "))
	}
	t.Error(strings.Join(why, "; "))
	return nil
}

// TestSoftirqsKnownCount sends datagrams through the loopback device, 23 and ten times as many: each is a
// NET_RX on the CPU that sends it. It holds every vector against /proc/softirqs, in each kernel.
func TestSoftirqsKnownCount(t *testing.T) {
	const netRX = 3
	x := openSoftirqs(t)
	in, out := loopback(t)
	cpu := lastCPU(t)
	on := func() (count uint64) {
		if err := x.Read(func(c int, irq IRQ, h *Hist) {
			if c == cpu && irq == netRX {
				count = h.count()
			}
		}); err != nil {
			t.Fatal(err)
		}
		return count
	}
	for _, n := range []uint64{23, 230} {
		before := on()
		grown := agree(t, x, procSoftirqs, func() {
			<-onCPU(t, cpu, false, func() { datagrams(out, in, int(n)) })
		})
		if got := on() - before; got < n {
			t.Errorf("%d NET_RX on CPU %d for %d datagrams", got, cpu, n)
		}
		if grown[netRX] < n {
			t.Errorf("%d NET_RX in all for %d datagrams", grown[netRX], n)
		}
	}
}

// loopback returns a socket that receives datagrams, and one connected to it.
func loopback(t testing.TB) (in, out int) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	conn.Close()
	for _, fd := range []*int{&in, &out} {
		if *fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(*fd) })
	}
	addr := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Bind(in, addr); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(out, addr); err != nil {
		t.Fatal(err)
	}
	return in, out
}

// datagrams sends n, each when the last has arrived.
func datagrams(out, in, n int) {
	for range n {
		rw(unix.SYS_WRITE, out)
		rw(unix.SYS_READ, in)
	}
}

// TestHardirqsAgreeWithTheKernel holds every line and vector against /proc/interrupts while a disk
// is written to, where there is one.
func TestHardirqsAgreeWithTheKernel(t *testing.T) {
	x := openHardirqs(t)
	grown := agree(t, x, procInterrupts, func() {
		direct(t, 230)
		timers(t, 2, 200*time.Millisecond)
	})
	if err := x.VectorErr(); err != nil {
		t.Logf("not all vectors: %v", err)
	} else if grown[IRQLocalTimer] == 0 && procInterrupts(t)[IRQLocalTimer] > 0 {
		t.Error("no interrupt of the local timer in 200 ms")
	}
	t.Logf("%v", grown)
}

// direct writes n blocks past the cache, to whatever lies below the tests.
func direct(t testing.TB, n int) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, fmt.Sprintf(".irqtime-%d", os.Getpid()))
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Logf("no direct writes here: %v", err) // a file system in memory
		return
	}
	defer os.Remove(name)
	defer unix.Close(fd)
	const block = 4096
	buf := make([]byte, 2*block)
	skip := block - int(uintptr(unsafe.Pointer(&buf[0]))%block)
	for i := range n {
		if _, err := unix.Pwrite(fd, buf[skip:skip+block], int64(i)*block); err != nil {
			t.Logf("writing past the cache: %v", err)
			return
		}
	}
}

// TestOtherLines gives each CPU one line of its own: the others are counted together, and none is
// lost.
func TestOtherLines(t *testing.T) {
	x, err := newIRQTime(need(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, x)
	if err := errors.Join(x.obj.resize("lines", 2), x.obj.set("own_lines", uint32(1))); err != nil {
		t.Fatal(err)
	}
	if err := x.attach("irq_entered", "irq_left"); err != nil {
		t.Fatal(err)
	}
	lines := func() (n uint64) {
		for irq, c := range procInterrupts(t) {
			if irq >= 0 {
				n += c
			}
		}
		return n
	}
	sum := func() (n uint64) {
		for _, c := range irqCounts(t, x) {
			n += c
		}
		return n
	}
	undisturbed(t, func() (wrong []string) { // see agree
		first, before, begin := sum(), lines(), sum()
		direct(t, 100)
		time.Sleep(100 * time.Millisecond)
		end, after, last := sum(), lines(), sum()
		slack := uint64(len(onlineCPUs(t)))
		if least, most, want := end-begin, last-first, after-before; least > want+slack || most+slack < want {
			wrong = append(wrong, fmt.Sprintf("counted %d to %d interrupts, the kernel says %d", least, most, want))
		}
		return wrong
	})
	own := make(map[[2]int]bool)
	if err := x.Read(func(cpu int, irq IRQ, h *Hist) {
		if irq >= 0 {
			own[[2]int{cpu, int(irq)}] = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	for a := range own {
		for b := range own {
			if a[0] == b[0] && a != b {
				t.Errorf("lines %d and %d both have a histogram of CPU %d, want one", a[1], b[1], a[0])
			}
		}
	}
}

func TestOwnLines(t *testing.T) {
	for cpus, want := range map[int]int{0: 255, 1: 255, 2: 255, 16: 145, 64: 35, 256: 16, 4096: 16} {
		if got := ownLines(cpus); got != want {
			t.Errorf("ownLines(%d) = %d, want %d", cpus, got, want)
		}
	}
}

// TestSoftirqTimeAgainstStat holds the time of softirqs against what the kernel accounts to them, over a
// storm of datagrams on one CPU. It accounts by ticks or at each switch of context; the first is a
// sample, and both see what is around the handlers.
func TestSoftirqTimeAgainstStat(t *testing.T) {
	const leastTicks = 20
	x := openSoftirqs(t)
	in, out := loopback(t)
	sum := func() (ns time.Duration) {
		for _, h := range irqHists(t, x) {
			ns += time.Duration(h.Sum)
		}
		return ns
	}
	kernel := func() (ticks uint64) {
		b, err := os.ReadFile("/proc/stat")
		if err != nil {
			t.Fatal(err)
		}
		ticks, err = strconv.ParseUint(strings.Fields(string(b))[7], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return ticks
	}
	before, ticks, began := sum(), kernel(), time.Now()
	<-onCPU(t, lastCPU(t), false, func() {
		for end := began.Add(10 * time.Second); time.Now().Before(end) && kernel()-ticks < leastTicks; {
			datagrams(out, in, 10_000)
		}
	})
	took, theirs, passed := sum()-before, time.Duration(kernel()-ticks)*10*time.Millisecond, time.Since(began)
	t.Logf("softirqs took %v, /proc/stat says %v, of %v", took, theirs, passed)
	if most := passed * time.Duration(len(onlineCPUs(t))); took <= 0 || took > most {
		t.Errorf("softirqs took %v of %v", took, most)
	}
	if theirs < leastTicks*10*time.Millisecond {
		t.Skipf("needs a kernel that accounts for softirqs: %v in %v", theirs, passed)
	}
	if took < theirs/3 || took > 3*theirs {
		t.Errorf("softirqs took %v, /proc/stat says %v", took, theirs)
	}
}
