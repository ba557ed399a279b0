// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// ownNice is a little ahead of the load that we are to look at, and behind what matters more.
	ownNice = -5
	// gcPercent trades a few GCs a minute for half the memory: a moment's garbage is small.
	gcPercent = 50
	// processors is how many threads run Go at a time. We sleep for most of the time; more only
	// look for work in vain, 256 of them on a large host.
	processors = 2
)

// settle makes this process one that still answers on a sick host: ahead of others for the CPU, and
// resident. What is not allowed is done without; the screen shows our priority.
func settle() {
	debug.SetGCPercent(gcPercent)
	runtime.GOMAXPROCS(min(processors, runtime.GOMAXPROCS(0)))
	// Pages stay once they are touched. Without the capability the limit on locked memory would
	// apply to every later allocation, so a refusal must leave things as they are: root only.
	if unix.Geteuid() == 0 {
		_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
	// A priority is a thread's. Threads inherit it from the one that starts them.
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			if unix.Setpriority(unix.PRIO_PROCESS, tid, ownNice) != nil {
				return
			}
		}
	}
}
