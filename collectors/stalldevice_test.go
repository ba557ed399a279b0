// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"bpf60/bpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseSyscallFiles(t *testing.T) {
	const rest = " 0x10 0x1000 0x0 0x0 0x0 0x7fffd9b2fa78 0x7f5827ce0350\n"
	tests := map[string]struct {
		line string
		want []uint32
	}{
		"write":               {fmt.Sprint(unix.SYS_WRITE, " 0x1", rest), []uint32{1}},
		"upper half is noise": {fmt.Sprint(unix.SYS_FSYNC, " 0xffffffff00000007", rest), []uint32{7}},
		"copy":                {fmt.Sprint(unix.SYS_COPY_FILE_RANGE, " 0x3", rest), []uint32{3, 4096}},
		"a path":              {fmt.Sprint(unix.SYS_OPENAT, " 0xffffffffffffff9c", rest), nil},
		"close":               {fmt.Sprint(unix.SYS_CLOSE, " 0x3", rest), nil},
		"no descriptor":       {fmt.Sprint(unix.SYS_READ, " 0xffffffff", rest), nil},
		"32 bits":             {fmt.Sprint(unix.SYS_WRITE, " 0x1 0x10 0x1000 0x0 0x0 0x0 0xffd9b2fa 0xf7ce0350\n"), nil},
		"x32":                 {fmt.Sprint(1<<30|unix.SYS_WRITE, " 0x1", rest), nil},
		"page fault":          {"-1 0x7fffd9b2fa78 0x7f5827ce0350\n", nil},
		"runs":                {"running\n", nil},
		"cut":                 {fmt.Sprint(unix.SYS_WRITE, " 0x1 0x10\n"), nil},
		"nothing":             {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fds, n := parseSyscallFiles([]byte(tt.line))
			if diff := cmp.Diff(tt.want, append([]uint32(nil), fds[:n]...)); diff != "" {
				t.Errorf("parseSyscallFiles(%q) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

// blockedTree is a /proc and /sys where one thread waits in a system call.
type blockedTree struct {
	procTree
	switches uint64
}

func (x blockedTree) write(name, text string) {
	x.t.Helper()
	path := filepath.Join(x.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		x.t.Fatal(err)
	}
}

func (x blockedTree) link(name, target string) {
	x.t.Helper()
	path := filepath.Join(x.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		x.t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		x.t.Fatal(err)
	}
}

// in makes thread 8 wait in a call on the files of these mounts, its descriptors 3 and 4.
func (x blockedTree) in(call int, mounts ...string) {
	x.write("8/syscall", fmt.Sprint(call, " 0x3 0x0 0x4 0x0 0x0 0x0 0x7fffd9b2fa78 0x7f5827ce0350\n"))
	x.write("8/status", fmt.Sprintf("Name:\tx\nState:\tD (disk sleep)\nvoluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t3\n", x.switches-3))
	for i, m := range mounts {
		x.write(fmt.Sprintf("8/fdinfo/%d", 3+i), "pos:\t0\nflags:\t0100001\nmnt_id:\t"+m+"\nino:\t12\n")
	}
	x.write("8/mountinfo", `21 1 253:1 / / rw - ext4 /dev/vda1 rw
211 1 0:50 / /nfs rw - nfs4 filer:/export/a\040b rw
22 1 0:33 / /data rw - btrfs /dev/vdb rw
23 1 0:5 / /dev rw - devtmpfs udev rw
24 1 7:0 / /img rw - ext4 /dev/loop0 rw
`)
}

func TestStallDevices(t *testing.T) {
	const fsync, splice = unix.SYS_FSYNC, unix.SYS_SPLICE
	file := func(name string) StallDevice { return StallDevice{RawString(name), true} }
	tests := map[string]struct {
		call   int
		mounts []string
		change func(x blockedTree)
		want   StallDevice
	}{
		"partition":          {fsync, []string{"21"}, nil, file("vda1")},
		"loop":               {fsync, []string{"24"}, nil, file("loop0")},
		"no disk":            {fsync, []string{"211"}, nil, file("filer:/export/a b")},
		"numbers its own":    {fsync, []string{"22"}, nil, file("vdb")},
		"pipe":               {fsync, []string{"15"}, nil, StallDevice{}},
		"two, one device":    {splice, []string{"21", "21"}, nil, file("vda1")},
		"two devices":        {splice, []string{"21", "24"}, nil, StallDevice{}},
		"path":               {unix.SYS_OPENAT, []string{"21"}, nil, StallDevice{}},
		"node of a disk":     {fsync, []string{"23"}, func(x blockedTree) { x.link("8/fd/3", "/dev/vdc"); x.write("../sys/class/block/vdc/size", "1") }, file("vdc")},
		"node of no disk":    {fsync, []string{"23"}, func(x blockedTree) { x.link("8/fd/3", "/dev/tty1") }, StallDevice{}},
		"runs again":         {fsync, []string{"21"}, func(x blockedTree) { x.write("8/status", "State:\tR (running)\n") }, StallDevice{}},
		"waits again":        {fsync, []string{"21"}, func(x blockedTree) { x.write("8/status", "State:\tD\nvoluntary_ctxt_switches:\t99\n") }, StallDevice{}},
		"descriptor is gone": {fsync, nil, nil, StallDevice{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := blockedTree{procTree{t, filepath.Join(t.TempDir(), "proc")}, 9}
			x.in(tt.call, tt.mounts...)
			x.link("../sys/dev/block/253:1", "../../devices/pci0/block/vda/vda1")
			x.link("../sys/dev/block/7:0", "../../devices/virtual/block/loop0")
			if tt.change != nil {
				tt.change(x)
			}
			d := newStallDevices(NewFS(x.root))
			recs := []stallRec{{TID: 8, Task: Process{8, 5}, Switches: 9, Counted: true, Comm: RawString("x")}}
			d.fill(t.Context(), 0, recs)
			if diff := cmp.Diff(tt.want, recs[0].Device, cmp.AllowUnexported(Raw{})); diff != "" {
				t.Errorf("device (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStallDevicesOfKernel(t *testing.T) {
	x := blockedTree{procTree{t, filepath.Join(t.TempDir(), "proc")}, 9}
	x.link("../sys/dev/block/253:0", "../../devices/pci0/block/vda")
	for tid, work := range map[int]string{5: "kworker/u4:2+flush-253:0", 6: "kworker/0:1-events", 7: "kworker/1:0+xfs-conv/vda2", 8: "kworker/u4:9+flush-9:9"} {
		x.write(fmt.Sprint(tid, "/comm"), work+"\n")
	}
	recs := []stallRec{{TID: 4, Comm: RawString("jbd2/vda1-8")}}
	for tid := range int32(4) {
		recs = append(recs, stallRec{TID: 5 + tid, Comm: RawString("kworker/u4:2")})
	}
	for i := range recs {
		recs[i].Kernel, recs[i].Task.TGID = true, recs[i].TID
	}
	newStallDevices(NewFS(x.root)).fill(t.Context(), 0, recs)
	for i, want := range []string{"vda1", "vda", "", "vda2", ""} {
		if got := recs[i].Device; got != (StallDevice{Name: RawString(want)}) {
			t.Errorf("device of %d = %+v, want %q", recs[i].TID, got, want)
		}
	}
}

// A sleep is asked about once, and another one of the same thread anew.
func TestStallDevicesOnce(t *testing.T) {
	x := blockedTree{procTree{t, filepath.Join(t.TempDir(), "proc")}, 9}
	x.in(unix.SYS_FSYNC, "211")
	d := newStallDevices(NewFS(x.root))
	look := func(switches uint64) StallDevice {
		recs := []stallRec{{TID: 8, Task: Process{8, 5}, Switches: switches, Counted: true}}
		d.fill(t.Context(), 0, recs)
		return recs[0].Device
	}
	first := look(9)
	if err := os.RemoveAll(x.root); err != nil {
		t.Fatal(err)
	}
	if again := look(9); again != first || !first.OfFile {
		t.Errorf("the same sleep: %+v, at first %+v", again, first)
	}
	if next := look(10); next != (StallDevice{}) || d.asked != 2 {
		t.Errorf("another sleep: %+v, asked %d times; want none, 2", next, d.asked)
	}
	d.fill(t.Context(), 0, nil)
	if len(d.known) != 0 {
		t.Errorf("%d sleeps are kept that have ended", len(d.known))
	}
}

// A read that hangs costs its device and no more, and a late answer still counts.
func TestStallDevicesHang(t *testing.T) {
	x := blockedTree{procTree{t, filepath.Join(t.TempDir(), "proc")}, 9}
	x.in(unix.SYS_FSYNC, "211")
	fifo := filepath.Join(x.root, "8/mountinfo")
	list, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(fifo)
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newStallDevices(NewFS(x.root))
	recs := []stallRec{{TID: 8, Task: Process{8, 5}, Switches: 9, Counted: true}}
	d.fill(t.Context(), 0, recs)
	if p := d.probe(); recs[0].Device != (StallDevice{}) || p.State != Degraded {
		t.Fatalf("while the read hangs: %+v, probe %+v", recs[0].Device, p)
	}
	if err := os.WriteFile(fifo, list, 0); err != nil { // the reader of the pipe gets it
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); recs[0].Device == (StallDevice{}) && time.Now().Before(end); {
		d.take(t.Context(), 10*time.Millisecond)
		d.fill(t.Context(), 0, recs)
	}
	if p := d.probe(); recs[0].Device.Name.Bytes() != "filer:/export/a b" || p.State != On {
		t.Errorf("after it has returned: %+v, probe %+v", recs[0].Device, p)
	}
}

const (
	fiFreeze = 0xc0045877 // FIFREEZE, FITHAW: include/uapi/linux/fs.h
	fiThaw   = 0xc0045878
)

// loopDisk makes a disk of 16 MiB and returns its node.
func loopDisk(t *testing.T) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 16<<20); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		lacking(t, "needs root and loop devices: %v", err)
	}
	defer ctl.Close()
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			lacking(t, "needs a free loop device: %v", err)
		}
		node := fmt.Sprintf("/dev/loop%d", n)
		if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatal(err)
		}
		loop, err := os.OpenFile(node, os.O_RDWR, 0)
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
				t.Errorf("detaching %s: %v", node, err)
			}
			loop.Close()
		})
		return node
	}
	t.Fatal("no loop device stayed free")
	return ""
}

// deviceNumber is a disk's number, as 7:0.
func deviceNumber(t *testing.T, node string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

// frozenDisk mounts a file system of its own on a loop device. It returns the mount point, the name of
// the device and what freezes and thaws it.
func frozenDisk(t *testing.T) (dir, disk string, freeze func(request uint) error) {
	t.Helper()
	node, dir := loopDisk(t), t.TempDir()
	if out, err := exec.Command("mkfs.ext4", "-q", node).CombinedOutput(); err != nil {
		lacking(t, "needs mkfs.ext4: %v: %s", err, out)
	}
	if err := unix.Mount(node, dir, "ext4", 0, ""); err != nil {
		lacking(t, "mounting %s: %v", node, err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	freeze = func(request uint) error { return unix.IoctlSetInt(int(f.Fd()), request, 0) }
	t.Cleanup(func() {
		_ = freeze(fiThaw)
		f.Close()
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir, filepath.Base(node), freeze
}

// TestStallDeviceLive freezes a file system on a device of its own, to which 23 threads write.
func TestStallDeviceLive(t *testing.T) {
	const n = 23
	dir, disk, freeze := frozenDisk(t)
	var files []*os.File
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	if err := freeze(fiFreeze); err != nil {
		lacking(t, "needs a file system that can be frozen: %v", err)
	}
	var done sync.WaitGroup
	defer done.Wait()
	defer func() {
		if err := freeze(fiThaw); err != nil {
			t.Errorf("thawing: %v", err)
		}
	}()
	tids := make(chan int32, n)
	for _, f := range files {
		done.Go(func() {
			runtime.LockOSThread()
			tids <- int32(unix.Gettid())
			_, _ = unix.Pwrite(int(f.Fd()), []byte("x"), 0)
		})
	}
	ours := map[int32]bool{}
	for range n {
		ours[<-tids] = true
	}
	c := NewStalls(bpf.Inspect(), NewFS(""))
	start(t, c)
	if c.Probes()[0].Hook != "iter/task, stacks" {
		lacking(t, "needs BPF: %+v", c.Probes()[0])
	}
	count := func(s *Stalls) (k int) {
		for _, r := range s.Rows {
			if ours[r.TID] && r.Device == (StallDevice{RawString(disk), true}) && r.Task.TGID == int32(os.Getpid()) {
				k++
			}
		}
		return k
	}
	var s *Stalls
	now := time.Duration(0)
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && (s == nil || count(s) < n); time.Sleep(10 * time.Millisecond) {
		s = collectAs[*Stalls](t, c, now)
		now += time.Second
	}
	if got := count(s); got != n {
		t.Fatalf("%d of %d threads wait on %s: %+v", got, n, disk, s.Rows)
	}
	for _, g := range s.Groups {
		if g.Device.Name.Bytes() == disk && (g.Tasks != n || g.Class != WaitFrozen) {
			t.Errorf("group %+v, want %d tasks at a frozen file system", g, n)
		}
	}
	for _, r := range s.Rows {
		if !ours[r.TID] && r.Device.Name.Bytes() == disk && !r.Kernel {
			t.Errorf("thread %d of another is said to wait on %s: %+v", r.TID, disk, r)
		}
	}
	if p := c.Probes()[1]; p.State != On || p.Events < n {
		t.Errorf("probe %+v, want on with %d or more", p, n)
	}
}
