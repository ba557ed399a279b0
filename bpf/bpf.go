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

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
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
	spec   *ebpf.CollectionSpec
	maps   map[string]*ebpf.Map
	progs  []*ebpf.Program
	links  []io.Closer
}

func newObject(k *Kernel, load func() (*ebpf.CollectionSpec, error)) (*object, error) {
	if err := k.mayLoad(); err != nil {
		return nil, err
	}
	spec, err := load()
	if err != nil {
		return nil, fmt.Errorf("reading the embedded object: %w", err)
	}
	return &object{kernel: k, spec: spec, maps: make(map[string]*ebpf.Map)}, nil
}

// createMap makes a map before the first program that uses it.
func (o *object) createMap(name string) (*ebpf.Map, error) {
	if m := o.maps[name]; m != nil {
		return m, nil
	}
	spec := o.spec.Maps[name].Copy()
	// Key and value types are only decoration, and a kernel without BTF support refuses them.
	spec.Key, spec.Value = nil, nil
	m, err := ebpf.NewMap(spec)
	if errors.Is(err, unix.EPERM) && o.kernel.raiseMemlock() == nil {
		m, err = ebpf.NewMap(spec)
	}
	if err != nil {
		return nil, o.kernel.explain("creating map "+name, err)
	}
	o.maps[name] = m
	return m, nil
}

// load loads one program and creates the maps it refers to.
func (o *object) load(name string) (*ebpf.Program, error) {
	prog := o.spec.Programs[name]
	if prog == nil {
		return nil, fmt.Errorf("loading %s: no such program in the embedded object", name)
	}
	one := &ebpf.CollectionSpec{
		Maps:      make(map[string]*ebpf.MapSpec),
		Programs:  map[string]*ebpf.ProgramSpec{name: prog.Copy()},
		Types:     o.spec.Types,
		ByteOrder: o.spec.ByteOrder,
	}
	shared := make(map[string]*ebpf.Map)
	for i := range prog.Instructions {
		ins := &prog.Instructions[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		ref := ins.Reference()
		spec := o.spec.Maps[ref]
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
	coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{
		MapReplacements: shared,
		Cache:           o.kernel.types(),
	})
	if err != nil {
		return nil, o.kernel.explain("loading "+name, err)
	}
	defer coll.Close()
	p := coll.DetachProgram(name)
	o.progs = append(o.progs, p)
	return p, nil
}

// attachTracing loads a tp_btf program and attaches it.
func (o *object) attachTracing(name string) error {
	p, err := o.load(name)
	if err != nil {
		return err
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return o.kernel.explain("attaching "+name, err)
	}
	o.links = append(o.links, l)
	return nil
}

// attachTracepoint loads a program for a text tracepoint and attaches it.
func (o *object) attachTracepoint(group, event, name string) error {
	if err := o.kernel.needTracefs(); err != nil {
		return err
	}
	p, err := o.load(name)
	if err != nil {
		return err
	}
	l, err := link.Tracepoint(group, event, p, nil)
	if err != nil {
		return o.kernel.explain("attaching "+name, err)
	}
	o.links = append(o.links, l)
	return nil
}

// detach undoes what was attached and loaded but keeps the maps, for the next rung of a ladder.
func (o *object) detach() error {
	var errs []error
	for _, l := range o.links {
		errs = append(errs, l.Close())
	}
	for _, p := range o.progs {
		errs = append(errs, p.Close())
	}
	o.links, o.progs = nil, nil
	return errors.Join(errs...)
}

func (o *object) Close() error {
	errs := []error{o.detach()}
	for _, m := range o.maps {
		errs = append(errs, m.Close())
	}
	o.maps = nil
	return errors.Join(errs...)
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
