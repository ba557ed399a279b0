// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// StallDevice is the device that a thread in D has to do with.
type StallDevice struct {
	// Name is the disk or partition, or where the file system has none (NFS, FUSE, tmpfs) the source
	// of its mount. "" if not known.
	Name Raw
	// OfFile says that the file of the system call lies there: what the thread waits for may be
	// another one's doing, as a lock that somebody holds.
	OfFile bool
}

// stallSleep is one sleep of a thread: it ends when the thread switches.
type stallSleep struct {
	tid      int32
	start    uint64
	switches uint64
}

// stallDevices finds the devices of threads in D. Of a thread of user space it reads the number of
// its system call and the file descriptor that the call is about from /proc/TID/syscall, the mount of
// that file from /proc/TID/fdinfo, and its device from mountinfo. None of these asks the file system, so
// that one which hangs cannot hang us. Of a worker of the kernel it reads the name of what it does.
// Each sleep is asked about once.
type stallDevices struct {
	fs     FS
	look   aside[[]stallFound] // one look at a time, in a goroutine of its own
	known  map[stallSleep]StallDevice
	asked  uint64
	denied bool // system calls of others may not be read
}

// stallFound is what a look found out about one sleep.
type stallFound struct {
	stallSleep
	StallDevice
	err error
}

// stallAsk is a thread to look at.
type stallAsk struct {
	stallSleep
	tgid    int32
	worker  bool // of the kernel's work queues
	counted bool // switches is the sum that /proc/TID/status prints
}

const (
	// maxStallAsks bounds how many threads are asked about in a look; each takes 40 µs.
	maxStallAsks = 64
	// maxMountLists bounds how many lists of mounts are searched in a look; each has thousands of lines
	// on a host of containers.
	maxMountLists = 4
)

func newStallDevices(fs FS) *stallDevices {
	return &stallDevices{fs: fs, known: map[stallSleep]StallDevice{}}
}

// fill sets the devices of recs, as far as they are known by now.
func (d *stallDevices) fill(ctx context.Context, now time.Duration, recs []stallRec) {
	d.take(ctx, 0) // a late answer to an earlier look
	d.forget(recs)
	var asks []stallAsk
	for i := range recs {
		r := &recs[i]
		a := stallAsk{stallSleep{r.TID, r.Task.Start, r.Switches}, r.Task.TGID, r.Kernel, r.Counted}
		if r.Kernel {
			comm := r.Comm.Bytes()
			if r.Device.Name = RawString(deviceOf(comm)); !strings.HasPrefix(comm, "kworker/") {
				continue
			}
		}
		if _, ok := d.known[a.stallSleep]; !ok && len(asks) < maxStallAsks {
			asks = append(asks, a)
		}
	}
	if len(asks) > 0 && !d.look.open() {
		d.asked += uint64(len(asks))
		fsys := d.fs
		d.look.ask(now, func() ([]stallFound, error) { return lookForDevices(fsys, asks), nil })
		d.take(ctx, readPatience)
	}
	for i := range recs {
		r := &recs[i]
		if dev, ok := d.known[stallSleep{r.TID, r.Task.Start, r.Switches}]; ok {
			r.Device = dev
		}
	}
}

// take enters the answer of the open look, if there is one within patience.
func (d *stallDevices) take(ctx context.Context, patience time.Duration) {
	found, err := d.look.take(ctx, patience)
	if err != nil {
		return
	}
	d.denied = false
	for _, f := range found {
		d.denied = d.denied || errors.Is(f.err, fs.ErrPermission)
		if !errors.Is(f.err, errAskAgain) {
			d.known[f.stallSleep] = f.StallDevice
		}
	}
}

// forget drops the sleeps that have ended.
func (d *stallDevices) forget(recs []stallRec) {
	if len(d.known) == 0 {
		return
	}
	live := make(map[stallSleep]bool, len(recs))
	for i := range recs {
		live[stallSleep{recs[i].TID, recs[i].Task.Start, recs[i].Switches}] = true
	}
	for k := range d.known {
		if !live[k] {
			delete(d.known, k)
		}
	}
}

func (d *stallDevices) probe() Probe {
	p := Probe{Name: "stalls device", State: On, Hook: "/proc/TID/syscall, fdinfo", Events: d.asked}
	switch {
	case d.look.open():
		p.State, p.Reason, p.Remedy = Degraded, "reads of /proc/TID/syscall hang: a process holds its lock", "find it with: ps -eo state,pid,comm"
	case d.denied:
		p.State, p.Reason, p.Remedy = Degraded, "system calls of others may not be read", "run as root or with CAP_SYS_PTRACE"
	}
	return p
}

// errAskAgain says that a thread was not looked at for want of time, errWoke that it waits no more.
var (
	errAskAgain = errors.New("not asked yet")
	errWoke     = errors.New("it has switched since")
)

// deviceLook is one look: what it has found out about mounts is true for that long.
type deviceLook struct {
	fs     FS
	mounts map[uint64]mountDevice // by mount ID, which is unique on the host
	lists  int                    // lists of mounts that were searched
}

// mountDevice is where a mounted file system lies.
type mountDevice struct {
	name  Raw
	nodes bool // it holds device nodes
}

func lookForDevices(fsys FS, asks []stallAsk) []stallFound {
	l := &deviceLook{fs: fsys, mounts: map[uint64]mountDevice{}}
	out := make([]stallFound, 0, len(asks))
	for _, a := range asks {
		f := stallFound{stallSleep: a.stallSleep}
		if a.worker {
			f.Name, f.err = l.worker(a)
		} else {
			f.Name, f.err = l.file(a)
			f.OfFile = true
		}
		if f.err != nil || f.Name == (Raw{}) {
			f.StallDevice = StallDevice{}
		}
		out = append(out, f)
	}
	return out
}

// worker reads the name of a kernel's worker, behind which stands what it works at:
// kworker/u4:2+flush-254:0.
func (l *deviceLook) worker(a stallAsk) (Raw, error) {
	b, err := l.fs.readSome(l.fs.dir(a.tid)+"/comm", 128)
	if err != nil {
		return Raw{}, err
	}
	_, work, ok := strings.Cut(strings.TrimSpace(string(b)), "+")
	if !ok {
		return Raw{}, nil
	}
	if dev, ok := strings.CutPrefix(work, "flush-"); ok {
		return l.disk(dev), nil
	}
	return RawString(deviceOf(work)), nil
}

// disk names the disk or partition with a number like 254:0, "" if there is none.
func (l *deviceLook) disk(dev string) Raw {
	major, minor, ok := strings.Cut(dev, ":")
	_, ok1 := parseUint([]byte(major))
	_, ok2 := parseUint([]byte(minor))
	if !ok || !ok1 || !ok2 {
		return Raw{}
	}
	target, err := os.Readlink(l.fs.sysPath("dev/block/" + dev))
	if err != nil {
		return Raw{}
	}
	return RawString(strings.ReplaceAll(filepath.Base(target), "!", "/"))
}

// file finds where the file of a thread's system call lies.
func (l *deviceLook) file(a stallAsk) (Raw, error) {
	dir := l.fs.dir(a.tid)
	b, err := l.fs.readSome(dir+"/syscall", 256)
	if err != nil {
		return Raw{}, err
	}
	fds, n := parseSyscallFiles(b)
	var name Raw
	for i, fd := range fds[:n] {
		dev, err := l.descriptor(dir, fd)
		if err != nil {
			return Raw{}, err
		}
		if i > 0 && dev != name {
			return Raw{}, nil // two files on two devices: one of them it is
		}
		name = dev
	}
	if name == (Raw{}) {
		return Raw{}, nil
	}
	return name, l.still(dir, a)
}

// still returns nil while the thread is in the sleep that was seen: what was read is of that one.
func (l *deviceLook) still(dir string, a stallAsk) error {
	b, err := l.fs.readSome(dir+"/status", 4096)
	if err != nil {
		return err
	}
	blocked, switches := false, uint64(0)
	for key, rest := range keyLines(b) {
		value, _ := cutField(rest)
		switch string(key) {
		case "State:":
			blocked = len(value) > 0 && value[0] == 'D'
		case "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:":
			n, _ := parseUint(value)
			switches += n
		}
	}
	if !blocked || a.counted && switches != a.switches {
		return errWoke
	}
	return nil
}

// descriptor finds where an open file lies, without asking its file system.
func (l *deviceLook) descriptor(dir string, fd uint32) (Raw, error) {
	name := strconv.FormatUint(uint64(fd), 10)
	b, err := l.fs.readSome(dir+"/fdinfo/"+name, 512)
	if err != nil {
		return Raw{}, err
	}
	id, ok := parseMountID(b)
	if !ok {
		return Raw{}, nil
	}
	m, ok := l.mounts[id]
	if !ok {
		if l.lists++; l.lists > maxMountLists {
			return Raw{}, errAskAgain
		}
		if m, err = l.mount(dir, id); err != nil {
			return Raw{}, err
		}
		l.mounts[id] = m
	}
	if !m.nodes {
		return m.name, nil
	}
	// A node of a disk: the link's text is made from names the kernel holds.
	path, err := os.Readlink(l.fs.path(dir + "/fd/" + name))
	if err != nil {
		return Raw{}, err
	}
	node := filepath.Base(path)
	if _, err := os.Lstat(l.fs.sysPath("class/block/" + node)); err != nil {
		return Raw{}, nil
	}
	return RawString(node), nil
}

// mount searches a process's list of mounts for one. Pipes, sockets and the like lie on mounts that
// no list has.
func (l *deviceLook) mount(dir string, id uint64) (mountDevice, error) {
	f, err := os.Open(l.fs.path(dir + "/mountinfo"))
	if err != nil {
		return mountDevice{}, err
	}
	defer f.Close()
	prefix := append(strconv.AppendUint(nil, id, 10), ' ')
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 16<<10), 256<<10)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), prefix) {
			continue
		}
		m, ok := parseMount(lines.Bytes())
		if !ok {
			break
		}
		dev := mountDevice{name: l.disk(m.Dev.String()), nodes: string(m.Type) == "devtmpfs"}
		if dev.name == (Raw{}) { // a file system without a disk, or one that numbers its own, as btrfs
			source := unescapeMount(m.Source)
			if strings.HasPrefix(source, "/dev/") {
				source = filepath.Base(source)
			}
			dev.name = RawString(source)
		}
		return dev, nil
	}
	return mountDevice{}, lines.Err()
}
