// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"bpf60/bpf"
)

// namer gives frames their names, each once.
type namer struct {
	look   *lookout
	kernel func(addr uint64) string // empty: not known
	known  map[ProfileFrame]int32
	frames []ProfileFrame
}

// name makes stacks of addresses into those of functions; equal ones become one. Own is our own process.
func (p *Profile) name(t *tally, l *lookout, own int32) {
	n := &namer{look: l, known: make(map[ProfileFrame]int32)}
	var kernel map[uint64]string
	kernel, p.NoKernelNames = kernelNames(l.fs, t)
	n.kernel = func(addr uint64) string { return kernel[addr] }
	stacks := make(map[string]*ProfileStack)
	processes := make(map[Process]bool) // and whether what some of them ran is not known
	var key []byte
	for raw, count := range t.count {
		s := decodeStack(raw)
		stack := ProfileStack{Process: s.image.process, Comm: Clean(RawString(s.comm)), Frames: n.stack(&s), Count: count}
		p.Samples += count
		if s.image.process.TGID == own {
			p.Own += count
		}
		i := l.images[s.image]
		processes[s.image.process] = processes[s.image.process] || len(s.user) > 0 && (i == nil || !i.read)
		for _, f := range stack.Frames {
			if n.frames[f].Known {
				p.Named += count
			} else {
				p.Unnamed += count
			}
		}
		key = fmt.Appendf(key[:0], "%d %d %s\x00%x", s.image.process.TGID, s.image.process.Start, s.comm, stack.Frames)
		if same := stacks[string(key)]; same != nil {
			same.Count += count
		} else {
			stacks[string(key)] = &stack
		}
	}
	for _, gone := range processes {
		p.Processes++
		if gone {
			p.Gone++
		}
	}
	p.Frames = n.frames
	for _, s := range stacks {
		p.Stacks = append(p.Stacks, *s)
	}
	slices.SortFunc(p.Stacks, func(a, b ProfileStack) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Comm.text, b.Comm.text),
			cmp.Compare(a.Process.TGID, b.Process.TGID), cmp.Compare(a.Process.Start, b.Process.Start), n.compare(a.Frames, b.Frames))
	})
}

// compare orders stacks by their names, as the numbers of frames follow no order.
func (n *namer) compare(a, b []int32) int {
	return slices.CompareFunc(a, b, func(x, y int32) int { return cmp.Compare(n.frames[x].Name.text, n.frames[y].Name.text) })
}

// kernelModule is what the kernel's functions are in.
const kernelModule = "kernel"

// stack names the frames of a stack, outermost first: those of user space, then those of the kernel that it
// called. All but the innermost are addresses to return to, which may be another function's already.
func (n *namer) stack(s *rawStack) (out []int32) {
	mark := func(name string, kernel bool) {
		out = append(out, n.index(ProfileFrame{Name: Safe{name}, Kernel: kernel}))
	}
	if len(s.user) >= bpf.ProfileFrames {
		mark("[cut]", false)
	}
	for i := len(s.user) - 1; i >= 0; i-- {
		out = append(out, n.user(s.image, called(s.user[i], i)))
	}
	if len(s.kernel) >= bpf.ProfileFrames {
		mark("[cut]", true)
	}
	for i := len(s.kernel) - 1; i >= 0; i-- {
		f := ProfileFrame{Module: Safe{kernelModule}, Kernel: true}
		if name := n.kernel(called(s.kernel[i], i)); name != "" {
			f.Name, f.Known = Clean(RawString(name)), true
		} else {
			f.Name = Safe{"[unknown]"}
		}
		out = append(out, n.index(f))
	}
	if len(out) == 0 {
		mark("[unknown]", s.thread)
	}
	return out
}

// called is an address in the call that returns to addr, the i-th from inside.
func called(addr uint64, i int) uint64 {
	if i > 0 {
		return addr - 1
	}
	return addr
}

func (n *namer) index(f ProfileFrame) int32 {
	i, ok := n.known[f]
	if !ok {
		i = int32(len(n.frames))
		n.known[f] = i
		n.frames = append(n.frames, f)
	}
	return i
}

// user names an address of a process.
func (n *namer) user(key imageKey, addr uint64) int32 {
	unknown := ProfileFrame{Name: Safe{"[unknown]"}}
	i := n.look.images[key]
	if i == nil {
		return n.index(unknown)
	}
	m := mappingAt(i.maps, addr)
	if m == nil {
		return n.index(unknown)
	}
	f := ProfileFrame{Module: Clean(RawString(m.moduleName()))}
	if mod := n.look.modules[m.key()]; mod != nil {
		name, where, ok := mod.at(addr - m.from + m.off)
		if f.Known = ok; ok {
			f.Name = Clean(RawString(name))
		} else {
			f.Name = Safe{fmt.Sprintf("[%s+0x%x]", f.Module.text, where)}
		}
		return n.index(f)
	}
	if i.made != nil {
		if name, ok := i.made.at(addr); ok {
			f.Name, f.Known = Clean(RawString(name)), true
			return n.index(f)
		}
	}
	if m.ino == 0 { // an address there tells nobody anything
		f.Name = Safe{"[" + f.Module.text + "]"}
	} else {
		f.Name = Safe{fmt.Sprintf("[%s+0x%x]", f.Module.text, addr-m.from+m.off)}
	}
	return n.index(f)
}

// kernelNames looks for all functions of the kernel that were sampled, in pieces: the kernel is asked, or the
// list is read, once for each.
func kernelNames(fs FS, t *tally) (map[uint64]string, *NeedError) {
	names := make(map[uint64]string)
	for raw := range t.count {
		s := decodeStack(raw)
		for i, addr := range s.kernel {
			names[called(addr, i)] = ""
		}
	}
	for piece := range slices.Chunk(slices.Sorted(maps.Keys(names)), maxSymbols/2) {
		symbols := &symbols{path: fs.path("kallsyms"), ask: fs.names.ask}
		for _, addr := range piece {
			symbols.at(addr)
		}
		symbols.find(0)
		if need := symbols.need(); need != nil {
			return nil, need
		}
		for _, addr := range piece {
			names[addr], _ = symbols.at(addr)
		}
	}
	return names, nil
}
