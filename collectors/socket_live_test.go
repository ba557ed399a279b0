// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bpf60/bpf"

	"golang.org/x/sys/unix"
)

// ssRow is what ss prints of a socket.
type ssRow struct {
	state        string
	recvQ, sendQ uint32
	local, peer  string
	detail       string
}

// ss asks ss for the sockets of the test's namespace.
func ss(t testing.TB, args ...string) []ssRow {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		lacking(t, "no ss (iproute2)")
	}
	out, err := exec.Command(path, append([]string{"-H", "-t", "-n", "-a", "-O"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ss: %v: %s", err, out)
	}
	var rows []ssRow
	for l := range strings.Lines(string(out)) {
		f := strings.Fields(l)
		if len(f) < 5 {
			t.Fatalf("ss printed %q", l)
		}
		recv, err1 := strconv.ParseUint(f[1], 10, 32)
		sent, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil {
			t.Fatalf("ss printed %q", l)
		}
		rows = append(rows, ssRow{f[0], uint32(recv), uint32(sent), f[3], f[4], strings.Join(f[5:], " ")})
	}
	return rows
}

// ssNumber finds a number of ss -i as "cwnd:10"; 0 where ss leaves it out, as it does for zero.
func ssNumber(t testing.TB, r ssRow, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?:^| )` + pattern).FindStringSubmatch(r.detail)
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatalf("%q: %v", m[0], err)
	}
	return v
}

func ssAddr(a netip.AddrPort) string {
	if a.Addr().Is6() {
		return fmt.Sprintf("[%s]:%d", a.Addr(), a.Port())
	}
	return a.String()
}

// TestSocketsAsSS holds the table beside ss -tinp for the same connections, at rest.
func TestSocketsAsSS(t *testing.T) {
	inNetns(t)
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		listener, port := listenTCP(t, addr, 16)
		for i := range 4 {
			a := dial(t, addr, port, true)
			b := accept(t, listener)
			send(t, a, 1000*(i+1))
			receive(t, b, 600*(i+1))
			send(t, b, 77*(i+1)) // nobody reads it
		}
	}
	k := bpf.Inspect()
	c := everySecond(newSockets(openDiag, newOwnerCache(k, NewFS(""))))
	start(t, c)
	s := collectAs[*Sockets](t, c, 0)
	rows := ss(t, "-i", "-p")

	table := make(map[string]*SocketRow)
	for i := range s.Rows {
		table[ssAddr(s.Rows[i].Local)+" "+ssAddr(s.Rows[i].Remote)] = &s.Rows[i]
	}
	listen := make(map[string]*ListenRow)
	for i := range s.Listeners {
		listen[ssAddr(s.Listeners[i].Local)] = &s.Listeners[i]
	}
	compared := 0
	us := func(r ssRow, pattern string) uint32 { return uint32(ssNumber(t, r, pattern)*1000 + 0.5) }
	for _, r := range rows {
		if l := listen[r.local]; l != nil && r.state == "LISTEN" {
			if l.Queue != r.recvQ || l.Backlog != r.sendQ {
				t.Errorf("%s: accept queue %d of %d, ss has %d of %d", r.local, l.Queue, l.Backlog, r.recvQ, r.sendQ)
			}
			compared++
			continue
		}
		got := table[r.local+" "+r.peer]
		if got == nil {
			t.Errorf("no row for ss's %+v", r)
			continue
		}
		compared++
		for what, pair := range map[string][2]any{
			"state":    {got.State.String(), r.state},
			"Recv-Q":   {got.RecvQ, r.recvQ},
			"Send-Q":   {got.SendQ, r.sendQ},
			"rtt":      {got.RTT, us(r, `rtt:([0-9.]+)/`)},
			"rttvar":   {got.RTTVar, us(r, `rtt:[0-9.]+/([0-9.]+)`)},
			"minrtt":   {got.MinRTT, us(r, `minrtt:([0-9.]+)`)},
			"rto":      {got.RTO, us(r, `rto:([0-9.]+)`)},
			"cwnd":     {got.Cwnd, uint32(ssNumber(t, r, `cwnd:([0-9]+)`))},
			"mss":      {got.MSS, uint32(ssNumber(t, r, `mss:([0-9]+)`))},
			"retrans":  {got.RetransTotal, uint32(ssNumber(t, r, `retrans:[0-9]+/([0-9]+)`))},
			"unacked":  {got.Unacked, uint32(ssNumber(t, r, `unacked:([0-9]+)`))},
			"delivery": {got.DeliveryRate * 8, uint64(ssNumber(t, r, `delivery_rate ([0-9]+)bps`))},
			"cong":     {true, strings.HasPrefix(r.detail, got.Congestion.Bytes()+" ") || strings.Contains(r.detail, " "+got.Congestion.Bytes()+" ")},
			"owner":    {got.Owner != nil && got.Owner.TGID == int32(os.Getpid()), strings.Contains(r.detail, fmt.Sprintf("pid=%d,", os.Getpid()))},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s %s: %s = %v, ss has %v in %q", r.local, r.peer, what, pair[0], pair[1], r.detail)
			}
		}
	}
	if compared != 3+24 {
		t.Errorf("%d sockets compared, want 3 listeners and 24 connections", compared)
	}
	if s.States[Established] != 24 || s.States[Listen] != 3 || s.Total != 27 || s.UnlistedRows != 0 {
		t.Errorf("states %v, total %d, unlisted %d", s.States, s.Total, s.UnlistedRows)
	}
}

// TestSocketsDeltas moves known bytes and asks for one socket in full.
func TestSocketsDeltas(t *testing.T) {
	inNetns(t)
	listener, port := listenTCP(t, "127.0.0.1", 16)
	a := dial(t, "127.0.0.1", port, true)
	b := accept(t, listener)
	c := everySecond(newSockets(openDiag, noOwners()))
	start(t, c)
	collectAs[*Sockets](t, c, 0)
	send(t, a, 23_000)
	receive(t, b, 20_000)
	late := dial(t, "127.0.0.1", port, true)
	send(t, late, 5)
	s := collectAs[*Sockets](t, c, time.Second)
	find := func(s *Sockets, fd int) *SocketRow {
		for i := range s.Rows {
			if int(s.Rows[i].Local.Port()) == portOf(t, fd) && s.Rows[i].Remote.Port() == uint16(port) {
				return &s.Rows[i]
			}
		}
		t.Fatalf("no row of port %d", portOf(t, fd))
		return nil
	}
	if r := find(s, a); r.Acked != 23_000 || r.Received != 0 || r.New || r.Detail != nil {
		t.Errorf("the sender's row = %+v, want 23000 bytes acknowledged", r)
	}
	for _, r := range s.Rows {
		if r.Local.Port() == uint16(port) && int(r.Remote.Port()) == portOf(t, a) && (r.Received != 23_000 || r.RecvQ != 3_000) {
			t.Errorf("the receiver's row = %+v, want 23000 bytes received and 3000 in the queue", r)
		}
		if r.Local.Port() == uint16(port) && int(r.Remote.Port()) == portOf(t, late) && (r.Inode != 0 || !r.New) {
			t.Errorf("a connection that nobody has accepted = %+v, want no inode", r)
		}
	}
	if r := find(s, late); !r.New || r.Acked != 6 { // the SYN counts
		t.Errorf("the new sender's row = %+v, want new and 5 bytes and the SYN acknowledged", r)
	}
	if l := s.Listeners[0]; l.Queue != 1 || l.Connections != 2 {
		t.Errorf("listener = %+v, want 1 that waits, 2 connections", l)
	}
	if p := s.Peers; len(p) != 1 || p[0].Addr != netip.MustParseAddr("127.0.0.1") || p[0].Sockets != 4 || p[0].Acked != 23_006 {
		t.Errorf("peers = %+v, want one with all 4 sockets and 23006 bytes", p)
	}

	cookie := find(s, a).Cookie
	if err := c.Narrow([]Target{{Kind: SocketTarget, Cookie: cookie}}); err != nil {
		t.Fatal(err)
	}
	s = collectAs[*Sockets](t, c, 2*time.Second)
	r := find(s, a)
	if r.Detail == nil || r.Detail.BytesAcked != 23_001 || r.Detail.BytesSent != 23_000 || r.Acked != 0 || r.Detail.Length < 200 {
		t.Errorf("the row asked for = %+v, detail %+v; want 23000 bytes sent, and the SYN acknowledged", r, r.Detail)
	}
	if find(s, late).Detail != nil {
		t.Error("a row that nobody asked for is there in full")
	}
	unix.Close(a)
	unix.Close(b)
	if s = collectAs[*Sockets](t, c, 3*time.Second); s.Total != 3 {
		t.Errorf("after one connection was closed %d sockets, want 3", s.Total)
	}
}

// TestSocketOwners finds a socket of this process in both ways.
func TestSocketOwners(t *testing.T) {
	inNetns(t)
	_, port := listenTCP(t, "127.0.0.1", 16)
	ways := map[string]*ownerCache{"/proc": noOwners()}
	k := bpf.Inspect()
	if s, err := bpf.OpenSockets(k); err != nil {
		t.Logf("through /proc only: %v", err)
	} else {
		ways["BPF"] = newOwnerCache(k, NewFS(""))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, owners := range ways {
		t.Run(name, func(t *testing.T) {
			track := newSockTracker()
			owners.start(context.Background())
			defer owners.close()
			var stat unix.Stat_t
			listener := listenerFD(t, port)
			if err := unix.Fstat(listener, &stat); err != nil {
				t.Fatal(err)
			}
			s := &Sockets{Listeners: []ListenRow{
				{SocketID: &SocketID{Cookie: 1, Inode: uint32(stat.Ino)}},
				{SocketID: &SocketID{Cookie: 2, Inode: 1<<32 - 1}},
			}}
			shared := s.Listeners[0].SocketID
			track.prev = []sockPrev{{cookie: 1, id: shared}, {cookie: 2}}
			for range 10_000 {
				s.To += time.Second
				owners.fill(context.Background(), s, track)
				if owners.scan == nil {
					break
				}
			}
			got := s.Listeners[0].Owner
			if got == nil || got.TGID != int32(os.Getpid()) || got.Start == 0 || got.Comm.Bytes() == "" {
				t.Fatalf("owner = %+v, want this process", got)
			}
			if shared.Owner != nil || track.prev[0].id.Owner != got {
				t.Error("the shared identity was written, or the next sample will not know the owner")
			}
			if s.Listeners[1].Owner != nil || owners.err != nil {
				t.Errorf("nobody's inode has the owner %v, error %v", s.Listeners[1].Owner, owners.err)
			}
			if p := owners.probe(true); (p.State == On) != (name == "BPF") || p.Events == 0 {
				t.Errorf("probe = %+v", p)
			}
		})
	}
}

// listenerFD is this process's socket that listens on a port.
func listenerFD(t *testing.T, port int) int {
	t.Helper()
	for fd := range 200 {
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && v == 1 && portOf(t, fd) == port {
			return fd
		}
	}
	t.Fatal("no listener")
	return -1
}
