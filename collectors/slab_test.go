// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const slabHead = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize>\n"

// slabText is one line of /proc/slabinfo: of a cache whose slabs are two pages of ten objects.
func slabText(name string, active, slabs uint64) string {
	return fmt.Sprintf("%-17s %6d %6d    192   10    2 : tunables    0    0    0 : slabdata %6d %6d      0\n", name, active, 10*slabs, slabs, slabs)
}

func slabCollectorOf(tree procTree) *slabCollector {
	c := NewSlab(NewFS(tree.root)).(*slabCollector)
	c.pageSize = 4096
	return c
}

func TestSlabCollector(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.write("slabinfo", slabHead+slabText("dentry", 35, 4)+slabText("empty", 0, 0)+slabText("going", 5, 1))
	c := slabCollectorOf(tree)
	if p := c.Probes(); p[0].State != Idle || p[0].Reason == "" {
		t.Errorf("Probes before the start = %+v, want idle", p)
	}
	start(t, c)
	row := func(name string, active, slabs uint64, grown, grownActive int64) SlabCache {
		return SlabCache{
			Name: RawString(name), ObjSize: 192, PerSlab: 10, Pages: 2, Objects: 10 * slabs, Active: active, Slabs: slabs, Bytes: slabs * 8192,
			Grown: grown * 8192, GrownActive: grownActive,
		}
	}
	check := func(at time.Duration, want *Slab) {
		t.Helper()
		if diff := cmp.Diff(want, collectAs[*Slab](t, c, at), cmp.AllowUnexported(Raw{})); diff != "" {
			t.Errorf("at %v (-want +got):\n%s", at, diff)
		}
	}
	check(time.Second, &Slab{
		Span:   Span{time.Second, time.Second},
		Caches: []SlabCache{row("dentry", 35, 4, 0, 0), row("going", 5, 1, 0, 0)},
		Total:  SlabTotal{Caches: 3, ActiveCaches: 2, Objects: 50, Active: 40, Slabs: 5, ActiveSlabs: 5, Bytes: 5 * 8192, ActiveBytes: 40 * 192},
	})

	// One grows, one fills for the first time, one is made, one is destroyed.
	tree.write("slabinfo", slabHead+slabText("dentry", 70, 8)+slabText("empty", 3, 1)+slabText("new", 20, 2))
	check(11*time.Second, &Slab{
		Span:   Span{time.Second, 11 * time.Second},
		Caches: []SlabCache{row("dentry", 70, 8, 4, 35), row("empty", 3, 1, 1, 3), row("new", 20, 2, 2, 20)},
		Total: SlabTotal{
			Caches: 3, ActiveCaches: 3, Objects: 110, Active: 93, Slabs: 11, ActiveSlabs: 11, Bytes: 11 * 8192, ActiveBytes: 93 * 192,
			Grown: 6 * 8192,
		},
	})

	// One shrinks to nothing: it has a row while that is news.
	tree.write("slabinfo", slabHead+slabText("dentry", 60, 6)+slabText("empty", 0, 0)+slabText("new", 20, 2))
	check(21*time.Second, &Slab{
		Span:   Span{11 * time.Second, 21 * time.Second},
		Caches: []SlabCache{row("dentry", 60, 6, -2, -10), row("empty", 0, 0, -1, -3), row("new", 20, 2, 0, 0)},
		Total: SlabTotal{
			Caches: 3, ActiveCaches: 2, Objects: 80, Active: 80, Slabs: 8, ActiveSlabs: 8, Bytes: 8 * 8192, ActiveBytes: 80 * 192, Grown: -3 * 8192,
		},
	})
	if len(c.prev) != 3 {
		t.Errorf("%d caches are remembered, want 3", len(c.prev))
	}

	// A reading that fails is an error; the next one spans the gap.
	tree.write("slabinfo", "")
	if _, err := c.Collect(context.Background(), 31*time.Second); err == nil {
		t.Error("Collect of an empty file succeeds")
	}
	if p := c.Probes(); p[0].State != Failed {
		t.Errorf("Probes after an error = %+v, want failed", p)
	}
	tree.write("slabinfo", slabHead+slabText("dentry", 61, 7))
	s := collectAs[*Slab](t, c, 41*time.Second)
	if s.From != 21*time.Second || s.Caches[0].Grown != 8192 {
		t.Errorf("after an error = %+v", s)
	}

	// Opened again it begins anew.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := collectAs[*Slab](t, c, 60*time.Second); s.From != s.To || s.Caches[0].Grown != 0 || s.Total.Grown != 0 {
		t.Errorf("after a new start = %+v, want a baseline", s)
	}
}

// TestSlabCost is about the lists that the kernel walks under locks: it is read each 10 s at most, and no more
// once that was dear, whoever comes to look again.
func TestSlabCost(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	tree.write("slabinfo", slabHead+slabText("dentry", 35, 4))
	tests := map[string]struct {
		cost  time.Duration
		state State
		reads int // in a minute
	}{
		"cheap":    {5 * time.Millisecond, On, 6},
		"too dear": {5*time.Millisecond + 1, Off, 1},
	}
	for name, tt := range tests {
		for _, looks := range []struct {
			name string
			away int // seconds after which somebody leaves and comes again; 0: never
		}{{"stays", 0}, {"comes and goes", 4}} {
			t.Run(name+", who looks "+looks.name, func(t *testing.T) {
				c, reads := slabCollectorOf(tree), 0
				c.cost = func(read func()) time.Duration {
					read()
					reads++
					return tt.cost
				}
				start(t, c)
				shown := 0
				for at := range 60 {
					if looks.away > 0 && at > 0 && at%looks.away == 0 {
						if err := c.Close(); err != nil {
							t.Fatal(err)
						}
						if p := c.Probes()[0]; tt.state == Off && p.State != Off {
							t.Fatalf("at %d s nobody looks: probe = %+v, want off", at, p)
						}
						if err := c.Start(context.Background()); err != nil {
							t.Fatal(err)
						}
						shown = 0
					}
					s, err := c.Collect(context.Background(), time.Duration(at)*time.Second)
					switch {
					case err == nil:
						if len(s.(*Slab).Caches) != 1 {
							t.Fatalf("at %d s: %+v, want one cache", at, s)
						}
						shown++
					case !errors.Is(err, ErrWarming):
						t.Fatal(err)
					}
					if p := c.Probes()[0]; shown == 0 || p.State != tt.state || (p.Reason == "") != (tt.state == On) {
						t.Fatalf("at %d s %d samples, probe = %+v, want %v", at, shown, p, tt.state)
					}
				}
				if reads != tt.reads {
					t.Errorf("read %d times in a minute, want %d", reads, tt.reads)
				}
			})
		}
	}
}

func TestThreadTime(t *testing.T) {
	if d := threadTime(func() { time.Sleep(20 * time.Millisecond) }); d > 10*time.Millisecond {
		t.Errorf("sleeping cost %v of a CPU", d)
	}
	n := 0
	if d := threadTime(func() {
		for from := time.Now(); time.Since(from) < 20*time.Millisecond; {
			n++
		}
	}); d <= 0 {
		t.Errorf("%d rounds cost %v of a CPU", n, d)
	}
}

func TestSlabDenied(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	var need *NeedError
	if err := slabCollectorOf(tree).Start(context.Background()); !errors.As(err, &need) || need.Remedy == "" {
		t.Errorf("Start without the file = %v, want a NeedError with a remedy", err)
	}
	if os.Geteuid() == 0 {
		return // root may read whatever the mode says
	}
	tree.write("slabinfo", "")
	if err := os.Chmod(filepath.Join(tree.root, "slabinfo"), 0); err != nil {
		t.Fatal(err)
	}
	if err := slabCollectorOf(tree).Start(context.Background()); !errors.As(err, &need) || need.Remedy != "run as root" {
		t.Errorf("Start without the right = %v", err)
	}
}

// TestSlabGrowthOnHost makes files and looks for at least as many more objects in the caches of
// names and inodes.
func TestSlabGrowthOnHost(t *testing.T) {
	c := NewSlab(NewFS("")).(*slabCollector)
	if err := c.Start(context.Background()); err != nil {
		lacking(t, "/proc/slabinfo: %v", err)
	}
	defer c.Close()
	dir, err := os.MkdirTemp("/dev/shm", "bpf60-slab-")
	if err != nil {
		lacking(t, "no tmpfs: %v", err)
	}
	defer os.RemoveAll(dir)
	active := func(s *Slab) (n, grown int64) {
		for _, r := range s.Caches {
			switch r.Name.Bytes() {
			case "dentry", "shmem_inode_cache":
				n += int64(r.Active)
				grown += r.GrownActive
			}
		}
		return n, grown
	}
	before, _ := active(collectAs[*Slab](t, c, 0))
	// Others may free names meanwhile, and full slabs of a CPU count as in use before they are.
	const files, slack = 20_000, 4_000
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := collectAs[*Slab](t, c, 10*time.Second)
	after, grown := active(s)
	t.Logf("%d files: %d objects before, %d after, caches grew by %d KiB", files, before, after, s.Total.Grown>>10)
	if grown != after-before {
		t.Errorf("GrownActive sums to %d, want %d", grown, after-before)
	}
	if grown < 2*files-slack {
		t.Errorf("%d files made %d objects, want at least %d", files, grown, 2*files-slack)
	}
	if s.Total.Grown <= 0 {
		t.Errorf("the caches grew by %d bytes", s.Total.Grown)
	}
}

// TestSlabBesideSlabtop compares with slabtop(1) where it is installed, cache by cache.
func TestSlabBesideSlabtop(t *testing.T) {
	path, err := exec.LookPath("slabtop")
	if err != nil {
		lacking(t, "no slabtop(1) here")
	}
	c := NewSlab(NewFS("")).(*slabCollector)
	if err := c.Start(context.Background()); err != nil {
		lacking(t, "/proc/slabinfo: %v", err)
	}
	defer c.Close()
	before := collectAs[*Slab](t, c, 0)
	out, err := exec.Command(path, "-o", "-s", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	after := collectAs[*Slab](t, c, 10*time.Second)
	find := func(s *Slab, name string) (r SlabCache) {
		for _, c := range s.Caches {
			if c.Name.Bytes() == name {
				return c
			}
		}
		return r
	}
	compared := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line) // OBJS ACTIVE USE OBJ-SIZE SLABS OBJ/SLAB CACHE-SIZE NAME
		if len(f) != 8 || !strings.HasSuffix(f[6], "K") {
			continue
		}
		a, b := find(before, f[7]), find(after, f[7])
		for _, x := range []struct {
			name       string
			text       string
			was, is    uint64
			perhundred uint64 // others allocate between the readings
		}{
			{"OBJS", f[0], a.Objects, b.Objects, 5},
			{"ACTIVE", f[1], a.Active, b.Active, 10},
			{"SLABS", f[4], a.Slabs, b.Slabs, 5},
			{"OBJ/SLAB", f[5], uint64(a.PerSlab), uint64(b.PerSlab), 0},
			{"CACHE SIZE", strings.TrimSuffix(f[6], "K"), a.Bytes >> 10, b.Bytes >> 10, 5},
		} {
			n, err := strconv.ParseUint(x.text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			lo, hi := min(x.was, x.is), max(x.was, x.is)
			if n < lo-lo*x.perhundred/100 || n > hi+hi*x.perhundred/100 {
				t.Errorf("%s of %s: slabtop says %d, we say %d to %d", x.name, f[7], n, lo, hi)
			}
		}
		if compared++; compared == 10 { // the small ones move too much
			break
		}
	}
	if compared < 10 {
		t.Errorf("compared %d caches, want 10; slabtop prints %.200q", compared, out)
	}
}

func TestSlabWithoutRows(t *testing.T) {
	s := &Snapshot{Slab: &Slab{Caches: make([]SlabCache, 3), Total: SlabTotal{Caches: 3}}}
	thin := s.WithoutRows()
	if thin.Slab.Caches != nil || thin.Slab.Total.Caches != 3 || len(s.Slab.Caches) != 3 {
		t.Errorf("WithoutRows() = %+v, from %+v", thin.Slab, s.Slab)
	}
}

func BenchmarkCollectSlab(b *testing.B) { benchmarkCollect(b, NewSlab(NewFS(""))) }
