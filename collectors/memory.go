// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"
)

// MemoryID is the collector of /proc/meminfo in full, of reclaim, of swap and of the kernel's tables.
const MemoryID ID = "memory"

// Memory is where the memory is, and what the kernel did to find more of it over the span. In the
// first sample, whose span is empty, deltas are zero and the gauges stand.
type Memory struct {
	Span
	Info MemInfo  // /proc/meminfo
	VM   VMEvents // delta of /proc/vmstat's counters; none is known without that file

	OOMKillsTotal uint64 // since boot: the kernel's global kills and those inside a cgroup's limit
	PageSize      uint64 // bytes: what the counters of pages count

	// DirtyLimit is how many bytes may be dirty before writers are held up, Compressed what zsmalloc
	// holds for zram and zswap. Both come from /proc/vmstat; 0 where the kernel does not tell.
	DirtyLimit, Compressed uint64

	Tables KernelTables // sar -v
	Swaps  []SwapArea   // /proc/swaps in the kernel's order, empty without swap
	Rare   *MemoryRare  // what is read each 10 s, shared by the samples in between
}

// KernelTables are the sizes of tables that the kernel keeps for everybody. sar -v shows them.
type KernelTables struct {
	Dentries TableGauge // names in the cache, /proc/sys/fs/dentry-state
	Unused   TableGauge // of them used by nobody: sar's dentunusd
	Negative TableGauge // of the unused, names that do not exist (Linux 5.0; 0 before)

	Inodes    TableGauge // /proc/sys/fs/inode-nr: in memory
	InodeFree TableGauge // of them used by nobody; sar's inode-nr is the difference

	Files, FilesMax TableGauge // open file descriptions and their limit, /proc/sys/fs/file-nr
	PTYs            TableGauge // /proc/sys/kernel/pty/nr
}

// TableGauge is a number that may not be there.
type TableGauge struct {
	N     uint64
	Known bool
}

// SwapArea is one line of /proc/swaps.
type SwapArea struct {
	Name       Raw  // path; blanks in it are written \040
	File       bool // a file, not a partition
	Size, Used uint64
	Priority   int32 // areas of higher priority fill first
}

func (m *Memory) put(s *Snapshot) { s.Memory = m }

// size counts what the sample holds alone.
func (m *Memory) size() int { return allocSize(unsafe.Sizeof(*m)) + sliceSize(m.Swaps) }

// rareEvery is how often that is read which seldom changes.
const rareEvery = 10 * time.Second

type memoryCollector struct {
	fs                              FS
	meminfo, vmstat                 *sharedFile
	swaps                           *procFile
	dentryState, inodeNr, fileNr    *procFile
	ptyNr                           *procFile
	memFields, vmFields             map[string]uint8
	pageSize                        uint64
	vm, vmPrev                      vmReading // the last two of /proc/vmstat, swapped
	rare                            *MemoryRare
	rareAt, last                    time.Duration // when rare was read; end of the last span
	begun, vmBegun                  bool          // last is set; vmPrev is
	err, vmErr, swapErr, tablesErrs error         // of the last Collect
}

// newMemory returns the collector of Memory. It needs no privilege.
func newMemory(fs FS, meminfo, vmstat *sharedFile) Collector {
	return &memoryCollector{
		fs:      fs,
		meminfo: meminfo, vmstat: vmstat, swaps: fs.file("swaps"),
		dentryState: fs.file("sys/fs/dentry-state"), inodeNr: fs.file("sys/fs/inode-nr"), fileNr: fs.file("sys/fs/file-nr"),
		ptyNr:     fs.file("sys/kernel/pty/nr"),
		memFields: memFieldNames(), vmFields: vmEventNames(),
		pageSize: uint64(os.Getpagesize()),
	}
}

func (c *memoryCollector) Meta() Meta { return Meta{ID: MemoryID} }

func (c *memoryCollector) Start(ctx context.Context) error {
	c.begun, c.vmBegun, c.rare = false, false, nil
	c.err, c.vmErr, c.swapErr, c.tablesErrs = nil, nil, nil, nil
	return ctx.Err()
}

// Collect reads all files. Only /proc/meminfo must be there.
func (c *memoryCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	m := &Memory{PageSize: c.pageSize}
	err := c.meminfo.parse(ctx, now, func(b []byte) error { return parseMemInfo(b, c.memFields, &m.Info) })
	if err != nil {
		c.err = fmt.Errorf("reading /proc/meminfo: %w", err)
		return nil, c.err
	}
	c.err = nil
	c.readEvents(ctx, now, m)
	c.readTables(ctx, &m.Tables)
	c.readSwaps(ctx, m)
	if c.rare == nil || now-c.rareAt >= rareEvery {
		c.rare, c.rareAt = c.readRare(ctx), now
	}
	m.Rare = c.rare
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.begun {
		c.last, c.begun = now, true
	}
	m.Span = Span{c.last, now}
	c.last = now
	return m, nil
}

// readEvents takes the deltas of /proc/vmstat. After a gap the next reading is a baseline.
func (c *memoryCollector) readEvents(ctx context.Context, now time.Duration, m *Memory) {
	err := c.vmstat.parse(ctx, now, func(b []byte) error { return parseVMEvents(b, c.vmFields, &c.vm) })
	if err != nil {
		c.vmErr, c.vmBegun = fmt.Errorf("reading /proc/vmstat: %w", err), false
		return
	}
	c.vmErr = nil
	if !c.vmBegun {
		c.vmPrev, c.vmBegun = c.vm, true
	}
	m.VM = deriveVM(&c.vmPrev, &c.vm)
	m.OOMKillsTotal = c.vm.n[VMOOMKill]
	m.DirtyLimit = pagesToBytes(c.vm.n[vmDirtyThreshold], c.pageSize)
	m.Compressed = pagesToBytes(c.vm.n[vmZspages], c.pageSize)
	c.vm, c.vmPrev = c.vmPrev, c.vm
}

// deriveVM subtracts two readings. A counter that one of them lacks is not known; one that went
// back, as sums over CPUs that others count on may, is 0.
func deriveVM(prev, cur *vmReading) (e VMEvents) {
	e.Known = prev.known & cur.known & (1<<vmEvents - 1)
	for i := range e.N {
		if e.Known&(1<<i) != 0 {
			e.N[i] = since(prev.n[i], cur.n[i])
		}
	}
	return e
}

// pagesToBytes does not wrap: a page counter that is negative in the kernel prints as a huge number.
func pagesToBytes(n, pageSize uint64) uint64 {
	if n >= 1<<48 {
		return 0
	}
	return n * pageSize
}

// readTables reads one short file for each table. One that is not there takes only its own away.
func (c *memoryCollector) readTables(ctx context.Context, t *KernelTables) {
	c.tablesErrs = nil
	for _, x := range [...]struct {
		f  *procFile
		to [5]*TableGauge
	}{
		{c.dentryState, [5]*TableGauge{&t.Dentries, &t.Unused, nil, nil, &t.Negative}},
		{c.inodeNr, [5]*TableGauge{&t.Inodes, &t.InodeFree}},
		{c.fileNr, [5]*TableGauge{&t.Files, nil, &t.FilesMax}},
		{c.ptyNr, [5]*TableGauge{&t.PTYs}},
	} {
		b, err := x.f.read(ctx)
		if err == nil {
			err = parseGauges(b, &x.to)
		}
		if err != nil && c.tablesErrs == nil {
			c.tablesErrs = fmt.Errorf("reading %s: %w", x.f.path, err)
		}
	}
}

// readSwaps lists the areas where there is swap at all: the file takes the lock of swapon.
func (c *memoryCollector) readSwaps(ctx context.Context, m *Memory) {
	c.swapErr = nil
	if total, ok := m.Info.Get(MemSwapTotal); !ok || total == 0 {
		return
	}
	b, err := c.swaps.read(ctx)
	if err == nil {
		m.Swaps, err = parseSwaps(b)
	}
	if err != nil {
		c.swapErr = fmt.Errorf("reading /proc/swaps: %w", err)
	}
}

func (c *memoryCollector) Probes() []Probe {
	rows := []Probe{
		{Name: "meminfo", Hook: "/proc/meminfo"},
		{Name: "reclaim", Hook: "/proc/vmstat"},
		{Name: "swaps", Hook: "/proc/swaps"},
		{Name: "sar -v", Hook: "/proc/sys/fs"},
	}
	for i, err := range []error{nil, c.vmErr, c.swapErr, c.tablesErrs} {
		p := &rows[i]
		p.State, p.Reason = stateOf(c.begun, c.err)
		if p.State != On || err == nil {
			continue
		}
		p.State, p.Reason = Off, clean(err.Error())
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			p.Remedy = "run outside the container"
		}
		if p.Name == "sar -v" {
			p.State = Degraded
		}
	}
	return rows
}

func (c *memoryCollector) Close() error {
	c.begun = false
	return errors.Join(c.meminfo.close(), c.vmstat.close(), c.swaps.close(),
		c.dentryState.close(), c.inodeNr.close(), c.fileNr.close(), c.ptyNr.close())
}
