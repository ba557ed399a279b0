// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"bpf60/collectors"
)

// DefaultBudget is what a History holds at most, in bytes, if it is not told otherwise.
const DefaultBudget = 16 << 20

// cpuDetail is how long single CPUs are kept; older moments have the host's sums.
const cpuDetail = 60 * time.Second

// History holds moments, oldest first, within one byte budget. The zero History has
// DefaultBudget. One goroutine appends; any may read, without waiting. A moment is never written:
// thinning replaces it in the next slice that is published, and who still reads the last slice
// reads it as it was.
type History struct {
	published atomic.Pointer[published]

	mu     sync.Mutex // for the rest: one Append at a time
	budget int
	size   int                            // bytes, of the moments, what they share, and the books
	sizes  []int                          // of each moment
	infos  map[*collectors.ProcInfo]int32 // in how many moments' rows
	rows   int                            // index of the oldest moment whose task rows are kept
	cpus   int                            // index of the oldest moment whose single CPUs are kept

	limit atomic.Int64 // bytes; see Limit

	memo *recent // of a History that the rules of one tick share; else nil
}

// published is what readers see.
type published struct {
	moments    []Moment
	rows, cpus time.Duration
}

// NewHistory returns a History that holds at most budget bytes.
func NewHistory(budget int) *History { return &History{budget: budget} }

// Limit lowers the budget to n bytes, from the next moment on; 0 gives it back. Any goroutine may
// call it: the whole program has a budget too, and on a host of many processes much of it goes
// elsewhere.
func (h *History) Limit(n int) { h.limit.Store(int64(n)) }

// Held is about how many bytes the history holds. Only the goroutine that appends may call it.
func (h *History) Held() int { return h.size + h.books() }

// Append adds the newest moment. Moments are in order: one that is not after the last is ignored.
func (h *History) Append(m Moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.moments()
	if len(old) > 0 && m.At <= old[len(old)-1].At {
		return
	}
	if h.infos == nil {
		h.infos = map[*collectors.ProcInfo]int32{}
	}
	ms := make([]Moment, len(old), len(old)+1)
	copy(ms, old)
	ms = append(ms, m)
	h.sizes = append(h.sizes, momentSize(m))
	h.size += h.sizes[len(h.sizes)-1]
	h.hold(m)
	ms = h.trim(ms)
	h.published.Store(&published{ms, ms[h.rows].At, ms[h.cpus].At})
}

// with returns a History for reading that has s as well. What the rules of its tick share they keep in u.
func (h *History) with(s *collectors.Snapshot, u *upkeep) *History {
	old := h.moments()
	p := published{moments: make([]Moment, len(old), len(old)+1)}
	copy(p.moments, old)
	p.moments = append(p.moments, Moment{Snapshot: s})
	p.rows, p.cpus = h.RowsSince(), h.CPUsSince()
	view := &History{memo: &recent{upkeep: u}}
	view.published.Store(&p)
	return view
}

func (h *History) moments() []Moment {
	if p := h.published.Load(); p != nil {
		return p.moments
	}
	return nil
}

// Len is the number of moments.
func (h *History) Len() int { return len(h.moments()) }

// First returns the oldest moment that is kept, false before there is one.
func (h *History) First() (Moment, bool) {
	ms := h.moments()
	if len(ms) == 0 {
		return Moment{}, false
	}
	return ms[0], true
}

// Last returns the newest moment, false before there is one.
func (h *History) Last() (Moment, bool) {
	ms := h.moments()
	if len(ms) == 0 {
		return Moment{}, false
	}
	return ms[len(ms)-1], true
}

// At returns the last moment at t or before it, false if none is kept.
func (h *History) At(t time.Duration) (Moment, bool) {
	ms := h.moments()
	i := after(ms, t)
	if i == 0 {
		return Moment{}, false
	}
	return ms[i-1], true
}

// Window returns the moments with from < At ≤ to, oldest first. Slice and moments are shared and
// must not be written.
func (h *History) Window(from, to time.Duration) []Moment {
	ms := h.moments()
	i, j := after(ms, from), after(ms, to)
	if i >= j {
		return nil
	}
	return ms[i:j:j]
}

// Since returns the moments with At > from, oldest first. Slice and moments are shared and must
// not be written.
func (h *History) Since(from time.Duration) []Moment {
	ms := h.moments()
	return ms[after(ms, from):len(ms):len(ms)]
}

// RowsSince is the time of the oldest moment whose task rows are kept.
func (h *History) RowsSince() time.Duration {
	if p := h.published.Load(); p != nil {
		return p.rows
	}
	return 0
}

// CPUsSince is the time of the oldest moment whose single CPUs are kept.
func (h *History) CPUsSince() time.Duration {
	if p := h.published.Load(); p != nil {
		return p.cpus
	}
	return 0
}

// after is the index of the first moment after t.
func after(ms []Moment, t time.Duration) int {
	return sort.Search(len(ms), func(i int) bool { return ms[i].At > t })
}

// kind is a level of detail that can be given up.
type kind uint8

const (
	taskRows kind = iota
	singleCPUs
	wholeMoments
)

// trim gives up single CPUs that are old, and then, while there is too much, the oldest detail:
// first what costs most and is missed least, but always something of each kind for what is new.
func (h *History) trim(ms []Moment) []Moment {
	ms = h.giveUp(ms, singleCPUs, cpuDetail, func() bool { return true })
	budget := h.budget
	if budget <= 0 {
		budget = DefaultBudget
	}
	if n := int(h.limit.Load()); n > 0 {
		budget = min(budget, n)
	}
	over := func() bool { return h.size+h.books() > budget }
	for _, stage := range []struct {
		kind kind
		keep time.Duration
	}{
		{taskRows, time.Minute},
		{singleCPUs, 10 * time.Second},
		{taskRows, 10 * time.Second},
		{wholeMoments, 5 * time.Minute},
		{taskRows, 0},
		{singleCPUs, 0},
		{wholeMoments, 0},
	} {
		ms = h.giveUp(ms, stage.kind, stage.keep, over)
	}
	return ms
}

// giveUp takes detail of one kind, oldest first, from moments at least keep old, while more says
// so. The newest moment stays as it is.
func (h *History) giveUp(ms []Moment, k kind, keep time.Duration, more func() bool) []Moment {
	limit := ms[len(ms)-1].At - keep
	for more() {
		i := 0
		switch k {
		case taskRows:
			i = h.rows
		case singleCPUs:
			i = h.cpus
		case wholeMoments:
		}
		if i >= len(ms)-1 || ms[i].At > limit {
			break
		}
		switch k {
		case taskRows:
			h.release(ms[i])
			h.replace(ms, i, ms[i].WithoutRows())
			h.rows++
		case singleCPUs:
			h.replace(ms, i, ms[i].WithoutCPUs())
			h.cpus++
		case wholeMoments:
			// Its rows and CPUs went in an earlier stage.
			h.size -= h.sizes[0]
			h.sizes = h.sizes[1:]
			ms = ms[1:]
			h.rows--
			h.cpus--
		}
	}
	return ms
}

// replace puts a thinner snapshot in the place of moment i.
func (h *History) replace(ms []Moment, i int, s *collectors.Snapshot) {
	ms[i].Snapshot = s
	h.size -= h.sizes[i]
	h.sizes[i] = momentSize(ms[i])
	h.size += h.sizes[i]
}

// infoEntry is what one entry of infos takes: 17 bytes in a map that is filled by half after it grew,
// and what a map that grew by halves leaves unused.
const infoEntry = 40

// hold counts the processes that m's rows share with other moments, each once.
func (h *History) hold(m Moment) {
	if m.Tasks == nil {
		return
	}
	m.Tasks.Infos(func(info *collectors.ProcInfo) {
		n := h.infos[info] + 1
		h.infos[info] = n
		if n == 1 {
			h.size += info.Size() + infoEntry
		}
	})
}

// release takes back what hold counted.
func (h *History) release(m Moment) {
	if m.Tasks == nil {
		return
	}
	m.Tasks.Infos(func(info *collectors.ProcInfo) {
		n := h.infos[info] - 1
		h.infos[info] = n
		if n == 0 {
			delete(h.infos, info)
			h.size -= info.Size() + infoEntry
		}
	})
}

// books is what the lists themselves take: the published one and the one before it, and sizes.
func (h *History) books() int {
	return len(h.sizes) * int(2*unsafe.Sizeof(Moment{})+2*unsafe.Sizeof(int(0)))
}

// momentSize is what m holds and shares with no other moment.
func momentSize(m Moment) int {
	n := m.Size()
	for _, f := range m.Findings {
		n += f.size()
	}
	if m.Checks != nil {
		n += m.Checks.size()
	}
	return n
}

// size is what c holds in memory, in bytes.
func (c *Checks) size() int {
	n := int(unsafe.Sizeof(*c))
	for _, x := range c.Healthy {
		n += int(unsafe.Sizeof(x))
		for _, s := range x.Evidence {
			n += int(unsafe.Sizeof(s)) + len(s)
		}
	}
	for _, x := range c.Unchecked {
		n += int(unsafe.Sizeof(x)) + len(x.Reason) + len(x.Remedy)
	}
	return n
}

// size is what f holds in memory, in bytes.
func (f *Finding) size() int {
	n := int(unsafe.Sizeof(*f)) + len(f.Title) + len(f.Resource) + len(f.Quality) + len(f.Row) + len(f.Command) + 8*len(f.Times)
	for _, s := range f.Evidence {
		n += int(unsafe.Sizeof(s)) + len(s)
	}
	for _, list := range [][]Culprit{f.Culprits, f.Victims} {
		for _, c := range list {
			n += int(unsafe.Sizeof(c)) + len(c.Name.String()) + len(c.Cgroup.String()) + len(c.Target.Name)
		}
	}
	return n
}
