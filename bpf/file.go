// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// CostFile is what making or deleting a file costs, in ns: run time on 6.18 through ext4's hooks.
const CostFile = 900

// FileBirths is how many files that were made are remembered until they are deleted: BORN.
const FileBirths = 8192

// FileKey names a file for as long as it exists: its number is given to another one at once.
type FileKey = fileFileKey

// FileChurnKey is a process in a directory.
type FileChurnKey = fileFileChurnKey

// FileChurn is what a process made and deleted in a directory, cumulative.
type FileChurn = fileFileChurn

// FileLife is a file that was made and deleted while we looked: an event.
type FileLife = fileFileLife

// FileCounts are the host's or a target's, cumulative since load.
type FileCounts struct {
	Made, Deleted uint64
	Aged          uint64 // of the deleted: made while we looked
	Forgotten     uint64 // of the made: there was no room to remember them
	Other         uint64 // not in any FileChurn: there was no room
	Life          Hist   // of Aged
}

// FileMethod is how files are seen.
type FileMethod uint8

// The methods, best first.
const (
	FilesByFentry FileMethod = iota // every file system
	FilesByExt4                     // tp_btf, ext4 alone
)

// String says it in the words of the Probes pane.
func (m FileMethod) String() string {
	if m == FilesByExt4 {
		return "tp_btf ext4_allocate_inode, ext4_unlink_exit"
	}
	return "fentry d_instantiate, vfs_unlink"
}

// Files is the facade of file.bpf.c: files made and deleted.
type Files struct {
	obj    *object
	method FileMethod
	passed error // why every file system cannot be seen
	raw    []fileFileCounts
}

// OpenFiles loads and attaches the best method that this kernel allows. The caller owns the result and
// closes it.
func OpenFiles(k *Kernel) (*Files, error) {
	obj, err := newObject(k, loadFile)
	if err != nil {
		return nil, err
	}
	f := &Files{obj: obj}
	if f.passed = attachFiles(obj); f.passed == nil {
		return f, nil
	}
	err = obj.detach()
	f.method = FilesByExt4
	if err == nil {
		err = attachExt4(obj)
	}
	if err != nil {
		return nil, errors.Join(f.passed, err, obj.Close())
	}
	return f, nil
}

// attachFiles attaches to the functions that every file system calls.
func attachFiles(obj *object) error {
	if err := obj.kernel.needBTF(); err != nil {
		return err
	}
	types, err := obj.kernel.types().Kernel()
	if err != nil {
		return obj.kernel.explain("reading kernel BTF", err)
	}
	var unlink *btf.Func
	if err := types.TypeByName("vfs_unlink", &unlink); err != nil {
		return obj.kernel.explain("finding vfs_unlink", err)
	}
	proto, ok := unlink.Type.(*btf.FuncProto)
	if !ok {
		return fmt.Errorf("finding vfs_unlink in BTF: %T is not a function", unlink.Type)
	}
	at := -1
	for i, p := range proto.Params {
		if isStructPtr(p.Type, "dentry") {
			at = i
		}
	}
	ended := map[int]string{1: "unlink_ends3", 2: "unlink_ends4"}[at]
	if ended == "" || len(proto.Params) != at+2 {
		return fmt.Errorf("attaching to vfs_unlink: it has an argument list that is not known: %w", ErrUnsupported)
	}
	if err := obj.set("unlink_dentry", uint32(at)); err != nil {
		return err
	}
	for _, name := range []string{"unlink_begins", ended, "file_named", "file_named_new"} {
		if err := obj.attachTracing(name); err != nil {
			return err
		}
	}
	if types.TypeByName("d_make_persistent", &unlink) == nil { // 7.0
		return obj.attachTracing("file_named_persistent")
	}
	return nil
}

func attachExt4(obj *object) error {
	for _, name := range []string{"ext4_made", "ext4_deleted"} {
		if err := obj.attachTracing(name); err != nil {
			return err
		}
	}
	return nil
}

// Method is how files are seen.
func (f *Files) Method() FileMethod { return f.method }

// Passed says why not every file system is seen; nil if all are.
func (f *Files) Passed() error { return f.passed }

// Read returns the host's counts, then those of the targets, by slot.
func (f *Files) Read() ([FilterSlots]FileCounts, error) {
	var out [FilterSlots]FileCounts
	m, err := f.obj.createMap("files")
	if err != nil {
		return out, err
	}
	for slot := range out {
		if slot > 0 && f.obj.slots[slot] == (Filter{}) {
			continue
		}
		if err := m.Lookup(uint32(slot), &f.raw); err != nil {
			return out, fmt.Errorf("reading map files: %w", err)
		}
		c := &out[slot]
		for i := range f.raw {
			r := &f.raw[i]
			c.Made += r.Made
			c.Deleted += r.Deleted
			c.Aged += r.Aged
			c.Forgotten += r.Forgotten
			c.Other += r.Other
			for k, n := range r.Life.Slots {
				c.Life.Slots[k] += n
			}
			c.Life.Sum += r.Life.Sum
		}
	}
	return out, nil
}

// ReadChurn calls each with every process in every directory, cumulative.
func (f *Files) ReadChurn(each func(*FileChurnKey, *FileChurn)) error {
	m, err := f.obj.createMap("churn")
	if err != nil {
		return err
	}
	return readHash(m, each)
}

// Forget deletes rows that ReadChurn need not bring any more and returns what they held last. What is
// counted between the two is lost, so rows that moved lately are not given up.
func (f *Files) Forget(keys []FileChurnKey) error {
	m, err := f.obj.createMap("churn")
	if err != nil {
		return err
	}
	for i := range keys {
		if err := m.Delete(&keys[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("deleting from map churn: %w", err)
		}
	}
	return nil
}

// Age drops the births that are older than limit, so that there is room for new ones, and returns how
// many stay. It reads the whole map, so it is for when files were forgotten.
func (f *Files) Age(limit time.Duration) (left int, err error) {
	m, err := f.obj.createMap("born")
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading the boot clock: %w", err)
	}
	var old []FileKey
	err = readHash(m, func(k *FileKey, b *fileFileBirth) {
		if now.Nano()-int64(b.At) > int64(limit) {
			old = append(old, *k)
		} else {
			left++
		}
	})
	for i := range old {
		if e := m.Delete(&old[i]); e != nil && !errors.Is(e, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("deleting from map born: %w", e))
		}
	}
	return left, err
}

// FileLifeOf is the event of one record of the ring; false if it is not whole. The result aliases record.
func FileLifeOf(record []byte) (*FileLife, bool) {
	if len(record) < int(unsafe.Sizeof(FileLife{})) {
		return nil, false
	}
	return (*FileLife)(unsafe.Pointer(unsafe.SliceData(record))), true
}

// Narrow counts targets apart, in the slots that it returns.
func (f *Files) Narrow(want []Filter) (Slots, error) { return f.obj.narrow(want) }

// Pause detaches the programs and keeps them, or attaches them again.
func (f *Files) Pause(on bool) error { return f.obj.pause(on) }

// Close detaches the programs and frees the maps.
func (f *Files) Close() error { return f.obj.Close() }
