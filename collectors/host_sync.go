// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"time"

	"golang.org/x/sys/unix"
)

// syncEvery is how often the kernel is asked for its clock's state: it changes when a time service begins,
// ends or loses its servers.
const syncEvery = time.Minute

// ClockSync is what the kernel says of its wall clock (adjtimex(2)).
type ClockSync struct {
	// Unsynced: nobody corrects the clock (STA_UNSYNC, or TIME_ERROR for another reason). The kernel sets it at
	// boot, and when a time service lets the error grow beyond 16 s.
	Unsynced bool
	// MaxError is how far the clock may be off, by what the time service told and 500 ppm since
	// then: up to 16 s, where the kernel stops counting.
	MaxError time.Duration
}

// clockSync asks for the clock's state now and then.
type clockSync struct {
	adjust func(*unix.Timex) (state int, err error) // adjtimex
	at     time.Duration                            // when it was asked
	asked  bool
	state  *ClockSync
}

// read returns the state as it was at most a minute ago; nil if the kernel does not tell.
func (c *clockSync) read(now time.Duration) *ClockSync {
	if c.asked && now-c.at < syncEvery {
		return c.state
	}
	c.at, c.asked, c.state = now, true, nil
	var t unix.Timex // no modes: it changes nothing, and needs no privilege
	state, err := c.adjust(&t)
	if err != nil {
		return nil
	}
	c.state = &ClockSync{
		Unsynced: state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0,
		MaxError: time.Duration(t.Maxerror) * time.Microsecond,
	}
	return c.state
}
