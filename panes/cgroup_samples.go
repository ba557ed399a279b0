// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"math"
	"time"

	"bpf60/collectors"
)

func cgroupsOf(s *collectors.Snapshot) *collectors.Cgroups { return s.Cgroups }

// cgroupSum is one cgroup over a frame: deltas summed, gauges of the newest row. A part may have
// been read over less of the frame than another, so each has a time of its own.
type cgroupSum struct {
	collectors.CgroupRow
	usage, split, throttle, events, denied, psi, io float64 // seconds
}

// cgroupLookBack bounds how far back the newest row of a cgroup is looked for.
const cgroupLookBack = 2 * time.Minute

// cgroupsOver returns every cgroup of the frame, by path, and the newest sample; nil without one.
// Without a span it is the newest row of each, for not all are read at every tick.
func cgroupsOver(f Frame) ([]cgroupSum, *collectors.Cgroups) {
	last := newest(f, cgroupsOf)
	if last == nil {
		return nil, nil
	}
	from := last.To - min(last.Oldest, cgroupLookBack) - time.Second
	if f.Span > 0 {
		from = f.Now.At - f.Span
	}
	at := make(map[string]int)
	gone := make(map[string]bool)
	var out []cgroupSum
	for i := len(f.Past) - 1; i >= 0; i-- {
		m := f.Past[i]
		if m.Snapshot == nil || m.Cgroups == nil {
			continue
		}
		if m.Cgroups.To < from {
			break
		}
		for k := range m.Cgroups.Rows {
			r := &m.Cgroups.Rows[k]
			if r.CgroupInfo == nil {
				continue
			}
			path := r.Path.Bytes()
			j, known := at[path]
			switch {
			case !known && gone[path]:
			case !known:
				at[path] = len(out)
				if f.Span > 0 {
					out = append(out, newCgroupSum(r))
				} else {
					out = append(out, oneCgroup(r))
				}
			case out[j].ID != r.ID: // another that had the name before
			case f.Span > 0:
				out[j].add(r)
			default:
				out[j].fill(r)
			}
		}
		for _, path := range m.Cgroups.Gone {
			if _, known := at[path.Bytes()]; !known {
				gone[path.Bytes()] = true
			}
		}
	}
	sortBy(out, func(a, b cgroupSum) int { return comparePaths(a.Path.Bytes(), b.Path.Bytes()) })
	return out, last
}

// comparePaths orders paths as a tree is printed: what is below a cgroup follows it at once.
func comparePaths(a, b string) int {
	if a == "/" || b == "/" {
		return cmp.Compare(len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if a[i] == '/' { // before any other byte, also those that are less
			return -1
		}
		if b[i] == '/' {
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

// newCgroupSum is one row, to which others may be added.
func newCgroupSum(r *collectors.CgroupRow) cgroupSum {
	c := oneCgroup(r)
	if r.PSI != nil { // copies: samples are not ours to write
		psi := *r.PSI
		c.PSI = &psi
	}
	if r.IO != nil {
		io := *r.IO
		c.IO = &io
	}
	if r.Detail != nil {
		d := *r.Detail
		c.Detail = &d
	}
	return c
}

// oneCgroup is one row as it is. It shares what the row points to.
func oneCgroup(r *collectors.CgroupRow) cgroupSum {
	c := cgroupSum{CgroupRow: *r}
	s := r.Seconds()
	for _, p := range c.parts() {
		if r.Has&p.has != 0 {
			*p.seconds = s
		}
	}
	return c
}

type cgroupPart struct {
	has     collectors.CgroupHas
	seconds *float64
}

func (c *cgroupSum) parts() [7]cgroupPart {
	return [...]cgroupPart{
		{collectors.HasUsage, &c.usage},
		{collectors.HasSplit, &c.split},
		{collectors.HasThrottle, &c.throttle},
		{collectors.HasEvents, &c.events},
		{collectors.HasDenied, &c.denied},
		{collectors.HasPSI, &c.psi},
		{collectors.HasIO, &c.io},
	}
}

// add sums an older row of the same cgroup.
func (c *cgroupSum) add(r *collectors.CgroupRow) {
	for _, p := range c.parts() {
		if r.Has&p.has != 0 {
			*p.seconds += r.Seconds()
		}
	}
	c.Span = join(c.Span, r.Span)
	c.Usage += r.Usage
	c.User += r.User
	c.System += r.System
	c.Periods += r.Periods
	c.Throttled += r.Throttled
	c.ThrottledFor += r.ThrottledFor
	c.PidsDenied += r.PidsDenied
	e, o := &c.Events, r.Events
	*e = collectors.CgroupEvents{Low: e.Low + o.Low, High: e.High + o.High, Max: e.Max + o.Max, OOM: e.OOM + o.OOM, OOMKill: e.OOMKill + o.OOMKill}
	if r.PSI != nil {
		if c.PSI == nil {
			c.PSI = &collectors.CgroupPSI{}
		}
		c.PSI.CPU, c.PSI.Memory, c.PSI.IO = addStall(c.PSI.CPU, r.PSI.CPU), addStall(c.PSI.Memory, r.PSI.Memory), addStall(c.PSI.IO, r.PSI.IO)
	}
	if r.IO != nil {
		if c.IO == nil {
			c.IO = &collectors.CgroupIO{}
		}
		c.IO.RBytes += r.IO.RBytes
		c.IO.WBytes += r.IO.WBytes
		c.IO.RIOs += r.IO.RIOs
		c.IO.WIOs += r.IO.WIOs
	}
	if r.Detail != nil && c.Detail != nil {
		c.Detail.Refaults += r.Detail.Refaults
		c.Detail.MajorFaults += r.Detail.MajorFaults
	}
	c.Has |= r.Has &^ c.gauges(r)
	c.fill(r)
}

// gauges are the parts of r that c has not, and that say how things stood, not what happened.
func (c *cgroupSum) gauges(r *collectors.CgroupRow) collectors.CgroupHas {
	const all = collectors.HasMemory | collectors.HasSwap | collectors.HasPids | collectors.HasDetail
	return r.Has & all &^ c.Has
}

// fill takes gauges that the newer row lacks from an older one: nobody looks at a cgroup at rest
// as closely as at a busy one.
func (c *cgroupSum) fill(r *collectors.CgroupRow) {
	missing := c.gauges(r)
	if missing&collectors.HasMemory != 0 {
		c.Memory = r.Memory
	}
	if missing&collectors.HasSwap != 0 {
		c.Swap = r.Swap
	}
	if missing&collectors.HasPids != 0 {
		c.Pids = r.Pids
	}
	if (missing&collectors.HasDetail != 0 || c.Detail == nil) && r.Detail != nil {
		d := *r.Detail
		c.Detail = &d
	}
	c.Has |= missing
}

func addStall(a, b collectors.CgroupStall) collectors.CgroupStall {
	return collectors.CgroupStall{Some: a.Some + b.Some, Full: a.Full + b.Full}
}

// cpus is how many CPUs it used on average, not a number when that is not known.
func (c *cgroupSum) cpus() float64 { return over(c.Usage.Seconds(), c.usage) }

// ofQuota is the used share of the quota that holds for it.
func (c *cgroupSum) ofQuota() float64 { return over(c.cpus(), c.Tight.CPUs) }

// stopped is the share of the quota's periods in which it was used up; 0 without a period.
func (c *cgroupSum) stopped() float64 {
	switch {
	case c.throttle == 0 || c.Own.CPUs == 0 && c.Periods == 0:
		return math.NaN()
	case c.Periods == 0:
		return 0
	}
	return float64(c.Throttled) / float64(c.Periods)
}

// memoryLimit is what its memory is held against: the lower of high and max, and which of them.
func memoryLimit(l collectors.CgroupLimits) (limit uint64, name string) {
	if l.High <= l.Max {
		return l.High, "high"
	}
	return l.Max, "max"
}

// ofMemory is the used share of the memory that it may have.
func (c *cgroupSum) ofMemory(l collectors.CgroupLimits) float64 {
	limit, _ := memoryLimit(l)
	if limit == collectors.NoLimit || c.Has&collectors.HasMemory == 0 {
		return math.NaN()
	}
	return over(float64(c.Memory), float64(limit))
}

// stalled is the share of time that a stall took.
func (c *cgroupSum) stalled(get func(*collectors.CgroupPSI) time.Duration) float64 {
	if c.PSI == nil {
		return math.NaN()
	}
	return min(over(get(c.PSI).Seconds(), c.psi), 1)
}

func someCPU(p *collectors.CgroupPSI) time.Duration    { return p.CPU.Some }
func someMemory(p *collectors.CgroupPSI) time.Duration { return p.Memory.Some }
func someIO(p *collectors.CgroupPSI) time.Duration     { return p.IO.Some }
func fullCPU(p *collectors.CgroupPSI) time.Duration    { return p.CPU.Full }
func fullMemory(p *collectors.CgroupPSI) time.Duration { return p.Memory.Full }
func fullIO(p *collectors.CgroupPSI) time.Duration     { return p.IO.Full }

// over divides, and gives no number where there is nothing to divide by.
func over(part, whole float64) float64 {
	if whole <= 0 {
		return math.NaN()
	}
	return part / whole
}

// pain says how much a limit of its own hurts a cgroup, 0 to 1 and more: throttled periods, stalls
// for memory, kills. near is how close to such a limit it is.
func (c *cgroupSum) pain() (pain, near float64) {
	most := func(values ...float64) float64 {
		m := 0.0
		for _, v := range values {
			if !math.IsNaN(v) {
				m = max(m, v)
			}
		}
		return m
	}
	near = most(c.ofMemory(c.Own), over(c.cpus(), c.Own.CPUs))
	if c.Own.Pids != collectors.NoLimit && c.Has&collectors.HasPids != 0 {
		near = most(near, over(float64(c.Pids), float64(c.Own.Pids)))
	}
	if c.Own.CPUs > 0 {
		pain = most(c.stopped())
	}
	if limit, _ := memoryLimit(c.Own); limit != collectors.NoLimit {
		pain = most(pain, c.stalled(someMemory))
		if c.Events.High+c.Events.Max+c.Events.OOM > 0 {
			pain = most(pain, 0.01)
		}
	}
	if c.Events.OOMKill > 0 {
		pain++
	}
	if c.PidsDenied > 0 {
		pain = most(pain, 0.5)
	}
	return pain, near
}

// nearest returns the cgroup that its own limits trouble most, or that is nearest to one; nil if
// none has a limit. How many are at one: troubled, or within a hundredth.
func nearestCgroup(rows []cgroupSum) (worst *cgroupSum, hit int) {
	var pain, near float64
	for i := range rows {
		c := &rows[i]
		p, n := c.pain()
		if p >= 0.01 || n >= 0.99 {
			hit++
		}
		if p == 0 && n == 0 {
			continue
		}
		if d := cmp.Or(cmp.Compare(p, pain), cmp.Compare(n, near)); worst == nil || d > 0 {
			worst, pain, near = c, p, n
		}
	}
	return worst, hit
}
