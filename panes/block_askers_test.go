// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// askersFrame is ten seconds of requests of five cgroups, of which the kernel counts those apart that are
// given.
func askersFrame(apart ...uint64) Frame {
	raw := collectors.RawString
	var f Frame
	for i := 1; i <= 10; i++ {
		at := time.Duration(i) * time.Second
		b := &collectors.Block{Span: collectors.Span{From: at - time.Second, To: at}}
		g := &collectors.Cgroups{Span: b.Span}
		for k, name := range []string{"/db", "/web", "/batch", "/mail", "/idle"} {
			id := uint64(10 + k)
			b.Owners = append(b.Owners, collectors.BlockOwner{
				Process: collectors.Process{TGID: int32(id), Start: 1}, Comm: raw("x"), Cgroup: id, Dev: collectors.MakeDev(8, 0),
				Reads: 1, IOTime: time.Duration(5-k) * time.Millisecond,
			})
			g.Rows = append(g.Rows, collectors.CgroupRow{CgroupInfo: cgroupInfo(id, name, collectors.CgroupLimits{}), Span: b.Span})
		}
		for _, id := range apart {
			x := collectors.BlockTarget{}
			x.Device[0] = hist32(map[int]uint64{int(id): 7})
			x.Device[2] = hist32(map[int]uint64{20: 99}) // flushes: whole waits
			b.Narrowed = append(b.Narrowed, collectors.Targeted[collectors.BlockTarget]{
				Target: collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id}, Sample: x,
			})
		}
		snap := &collectors.Snapshot{At: at, Block: b, Cgroups: g, Probes: map[collectors.ID][]collectors.Probe{
			collectors.BlockID: {{Name: "biolatency", State: collectors.On}},
		}}
		f.Past = append(f.Past, triage.Moment{Snapshot: snap})
	}
	f.Now = f.Past[len(f.Past)-1]
	f.Live = f.Past
	return f
}

// The latency of requests is split by cgroup: those that ask most are counted apart by the kernel.
func TestBlockByCgroup(t *testing.T) {
	byCgroup := func(f Frame) *Disk {
		p := NewDisk()
		p.Update(Press{ID: keyDiskView, Frame: f})
		for p.split != byAsker {
			if p.Update(Press{ID: keyDiskSplit, Frame: f}) == nil {
				t.Fatal("the split does not say that it wants something else")
			}
		}
		return p
	}
	var wanted []uint64
	p := byCgroup(askersFrame())
	for _, w := range p.Wants(Scope{}) {
		if w.ID != collectors.BlockID || w.Target.Kind != collectors.CgroupTarget {
			t.Errorf("%+v is wanted", w)
		}
		wanted = append(wanted, w.Target.Cgroup)
	}
	if want := []uint64{10, 11, 12, 13}; !slices.Equal(wanted, want) {
		t.Fatalf("the cgroups %d are counted apart, want those that ask most: %d", wanted, want)
	}
	with := NewScope(collectors.Target{Kind: collectors.DiskTarget, Dev: 1})
	if n := len(p.Wants(with)); n != 5 {
		t.Errorf("with a disk in scope %d things are wanted, want 5", n)
	}
	p.Update(Press{ID: keyDiskView, Frame: askersFrame()})
	if n := len(p.Wants(Scope{})); n != 0 {
		t.Errorf("another view wants %d things", n)
	}

	nobody := askersFrame()
	for _, m := range nobody.Past {
		m.Block.Owners = nil
	}
	still := askersFrame()
	still.Still = true
	for name, tt := range map[string]struct {
		f     Frame
		draw  drawing
		shows []string
	}{
		"histograms":  {askersFrame(10, 11, 12, 13), asHistogram, []string{"by cgroup", "every disk, no flushes", "db", "web"}},
		"percentiles": {askersFrame(10, 11, 12, 13), asPercentiles, []string{"by cgroup", "db", "web"}},
		"heat map":    {askersFrame(10, 11, 12, 13), asHeatMap, []string{"by cgroup", "db"}},
		"not yet":     {askersFrame(), asHistogram, []string{"- waiting for"}},
		"not then":    {still, asHistogram, []string{"- "}},
		"nobody":      {nobody, asHistogram, []string{"- no process in a cgroup asked for block I/O"}},
	} {
		p := byCgroup(tt.f)
		p.draw = tt.draw
		for _, size := range [][2]int{{80, 20}, {200, 60}, {40, 8}} {
			out := p.View(tt.f, Canvas{Width: size[0], Height: size[1], Theme: plain()})
			fits(t, out, size[0], size[1])
			for _, s := range tt.shows {
				if size[0] >= 80 && !strings.Contains(out, s) {
					t.Errorf("%s at %d×%d lacks %q:\n%s", name, size[0], size[1], s, out)
				}
			}
		}
	}
	if h := p.askerParts(askersFrame(10, 11, 12, 13))[0].Now; h.Count() != 7 {
		t.Errorf("%d requests are in the first distribution, want 7: flushes are not among them", h.Count())
	}
}
