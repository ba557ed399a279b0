// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const neighHeads = "entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast periodic_gc_runs forced_gc_runs unresolved_discards table_fulls\n"

// neighLines are what two CPUs counted.
func neighLines(entries, forced, full int) string {
	line := func(forced, full int) string {
		return fmt.Sprintf("%08x  %08x %08x %08x %08x %08x %08x %08x %08x %08x %08x %08x %08x\n", entries, 1, 2, 3, 4, 5, 6, 7, 8, 9, forced, 10, full)
	}
	return neighHeads + line(forced, 0) + line(1, full)
}

func TestNeighbours(t *testing.T) {
	_, tree := cpuTree(t)
	r := newNeighReader(NewFS(tree.root + "/proc"))
	places := func() []*NetPlace {
		return []*NetPlace{{Own: true}, {Name: RawString("docker:web"), PID: 77}, {PID: 78}}
	}
	collect := func(at time.Duration) []NeighTable { return r.collect(context.Background(), at, places) }
	if got := collect(0); got != nil {
		t.Errorf("without files = %+v, want none", got)
	}
	const heads = "IP address       HW type     Flags       HW address            Mask     Device\n"
	entry := func(dev string) string {
		return "10.0.0.1         0x1         0x2         02:fc:00:00:00:05     *        " + dev + "\n"
	}
	tree.write("proc/net/arp", heads+entry("eth0")+entry("br0")+entry("eth0"))
	tree.write("proc/77/net/arp", heads+strings.Repeat(entry("eth0"), 3))
	tree.write("proc/net/stat/arp_cache", neighLines(300, 5, 7))
	tree.write("proc/net/stat/ndisc_cache", neighLines(2, 0, 0))
	tree.write("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n")
	want := []NeighTable{{Name: "arp", Entries: 300, Max: 1024}, {Name: "ndisc", Entries: 2}}
	same := cmp.AllowUnexported(Raw{})
	if d := cmp.Diff(want, collect(5*time.Second), same); d != "" {
		t.Errorf("the first reading (-want +got):\n%s", d)
	}
	if got := collect(9 * time.Second); got != nil {
		t.Errorf("before its turn = %+v", got)
	}
	tree.write("proc/net/stat/arp_cache", neighLines(1024, 9, 10))
	want = []NeighTable{
		{Name: "arp", Entries: 1024, Max: 1024, Full: 3, Forced: 4, Holders: []NeighHolder{
			{Space: RawString("docker:web"), Interface: RawString("eth0"), Entries: 3}, {Interface: RawString("eth0"), Entries: 2}, {Interface: RawString("br0"), Entries: 1},
		}},
		{Name: "ndisc", Entries: 2},
	}
	if d := cmp.Diff(want, collect(10*time.Second), same); d != "" {
		t.Errorf("a full table (-want +got):\n%s", d)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// The kernel's own files are what is parsed.
func TestNeighboursHere(t *testing.T) {
	b, err := os.ReadFile("/proc/net/stat/arp_cache")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs the network namespace that the kernel booted with: it has /proc/net/stat/arp_cache")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseNeighStat(b); err != nil {
		t.Errorf("parseNeighStat(%q) = %v", b, err)
	}
}

func FuzzNeighStat(f *testing.F) {
	for _, s := range []string{"", neighHeads, neighLines(1, 2, 3), "entries table_fulls\n-1\n", "x\n1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseNeighStat(b)
		if err != nil {
			return
		}
		text := fmt.Appendf(nil, "entries forced_gc_runs table_fulls\n%x %x %x\n", x.Entries, x.Forced, x.Full)
		if again, err := parseNeighStat(text); err != nil || !cmp.Equal(again, x, cmp.AllowUnexported(Raw{})) {
			t.Errorf("parseNeighStat(%q) = %v, printed and parsed again: %v, %v", b, x, again, err)
		}
		countARP(b)
	})
}
