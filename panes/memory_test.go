// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/exp/golden"
	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
	"bpf60/triage"
)

// TestMemoryPressure keeps the screens of a host that runs out of memory.
func TestMemoryPressure(t *testing.T) {
	f := pressureStory().frame()
	for state, keys := range map[string][]string{
		"overview": {"1", "row free"}, "slab": {"4"}, "where": {"4", "V", "V"}, "limits": {"4", "V"}, "cache": {"4", "row dentry", "enter"},
		"waits": {"4", "v"}, "waits_by_cgroup": {"4", "v", "i", "d"}, "single_waits": {"4", "v", "i", "i", "d", "d"}, "kills": {"4", "v", "v"},
		"page_cache": {"4", "v", "v", "v"},
	} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dx%d", state, size[0], size[1]), func(t *testing.T) {
				r := resize(root(f), size[0], size[1])
				press(r, keys...)
				fits(t, r.View(), size[0], size[1])
				golden.RequireEqual(t, r.View())
			})
		}
	}
}

// TestMemoryPartsAddUp holds that the parts are the whole: nothing counts twice, nothing is lost.
func TestMemoryPartsAddUp(t *testing.T) {
	for name, f := range frames() {
		m := memoryOver(f)
		if m == nil {
			continue
		}
		var sum uint64
		for _, p := range memoryParts() {
			n, _ := p.of(m)
			sum += n
		}
		if total := m.Info.N[collectors.MemTotal]; sum != total {
			t.Errorf("%s: the parts add up to %d of %d", name, sum, total)
		}
	}
}

func TestMemoryPartsOverlap(t *testing.T) {
	m := &collectors.Memory{}
	for f, n := range map[collectors.MemField]uint64{
		collectors.MemTotal: 1000, collectors.MemCached: 100, collectors.MemShmem: 30, collectors.MemBuffers: 5,
		collectors.MemVmallocUsed: 20, collectors.MemKernelStack: 8, collectors.MemHugePagesTotal: 3, collectors.MemHugepagesize: 10,
	} {
		m.Info.Set(f, n)
	}
	m.Compressed = 7
	want := map[string]uint64{"shmem": 30, "filecache": 75, "vmalloc": 12, "stacks": 8, "hugetlb": 30, "compressed": 7, "unaccounted": 1000 - 30 - 75 - 12 - 8 - 30 - 7}
	for _, p := range memoryParts() {
		if n, _ := p.of(m); n != want[p.id] {
			t.Errorf("%s = %d, want %d", p.id, n, want[p.id])
		}
	}
	m.Info.Set(collectors.MemHugetlb, 50) // of all sizes
	m.Info.Set(collectors.MemZswap, 9)    // part of what zsmalloc holds, or in another pool
	m.Info.Set(collectors.MemKernelStack, 25)
	for _, x := range []struct {
		name string
		of   func(*collectors.Memory) (uint64, bool)
		want uint64
	}{{"hugetlb", hugetlb, 50}, {"compressed", compressed, 9}, {"vmalloc without stacks in it", vmalloc, 0}} {
		if n, ok := x.of(m); n != x.want || !ok {
			t.Errorf("%s = %d, %v, want %d", x.name, n, ok, x.want)
		}
	}
}

func TestBarCells(t *testing.T) {
	tests := map[string]struct {
		parts []uint64
		all   uint64
		width int
		want  []int
	}{
		"halves":         {[]uint64{50, 50}, 100, 10, []int{5, 5}},
		"a trace shows":  {[]uint64{1, 9999}, 10_000, 10, []int{1, 9}},
		"nothing":        {[]uint64{0, 100}, 100, 4, []int{0, 4}},
		"no whole":       {[]uint64{0, 0}, 0, 4, []int{0, 0}},
		"no room":        {[]uint64{1, 1}, 2, 0, []int{0, 0}},
		"more than room": {[]uint64{1, 1, 1}, 3, 2, []int{1, 1, 0}},
	}
	for name, tt := range tests {
		if got := barCells(tt.parts, tt.all, tt.width); !slices.Equal(got, tt.want) {
			t.Errorf("%s: barCells(%v, %d, %d) = %v, want %v", name, tt.parts, tt.all, tt.width, got, tt.want)
		}
	}
}

// slabFrame is a moment a second; caches maps seconds to what the cache x grew by, in KiB, since
// the reading before.
func slabFrame(seconds int, caches map[int]int64) Frame {
	var f Frame
	last := 0
	for i := range seconds + 1 {
		s := &collectors.Snapshot{At: time.Duration(i) * time.Second}
		if grown, ok := caches[i]; ok {
			s.Slab = &collectors.Slab{
				Span:   collectors.Span{From: time.Duration(last) * time.Second, To: s.At},
				Caches: []collectors.SlabCache{{Name: collectors.RawString("x"), Bytes: uint64(i), Grown: grown << 10}},
				Total:  collectors.SlabTotal{Grown: grown << 10},
			}
			last = i
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[len(f.Past)-1]
	return f
}

func TestSlabOver(t *testing.T) {
	tests := map[string]struct {
		seconds int
		caches  map[int]int64
		span    time.Duration
		want    float64 // KiB a second; not a number: no row
	}{
		"newest alone":         {6, map[int]int64{3: 30, 6: 9}, 0, 3},
		"between two readings": {8, map[int]int64{3: 30, 6: 9}, 0, 3},
		"summed over the run":  {9, map[int]int64{0: 0, 3: 30, 6: 9, 9: 6}, 9 * time.Second, 5},
		"summed over a part":   {9, map[int]int64{0: 0, 3: 30, 6: 9, 9: 6}, 6 * time.Second, 2.5},
		"a dear one":           {10, map[int]int64{0: 0, 1: 5}, 0, 5},
		"nobody looked":        {40, map[int]int64{3: 30, 6: 9}, 0, math.NaN()},
		"never":                {5, nil, 0, math.NaN()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := slabFrame(tt.seconds, tt.caches)
			f.Span = tt.span
			table := slabTable(f)
			if len(table.Rows) == 0 {
				if !math.IsNaN(tt.want) {
					t.Fatalf("no row, want growth of %v; notes %v", tt.want, table.Notes)
				}
				if len(table.Notes) == 0 {
					t.Error("no row and no note that says why")
				}
				return
			}
			if got, ok := table.Rows[0].Cells[7].Num(); got != tt.want || !ok {
				t.Errorf("growth = %v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

// TestMemoryOverSpan sums what happened and takes gauges of the newest.
func TestMemoryOverSpan(t *testing.T) {
	var f Frame
	for i := range 4 {
		m := &collectors.Memory{PageSize: 4096}
		m.Info.Set(collectors.MemTotal, uint64(100+i))
		m.VM.Set(collectors.VMSwapIn, uint64(10*i))
		if i > 0 {
			m.Span = collectors.Span{From: time.Duration(i-1) * time.Second, To: time.Duration(i) * time.Second}
			m.VM.Set(collectors.VMOOMKill, 1)
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: time.Duration(i) * time.Second, Memory: m}})
	}
	f.Now = f.Past[3]
	f.Span = 3 * time.Second
	m := memoryOver(f)
	if n, ok := m.VM.Get(collectors.VMSwapIn); n != 60 || !ok {
		t.Errorf("swapped in %d, %v, want 60", n, ok)
	}
	if n, ok := m.VM.Get(collectors.VMOOMKill); n != 3 || !ok {
		t.Errorf("OOM kills %d, %v, want 3: the first sample, which lacks them, spans nothing", n, ok)
	}
	if got, _ := pagesRate(m, collectors.VMSwapIn).Num(); got != 80 || m.Info.N[collectors.MemTotal] != 103 {
		t.Errorf("si = %v KiB/s of %d, want 80 and the newest total", got, m.Info.N[collectors.MemTotal])
	}
}

// TestMemoryRows goes where a finding or a line of the Overview may lead.
func TestMemoryRows(t *testing.T) {
	f := pressureStory().frame()
	for row, want := range map[string]string{
		"kmalloc-512": "kmalloc-512", "part unaccounted": "no counter", "limit files": "file-nr of",
		"wait 812 812000000000": "java", "waitcg 5210": "#5210", "kill 7739 77000000000": "worker", "pages 641 641000000000": "sshd",
	} {
		r := resize(root(f), 80, 24)
		run(r, send(GoMsg{MemoryPane, row}))
		if i := slices.IndexFunc(look(r), func(l string) bool { return strings.HasPrefix(l, ">") && strings.Contains(l, want) }); i < 0 {
			t.Errorf("row %q: no line begins with > and has %q:\n%s", row, want, r.View())
		}
	}
}

func TestFreeLine(t *testing.T) {
	text := func(f Frame) string { return freeLine(f).summary(80) }
	if got, want := text(idleStory().frame()), "available 13.0G of 31.0G  swap 0  psi m0"; got != want {
		t.Errorf("idle: %q, want %q", got, want)
	}
	const want = "available 895M of 31.0G  swap 3.0G  si 4464 so 13.4k  1 OOM kill: worker[7779]"
	if got := text(pressureStory().frame()); got != want {
		t.Errorf("pressure: %q, want %q", got, want)
	}
	if got, want := freeLine(pressureStory().frame()).summary(51), "available 895M of 31.0G  si 4464 so 13.4k"; !strings.HasPrefix(got, want) {
		t.Errorf("pressure, narrow: %q, want %q first", got, want)
	}
	wide := text(pressureStory().frame())
	if got := freeLine(pressureStory().frame()).summary(120); !strings.HasPrefix(got, wide[:50]) || !strings.HasSuffix(got, "1 OOM kill: worker[7779]  reclaim 167/s java[812]") {
		t.Errorf("pressure, wide: %q, want who was killed and who waits", got)
	}
	if l := freeLine(Frame{}); l.why == "" || !math.IsNaN(l.value) {
		t.Errorf("before the first sample: %+v, want a reason", l)
	}
	if l := freeLine(lossyFrame()); !strings.Contains(l.why, "PSI is off") {
		t.Errorf("without PSI: why = %q", l.why)
	}
}

// The line of a run names what happened in all of it.
func TestFreeLineOfRun(t *testing.T) {
	var f Frame
	var kills *collectors.OOMKills
	for i := range 10 {
		at := time.Duration(i+1) * time.Second
		span := collectors.Span{From: at - time.Second, To: at}
		r := &collectors.Reclaim{Span: span, Reclaims: true, OOM: true}
		switch i {
		case 2:
			r.Now = &collectors.ReclaimCounts{Direct: spread(map[int]uint64{9: 50})}
			r.Rows = []collectors.MemoryWaiter{{Process: collectors.Process{TGID: 7, Start: 1}, Comm: collectors.RawString("java"), Count: [collectors.StallKinds]uint64{50}}}
		case 4:
			kills = &collectors.OOMKills{List: []collectors.OOMKill{{At: at, Victim: collectors.Process{TGID: 9}, Comm: collectors.RawString("worker")}}}
			r.Fresh = 1
		}
		r.Kills = kills
		f.Past = append(f.Past, triage.Moment{Snapshot: &collectors.Snapshot{At: at, Reclaim: r, Memory: &collectors.Memory{Span: span}}})
	}
	f.Now = f.Past[9]
	for span, want := range map[time.Duration][]part{
		0:                nil,
		3 * time.Second:  nil,
		10 * time.Second: {{"1 OOM kill: worker[9]", 0}, {"reclaim 5.0/s java[7]", 1}},
	} {
		f.Span = span
		if diff := cmp.Diff(want, waitParts(f, memoryOver(f)), cmp.AllowUnexported(part{})); diff != "" {
			t.Errorf("over %v (-want +got):\n%s", span, diff)
		}
	}
}

// TestMemoryWants holds that what costs is asked for only by the view that shows it.
func TestMemoryWants(t *testing.T) {
	p := NewMemory()
	want := map[memoryView][]collectors.ID{
		showSlab: {collectors.SlabID, collectors.KmemID}, showPages: {collectors.SlabID, collectors.CachestatID},
	}
	for v := range memoryViews {
		var got []collectors.ID
		for _, w := range p.Wants(Scope{}) {
			got = append(got, w.ID)
		}
		ids := want[v]
		if ids == nil {
			ids = []collectors.ID{collectors.SlabID}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%v wants %v, want %v", v, got, ids)
		}
		p.Update(Press{ID: keyMemoryView})
	}
	if p.view != showSlab {
		t.Errorf("after all views comes %v, want slab", p.view)
	}
}

// TestWaitsOver sums the last minute on the screen and the span in a report.
func TestWaitsOver(t *testing.T) {
	var f Frame
	var total collectors.ReclaimCounts
	p := collectors.Process{TGID: 7, Start: 1}
	for i := range 101 {
		s := &collectors.Snapshot{At: time.Duration(i) * time.Second}
		r := &collectors.Reclaim{Span: collectors.Span{From: s.At - time.Second, To: s.At}, Reclaims: true, Compacts: true, OOM: true}
		if i%10 == 0 && i > 0 {
			now := collectors.ReclaimCounts{Direct: spread(map[int]uint64{9: 2}), Memcg: spread(map[int]uint64{3: 1})}
			total.Plus(&now)
			r.Now = &now
			r.Rows = []collectors.MemoryWaiter{{Process: p, Count: [collectors.StallKinds]uint64{2, 1, 0}, For: [collectors.StallKinds]time.Duration{2e6, 1e4, 0}}}
			r.Others.Count[collectors.CompactStall] = 1
			r.Unlisted = 3
		}
		sum := total
		r.Total = &sum
		s.Reclaim = r
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now = f.Past[100]
	for name, tt := range map[string]struct {
		span time.Duration
		want uint64
	}{"the screen": {0, 6}, "a report": {100 * time.Second, 10}, "half a minute": {30 * time.Second, 3}} {
		f.Span = tt.span
		w := waitsOver(f)
		if w.now.Direct.Count() != 2*tt.want || w.now.Memcg.Count() != tt.want || len(w.rows) != 1 || w.rows[0].Stalls() != 3*tt.want ||
			w.others.Count[collectors.CompactStall] != tt.want || w.unlisted != 3*tt.want || w.total.Direct.Count() != 20 {
			t.Errorf("%s: %d waits, rows %+v, %d unlisted, want %d times 3", name, w.now.Stalls(), w.rows, w.unlisted, tt.want)
		}
	}
	f.Span = 0
	if h := waitsHistograms(f, waitsOver(f))[0]; h.Now.Count() != 18 || h.Start.Count() != 30 {
		t.Errorf("the histogram has %d now and %d since start, want 18 and 30", h.Now.Count(), h.Start.Count())
	}
	f.Mark = &f.Past[50]
	if h := waitsHistograms(f, waitsOver(f))[0]; h.Start.Count() != 15 {
		t.Errorf("since the mark %d, want 15", h.Start.Count())
	}
}

// TestKmemOver sums caches, processes and stacks over a report, and writes to no sample.
func TestKmemOver(t *testing.T) {
	stack := &collectors.AllocStack{Frames: []string{"__d_alloc"}}
	sample := func(i int) *collectors.Kmem {
		return &collectors.Kmem{
			Span: collectors.Span{From: time.Duration(i-1) * time.Second, To: time.Duration(i) * time.Second}, Allocs: 10, KnowsFrees: true,
			Caches: []collectors.KmemCache{{
				Name: collectors.RawString("dentry"), Size: 192, Allocs: 10, Frees: 4, Others: 1, Samples: 2,
				Who:  []collectors.KmemOwner{{Process: collectors.Process{TGID: int32(i % 2)}, Allocs: 9}},
				From: []collectors.KmemSite{{AllocStack: stack, Samples: 2}},
			}},
		}
	}
	var f Frame
	for i := range 6 {
		s := &collectors.Snapshot{At: time.Duration(i) * time.Second}
		if i > 0 {
			s.Kmem = sample(i)
		}
		f.Past = append(f.Past, triage.Moment{Snapshot: s})
	}
	f.Now, f.Span = f.Past[5], 5*time.Second
	k := kmemOver(f)
	c := k.Caches[0]
	if k.Allocs != 50 || k.Seconds() != 5 || len(k.Caches) != 1 || c.Allocs != 50 || c.Frees != 20 || c.Others != 5 || c.Samples != 10 ||
		len(c.Who) != 2 || c.Who[0].Allocs != 27 || len(c.From) != 1 || c.From[0].Samples != 10 {
		t.Errorf("the sum is %+v", k)
	}
	if got := f.Past[1].Kmem.Caches[0]; got.Allocs != 10 || got.Who[0].Allocs != 9 || got.From[0].Samples != 2 {
		t.Errorf("summing wrote to a sample: %+v", got)
	}
	allocs, frees, bytes, who := slabRates(f, k, collectors.RawString("dentry"))
	if a, _ := allocs.Num(); a != 10 {
		t.Errorf("%v allocations a second, want 10", a)
	}
	if n, _ := frees.Num(); n != 4 || who.text.String() != "?[1] 54%" {
		t.Errorf("%v frees a second, most by %q, want 4 and ?[1] 54%%", n, who.text.String())
	}
	if n, _ := bytes.Num(); n != 10*192/1024. {
		t.Errorf("%v KiB a second, want 10 objects of 192 bytes", n)
	}
	for name, why := range map[string]string{"kmalloc-64": "kmalloc", "other": ""} {
		allocs, _, bytes, who := slabRates(f, k, collectors.RawString(name))
		if bytes.Known() != allocs.Known() {
			t.Errorf("%s: bytes %+v, allocations %+v", name, bytes, allocs)
		}
		if allocs.Known() != (why == "") || !strings.Contains(allocs.Why, why) || who.Known() {
			t.Errorf("%s: %+v by %+v", name, allocs, who)
		}
	}
}
