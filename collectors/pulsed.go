// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"fmt"
)

// pulsedReader is of programs in the kernel that can be left out for a while.
type pulsedReader interface {
	comparable
	Pause(on bool) error
	Close() error
}

// pulsed holds a reader against a pulse: one that falls silent is attached anew, or given up.
type pulsed[R pulsedReader] struct {
	probe Probe
	open  func() (R, error)
	pulse pulse

	r   R     // nil before start, and when it is given up
	err error // of the last reading, or why it is given up
}

func (p *pulsed[R]) start() error {
	p.err = nil
	p.pulse.reset()
	r, err := p.open()
	if err != nil {
		return fmt.Errorf("opening the probes of %s: %w", p.probe.Name, err)
	}
	p.r = r
	return nil
}

// again attaches anew what is silent, or gives it up.
func (p *pulsed[R]) again() error {
	err := p.stop()
	if err == nil {
		err = p.pulse.retry(p.probe.Name)
	}
	if err == nil {
		p.r, err = p.open()
	}
	p.err = err
	return err
}

// stop closes the reader, if there is one.
func (p *pulsed[R]) stop() error {
	var none R
	if p.r == none {
		return nil
	}
	err := p.r.Close()
	p.r = none
	return err
}

// Pause implements Pauser.
func (p *pulsed[R]) Pause(on bool) error {
	var none R
	if p.r == none {
		return nil
	}
	p.pulse.begun = false
	return p.r.Pause(on)
}

// Close implements Collector.
func (p *pulsed[R]) Close() error { return errors.Join(p.pulse.close(), p.stop()) }
