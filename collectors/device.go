// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// DiskKind is what a block device is.
type DiskKind uint8

// The kinds of block devices.
const (
	WholeDisk DiskKind = iota
	Partition
	Mapper    // device-mapper: LVM, encryption, multipath
	MDArray   // software RAID
	Loop      // a file as a device
	RAMDisk   // of the old kind
	ZRAM      // compressed memory, mostly for swap
	Removable // floppy, CD
	Path      // one path of a multipath device, not to be counted beside it
)

// String names the kind.
func (k DiskKind) String() string {
	switch k {
	case WholeDisk:
		return "disk"
	case Partition:
		return "partition"
	case Mapper:
		return "dm"
	case MDArray:
		return "md"
	case Loop:
		return "loop"
	case RAMDisk:
		return "ram"
	case ZRAM:
		return "zram"
	case Removable:
		return "removable"
	case Path:
		return "path"
	}
	return "unknown"
}

// MarshalText writes the name.
func (k DiskKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// DiskTable is every block device the kernel lists. It is not written once a sample holds it.
type DiskTable struct {
	Devices  []*BlockDevice // in the order of /proc/diskstats
	Unlisted int            // beyond the first 4,096

	arrays []Array // on its way to the collector
}

// BlockDevice is what does not change from second to second. Known says whether /sys was read;
// without it only Dev, Name and Kind are set, Kind from the name.
type BlockDevice struct {
	Dev   DevID
	Name  Raw // the kernel's: vda, nvme0n1p1, dm-0
	Alias Raw // of device-mapper: vg0-root; else empty
	Kind  DiskKind
	Known bool

	Parent  Raw   // of a partition: its disk
	Slaves  []Raw // the devices it lies on: its I/O is theirs once more
	Holders []Raw // the devices that lie on it
	Model   Raw
	UUID    Raw    // of device-mapper: LVM-…, CRYPT-…, mpath-…
	Size    uint64 // bytes

	Scheduler Raw  // the one in use; "none"
	Queues    int  // hardware queues; 0: it has none of its own
	Requests  int  // nr_requests: how many wait in the scheduler at most; 0 unknown
	Depth     int  // queue_depth of SCSI; 0 unknown
	Rotates   bool // as the device says; virtual ones mostly say so too
	Removable bool
	ReadOnly  bool
	NoStats   bool // queue/iostats is 0: the kernel counts nothing

	// Parallel says that the device serves several requests at once, so that its time busy is no
	// limit: NVMe, what does not rotate, several queues, or several devices below.
	Parallel bool

	State Raw // of the controller or SCSI device: live, running, offline; empty: it has none

	ErrorsKnown bool
	Errors      uint64 // failed commands since attached (SCSI ioerr_cnt)
	ErrorsBase  uint64 // the same when it was first seen
}

// Array is one of md's, as /proc/mdstat has it.
type Array struct {
	Name             Raw
	Level            Raw // raid1
	Active, ReadOnly bool
	Want, Have       int // members, and how many work; 0: the level has no spare parts
	Members          int // listed
	Failed, Spares   int
	Action           Raw           // resync, recovery, reshape, check, repair; empty: none
	Waits            bool          // the action is delayed
	Done, All        uint64        // of the action, KiB
	Finish           time.Duration // left, as md reckons it
	Speed            uint64        // bytes a second
}

type deviceName struct {
	dev  DevID
	name string
}

// newDevice is what the name and number alone tell.
func newDevice(dev DevID, name string) *BlockDevice {
	return &BlockDevice{Dev: dev, Name: RawString(name), Kind: kindOf(dev, name)}
}

// kindOf goes by the major number where it is fixed, else by the name.
func kindOf(dev DevID, name string) DiskKind {
	switch dev.Major() {
	case 1:
		return RAMDisk
	case 2, 11:
		return Removable
	case 7:
		return Loop
	case 9:
		return MDArray
	}
	switch {
	case strings.HasPrefix(name, "dm-"):
		return Mapper
	case strings.HasPrefix(name, "zram"):
		return ZRAM
	case nvmePath(name) != "":
		return Path
	}
	return WholeDisk
}

// Head names the multipath device of NVMe that d is a path of; empty if it is none.
func (d *BlockDevice) Head() string {
	if d.Kind != Path {
		return ""
	}
	return nvmePath(d.Name.Bytes())
}

// nvmePath says which multipath device nvme0c1n1 is a path of: nvme0n1. Empty if it is none.
func nvmePath(name string) string {
	rest, ok := strings.CutPrefix(name, "nvme")
	if !ok {
		return ""
	}
	c, n := strings.IndexByte(rest, 'c'), strings.IndexByte(rest, 'n')
	if c <= 0 || n <= c+1 {
		return ""
	}
	return "nvme" + rest[:c] + rest[n:]
}

// scanDevices reads what /sys says of the devices, and md's arrays.
func scanDevices(fsys FS, names []deviceName) (*DiskTable, error) {
	t := &DiskTable{Devices: make([]*BlockDevice, len(names))}
	byName := make(map[string]*BlockDevice, len(names))
	md := false
	var why error
	for i, n := range names {
		d := newDevice(n.dev, n.name)
		if err := readDevice(fsys, d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			why = err
		}
		t.Devices[i], byName[n.name] = d, d
		md = md || d.Kind == MDArray
	}
	if _, err := os.Stat(fsys.sysPath("block")); err != nil {
		why = err
	}
	for _, d := range t.Devices {
		d.Parallel = parallel(d, byName, 0)
	}
	if md {
		if b, err := fsys.readSome("mdstat", 1<<20); err == nil {
			t.arrays = parseMdstat(b)
		}
	}
	return t, why
}

// sysName is a device's name in /sys, where a slash is an exclamation mark.
func sysName(name string) string { return strings.ReplaceAll(name, "/", "!") }

// readDevice reads one device's files. What is missing stays empty: a device may go at any time.
func readDevice(fsys FS, d *BlockDevice) error {
	dir := fsys.sysPath("dev/block")
	real, err := os.Readlink(filepath.Join(dir, d.Dev.String()))
	if err != nil {
		return err
	}
	if !filepath.IsAbs(real) {
		real = filepath.Join(dir, real)
	}
	if filepath.Base(real) != sysName(d.Name.Bytes()) {
		return fs.ErrNotExist // another device has its number by now
	}
	r := sysDir{dir: real}
	d.Known = true
	if n, ok := r.number("size"); ok && n < 1<<55 {
		d.Size = n * 512
	}
	if d.Kind == Loop && d.Size == 0 {
		return nil // there are eight of them on every host, without a file
	}
	d.ReadOnly = r.text("ro") == "1"
	d.Holders = r.list("holders")
	if r.text("partition") != "" {
		d.Kind = Partition
		d.Parent = RawString(strings.ReplaceAll(filepath.Base(filepath.Dir(real)), "!", "/"))
		return nil
	}
	d.Slaves = r.list("slaves")
	d.Removable = r.text("removable") == "1"
	if d.Removable && d.Kind == WholeDisk && d.Size == 0 {
		d.Kind = Removable // a card reader without a card
	}
	d.Alias = RawString(r.text("dm/name"))
	d.UUID = RawString(r.text("dm/uuid"))
	d.Model = RawString(strings.TrimSpace(r.text("device/model")))
	d.Scheduler = RawString(scheduler(r.text("queue/scheduler")))
	d.Rotates = r.text("queue/rotational") == "1"
	d.NoStats = r.text("queue/iostats") == "0"
	if n, ok := r.number("queue/nr_requests"); ok {
		d.Requests = int(min(n, 1<<31-1))
	}
	if n, ok := r.number("device/queue_depth"); ok {
		d.Depth = int(min(n, 1<<31-1))
	}
	d.State = RawString(r.text("device/state"))
	d.Queues = len(r.list("mq"))
	d.Errors, d.ErrorsKnown = r.hex("device/ioerr_cnt")
	d.ErrorsBase = d.Errors
	return nil
}

// parallel judges whether time busy is no limit of a device.
func parallel(d *BlockDevice, byName map[string]*BlockDevice, depth int) bool {
	const tooDeep = 8 // stacks are; a circle is a lie
	if !d.Known || depth > tooDeep {
		return false
	}
	switch d.Kind {
	case Partition:
		p := byName[d.Parent.Bytes()]
		return p != nil && parallel(p, byName, depth+1)
	case Mapper, MDArray:
		if len(d.Slaves) > 1 {
			return true
		}
		for _, s := range d.Slaves {
			if lower := byName[s.Bytes()]; lower != nil && parallel(lower, byName, depth+1) {
				return true
			}
		}
		return false
	case WholeDisk, Path:
		return d.Queues > 1 || !d.Rotates || strings.HasPrefix(d.Name.Bytes(), "nvme")
	case Loop, RAMDisk, ZRAM, Removable:
	}
	return false
}

// keepErrors carries over the counts that errors are counted from.
func (t *DiskTable) keepErrors(was *DiskTable) {
	for i, d := range t.Devices {
		if i < len(was.Devices) && was.Devices[i].Dev == d.Dev && was.Devices[i].ErrorsKnown && was.Devices[i].ErrorsBase <= d.Errors {
			d.ErrorsBase = was.Devices[i].ErrorsBase
		}
	}
}

// equal says whether two tables say the same.
func (t *DiskTable) equal(o *DiskTable) bool {
	return t.Unlisted == o.Unlisted && reflect.DeepEqual(t.Devices, o.Devices)
}

// scheduler picks the one in use from "none [mq-deadline] kyber".
func scheduler(s string) string {
	if _, rest, ok := strings.Cut(s, "["); ok {
		name, _, _ := strings.Cut(rest, "]")
		return name
	}
	return s
}

// sysDir is a directory of one device in /sys.
type sysDir struct{ dir string }

// text returns a file of one line, empty if it cannot be read.
func (r sysDir) text(name string) string {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [512]byte
	n, err := f.Read(b[:])
	if err != nil {
		return ""
	}
	line, _ := cutLine(b[:n])
	return string(bytes.TrimRight(line, "\x00 "))
}

func (r sysDir) number(name string) (uint64, bool) { return parseUint([]byte(r.text(name))) }

// hex reads "0x1f".
func (r sysDir) hex(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(r.text(name), "0x")
	if !ok || len(digits) == 0 || len(digits) > 16 {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(digits) {
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 {
			return 0, false
		}
		n = n<<4 | uint64(d)
	}
	return n, true
}

// list names what a directory holds, sorted; nil if it is empty or missing.
func (r sysDir) list(name string) []Raw {
	entries, err := os.ReadDir(filepath.Join(r.dir, name))
	if err != nil {
		return nil
	}
	const most = 256
	var out []Raw
	for _, e := range entries[:min(len(entries), most)] {
		out = append(out, RawString(strings.ReplaceAll(e.Name(), "!", "/")))
	}
	return out
}
