// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	_ "embed"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:embed include/events.bpf.h
var eventsHeader string

//go:embed include/filter.bpf.h
var filterHeader string

// TestEventKinds holds the Go names against the header's, in their order.
func TestEventKinds(t *testing.T) {
	kinds := map[string]EventKind{
		"EXEC": EventExec, "EXIT": EventExit, "SIGNAL": EventSignal, "BLOCK": EventBlock,
		"RETRANSMIT": EventRetransmit, "CONNECTION": EventConnection, "DNS": EventDNS, "DROP": EventDrop,
		"OPEN": EventOpen, "SLOW_FILE": EventSlowFile, "FILE_LIFE": EventFileLife, "OOM": EventOOM,
		"RECLAIM": EventReclaim, "RESET": EventReset, "EXEC_FAIL": EventExecFail, "LISTEN": EventListen,
		"COMPACT": EventCompact, "OPEN_FAIL": EventOpenFail, "CONNECT_FAIL": EventConnectFail,
		"REAP": EventReap, "BLOCK_STALL": EventBlockStall,
	}
	_, body, _ := strings.Cut(eventsHeader, "enum event_kind {")
	body, _, _ = strings.Cut(body, "};")
	want := map[string]EventKind{}
	for i, m := range regexp.MustCompile(`EVENT_(\w+)`).FindAllStringSubmatch(body, -1) {
		want[m[1]] = EventKind(i + 1)
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds of events (-header +Go):\n%s", diff)
	}
	if len(want) >= EventKinds {
		t.Errorf("%d kinds do not fit the %d rows of the map", len(want), EventKinds)
	}
}

func TestHeaderConstants(t *testing.T) {
	tests := map[string]struct {
		header string
		want   uint64
	}{
		"EVENT_KINDS":  {eventsHeader, EventKinds},
		"FILTER_SLOTS": {filterHeader, FilterSlots},
		"EVENT_RING":   {eventsHeader, eventRing >> 10},
	}
	for name, tt := range tests {
		m := regexp.MustCompile(`#define ` + name + ` \(?(\d+)`).FindStringSubmatch(tt.header)
		if m == nil {
			t.Errorf("no %s in its header", name)
			continue
		}
		if got, _ := strconv.ParseUint(m[1], 10, 64); got != tt.want {
			t.Errorf("%s = %d in C, %d in Go", name, got, tt.want)
		}
	}
}

func TestShare(t *testing.T) {
	for cpus, want := range map[int]uint64{0: 128, 1: 128, 2: 128, 8: 64, 64: 8, 256: 8} {
		if got := share(cpus); got != want {
			t.Errorf("share(%d) = %d, want %d", cpus, got, want)
		}
	}
}

func TestAssign(t *testing.T) {
	p := func(id uint64) Filter { return Filter{ID: id, Kind: FilterProcess} }
	tests := map[string]struct {
		cur  Slots
		want []Filter
		next Slots
	}{
		"none":           {},
		"first":          {want: []Filter{p(5)}, next: Slots{1: p(5)}},
		"stays in place": {cur: Slots{1: p(1), 2: p(2)}, want: []Filter{p(2)}, next: Slots{2: p(2)}},
		"fills the gap":  {cur: Slots{1: p(1), 2: p(2)}, want: []Filter{p(3), p(2)}, next: Slots{1: p(3), 2: p(2)}},
		"twice the same": {want: []Filter{p(5), p(5)}, next: Slots{1: p(5)}},
		"zero is nobody": {want: []Filter{{}}},
		"one ID, two kinds": {
			want: []Filter{p(5), {ID: 5, Kind: FilterCgroup}},
			next: Slots{1: p(5), 2: {ID: 5, Kind: FilterCgroup}},
		},
		"too many": {
			want: []Filter{p(1), p(2), p(3), p(4), p(5), p(6), p(7), p(8)},
			next: Slots{1: p(1), 2: p(2), 3: p(3), 4: p(4), 5: p(5), 6: p(6), 7: p(7)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := assign(tt.cur, tt.want); got != tt.next {
				t.Errorf("assign = %v, want %v", got, tt.next)
			}
		})
	}
}
