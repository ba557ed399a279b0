// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// throttled makes a cgroup whose processes get so many reads and writes a second of the disk that holds
// the test's files. The version of cgroups that has the block controller decides how.
func throttled(t testing.TB, perSecond int) (procs string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(t.TempDir(), &st); err != nil {
		t.Fatal(err)
	}
	disk := wholeDisk(t, st.Dev)
	base := t.TempDir()
	if err := unix.Mount("none", base, "cgroup", 0, "blkio"); err != nil {
		noDevice(t, "the block controller of cgroup v1", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(base, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	dir, err := os.MkdirTemp(base, "bpf60-block-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 1000 { // until its last thread has left
			if err = os.Remove(dir); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("removing %s: %v", dir, err)
	})
	for _, f := range []string{"read", "write"} {
		name := filepath.Join(dir, "blkio.throttle."+f+"_iops_device")
		if err := os.WriteFile(name, fmt.Appendf(nil, "%s %d", disk, perSecond), 0o600); err != nil {
			noDevice(t, "throttling by the block controller", err)
		}
	}
	return filepath.Join(dir, "tasks")
}

// wholeDisk is the device of a disk or of the disk that a partition is of: 254:0.
func wholeDisk(t testing.TB, dev uint64) string {
	t.Helper()
	path := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	for _, name := range []string{path + "/partition", path + "/dev"} {
		b, err := os.ReadFile(name)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/dev"):
			return strings.TrimSpace(string(b))
		default:
			b, err := os.ReadFile(path + "/../dev")
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(b))
		}
	}
	noDevice(t, "a disk under "+t.TempDir(), fmt.Errorf("no %s", path))
	return ""
}

// joining runs f on a thread of its own that is in the cgroup of the file until it ends.
func joining(t testing.TB, procs string, cpu int, f func()) <-chan struct{} {
	t.Helper()
	return onCPU(t, cpu, false, func() {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(unix.Gettid())), 0o600); err != nil {
			t.Error(err)
			return
		}
		f()
		// The thread dies with its goroutine, but not if it happens to be the first of the process.
		out := filepath.Join(filepath.Dir(filepath.Dir(procs)), "tasks")
		if err := os.WriteFile(out, []byte(strconv.Itoa(unix.Gettid())), 0o600); err != nil {
			t.Error(err)
		}
	})
}

// events reads what block has listed.
type blockEvents struct {
	t    testing.TB
	b    *Block
	ring *Events
}

func openBlockEvents(t testing.TB, b *Block) *blockEvents {
	t.Helper()
	ring, err := OpenEvents(b.obj.kernel)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, ring)
	return &blockEvents{t, b, ring}
}

// take returns the events of a disk by kind.
func (e *blockEvents) take(dev uint32) map[EventKind][]BlockEvent {
	e.t.Helper()
	out := map[EventKind][]BlockEvent{}
	if err := e.ring.Drain(func(kind EventKind, record []byte) {
		if kind != EventBlock && kind != EventBlockStall {
			return
		}
		x, err := e.b.Event(record)
		if err != nil {
			e.t.Error(err)
		}
		if x.Dev == dev {
			out[kind] = append(out[kind], x)
		}
	}); err != nil {
		e.t.Fatal(err)
	}
	return out
}

// TestBlockStall lets a device stall, by a file that may be written to twice in a second: what hangs is
// seen while it hangs, and what took a second or more is listed whatever the threshold.
func TestBlockStall(t *testing.T) {
	const n = 4
	b := openBlock(t)
	path, dev := loopDevice(t, true)
	tasks := throttled(t, 1)
	fd, buf := blockFile(t, path)
	ring := openBlockEvents(t, b)
	if err := b.SetSlow(time.Hour); err != nil {
		t.Fatal(err)
	}
	ring.take(dev)
	begin := time.Now()
	if _, err := b.InFlight(0, 0, nil); err != nil {
		t.Fatal(err)
	}
	var done []<-chan struct{}
	for i := range n {
		done = append(done, joining(t, tasks, onlineCPUs(t)[0], func() {
			if _, err := unix.Pwrite(fd, buf[:4<<10], int64(i)*1<<20); err != nil {
				t.Error(err)
			}
		}))
	}
	var hung []BlockFlight
	for len(hung) < 2 && time.Since(begin) < 5*time.Second {
		time.Sleep(20 * time.Millisecond)
		all, err := b.InFlight(time.Since(begin), time.Second, nil)
		if err != nil {
			t.Fatal(err)
		}
		hung = hung[:0]
		for _, f := range all {
			if f.Dev == dev {
				hung = append(hung, f)
			}
		}
	}
	for _, d := range done {
		<-d
	}
	if len(hung) < 2 {
		t.Fatalf("%d requests seen hanging for a second, want 2", len(hung))
	}
	for _, f := range hung {
		if f.Op != OpWrite || f.Bytes != 4<<10 || int(f.TGID) != os.Getpid() || f.Kernel || f.Age < time.Second || f.Age > 5*time.Second {
			t.Errorf("in flight: %+v, want a write of 4 KiB of process %d", f, os.Getpid())
		}
	}
	events := ring.take(dev)
	if len(events[EventBlock]) != 0 {
		t.Errorf("%d requests of less than a second listed although the threshold is an hour", len(events[EventBlock]))
	}
	stalls := events[EventBlockStall]
	if len(stalls) < 2 || len(stalls) > n {
		t.Fatalf("%d stalls listed, want 2 or more of %d", len(stalls), n)
	}
	for _, x := range stalls {
		if x.Total < time.Second || x.Device < 0 || x.Queued < 0 || x.Total != x.Device+x.Queued || x.Bytes != 4<<10 ||
			x.Op != OpWrite || int(x.TGID) != os.Getpid() || x.Errno != 0 || x.Class != WriteSync || x.Sector%2048 != 0 {
			t.Errorf("stall %+v, want a write of 4 KiB at a MiB of process %d", x, os.Getpid())
		}
	}
	left, err := b.InFlight(time.Hour, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.Dev == dev {
			t.Errorf("still in flight: %+v", f)
		}
	}
}

// TestBlockQueued lets requests wait in the scheduler of a device that takes 128 at a time and is slow.
func TestBlockQueued(t *testing.T) {
	const perSecond = 100
	b := openBlock(t)
	path, dev := loopDevice(t, true)
	scheduler := "/sys/block/" + filepath.Base(path) + "/queue/scheduler"
	if err := os.WriteFile(scheduler, []byte("mq-deadline"), 0o600); err != nil {
		noDevice(t, "the scheduler mq-deadline", err)
	}
	t.Cleanup(func() { _ = os.WriteFile(scheduler, []byte("none"), 0o600) })
	tasks := throttled(t, perSecond)
	fd, buf := blockFile(t, path)
	undisturbed(t, func() []string { return queuedBlockCounts(t, b, tasks, dev, fd, buf) })
}

func queuedBlockCounts(t *testing.T, b *Block, tasks string, dev uint32, fd int, buf []byte) (wrong []string) {
	t.Helper()
	const n = 200
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	before := readBlock(t, b)
	old := before.ownerOn(dev, os.Getpid())
	was := before.classOf(dev, WriteSync)
	var all, ready sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done := joining(t, tasks, onlineCPUs(t)[i%len(onlineCPUs(t))], func() {
			ready.Done()
			<-start
			if _, err := unix.Pwrite(fd, buf[:4<<10], int64(i)*64<<10); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { <-done })
	}
	ready.Wait()
	close(start)
	all.Wait()
	after := readBlock(t, b)
	c := after.classOf(dev, WriteSync)
	c.Device.minus(&was.Device)
	c.Queued.minus(&was.Queued)
	if c.Queued.count() != n || c.Device.count() != n {
		complain("%d requests queued, %d on the device, want %d", c.Queued.count(), c.Device.count(), n)
	}
	late := uint64(0)
	for slot := 14; slot < HistSlots; slot++ { // 16 ms
		late += c.Queued.Slots[slot]
	}
	if late < (n-128)/2 || late > n-128 {
		complain("%d requests waited 16 ms and more in the queue, want up to %d: %v", late, n-128, &c.Queued)
	}
	o := after.ownerOn(dev, os.Getpid())
	if got := o.IONs - old.IONs; got != c.Device.Sum+c.Queued.Sum {
		complain("the process waited %d ns, want queued and device: %d", got, c.Device.Sum+c.Queued.Sum)
	}
	return wrong
}

// TestBlockEndUnseen ends a request while no program is attached: it does not hang afterwards, although
// nothing else uses its place, and is counted as missed.
func TestBlockEndUnseen(t *testing.T) {
	b := openBlock(t)
	path, dev := loopDevice(t, true)
	tasks := throttled(t, 1)
	fd, buf := blockFile(t, path)
	inFlight := func(now time.Duration) (n int) {
		t.Helper()
		all, err := b.InFlight(now, time.Second, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Dev == dev {
				n++
			}
		}
		return n
	}
	before := readBlock(t, b).Sums.Missed
	inFlight(0)
	var done []<-chan struct{}
	for i := range 3 {
		done = append(done, joining(t, tasks, onlineCPUs(t)[0], func() {
			if _, err := unix.Pwrite(fd, buf[:4<<10], int64(i)*1<<20); err != nil {
				t.Error(err)
			}
		}))
	}
	time.Sleep(300 * time.Millisecond)
	inFlight(time.Second) // first seen
	if got := inFlight(2 * time.Second); got == 0 {
		t.Fatal("no request hangs on a device that stalls")
	}
	if !b.Certain() {
		t.Skip("needs a kernel that runs a program on request")
	}
	if err := b.Pause(true); err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		<-d
	}
	if got := inFlight(3 * time.Second); got != 0 {
		t.Errorf("%d requests hang that have ended", got)
	}
	if got := readBlock(t, b).Sums.Missed - before; got == 0 {
		t.Error("no end counted as missed")
	}
	if got := inFlight(4 * time.Second); got != 0 {
		t.Errorf("%d requests hang that have ended, a second later", got)
	}
}
