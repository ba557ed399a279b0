// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ownNice is a little ahead of the load that we are to look at, and behind what matters more. It
	// is what remains where real time is refused, or taken away.
	ownNice = -5
	// ownPriority is the least of the real-time ones. Under a storm of switches a normal task waits for
	// seconds whatever its nice value is: with CONFIG_SCHED_AUTOGROUP nice counts within one session
	// only. Measured beside eight switching tasks of another session, a thread that sleeps 5 ms was
	// late by 0.8 ms (p99) so, by 80 to 220 ms otherwise, and once by 92 s.
	ownPriority = 1
	// leash is how long one of our threads may run at a stretch before real time is taken away for
	// good: a tool that looks at a sick host must not be what makes it sick. The kernel counts by
	// thread, so a goroutine that runs away may change threads a few times first.
	leash = 200 * time.Millisecond
	// processors is how many threads run Go at a time. We sleep for most of the time; more only
	// look for work in vain, 256 of them on a large host.
	processors = 2
)

// settle makes this process one that still answers on a sick host: ahead of others for the CPU, and
// resident. What is not allowed is done without. The caller calls stop when it is done.
func settle() (stop func()) {
	runtime.GOMAXPROCS(min(processors, runtime.GOMAXPROCS(0)))
	lockMemory()
	normal := &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: ownNice}
	if !schedule(normal) {
		return func() {}
	}
	return realTime(normal)
}

// realTime puts this process ahead of all normal tasks, on a leash: the kernel signals a thread that
// runs for too long at a stretch (RLIMIT_RTTIME), and then all of them become normal.
func realTime(normal *unix.SchedAttr) (stop func()) {
	overrun := make(chan os.Signal, 1)
	signal.Notify(overrun, unix.SIGXCPU)
	free := func() { signal.Stop(overrun) }
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_RTTIME, &limit) != nil {
		return free
	}
	limit.Cur = min(uint64(leash.Microseconds()), limit.Max)
	if unix.Setrlimit(unix.RLIMIT_RTTIME, &limit) != nil ||
		!schedule(&unix.SchedAttr{Policy: unix.SCHED_RR, Priority: ownPriority}) {
		return free
	}
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-overrun:
			schedule(normal)
		case <-done:
		}
	})
	return func() {
		close(done)
		watch.Wait()
		schedule(normal) // nobody holds the leash any more
		free()
	}
}

// schedule gives every thread of ours a policy; false if that is refused. A thread hands its own on
// to those that it starts, so it looks again until a pass finds none that was started meanwhile by
// one that had not been reached. Its own thread comes last: were it a normal one before the others, it would
// wait among all normal tasks while they run ahead of them.
func schedule(attr *unix.SchedAttr) bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self := strconv.Itoa(unix.Gettid())
	const passes = 10
	for range passes {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return false
		}
		if i := slices.IndexFunc(tasks, func(t os.DirEntry) bool { return t.Name() == self }); i >= 0 {
			own := tasks[i]
			tasks = append(slices.Delete(tasks, i, i+1), own)
		}
		changed := false
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if now, err := unix.SchedGetAttr(tid, 0); err == nil && now.Policy == attr.Policy && now.Nice == attr.Nice && now.Priority == attr.Priority {
				continue
			}
			changed = true
			if err := unix.SchedSetAttr(tid, attr, 0); err != nil && err != unix.ESRCH {
				return false
			}
		}
		if !changed {
			break
		}
	}
	return true
}
