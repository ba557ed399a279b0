// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MemoryRare is what seldom changes. It is read each 10 s and is not written after that.
type MemoryRare struct {
	HugePages []HugePages // by size; those of sizes that nobody asked for have a Total of 0
	Nodes     []NUMANode  // ascending; empty on a host with one node

	Overcommit TableGauge // vm.overcommit_memory: 2 is the only mode that enforces the commit limit
	PTYsMax    TableGauge // kernel.pty.max
	PIDMax     TableGauge // kernel.pid_max: no more tasks than that have a number
	ThreadsMax TableGauge // kernel.threads-max
	AIO        TableGauge // fs.aio-nr: asynchronous I/O requests set aside
	AIOMax     TableGauge // fs.aio-max-nr
	ARC        TableGauge // bytes of ZFS's cache, which no line of /proc/meminfo counts

	// Limit is the least memory limit of the cgroups that bpf60 itself is in, in bytes: in a
	// container that is the container's. It is not known where there is none.
	Limit TableGauge
}

// HugePages is one size of the pool of huge pages.
type HugePages struct {
	Size                           uint64 // bytes
	Total, Free, Reserved, Surplus uint64 // pages
}

// NUMANode is one node's memory in bytes.
type NUMANode struct {
	Node                    int
	Total, Free, File, Anon uint64
}

// readRare reads what is there. Nothing of it is worth an error: what is missing stays unknown.
func (c *memoryCollector) readRare(ctx context.Context) *MemoryRare {
	r := &MemoryRare{}
	for _, x := range []struct {
		name string
		to   *TableGauge
	}{
		{"sys/vm/overcommit_memory", &r.Overcommit},
		{"sys/kernel/pty/max", &r.PTYsMax},
		{"sys/kernel/pid_max", &r.PIDMax},
		{"sys/kernel/threads-max", &r.ThreadsMax},
		{"sys/fs/aio-nr", &r.AIO},
		{"sys/fs/aio-max-nr", &r.AIOMax},
	} {
		*x.to = gaugeFile(ctx, c.fs.path(x.name))
	}
	if b, err := readOnce(ctx, c.fs.path("spl/kstat/zfs/arcstats")); err == nil {
		r.ARC.N, r.ARC.Known = parseARC(b)
	}
	sys := filepath.Dir(c.fs.sysFile("x").path)
	r.HugePages = readHugePages(ctx, filepath.Join(sys, "kernel/mm/hugepages"))
	r.Nodes = readNodes(ctx, filepath.Join(sys, "devices/system/node"))
	if b, err := readOnce(ctx, c.fs.path("self/cgroup")); err == nil {
		r.Limit = ownLimit(ctx, filepath.Join(sys, "fs/cgroup"), b)
	}
	return r
}

// readOnce reads a small kernel file whole.
func readOnce(ctx context.Context, name string) ([]byte, error) {
	f := procFile{path: name}
	b, err := f.read(ctx)
	if cerr := f.close(); err == nil {
		err = cerr
	}
	return b, err
}

// gaugeFile reads a file that holds one number.
func gaugeFile(ctx context.Context, name string) (g TableGauge) {
	if b, err := readOnce(ctx, name); err == nil {
		line, _ := cutLine(b)
		g.N, g.Known = parseUint(line)
	}
	return g
}

// numbered lists the entries of a directory that are called prefix and a number, ascending.
func numbered(dir, prefix, suffix string) []uint64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []uint64
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		name, ok2 := strings.CutSuffix(name, suffix)
		if n, err := strconv.ParseUint(name, 10, 40); ok && ok2 && err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func readHugePages(ctx context.Context, dir string) []HugePages {
	var out []HugePages
	for _, kib := range numbered(dir, "hugepages-", "kB") {
		sub := filepath.Join(dir, "hugepages-"+strconv.FormatUint(kib, 10)+"kB")
		read := func(name string) uint64 { return gaugeFile(ctx, filepath.Join(sub, name)).N }
		h := HugePages{Size: kib << 10, Total: read("nr_hugepages")}
		if h.Total > 0 {
			h.Free, h.Reserved, h.Surplus = read("free_hugepages"), read("resv_hugepages"), read("surplus_hugepages")
		}
		out = append(out, h)
	}
	return out
}

// readNodes reads the nodes of a host that has several.
func readNodes(ctx context.Context, dir string) []NUMANode {
	nodes := numbered(dir, "node", "")
	if len(nodes) < 2 {
		return nil
	}
	var out []NUMANode
	for _, n := range nodes {
		node := NUMANode{Node: int(n)}
		b, err := readOnce(ctx, filepath.Join(dir, "node"+strconv.FormatUint(n, 10), "meminfo"))
		if err == nil && parseNode(b, &node) == nil {
			out = append(out, node)
		}
	}
	sortBy(out, func(a, b NUMANode) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// noLimit is above what cgroup v1 means by none: the largest number of whole pages.
const noLimit = 1 << 60

// ownLimit walks from our cgroup to the root of what we see and takes the least limit.
func ownLimit(ctx context.Context, root string, own []byte) (g TableGauge) {
	dir, v1, ok := parseOwnCgroup(own)
	if !ok {
		return g
	}
	name := "memory.max"
	if v1 {
		root, name = filepath.Join(root, "memory"), "memory.limit_in_bytes"
	}
	// Clean keeps the path below the root, whatever it says.
	for dir = path.Clean("/" + dir); ; dir = path.Dir(dir) {
		if l := gaugeFile(ctx, filepath.Join(root, dir, name)); l.Known && l.N < noLimit && (!g.Known || l.N < g.N) {
			g = l
		}
		if dir == "/" {
			return g
		}
	}
}
