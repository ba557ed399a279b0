// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"slices"

	"bpf60/collectors"
)

// flame is a node of a flame graph: a frame, with all stacks that go through it from the same outer ones.
type flame struct {
	flameKey
	function
	count uint64
	self  uint64 // of count: it is the innermost frame
	below []*flame
	above *flame              // nil: it is the root
	index map[flameKey]*flame // of below, while it is made
}

// flameKey is what tells the frames below one apart.
type flameKey struct{ name, kind, file string }

// function is what tells rows of functions apart.
type function struct {
	fn, module string
	kernel     bool
}

// Kinds of flames: classes of the drawing's style.
const (
	flameUser    = "u"
	flameKernel  = "k"
	flameUnknown = "n"
	flameCommand = "c"
)

func newFlame() *flame { return &flame{flameKey: flameKey{name: "all", kind: flameCommand}} }

func (f *flame) add(key flameKey, fn function, count uint64) *flame {
	next := f.index[key]
	if next == nil {
		if f.index == nil {
			f.index = make(map[flameKey]*flame)
		}
		next = &flame{flameKey: key, function: fn, above: f}
		f.index[key] = next
		f.below = append(f.below, next)
	}
	next.count += count
	return next
}

// kindOf is the class of a function.
func kindOf(known, kernel bool) string {
	switch {
	case !known:
		return flameUnknown
	case kernel:
		return flameKernel
	}
	return flameUser
}

// flames makes the tree of a profile. Neighbours are ordered by name, as in every flame graph: what was
// before or after tells nothing.
func flames(p *collectors.Profile) *flame {
	root := newFlame()
	for i := range p.Stacks {
		s := &p.Stacks[i]
		root.count += s.Count
		at := root.add(flameKey{name: s.Comm.String(), kind: flameCommand}, function{}, s.Count)
		for _, f := range s.Frames {
			frame := p.Frames[f]
			at = at.add(flameKey{name: frame.Name.String(), kind: kindOf(frame.Known, frame.Kernel)}, function{}, s.Count)
		}
	}
	root.sort()
	return root
}

func (f *flame) sort() {
	f.index = nil
	slices.SortFunc(f.below, func(a, b *flame) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind))
	})
	for _, next := range f.below {
		next.sort()
	}
}

// path is the way to a frame from the root, which is none.
func (f *flame) path() []flameKey {
	var out []flameKey
	for at := f; at.above != nil; at = at.above {
		out = append(out, at.flameKey)
	}
	slices.Reverse(out)
	return out
}

// find goes a way as far as it leads: stacks come and go.
func (f *flame) find(path []flameKey) *flame {
	for _, key := range path {
		i := slices.IndexFunc(f.below, func(n *flame) bool { return n.flameKey == key })
		if i < 0 {
			break
		}
		f = f.below[i]
	}
	return f
}

// within says whether a frame is another one or somewhere below it.
func (f *flame) within(top *flame) bool {
	for at := f; at != nil; at = at.above {
		if at == top {
			return true
		}
	}
	return false
}

// hottest is the widest frame of a function in the tree, the outermost of equal ones; nil if it has none.
func (f *flame) hottest(fn function) *flame {
	var best *flame
	var walk func(n *flame)
	walk = func(n *flame) {
		if best != nil && n.count <= best.count {
			return // what is below is no wider
		}
		if n.above != nil && n.kind != flameCommand && n.function == fn {
			best = n
			return
		}
		for _, next := range n.below {
			walk(next)
		}
	}
	walk(f)
	return best
}

// flameStack is one stack of a command and how much of a sum it is: samples, or ns.
type flameStack struct {
	comm   string
	frames []collectors.CallFrame // the outermost first
	n      uint64
}

// flamesOf makes the tree of stacks.
func flamesOf(stacks []flameStack) *flame {
	root := newFlame()
	for i := range stacks {
		s := &stacks[i]
		root.count += s.n
		at := root.add(flameKey{name: s.comm, kind: flameCommand}, function{}, s.n)
		for k := range s.frames {
			f := &s.frames[k]
			at = at.add(flameKey{f.Name, kindOf(f.Known, f.Kernel), f.Module}, functionOf(f), s.n)
		}
		at.self += s.n
	}
	root.sort()
	return root
}

func functionOf(f *collectors.CallFrame) function { return function{f.Name, f.Module, f.Kernel} }

// functionSum is how much of a sum a function has.
type functionSum struct {
	function
	self, total uint64 // total: it is in the stack, once or more
	last        int    // 1 more than the last stack that it was in
}

// functionsOf sums up stacks by function, those with the most of their own first.
func functionsOf(stacks []flameStack) []functionSum {
	var out []functionSum
	at := make(map[function]int)
	for i := range stacks {
		s := &stacks[i]
		for k := range s.frames {
			fn := functionOf(&s.frames[k])
			f := place(at, &out, fn, functionSum{function: fn})
			if f.last != i+1 { // else it calls itself
				f.last, f.total = i+1, f.total+s.n
			}
			if k == len(s.frames)-1 {
				f.self += s.n
			}
		}
	}
	sortBy(out, func(a, b functionSum) int {
		return cmp.Or(cmp.Compare(b.self, a.self), cmp.Compare(b.total, a.total), cmp.Compare(a.fn, b.fn), cmp.Compare(a.module, b.module))
	})
	return out
}
