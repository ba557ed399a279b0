// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"slices"
	"unsafe"
)

// ProfileID is the on-demand collector of what the CPUs run: samples of stacks.
const ProfileID ID = "profile"

// CPUProfile is what the CPUs ran over the span, sampled Hz times a second on each. A sample is the stack of
// user space with that of the kernel below it.
type CPUProfile struct {
	Span
	Hz   int
	CPUs int // that were sampled
	ProfileCounts

	Partial bool   // targets alone were sampled, each in Narrowed: ProfileCounts is empty
	Lost    uint64 // samples without room, in the kernel or here: whose they are is not known
	Passed  uint64 // samples of others than targets, where Partial
	Idle    uint64 // times that nothing ran

	Narrowed []Targeted[ProfileCounts]

	fresh int // bytes of the stacks that no sample before had
}

// ProfileCounts are additive.
type ProfileCounts struct {
	Stacks   []SampledStack // the most samples first, at most 400
	Samples  uint64
	Unlisted uint64 // of Samples: by stacks that are not listed
}

// SampledStack is how often a thread of that name had that stack.
type SampledStack struct {
	*CallStack `record:"must"`
	Task       Process
	Comm       Raw
	Count      uint64
}

// CallStack is functions that call each other, the outermost first; user space before the kernel. It is
// interned, and not written after it is made.
type CallStack struct{ Frames []CallFrame }

// CallFrame is a function as ProfileFrame has it. Its texts are clean.
type CallFrame struct {
	Name   string
	Module string // the name of its file; "kernel"; empty where there is none
	Kernel bool
	Known  bool // Name is the function's
}

// maxSampledStacks bounds what a sample lists of the host and of each target. One second of four CPUs at
// 99 Hz has no more.
const maxSampledStacks = 400

func (p *CPUProfile) put(s *Snapshot) { s.Profile = p }

// Apart is what p counts of single targets, and over which span.
func (p *CPUProfile) Apart() ([]Targeted[ProfileCounts], Span) { return p.Narrowed, p.Span }

// size counts a stack in the first sample that has it: the later ones share it.
func (p *CPUProfile) size() int {
	n := allocSize(unsafe.Sizeof(*p)) + p.fresh + p.ProfileCounts.size() + sliceSize(p.Narrowed)
	for i := range p.Narrowed {
		n += p.Narrowed[i].Sample.size()
	}
	return n
}

func (c *ProfileCounts) size() int {
	n := sliceSize(c.Stacks)
	for i := range c.Stacks {
		n += allocSize(uintptr(len(c.Stacks[i].Comm.s)))
	}
	return n
}

// withoutRows returns a copy that keeps the sums.
func (p *CPUProfile) withoutRows() *CPUProfile {
	c := *p
	c.Stacks, c.Narrowed, c.fresh = nil, nil, 0
	return &c
}

// stackWho tells stacks of a sample apart.
type stackWho struct {
	stack *CallStack
	task  Process
	comm  string
}

// stackTally counts equal stacks of one sample.
type stackTally map[stackWho]uint64

// counts lists what was counted, the most first; what is beyond the bound is counted as unlisted.
func (t stackTally) counts(most int) ProfileCounts {
	var c ProfileCounts
	all := make([]SampledStack, 0, len(t))
	for who, n := range t {
		c.Samples += n
		all = append(all, SampledStack{CallStack: who.stack, Task: who.task, Comm: RawString(who.comm), Count: n})
	}
	sortBy(all, func(a, b SampledStack) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Task.TGID, b.Task.TGID), cmp.Compare(a.Task.Start, b.Task.Start),
			cmp.Compare(a.Comm.s, b.Comm.s), slices.CompareFunc(a.Frames, b.Frames, func(x, y CallFrame) int { return cmp.Compare(x.Name, y.Name) }))
	})
	if len(all) > most {
		for i := range all[most:] {
			c.Unlisted += all[most+i].Count
		}
		all = slices.Clone(all[:most])
	}
	c.Stacks = all
	return c
}
