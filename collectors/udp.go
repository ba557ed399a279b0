// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// udpCounters reads what the kernel itself counts of UDP in our own namespace, to judge by whether a
// probe is alive.
type udpCounters struct {
	snmp, snmp6 *procFile
	layout      stackLayout
}

func newUDPCounters(fs FS) *udpCounters {
	return &udpCounters{snmp: fs.file("net/snmp"), snmp6: fs.file("net/snmp6")}
}

// read returns the counters of both families together.
func (u *udpCounters) read(ctx context.Context) (StackCounts, error) {
	var c StackCounts
	b, err := u.snmp.read(ctx)
	if err == nil {
		err = u.layout.parse(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("reading /proc/net/snmp: %w", err)
	}
	if b, err := u.snmp6.read(ctx); err == nil { // without IPv6 there is none
		if err := u.layout.parseSix(b, &c); err != nil {
			return c, fmt.Errorf("reading /proc/net/snmp6: %w", err)
		}
	}
	return c, nil
}

func (u *udpCounters) close() error { return errors.Join(u.snmp.close(), u.snmp6.close()) }

// quiet judges a probe by a counter of the kernel that moves with it.
type quiet struct {
	begun  bool
	at     time.Duration // when the probe last moved
	kernel uint64        // the counter then
}

func (q *quiet) begin(now time.Duration, kernel uint64) { *q = quiet{true, now, kernel} }

// dead says whether the kernel has counted at least `least` events, over at least `patience`, and the
// probe none of them.
func (q *quiet) dead(now time.Duration, kernel uint64, moved bool, patience time.Duration, least uint64) bool {
	if !q.begun || moved || kernel < q.kernel {
		q.begin(now, kernel)
		return false
	}
	return now-q.at >= patience && kernel-q.kernel >= least
}

// since is how long it has been silent.
func (q *quiet) since(now time.Duration) time.Duration { return now - q.at }

// bootClock is the clock that programs stamp events with: it runs through suspends.
func bootClock() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("reading the boot clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
