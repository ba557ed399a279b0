// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"

	"bpf60/triage"

	"golang.org/x/sys/unix"
)

const (
	// rssGoal is how much memory the whole program may hold, history included: the promise is 40 MB, and
	// between two collections it is up to a tenth more.
	rssGoal = 34_500_000
	// heapGoal is how large the heap may become just before a collection where there is room enough, and
	// leastHeap where there is none: some minutes of the past are worth more than the goal.
	heapGoal, leastHeap = 21 << 20, 10 << 20
	// softMemory is where the Go runtime begins to work for room, whatever gcPercent says, and mostMemory
	// where we go: a tool that looks at a host must not take what the host needs.
	softMemory, mostMemory = 128 << 20, 192 << 20
	// leastHistory is what the past has in any case.
	leastHistory = 4 << 20
	// Between these is the part of what lives that may become garbage before it is collected. The more
	// the rarer; the least keeps a heap that is beyond the goal from being collected all the time.
	mostGC, leastGC = 200, 10
	// historyGC is what is left for garbage once the history is full. With a tenth the heap was collected
	// twice a second, for hours; with a third every few seconds.
	historyGC = 33
	// startGC is the most while programs are loaded: much is parsed then that is soon garbage, and what
	// the heap has grown to once stays resident for long.
	startGC = 50
	// gcStep is the least change that is worth stopping the world for.
	gcStep = 4
	// calm is over how many ticks what is not heap is averaged: it moves with each collection.
	calm = 8
)

// memory keeps the program within rssGoal while the history fills. What is left of the goal beside our
// text, the runtime and the kernel's maps is the heap's; what is left of that beside what the collectors
// and the screen hold is the history's. Half of what lives may be garbage at first, less and less later.
type memory struct {
	samples []metrics.Sample
	statm   *os.File // nil where there is no /proc
	beside  float64  // bytes that are resident and not of the heap, averaged; 0: not known yet
	percent int
	ticks   int
	most    int // what may be resident, in bytes
	over    int // ticks in a row that more was
}

func newMemory() *memory {
	m := &memory{percent: startGC, most: mostMemory, samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/goal:bytes"}}}
	m.statm, _ = os.Open("/proc/self/statm")
	debug.SetGCPercent(m.percent)
	debug.SetMemoryLimit(softMemory)
	return m
}

// tooMuchMemory is why a run ends that takes more memory than it may.
type tooMuchMemory struct{ rss, most int }

func (e *tooMuchMemory) Error() string {
	return fmt.Sprintf("bpf60 itself took %d MiB of memory, more than the %d that it may: it ended with what it had", e.rss>>20, e.most>>20)
}

// ceiling is called once a tick with what is resident. At first more than may be is answered by giving up
// the past; what is still too much a few ticks later ends the run.
func (m *memory) ceiling(rss int, forget func()) error {
	const patience = 3 // ticks, of which a collection takes one
	if rss <= m.most {
		m.over = 0
		return nil
	}
	if m.over++; m.over <= patience {
		forget()
		debug.FreeOSMemory()
		return nil
	}
	return &tooMuchMemory{rss, m.most}
}

// tune is called once a tick, with what the history holds, and returns what it may hold.
func (m *memory) tune(held int) (history int) {
	metrics.Read(m.samples)
	if m.samples[0].Value.Kind() != metrics.KindUint64 || m.samples[1].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	live, heap := m.samples[0].Value.Uint64(), m.samples[1].Value.Uint64()
	if rss := m.resident(); rss > 0 {
		now := max(float64(rss)-float64(heap), 0)
		if m.beside == 0 {
			m.beside = now
		}
		m.beside += (now - m.beside) / calm
	}
	goal, history := share(m.beside, live, held)
	most := mostGC
	if m.ticks++; m.ticks <= calm {
		most = startGC
	}
	percent := min(gcPercent(live, goal), most)
	if d := percent - m.percent; d >= gcStep || -d >= gcStep || percent != m.percent && (percent == most || percent == leastGC) {
		m.percent = percent
		debug.SetGCPercent(percent)
	}
	return history
}

// resident is the program's memory that is resident, in bytes; 0 if that is not known.
func (m *memory) resident() int {
	var b [128]byte
	n, err := m.statm.ReadAt(b[:], 0)
	if n == 0 && err != nil {
		return 0
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b[:n]), &size, &pages); err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}

func (m *memory) Close() error { return m.statm.Close() }

// share divides the goal: what the heap may grow to, and what of it is the history's, of which that much
// lives and held is the history's now.
func share(beside float64, live uint64, held int) (heap uint64, history int) {
	heap = uint64(min(max(rssGoal-beside, leastHeap), heapGoal))
	others := max(int(live)-held, 0)
	return heap, min(max(int(heap)*100/(100+historyGC)-others, leastHistory), triage.DefaultBudget)
}

// gcPercent is by how much a heap may grow of which that many bytes live.
func gcPercent(live, goal uint64) int {
	switch {
	case live == 0: // before the first collection
		return mostGC
	case live >= goal:
		return leastGC
	}
	return int(min(max(100*(goal-live)/live, leastGC), mostGC))
}

// lockMemory keeps in memory what is touched once: on a host that runs out of it the kernel would take
// our text first, and read it back from a disk that everybody waits for. Peaks go again all the same:
// where MADV_DONTNEED is refused, as it is for locked memory, Go maps the pages anew.
func lockMemory() {
	// Without the capability the limit on locked memory would apply to every later allocation, so a
	// refusal must leave things as they are: root only.
	if unix.Geteuid() == 0 {
		_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
}
