// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attachTracing loads a program of tp_btf, fentry or fexit and attaches it.
func (o *object) attachTracing(name string) error { return o.attachTo(name, "") }

// attachTo loads a program of fentry or fexit and attaches it to a function of the kernel's, "" for the one
// that the program names.
func (o *object) attachTo(name, function string) error {
	p, err := o.loadFor(name, function)
	if err != nil {
		return err
	}
	begun := false
	return o.hold(name, func() (io.Closer, error) {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		// Before 5.13 a program of fentry or fexit can be attached but once (f3a95075549e, "bpf: Allow
		// trampoline re-attach for tracing and lsm programs").
		if begun && errors.Is(err, unix.ENOENT) {
			if p, err = o.again(p, name, function); err != nil {
				return nil, err
			}
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		}
		begun = begun || err == nil
		return l, err
	})
}

func (o *object) loadFor(name, function string) (*ebpf.Program, error) {
	if function != "" {
		if err := o.edit(func(spec *ebpf.CollectionSpec) error {
			spec.Programs[name].AttachTo = function
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return o.load(name)
}

// again loads a program anew in the place of an old one.
func (o *object) again(old *ebpf.Program, name, function string) (*ebpf.Program, error) {
	p, err := o.loadFor(name, function)
	if err != nil {
		return old, err
	}
	o.kernel.unloaded(old)
	o.progs = slices.DeleteFunc(o.progs, func(p *ebpf.Program) bool { return p == old })
	return p, old.Close()
}

// hold attaches, now and after each pause.
func (o *object) hold(name string, attach func() (io.Closer, error)) error {
	named := func() (io.Closer, error) {
		l, err := attach()
		if err != nil {
			return nil, o.kernel.explain("attaching "+name, err)
		}
		return l, nil
	}
	l, err := named()
	if err != nil {
		return err
	}
	o.links, o.attach = append(o.links, l), append(o.attach, named)
	return nil
}

// pause detaches what hold attached and keeps the programs and their maps, or attaches it again. It is
// quick, as nothing is loaded. A hook that cannot be attached again leaves the others attached.
func (o *object) pause(on bool) error {
	if on == o.paused {
		return nil
	}
	o.paused = on
	var errs []error
	if on {
		for _, l := range o.links {
			errs = append(errs, l.Close())
		}
		o.links = nil
		return errors.Join(errs...)
	}
	for _, attach := range o.attach {
		l, err := attach()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.links = append(o.links, l)
	}
	return errors.Join(errs...)
}

// pauseSince is pause for programs that keep starts: the map since holds the time from before which they are
// not true any more. It is written before the first program is attached again.
func (o *object) pauseSince(on bool, since string) error {
	if !on && o.paused {
		if err := o.forgetStarts(since); err != nil {
			return err
		}
	}
	return o.pause(on)
}

// forgetStarts makes programs pass over all starts that there are.
func (o *object) forgetStarts(since string) error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	m, err := o.createMap(since)
	if err != nil {
		return err
	}
	if err := m.Put(uint32(0), now); err != nil {
		return fmt.Errorf("writing map %s: %w", since, err)
	}
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
	return o.hold(name, func() (io.Closer, error) {
		return link.Tracepoint(group, event, p, nil)
	})
}
