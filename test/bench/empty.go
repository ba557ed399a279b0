// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// empties are programs that do nothing, or read the clock and no more. What the kernel measures of them is
// the price of the hooks: nobody who takes the time between two of them can be below it.
type empties struct{ held []io.Closer }

// openEmpties attaches one to each tracepoint.
func openEmpties(hooks []string, clock bool) (*empties, error) {
	e := &empties{}
	var body asm.Instructions
	if clock {
		body = append(body, asm.FnKtimeGetNs.Call())
	}
	body = append(body, asm.Mov.Imm(asm.R0, 0), asm.Return())
	for i, hook := range hooks {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: fmt.Sprintf("empty%d", i), Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: hook,
			Instructions: body, License: "GPL",
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("loading an empty program for %s: %w", hook, err), e.Close())
		}
		e.held = append(e.held, p)
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attaching an empty program to %s: %w", hook, err), e.Close())
		}
		e.held = append(e.held, l)
	}
	return e, nil
}

// Close detaches and frees them, the last first.
func (e *empties) Close() error {
	var errs []error
	for i := len(e.held) - 1; i >= 0; i-- {
		errs = append(errs, e.held[i].Close())
	}
	e.held = nil
	return errors.Join(errs...)
}
