// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// CostFileCall is what SlowFiles costs each read or write of a file, in ns.
const CostFileCall = 200

// SlowFileCounts are cumulative since load.
type SlowFileCounts = slowfileSlowfileCounts

// SlowFiles is the facade of slowfile.bpf.c: calls on files that took long, by fentry. They come as events
// of EventSlowFile.
type SlowFiles struct {
	obj *object
	fs  []string // file systems whose own functions are attached
	raw []SlowFileCounts
}

// slowFileCalls are the system calls that operations are shown as: enum op in slowfile.bpf.c.
func slowFileCalls() [8]uint32 {
	return [8]uint32{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FSYNC, unix.SYS_OPENAT, unix.SYS_GETDENTS64,
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FSYNC,
	}
}

// fileSystemFuncs are a file system's functions for reading, writing and syncing a file.
type fileSystemFuncs struct {
	types             []string // as /proc/self/mountinfo has them
	read, write, sync string
}

func fileSystemsFuncs() []fileSystemFuncs {
	return []fileSystemFuncs{
		{[]string{"ext4", "ext3", "ext2"}, "ext4_file_read_iter", "ext4_file_write_iter", "ext4_sync_file"},
		{[]string{"xfs"}, "xfs_file_read_iter", "xfs_file_write_iter", "xfs_file_fsync"},
		{[]string{"btrfs"}, "btrfs_file_read_iter", "btrfs_file_write_iter", "btrfs_sync_file"},
		{[]string{"nfs", "nfs4"}, "nfs_file_read", "nfs_file_write", "nfs_file_fsync"},
		{[]string{"overlay"}, "ovl_read_iter", "ovl_write_iter", "ovl_fsync"},
	}
}

// OpenSlowFiles loads and attaches the programs; it fails where the kernel refuses fentry. The caller owns
// the result and closes it.
func OpenSlowFiles(k *Kernel) (*SlowFiles, error) {
	self, err := k.Self()
	if err != nil {
		return nil, err
	}
	return openSlowFiles(k, int(self), SlowFile)
}

// openSlowFiles sees all processes but self.
func openSlowFiles(k *Kernel, self int, slow time.Duration) (*SlowFiles, error) {
	obj, err := newObject(k, loadSlowfile)
	if err != nil {
		return nil, err
	}
	s := &SlowFiles{obj: obj}
	if err := s.attach(self, slow); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	return s, nil
}

func (s *SlowFiles) attach(self int, slow time.Duration) error {
	if err := s.obj.kernel.needBTF(); err != nil {
		return err
	}
	for name, value := range map[string]any{"self": int32(self), "slow_ns": uint64(slow), "call_of": slowFileCalls()} {
		if err := s.obj.set(name, value); err != nil {
			return err
		}
	}
	for _, op := range []string{"read", "write"} {
		if err := s.pair(op, ""); err != nil {
			return err
		}
	}
	// Newer kernels have inlined some of these; then the file systems' own are called.
	for _, op := range []string{"sync", "open", "list"} {
		if err := s.optional(op, ""); err != nil {
			return err
		}
	}
	mounted := fileSystemTypes()
	for _, f := range fileSystemsFuncs() {
		if !slices.ContainsFunc(f.types, func(t string) bool { return mounted[t] }) {
			continue
		}
		links := len(s.obj.links)
		for _, op := range [][2]string{{"fs_read", f.read}, {"fs_write", f.write}, {"fs_sync", f.sync}} {
			if err := s.optional(op[0], op[1]); err != nil {
				return err
			}
		}
		if len(s.obj.links) > links {
			s.fs = append(s.fs, f.types[0])
		}
	}
	return nil
}

// optional attaches a pair where the kernel has the function, and lets it be attached to.
func (s *SlowFiles) optional(op, function string) error {
	err := s.pair(op, function)
	if errors.Is(err, ErrUnsupported) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// pair attaches to a function, "" for the one that the programs name. The exit goes first: an entry
// without its exit would leave a start behind.
func (s *SlowFiles) pair(op, function string) error {
	for _, name := range []string{op + "_ends", op + "_begins"} {
		if err := s.obj.attachTo(name, function); err != nil {
			return err
		}
	}
	return nil
}

// fileSystemTypes are those of what is mounted.
func fileSystemTypes() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(readString("/proc/self/mountinfo")) {
		// 36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/root rw
		_, after, _ := strings.Cut(line, " - ")
		name, _, _ := strings.Cut(after, " ")
		out[name] = true
	}
	return out
}

// Hooks says what is attached, in the words of the Probes pane.
func (s *SlowFiles) Hooks() string {
	return strings.Join(append([]string{SlowFilesHooks}, s.fs...), ", ")
}

// SlowFilesHooks are attached wherever fentry can be.
const SlowFilesHooks = "fentry vfs_read, vfs_write, fsync, open"

// Narrow says in each event which of the targets it belongs to. With only, calls that belong to none are
// neither counted as slow nor listed.
func (s *SlowFiles) Narrow(targets []Filter, only bool) (Slots, error) {
	slots, err := s.obj.narrow(targets)
	m, e := s.obj.createMap("slow_control")
	if e != nil {
		return slots, errors.Join(err, e)
	}
	c := slowfileSlowWanted{}
	if only && slots != (Slots{}) {
		c.Narrow = 1
	}
	if e := m.Update(uint32(0), &c, ebpf.UpdateAny); e != nil {
		err = errors.Join(err, fmt.Errorf("writing map slow_control: %w", e))
	}
	return slots, err
}

// Read returns the counts of all CPUs.
func (s *SlowFiles) Read() (sum SlowFileCounts, err error) {
	m, err := s.obj.createMap("slowfiles")
	if err != nil {
		return sum, err
	}
	if err := m.Lookup(uint32(0), &s.raw); err != nil {
		return sum, fmt.Errorf("reading map slowfiles: %w", err)
	}
	for i := range s.raw {
		sum.Calls += s.raw[i].Calls
		sum.Slow += s.raw[i].Slow
		sum.Collided += s.raw[i].Collided
	}
	return sum, nil
}

// Pause detaches the programs and keeps them, or attaches them again. A call that has begun already then has
// no time.
func (s *SlowFiles) Pause(on bool) error { return s.obj.pauseSince(on, "slowfile_since") }

// Close detaches the programs and frees the maps.
func (s *SlowFiles) Close() error { return s.obj.Close() }
