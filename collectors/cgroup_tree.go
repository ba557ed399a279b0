// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupNode is one cgroup: a path that stands in one hierarchy or in several.
type cgroupNode struct {
	path     string // "/" or "/a/b"
	parent   *cgroupNode
	children []*cgroupNode // by path
	depth    uint8
	in       uint8     // bit i: it stands in cgroupTree.dirs[i]
	watched  uint8     // as in
	links    [7]uint32 // of each directory: 2 and one for each directory in it
	ino      uint64    // of the first directory it stands in
	ids      [7]uint64 // as in, of each directory: what the kernel calls it there

	info     *CgroupInfo
	own      CgroupLimits
	weight   uint32
	period   time.Duration
	empty    bool
	frozen   bool
	limitsAt time.Duration
	limits   bool // were read once

	slots [cgroupSlots]cgroupFile
	prev  cgroupReading // what was read last
	begun bool          // prev is set
	due   time.Duration // not read before
	wait  time.Duration // from one reading to the next while nothing happens
	hot   bool          // something happens: read more of it, and at every tick
	quiet bool          // was read in full, and nothing in it waited or was throttled
	gone  bool

	stills int           // how often it was taken as it was
	anewAt time.Duration // when all of its files were looked for
}

// cgroupTree knows which cgroups there are. It is told by inotify when one came or went. Besides, and
// where that is not to be had, it looks at them in turn: a directory's link count tells when others
// came or went in it (kernfs keeps it at 2 and one for each), so that a look is one stat.
type cgroupTree struct {
	watch   cgroupWatch
	fs      FS
	mounts  cgroupMounts
	dirs    []string         // the distinct mounts, as they are called in our own file system
	at      [hierarchies]int // index into dirs, -1: not mounted
	of      []hierarchy      // of each of dirs, the one that its IDs are told by: first the one that is shown
	shown   hierarchy        // whose IDs the kernel's programs tell
	root    *cgroupNode
	order   []*cgroupNode // every node, parents before children
	stale   bool          // order is to be made anew
	next    int           // of order: where the next round of looking begins
	changes uint64        // how often a cgroup came, went or was made anew
	omitted int
	removed []Raw             // paths
	drop    func(*cgroupNode) // closes what a node holds
}

// maxCgroupDepth bounds how deep the tree is walked.
const maxCgroupDepth = 32

// open finds the mounts and walks all hierarchies.
func (t *cgroupTree) open(ctx context.Context) error {
	f := t.fs.file("self/mountinfo")
	b, err := f.read(ctx)
	if err != nil {
		return err
	}
	t.mounts = parseCgroupMounts(b)
	if err := f.close(); err != nil {
		return err
	}
	if t.mounts.version() == "" {
		return &NeedError{Need: "cgroups: no hierarchy is mounted here", Remedy: "mount -t cgroup2 none /sys/fs/cgroup"}
	}
	t.dirs, t.order, t.omitted, t.removed = nil, nil, 0, nil
	for h, m := range t.mounts {
		t.at[h] = -1
		if m == "" {
			continue
		}
		dir := t.fs.beside(m)
		if t.at[h] = slices.Index(t.dirs, dir); t.at[h] < 0 {
			t.at[h] = len(t.dirs)
			t.dirs = append(t.dirs, dir)
		}
	}
	t.rank()
	t.watch = newCgroupWatch()
	t.root = &cgroupNode{path: "/"}
	for i := range t.dirs {
		t.root.in |= 1 << i
	}
	t.order = []*cgroupNode{t.root}
	t.look(t.root)
	t.sort()
	return ctx.Err()
}

// dir is the name of a node's directory in the i-th mount.
func (t *cgroupTree) dir(n *cgroupNode, i int) string {
	if n.parent == nil {
		return t.dirs[i]
	}
	return t.dirs[i] + n.path
}

// look compares a node with its directories: it follows those that came and went in them.
func (t *cgroupTree) look(n *cgroupNode) {
	changed, id := false, false
	for i := range t.dirs {
		bit := uint8(1) << i
		if n.in&bit == 0 {
			continue
		}
		if n.watched&bit == 0 { // first the watch, then the list: nothing comes unseen between
			n.watched |= bit
			t.watch.add(n, t.dir(n, i))
		}
		var st unix.Stat_t
		if err := unix.Stat(t.dir(n, i), &st); err != nil {
			if n.parent != nil {
				n.in &^= bit
				n.watched &^= bit
				changed = true
			}
			continue
		}
		if n.ids[i] != st.Ino {
			n.ids[i] = st.Ino
			t.changes++
		}
		if !id {
			id = true
			if n.ino != 0 && n.ino != st.Ino { // another of the same name
				t.removed = append(t.removed, RawString(n.path))
				t.forget(n)
				n.watched = bit
				t.watch.add(n, t.dir(n, i))
			}
			n.ino = st.Ino
		}
		// File systems that do not count directories have 1: then there is only the long way.
		if links := uint32(st.Nlink); links != n.links[i] || links < 2 {
			n.links[i] = links
			changed = true
		}
	}
	if n.in == 0 {
		if n.parent != nil {
			t.remove(n)
		}
		return
	}
	if changed {
		t.list(n)
	}
}

// forget makes a node as if it had never been read.
func (t *cgroupTree) forget(n *cgroupNode) {
	t.drop(n)
	n.info, n.begun, n.limits, n.hot, n.quiet, n.due, n.wait = nil, false, false, false, false, 0, 0
}

// list reads a node's directories, and those of what is new below.
func (t *cgroupTree) list(n *cgroupNode) {
	found := map[string]uint8{}
	for i := range t.dirs {
		if n.in&(1<<i) == 0 {
			continue
		}
		entries, err := os.ReadDir(t.dir(n, i))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				found[e.Name()] |= 1 << i
			}
		}
	}
	for _, c := range slices.Clone(n.children) {
		name := c.path[strings.LastIndexByte(c.path, '/')+1:]
		in, ok := found[name]
		delete(found, name)
		switch {
		case !ok:
			t.remove(c)
		case in != c.in:
			c.in = in
			c.watched &= in
			t.look(c)
		}
	}
	for name, in := range found {
		if len(t.order) >= MaxCgroups || n.depth >= maxCgroupDepth {
			t.omitted++
			continue
		}
		c := &cgroupNode{path: strings.TrimSuffix(n.path, "/") + "/" + name, parent: n, depth: n.depth + 1, in: in}
		n.children = append(n.children, c)
		t.order = append(t.order, c)
		t.stale = true
		t.look(c)
	}
	sortBy(n.children, func(a, b *cgroupNode) int { return cmp.Compare(a.path, b.path) })
}

// remove takes a node and everything below it out of the tree.
func (t *cgroupTree) remove(n *cgroupNode) {
	for _, c := range slices.Clone(n.children) {
		t.remove(c)
	}
	t.drop(n)
	if !n.gone {
		t.removed = append(t.removed, RawString(n.path))
	}
	n.gone, t.stale = true, true
	if p := n.parent; p != nil {
		if i := slices.Index(p.children, n); i >= 0 {
			p.children = slices.Delete(p.children, i, i+1)
		}
	}
}

// refresh takes in what inotify tells, and looks at up to count nodes in turn. One each time is
// enough to find what a watch may have missed.
func (t *cgroupTree) refresh(count int) {
	t.removed = nil
	for n := range t.watch.changed() {
		if !n.gone {
			t.list(n)
		}
	}
	if !t.watch.full {
		count = 1
	}
	for range min(count, len(t.order)) {
		if t.next >= len(t.order) {
			t.next, t.omitted = 0, 0
		}
		if n := t.order[t.next]; !n.gone {
			t.look(n)
		}
		t.next++
	}
	t.sort()
}

// sort makes order anew if a node came or went.
func (t *cgroupTree) sort() {
	if !t.stale {
		return
	}
	t.stale = false
	t.changes++
	t.order = t.order[:0]
	var add func(n *cgroupNode)
	add = func(n *cgroupNode) {
		t.order = append(t.order, n)
		for _, c := range n.children {
			add(c)
		}
	}
	add(t.root)
}
