// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the BPF programs and a typed facade for each subject: OpenX loads and attaches,
// Read copies the maps without arithmetic, Close detaches and frees. Maps are cumulative and are
// never cleared from here.
//
// A facade holds its links; whoever holds the facade keeps the programs attached, and nothing is
// ever pinned, so the kernel takes everything back when the process ends, however it ends.
// Every program is loaded on its own: one that this kernel refuses costs what it measures, no more.
package bpf

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"weak"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// ErrUnsupported says that this kernel cannot do what was asked, whatever the privileges.
var ErrUnsupported = errors.New("not supported by this kernel")

// NeedError says that one thing is missing, and what would supply it.
type NeedError struct {
	Need   string // "kernel BTF"
	Remedy string // "boot a kernel built with CONFIG_DEBUG_INFO_BTF"
	Err    error  // what the kernel said; may be nil
}

func (e *NeedError) Error() string {
	if e.Err != nil {
		return "needs " + e.Need + ": " + e.Err.Error()
	}
	return "needs " + e.Need
}

func (e *NeedError) Unwrap() error { return e.Err }

// HistSlots is the number of slots of Hist: HIST_SLOTS in include/hist.bpf.h.
const HistSlots = 27

// Hist is a log2 histogram of microseconds, cumulative since load: slot 0 holds 0–1 µs, slot i
// 2^i to 2^(i+1)−1 µs, the last slot everything longer. Sum is in nanoseconds.
type Hist struct {
	Slots [HistSlots]uint64
	Sum   uint64
}

// object loads the programs of one ELF, one at a time, sharing their maps.
type object struct {
	kernel *Kernel
	parse  func() (*ebpf.CollectionSpec, error)
	parsed weak.Pointer[ebpf.CollectionSpec] // large, and needed to load programs only: see elf
	edits  []func(*ebpf.CollectionSpec) error
	maps   map[string]*ebpf.Map
	progs  []*ebpf.Program
	links  []io.Closer
	attach []func() (io.Closer, error) // makes each of links anew
	paused bool
	casts  bool               // programs give up trust: walk.go
	ring   bool               // maps holds the shared ring's
	slots  Slots              // targets that are counted apart
	peers  map[peerKey]uint32 // what filter_peers holds of them
}

func newObject(k *Kernel, load func() (*ebpf.CollectionSpec, error)) (*object, error) {
	if err := k.mayLoad(); err != nil {
		return nil, err
	}
	o := &object{kernel: k, parse: load, maps: make(map[string]*ebpf.Map)}
	spec, err := o.elf()
	if err != nil {
		return nil, err
	}
	if spec.Variables["event_share"] != nil {
		cpus, err := ebpf.PossibleCPU()
		if err != nil {
			return nil, fmt.Errorf("counting possible CPUs: %w", err)
		}
		if err := o.set("event_share", share(cpus)); err != nil {
			return nil, err
		}
	}
	if spec.Variables[memoryV1] != nil {
		if err := o.set(memoryV1, k.shown == MemoryV1); err != nil {
			return nil, err
		}
	}
	if spec.Variables[mayCast] != nil && k.canCast() {
		return o, o.cast(true)
	}
	return o, nil
}

// elf is the embedded object with what was set in it. Only the one that was used last is kept from the
// garbage collector; an object that loads a program later is parsed anew.
func (o *object) elf() (*ebpf.CollectionSpec, error) {
	if spec := o.parsed.Value(); spec != nil {
		return spec, nil
	}
	spec, err := o.parse()
	if err != nil {
		return nil, fmt.Errorf("reading the embedded object: %w", err)
	}
	for _, edit := range o.edits {
		if err := edit(spec); err != nil {
			return nil, err
		}
	}
	o.parsed = weak.Make(spec)
	o.kernel.lastELF.Store(spec)
	return spec, nil
}

// edit changes the embedded object, also when it is parsed again.
func (o *object) edit(edit func(*ebpf.CollectionSpec) error) error {
	spec, err := o.elf()
	if err != nil {
		return err
	}
	if err := edit(spec); err != nil {
		return err
	}
	o.edits = append(o.edits, edit)
	return nil
}

// set gives a constant its value, for the programs that are loaded afterwards.
func (o *object) set(name string, value any) error {
	return o.edit(func(spec *ebpf.CollectionSpec) error {
		v := spec.Variables[name]
		if v == nil {
			return fmt.Errorf("setting %s: no such constant in the embedded object", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		return nil
	})
}

// resize says how many entries a map has that is made afterwards.
func (o *object) resize(name string, entries uint32) error {
	return o.edit(func(spec *ebpf.CollectionSpec) error {
		m := spec.Maps[name]
		if m == nil {
			return fmt.Errorf("sizing %s: no such map in the embedded object", name)
		}
		m.MaxEntries = entries
		return nil
	})
}

// createMap makes a map before the first program that uses it.
func (o *object) createMap(name string) (*ebpf.Map, error) {
	if m := o.maps[name]; m != nil {
		return m, nil
	}
	if isRing(name) {
		if err := o.useRing(); err != nil {
			return nil, err
		}
		return o.maps[name], nil
	}
	elf, err := o.elf()
	if err != nil {
		return nil, err
	}
	spec := elf.Maps[name].Copy()
	// Key and value types are only decoration, and a kernel without BTF support refuses them.
	spec.Key, spec.Value = nil, nil
	m, err := o.kernel.newMap(spec)
	if err != nil {
		return nil, err
	}
	o.maps[name] = m
	return m, nil
}

// newMap makes a map, with more locked memory if that is what it takes.
func (k *Kernel) newMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if errors.Is(err, unix.EPERM) && k.raiseMemlock() == nil {
		m, err = ebpf.NewMap(spec)
	}
	if err != nil {
		return nil, k.explain("creating map "+spec.Name, err)
	}
	return m, nil
}

// useRing takes the maps that all objects share.
func (o *object) useRing() error {
	r, err := o.kernel.openRing()
	if err != nil {
		return err
	}
	o.ring = true
	o.maps[eventsMap], o.maps[eventCounts] = r.events, r.counts
	return nil
}

// load loads one program and creates the maps it refers to.
func (o *object) load(name string) (*ebpf.Program, error) {
	elf, err := o.elf()
	if err != nil {
		return nil, err
	}
	prog := elf.Programs[name]
	if prog == nil {
		return nil, fmt.Errorf("loading %s: no such program in the embedded object", name)
	}
	one := &ebpf.CollectionSpec{
		Maps:      make(map[string]*ebpf.MapSpec),
		Programs:  map[string]*ebpf.ProgramSpec{name: prog.Copy()},
		Types:     elf.Types,
		ByteOrder: elf.ByteOrder,
	}
	shared := make(map[string]*ebpf.Map)
	for i := range prog.Instructions {
		ins := &prog.Instructions[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		ref := ins.Reference()
		spec := elf.Maps[ref]
		if spec == nil {
			continue
		}
		one.Maps[ref] = spec.Copy()
		if strings.HasPrefix(ref, ".") { // constants: each program gets its own frozen copy
			continue
		}
		m, err := o.createMap(ref)
		if err != nil {
			return nil, err
		}
		one.Maps[ref].Key, one.Maps[ref].Value = nil, nil
		shared[ref] = m
	}
	one.Variables = make(map[string]*ebpf.VariableSpec)
	for v, spec := range elf.Variables { // what was set of them goes into the constants
		if one.Maps[spec.SectionName] != nil {
			one.Variables[v] = spec.Copy()
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{
		MapReplacements: shared,
		Cache:           o.kernel.types(),
	})
	if o.mayBeCast(err) {
		return o.loadTrusting(name, err)
	}
	if err != nil {
		return nil, o.kernel.explainLoad(prog.AttachType, "loading "+name, err)
	}
	defer coll.Close()
	p := coll.DetachProgram(name)
	o.progs = append(o.progs, p)
	o.kernel.loaded(p, name)
	return p, nil
}

// detach undoes what was attached and loaded but keeps the maps, for the next rung of a ladder.
func (o *object) detach() error {
	var errs []error
	for _, l := range o.links {
		errs = append(errs, l.Close())
	}
	for _, p := range o.progs {
		o.kernel.unloaded(p)
		errs = append(errs, p.Close())
	}
	o.links, o.attach, o.progs = nil, nil, nil
	return errors.Join(errs...)
}

func (o *object) Close() error {
	o.kernel.follow.forget(o)
	errs := []error{o.detach()}
	for name, m := range o.maps {
		if !isRing(name) {
			errs = append(errs, m.Close())
		}
	}
	if o.ring {
		errs = append(errs, o.kernel.closeRing())
	}
	o.maps, o.ring = nil, false
	return errors.Join(errs...)
}

// monotonic is the time that programs read by bpf_ktime_get_ns.
func monotonic() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return uint64(ts.Nano()), nil
}

// traceArgs returns the types of a raw tracepoint's arguments on this kernel. They are found in
// BTF and never by version: vendors move them.
func traceArgs(types *btf.Spec, tracepoint string) ([]btf.Type, error) {
	var def *btf.Typedef
	if err := types.TypeByName("btf_trace_"+tracepoint, &def); err != nil {
		return nil, fmt.Errorf("finding tracepoint %s in BTF: %w", tracepoint, err)
	}
	ptr, ok := def.Type.(*btf.Pointer)
	if !ok {
		return nil, fmt.Errorf("finding tracepoint %s in BTF: %T is not a pointer", tracepoint, def.Type)
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return nil, fmt.Errorf("finding tracepoint %s in BTF: %T is not a function", tracepoint, ptr.Target)
	}
	var args []btf.Type
	for _, p := range proto.Params[1:] { // the first is void *__data
		args = append(args, p.Type)
	}
	return args, nil
}

// isStructPtr says whether t is a pointer to the named struct.
func isStructPtr(t btf.Type, name string) bool {
	ptr, ok := btf.UnderlyingType(t).(*btf.Pointer)
	if !ok {
		return false
	}
	st, ok := btf.UnderlyingType(ptr.Target).(*btf.Struct)
	return ok && st.Name == name
}
