// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loopDevice makes a block device of a file, which nobody else knows of: what is counted for it is
// what the test did.
func loopDevice(t testing.TB, direct bool) (path string, dev uint32) {
	t.Helper()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		noDevice(t, "loop devices", err)
	}
	defer ctl.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, 16<<20); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			noDevice(t, "a free loop device", err)
		}
		path = fmt.Sprintf("/dev/loop%d", n)
		if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatal(err)
		}
		loop, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(file.Fd()))
		if errors.Is(err, unix.EBUSY) { // another test was quicker
			loop.Close()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
				t.Errorf("giving up %s: %v", path, err)
			}
			loop.Close()
		})
		if direct {
			if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_DIRECT_IO, 1); err != nil {
				noDevice(t, "direct I/O to the file of a loop device", err)
			}
		}
		return path, 7<<20 | uint32(n)
	}
	t.Fatal("no loop device stayed free")
	return "", 0
}

func openBlock(t testing.TB) *Block {
	t.Helper()
	b, err := OpenBlock(need(t))
	if err != nil {
		t.Fatalf("OpenBlock: %v", err)
	}
	closing(t, b)
	return b
}

func readBlock(t testing.TB, b *Block) BlockReading {
	t.Helper()
	var r BlockReading
	if err := b.Read(0, &r); err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

// classOf is what was counted of a class of a disk.
func (r *BlockReading) classOf(dev uint32, class BlockClass) BlockCounts {
	if c := r.Disks[BlockKey{dev, class}]; c != nil {
		return *c
	}
	return BlockCounts{}
}

// ownerOn is what was counted of a process on a disk.
func (r *BlockReading) ownerOn(dev uint32, tgid int) BlockOwner {
	for _, o := range r.Owners {
		if o.Dev == dev && int(o.TGID) == tgid {
			return o
		}
	}
	return BlockOwner{}
}

// blockFile opens a device for direct I/O, with a buffer that is aligned for it.
func blockFile(t testing.TB, path string) (fd int, buf []byte) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	buf, err = unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(buf) })
	return fd, buf
}

// TestBlockKnownCounts writes, reads and flushes 23 times.
func TestBlockKnownCounts(t *testing.T) {
	t.Run("as opened", func(t *testing.T) {
		b := openBlock(t)
		undisturbed(t, func() []string { return knownBlockCounts(t, b) })
	})
	t.Run("before 6.5", func(t *testing.T) {
		b, err := openBlockBy(need(t), true)
		if err != nil {
			t.Fatalf("OpenBlock: %v", err)
		}
		closing(t, b)
		undisturbed(t, func() []string { return knownBlockCounts(t, b) })
	})
}

// undisturbed measures what must be exact until it is. An end that interrupts another's on the same CPU
// is not shown to the program; and on a host that is short of CPU a few ends of 100,000 are shown to no
// program at all, as two of them agree. measure returns what was wrong.
func undisturbed(t *testing.T, measure func() []string) {
	t.Helper()
	var wrong []string
	for range 5 {
		if wrong = measure(); len(wrong) == 0 {
			return
		}
		t.Log(wrong)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// attempt is a test whose errors are collected.
type attempt struct {
	testing.TB
	wrong []string
}

func (a *attempt) Errorf(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// undisturbedTimers is undisturbed for tests of what the kernel's timers do. They go off in interrupts, all
// that are due in one of them; and if a task runs at this moment that the kernel keeps out of its
// tracepoints, no program sees what they do.
func undisturbedTimers(t *testing.T, test func(testing.TB)) {
	t.Helper()
	undisturbed(t, func() []string {
		a := &attempt{TB: t}
		test(a)
		return a.wrong
	})
}

func knownBlockCounts(t *testing.T, b *Block) (wrong []string) {
	t.Helper()
	const n = 23
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	before := readBlock(t, b)
	base := map[BlockClass]BlockCounts{}
	for class := range BlockClass(BlockClasses) {
		base[class] = before.classOf(dev, class)
	}
	ownerBefore := before.ownerOn(dev, os.Getpid())
	<-onCPU(t, onlineCPUs(t)[0], false, func() {
		for i := range n {
			if _, err := unix.Pwrite(fd, buf[:8<<10], 1<<20+int64(i)*8<<10); err != nil {
				t.Error(err)
			}
		}
		for i := range n {
			if _, err := unix.Pread(fd, buf[:4<<10], int64(i)*64<<10); err != nil {
				t.Error(err)
			}
		}
		for range n {
			if err := unix.Fsync(fd); err != nil {
				t.Error(err)
			}
		}
	})
	after := readBlock(t, b)
	if err := b.OwnersErr(); err != nil {
		complain("OwnersErr = %v", err)
	}
	for class, want := range map[BlockClass]BlockCounts{
		ReadSync:     {Bytes: n * 4 << 10, Sizes: [BlockSizes]uint64{2: n}},
		WriteSync:    {Bytes: n * 8 << 10, Sizes: [BlockSizes]uint64{3: n}, Sequential: n - 1},
		FlushClass:   {},
		ReadAhead:    {},
		WriteBack:    {},
		DiscardClass: {},
	} {
		c, was := after.classOf(dev, class), base[class]
		c.Device.minus(&was.Device)
		c.Queued.minus(&was.Queued)
		requests := uint64(n)
		if class != FlushClass && want.Bytes == 0 {
			requests = 0
		}
		if c.Device.count() != requests || c.Queued.count() != requests {
			complain("class %d: device %v, queued %v, want %d each", class, &c.Device, &c.Queued, requests)
		}
		if got := c.Bytes - was.Bytes; got != want.Bytes {
			complain("class %d: %d bytes, want %d", class, got, want.Bytes)
		}
		for i := range c.Sizes {
			if got := c.Sizes[i] - was.Sizes[i]; got != want.Sizes[i] {
				complain("class %d: %d requests of %d KiB and more, want %d", class, got, 1<<i, want.Sizes[i])
			}
		}
		// A device may end a request on another CPU than the one before.
		if got := c.Sequential - was.Sequential; got > want.Sequential || got < want.Sequential/2 {
			complain("class %d: %d are sequential, want %d or a few fewer", class, got, want.Sequential)
		}
		if c.Errors != was.Errors {
			complain("class %d: %d errors", class, c.Errors-was.Errors)
		}
	}
	o := after.ownerOn(dev, os.Getpid())
	got := [...]uint64{
		o.Reads - ownerBefore.Reads, o.Writes - ownerBefore.Writes, o.Flushes - ownerBefore.Flushes,
		o.ReadBytes - ownerBefore.ReadBytes, o.WriteBytes - ownerBefore.WriteBytes, o.Others - ownerBefore.Others,
	}
	if want := [...]uint64{n, n, n, n * 4 << 10, n * 8 << 10, 0}; got != want {
		complain("reads, writes, flushes, bytes read and written, others of this process: %v, want %v", got, want)
	}
	if o.Kernel || o.IONs <= ownerBefore.IONs || o.FlushNs <= ownerBefore.FlushNs {
		complain("owner %+v, want a process with times", o)
	}
	if start := ticksOf(t, os.Getpid()); o.Start/1e7 != start {
		complain("the owner began at %d ns, /proc says %d ticks", o.Start, start)
	}
	if got, want := after.Sums.Negative-before.Sums.Negative, uint64(0); got != want {
		complain("%d negative times", got)
	}
	return wrong
}

// startOf is when a process began, in clock ticks since boot.
func ticksOf(t testing.TB, pid int) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

// noDevice skips a test for a device that this machine does not have; in CI only a guest may lack it.
func noDevice(t testing.TB, what string, err error) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
		t.Fatalf("needs %s: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}
