// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// CostProfileSample is what the sampled CPU loses by a sample, in nanoseconds: the timer's interrupt,
// which is most of it in a virtual machine, and the stacks. Of an idle CPU it is CostQueueSample.
const CostProfileSample = 21000

// ProfileFrames is the most frames of one stack; a deeper one lacks its outer end.
const ProfileFrames = 127

// ProfileHz is how often a second each CPU is sampled: 99, and 49 where there are many. Both are odd: a
// sample in step with the scheduler's tick would always see the same part of its period.
func ProfileHz(cpus int) int {
	if cpus > 64 {
		return 49
	}
	return sampleHz
}

// ProfileSample is what ran on a CPU at one moment. The slices are valid during the call only.
type ProfileSample struct {
	Start  uint64 // of the process: boot time, ns
	TGID   int32
	TID    uint32
	Image  uint32 // how often the process had called exec: another number is another program
	Thread bool   // of the kernel
	Slots  uint32 // bit i: it is of the target in slot i
	Comm   [16]int8
	Kernel []uint64 // frames, innermost first
	User   []uint64
}

// ProfileCounts is what became of the samples of all CPUs, cumulative since load. The sum of all is how
// often the program ran.
type ProfileCounts struct {
	Sampled uint64 // in the ring
	Lost    uint64 // there was no room in it
	Passed  uint64 // of others than the targets
	Idle    uint64 // nothing ran
}

// Profile is the facade of profile.bpf.c: samples of what the CPUs run. It belongs to one goroutine.
type Profile struct {
	obj    *object
	prog   *ebpf.Program
	hz     int
	events clocks
	ring   *ringbuf.Reader
	rec    ringbuf.Record
	sums   []profileProfileCounts
	frames [2 * ProfileFrames]uint64
}

// ringSeconds is how long the ring holds the deepest stacks of all CPUs: Drain is called several times
// in it.
const ringSeconds = 1

// OpenProfile loads the program; SampleCPUs starts it. With targets it records them alone. The
// caller owns the result and closes it.
func OpenProfile(k *Kernel, hz int, targets []Filter) (*Profile, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("counting possible CPUs: %w", err)
	}
	return openProfile(k, hz, profileRing(cpus, hz), targets)
}

func openProfile(k *Kernel, hz int, ring uint32, targets []Filter) (*Profile, error) {
	obj, err := newObject(k, loadProfile)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	p := &Profile{obj: obj, hz: hz, events: make(clocks)}
	if err := p.load(ring, targets); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Profile) load(ring uint32, targets []Filter) (err error) {
	if err := p.obj.resize("profile_ring", ring); err != nil {
		return err
	}
	if p.prog, err = p.obj.load("profile_sampled"); err != nil {
		return err
	}
	if _, err := p.obj.narrow(targets); err != nil {
		return err
	}
	if err := p.Focus(len(targets) > 0); err != nil {
		return err
	}
	if p.ring, err = ringbuf.NewReader(p.obj.maps["profile_ring"]); err != nil {
		return p.obj.kernel.explain("opening the ring of samples", err)
	}
	p.ring.SetDeadline(time.Unix(0, 0)) // never wait in a read
	return nil
}

// Narrow tells targets apart, processes and cgroups, each in the slot that it has in the result; see
// object.narrow.
func (p *Profile) Narrow(want []Filter) (Slots, error) { return p.obj.narrow(want) }

// Focus records the targets alone, or everybody.
func (p *Profile) Focus(only bool) error {
	var f profileProfileFocus
	if only {
		f.Only = 1
	}
	m, err := p.obj.createMap("profile_focus")
	if err != nil {
		return err
	}
	if err := m.Put(uint32(0), &f); err != nil {
		return fmt.Errorf("writing map profile_focus: %w", err)
	}
	return nil
}

// profileRing is the size of the ring in bytes, a power of two.
func profileRing(cpus, hz int) uint32 {
	const least, most = 256 << 10, 16 << 20
	record := int(unsafe.Sizeof(profileProfileSample{})) + 2*ProfileFrames*8 + 8
	n := min(max(cpus*hz*record*ringSeconds, least), most)
	return 1 << bits.Len(uint(n-1))
}

// SampleCPUs makes the set of sampled CPUs equal to online.
func (p *Profile) SampleCPUs(online []int) error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	if err := p.readSums(); err != nil {
		return err
	}
	_, err = p.events.follow(p.obj.kernel, online, p.hz, p.prog, clockRuns{now: now, at: now, of: func(cpu int) uint64 {
		if cpu >= len(p.sums) {
			return 0
		}
		c := &p.sums[cpu]
		return c.Sampled + c.Lost + c.Passed + c.Idle
	}})
	return err
}

// Stop ends the sampling; what was sampled can be read still.
func (p *Profile) Stop() error { return p.events.close() }

// Drain calls each with every sample that is there, oldest first, and waits for none.
func (p *Profile) Drain(each func(*ProfileSample)) error {
	var s ProfileSample
	for {
		err := p.ring.ReadInto(&p.rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the ring of samples: %w", err)
		}
		if p.decode(p.rec.RawSample, &s) {
			each(&s)
		}
	}
}

// decode reads a record; false if it is none of ours.
func (p *Profile) decode(b []byte, s *ProfileSample) bool {
	var head profileProfileSample
	size := int(unsafe.Sizeof(head))
	if len(b) < size {
		return false
	}
	if _, err := binary.Decode(b[:size], binary.NativeEndian, &head); err != nil {
		return false
	}
	b = b[size:]
	kernel, all := int(head.Kernel), int(head.Kernel)+int(head.User)
	if kernel > ProfileFrames || all > len(p.frames) || len(b) < 8*all {
		return false
	}
	for i := range all {
		p.frames[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	*s = ProfileSample{
		Start: head.Start, TGID: head.Tgid, TID: head.Tid, Image: head.Image, Thread: head.Thread != 0, Slots: head.Slots, Comm: head.Comm,
		Kernel: p.frames[:kernel], User: p.frames[kernel:all],
	}
	return true
}

func (p *Profile) readSums() error {
	if err := p.obj.maps["profile_sums"].Lookup(uint32(0), &p.sums); err != nil {
		return fmt.Errorf("reading map profile_sums: %w", err)
	}
	return nil
}

// Counts is what became of the samples so far.
func (p *Profile) Counts() (ProfileCounts, error) {
	var sum ProfileCounts
	if err := p.readSums(); err != nil {
		return sum, err
	}
	for _, c := range p.sums {
		sum.Sampled += c.Sampled
		sum.Lost += c.Lost
		sum.Passed += c.Passed
		sum.Idle += c.Idle
	}
	return sum, nil
}

// Close ends the sampling, detaches the program and frees the maps.
func (p *Profile) Close() error {
	errs := []error{p.events.close()}
	if p.ring != nil {
		errs = append(errs, p.ring.Close())
	}
	return errors.Join(append(errs, p.obj.Close())...)
}
