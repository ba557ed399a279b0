// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDNSPairs asks from more servers than have rows: the sums stay exact.
func TestDNSPairs(t *testing.T) {
	const n = dnsPairs + 40
	d := openDNS(t, need(t))
	before := readDNS(t, d)
	hostBefore, otherBefore := before.Slots[0], before.Other
	inNetns(t, func() {
		fd := udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		for i := range n {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), 53)
			ask(t, fd, at, uint16(i), 1, "mute.example")
		}
	})
	r := readDNS(t, d)
	var sum uint64
	for _, row := range r.Rows {
		if int(row.TGID) == os.Getpid() {
			sum += row.Queries
		}
	}
	other, host := r.Other.Queries-otherBefore.Queries, r.Slots[0].Queries-hostBefore.Queries
	if len(r.Rows) > dnsPairs || sum+other < n || other < 40 || host < n {
		t.Errorf("%d rows with %d questions, %d of others, %d of the host, want %d", len(r.Rows), sum, other, host, n)
	}
}

// TestDNSNarrow counts this process and another one apart.
func TestDNSNarrow(t *testing.T) {
	d := openDNS(t, need(t))
	slots, err := d.Narrow([]Filter{{ID: uint64(os.Getpid()), Kind: FilterProcess}, {ID: 1, Kind: FilterProcess}})
	if err != nil {
		t.Fatal(err)
	}
	inNetns(t, func() {
		at := netip.AddrPortFrom(localhost4, 53)
		dnsServer(t, udpSocket(t, at))
		fd := udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		for i := range 23 {
			ask(t, fd, at, uint16(i), 1, "ok.example")
		}
	})
	r := readDNS(t, d)
	if got := r.Slots[1]; got.Queries != 23 || got.Answers != 23 || got.Latency.count() != 23 {
		t.Errorf("narrowed to this process: %+v, want 23", got)
	}
	if got := r.Slots[2]; got.Queries != 0 {
		t.Errorf("narrowed to process 1: %d questions; slots %v", got.Queries, fmt.Sprint(slots))
	}
}

// TestDNSPause has a question wait when the programs are detached: nobody can say whether it was
// answered.
func TestDNSPause(t *testing.T) {
	d := openDNS(t, need(t))
	d.timeout = 50 * time.Millisecond
	inNetns(t, func() {
		at := netip.AddrPortFrom(localhost4, 53)
		dnsServer(t, udpSocket(t, at))
		fd := udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		ask(t, fd, at, 1, 1, "mute.example")
		if err := d.Pause(true); err != nil {
			t.Error(err)
		}
		ask(t, fd, at, 2, 1, "ok.example") // not seen
		if err := d.Pause(false); err != nil {
			t.Error(err)
		}
		ask(t, fd, at, 3, 1, "ok.example")
	})
	time.Sleep(d.timeout)
	r := readDNS(t, d)
	if got := r.ours(localhost4); got.Queries != 2 || got.Answers != 1 || got.Unanswered != 0 || r.Global.Untracked == 0 {
		t.Errorf("%d questions, %d answers, %d unanswered, %d untracked, want 2, 1, 0 and 1", got.Queries, got.Answers, got.Unanswered, r.Global.Untracked)
	}
}

// TestDNSStorm sends questions as fast as one thread can, of which no answer comes. All are counted,
// those that have no room to wait in as untracked.
func TestDNSStorm(t *testing.T) {
	n := stormOf(200_000)
	d := openDNS(t, need(t))
	d.timeout = time.Hour
	var took time.Duration
	inNetns(t, func() {
		fd := udpSocket(t, netip.AddrPortFrom(localhost4, 0))
		to, _ := sockaddr(netip.AddrPortFrom(localhost4, 53))
		m := dnsMessage(0, 1, "storm.example")
		began := time.Now()
		for i := range n {
			m[0], m[1] = byte(i>>8), byte(i)
			if err := unix.Sendto(fd, m, 0, to); err != nil && err != unix.ECONNREFUSED {
				t.Error(err)
				return
			}
		}
		took = time.Since(began)
	})
	r := readDNS(t, d)
	got := r.ours(localhost4)
	if q := got.Queries; q != uint64(n) {
		t.Errorf("%d questions, want %d", q, n)
	}
	// What waits and what is untracked is known of the host alone, and others ask, too.
	host := r.Slots[0]
	if rest := uint64(r.Pending) + r.Global.Untracked; host.Queries-host.Resent != host.Answers+host.Unanswered+rest {
		t.Errorf("the host: %d questions, %d resent: %d answers, %d unanswered, %d waiting, %d untracked",
			host.Queries, host.Resent, host.Answers, host.Unanswered, r.Pending, r.Global.Untracked)
	} else if got.Queries-got.Resent > got.Answers+got.Unanswered+rest {
		t.Errorf("%d questions, %d resent: %d answers, %d unanswered, and of the host %d waiting or untracked",
			got.Queries, got.Resent, got.Answers, got.Unanswered, rest)
	}
	t.Logf("%.0f questions a second, of the host %d, %d untracked", float64(n)/took.Seconds(), host.Queries, r.Global.Untracked)
}
