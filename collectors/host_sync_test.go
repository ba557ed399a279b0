// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestClockSync(t *testing.T) {
	tests := map[string]struct {
		state  int
		status int32
		err    error
		want   *ClockSync
	}{
		"synchronised":         {state: unix.TIME_OK, status: 0x1, want: &ClockSync{MaxError: 2500 * time.Microsecond}},
		"before a leap second": {state: 1, want: &ClockSync{MaxError: 2500 * time.Microsecond}},
		"not":                  {state: unix.TIME_ERROR, status: unix.STA_UNSYNC, want: &ClockSync{Unsynced: true, MaxError: 2500 * time.Microsecond}},
		"an error of a pulse":  {state: unix.TIME_ERROR, status: 0x1, want: &ClockSync{Unsynced: true, MaxError: 2500 * time.Microsecond}},
		"refused":              {state: -1, err: unix.EPERM},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			c := clockSync{adjust: func(x *unix.Timex) (int, error) {
				asked++
				if x.Modes != 0 {
					t.Errorf("asks for modes %#x, want none: that sets the clock", x.Modes)
				}
				x.Status, x.Maxerror = tt.status, 2500
				return tt.state, tt.err
			}}
			got := c.read(0)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := c.read(syncEvery - 1); again != got || asked != 1 {
				t.Errorf("asked %d times within a minute, want once and the same answer", asked)
			}
			if c.read(syncEvery); asked != 2 {
				t.Errorf("asked %d times after a minute, want twice", asked)
			}
		})
	}
}
