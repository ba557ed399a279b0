// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bpf60/collectors"
)

// peerSocket is a socket of a process that is connected with 10.0.0.9.
func peerSocket(cookie uint64, pid int32, state collectors.SocketState, rx uint64) collectors.SocketRow {
	id := &collectors.SocketID{
		Cookie: cookie, Inode: 1, Local: netip.MustParseAddrPort("10.0.0.1:40000"), Remote: netip.MustParseAddrPort("[::ffff:10.0.0.9]:80"),
	}
	if pid > 0 {
		id.Owner = &collectors.SocketOwner{Process: collectors.Process{TGID: pid, Start: uint64(pid) * 1e9}, Comm: collectors.RawString("web")}
	}
	return collectors.SocketRow{SocketID: id, State: state, HasInfo: true, RTT: 2000, Received: rx, Retrans: 1}
}

// TestPeerPage: connections, owners and states of one peer, in IPv4 and in IPv4 written as IPv6.
func TestPeerPage(t *testing.T) {
	f := frames()["busy"]
	snap := *f.Now.Snapshot
	sockets := *snap.Sockets
	other := peerSocket(9, 7, collectors.Established, 1e6)
	other.SocketID.Remote = netip.MustParseAddrPort("10.0.0.8:80")
	sockets.Rows = []collectors.SocketRow{
		peerSocket(1, 7, collectors.Established, 1000), peerSocket(2, 8, collectors.Established, 9000),
		peerSocket(3, 7, collectors.CloseWait, 1000), peerSocket(4, 0, collectors.SynSent, 0), other,
	}
	sockets.Peers = []collectors.PeerRow{{Addr: netip.MustParseAddr("10.0.0.9"), Sockets: 23}}
	sockets.NoOwner = ""
	snap.Sockets = &sockets
	f.Past[len(f.Past)-1].Snapshot = &snap
	f.Now.Snapshot = &snap
	p := newPeerPage(netip.MustParseAddr("10.0.0.9"))
	rows := func(t Table) (out []string) {
		for _, r := range t.Rows {
			line := r.ID
			for _, c := range r.Cells[:2] {
				line += " " + c.Format(0)
			}
			out = append(out, line)
		}
		return append(out, t.Notes...)
	}
	few := func(n string) string { return n + " of its 23 connections are listed: the host lists 200" }
	tests := map[string]struct {
		table Table
		want  []string
	}{
		"connections": {p.connections(f, p.parts.target), []string{"1 ESTAB 0", "2 ESTAB 0", "3 CLOSE-WAIT 0", "4 SYN-SENT 0", few("4")}},
		"owners": {p.owners(f, p.parts.target), []string{
			"8 8000000000 1 1", "7 7000000000 2 1", few("4"), "1 more connections without a process: not found among the open files, or closed by its process",
		}},
		"states": {p.states(f, p.parts.target), []string{"ESTAB 2 ESTAB", "SYN-SENT 1 SYN-SENT", "CLOSE-WAIT 1 CLOSE-WAIT", few("4")}},
	}
	for name, tt := range tests {
		if diff := cmp.Diff(tt.want, rows(tt.table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	snap.Sockets = nil
	if got := newPeerPage(p.addr).owners(Frame{}, p.parts.target); len(got.Rows) > 0 || len(got.Notes) == 0 {
		t.Errorf("without a table of sockets: %+v, want why", got)
	}
}
