// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFlowSeeded looks at connections that were there before us: they have their owner from a pass
// over all open files, and no life span.
func TestFlowSeeded(t *testing.T) {
	const n = 23
	k := need(t)
	freshNetns(t)
	listener, at := listenAt(t, "127.0.0.1", 64)
	var clients, servers []int
	for range n {
		clients = append(clients, dialTo(t, at, nil))
		servers = append(servers, acceptFrom(t, listener))
	}
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	if f.Errs().Seed != nil {
		t.Logf("sockets older than we are have no owner until they are closed: %v", f.Errs().Seed)
	}
	for i := range n {
		writeAll(t, clients[i], 5)
		readAll(t, servers[i], 5)
		unix.Close(clients[i])
		unix.Close(servers[i])
	}
	counted(t, "both ends", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowEnded: 2 * n, FlowSent: 5 * n, FlowReceived: 5 * n,
	})
	listed := records(t, events, byUs)[EventConnection]
	if len(listed) != 2*n {
		t.Errorf("%d ends are listed, want %d", len(listed), 2*n)
	}
	for _, e := range listed {
		if e.Lasted != 0 || e.Role != FlowUnknown {
			t.Errorf("the end of a connection older than we are: %+v", e)
		}
	}
	var r FlowReading
	if err := f.Read(&r, 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Peers {
		if f.Errs().Seed == nil && p.Counts[FlowEnded] > 0 && p.Port != at.Port() {
			t.Errorf("ends count for port %d, want that of the service, %d", p.Port, at.Port())
		}
	}
	// Paused, nothing is counted and nothing is remembered; afterwards all counts again.
	fd := dialTo(t, at, nil)
	server := acceptFrom(t, listener)
	before := own(t, f, os.Getpid())
	if err := f.Pause(true); err != nil {
		t.Fatal(err)
	}
	unix.Close(dialTo(t, at, nil))
	unix.Close(acceptFrom(t, listener))
	if err := f.Pause(false); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	unix.Close(server)
	counted(t, "after a pause", own(t, f, os.Getpid()).minus(before), map[FlowCounter]uint64{FlowEnded: 2})
}

// TestFlowReadsOnly: a process that reads, and does nothing that is counted, takes no row.
func TestFlowReadsOnly(t *testing.T) {
	k := need(t)
	n := 64 * len(onlineCPUs(t)) // one read of sixteen on a CPU tells its round trip
	freshNetns(t)
	listener, at := listenAt(t, "127.0.0.1", 64)
	client := dialTo(t, at, nil)
	server := acceptFrom(t, listener)
	f := openFlow(t, k, allFlow())
	if err := f.Errs().Seed; err != nil {
		t.Skipf("needs the owners of older sockets: %v", err)
	}
	for range n {
		writeAll(t, client, 5)
		readAll(t, server, 5)
	}
	var r FlowReading
	if err := f.Read(&r, 0); err != nil {
		t.Fatal(err)
	}
	if r.Host.Hists[FlowRTT][FlowLoopback].count() == 0 {
		t.Error("no round trip was seen")
	}
	for _, p := range r.Processes {
		if int(p.TGID) == os.Getpid() {
			t.Errorf("this process has a row: %+v", p)
		}
	}
	unix.Close(client)
	unix.Close(server)
	counted(t, "at the end", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowEnded: 2, FlowSent: uint64(5 * n), FlowReceived: uint64(5 * n),
	})
}

// TestFlowNoPort makes 23 connects where there are fewer local ports.
func TestFlowNoPort(t *testing.T) {
	const n = 23
	k := need(t)
	freshNetns(t)
	_, at := listenAt(t, "127.0.0.1", 64)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("20000 20003"), 0); err != nil {
		t.Fatal(err)
	}
	f := openFlow(t, k, allFlow())
	none := uint64(0)
	for range n {
		fd := tcpSocket(t, at)
		t.Cleanup(func() { unix.Close(fd) })
		switch err := unix.Connect(fd, tcpAddr(at)); err {
		case nil:
		case unix.EADDRNOTAVAIL:
			none++
		default:
			t.Fatal(err)
		}
	}
	if none < n-4 || none == n {
		t.Fatalf("%d connects found no port", none)
	}
	counted(t, "client", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowConnects: n, FlowEstablished: n - none, FlowNoPort: none,
	})
}

// TestFlowUnreachable answers 23 SYNs with the ICMP message of a router that knows no such host.
func TestFlowUnreachable(t *testing.T) {
	const n = 23
	k := need(t)
	freshNetns(t)
	deaf, at := listenAt(t, "127.0.0.1", 64)
	deafen(t, deaf)
	const allPackets = unix.ETH_P_IP>>8 | unix.ETH_P_IP<<8&0xff00
	wire, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, allPackets)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(wire)
	icmp, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(icmp)
	f := openFlow(t, k, allFlow())
	for range n {
		fd := dialing(t, at)
		buf := make([]byte, 2048)
		for {
			m, err := unix.Read(wire, buf)
			if err != nil {
				t.Fatal(err)
			}
			if p := buf[:m]; m >= 40 && p[9] == unix.IPPROTO_TCP && p[33] == 2 && binary.BigEndian.Uint16(p[22:]) == at.Port() {
				break
			}
		}
		msg := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, buf[:28]...)
		sum := uint32(0)
		for i := 0; i < len(msg); i += 2 {
			sum += uint32(msg[i])<<8 | uint32(msg[i+1])
		}
		binary.BigEndian.PutUint16(msg[2:], ^uint16(sum+sum>>16))
		if err := unix.Sendto(icmp, msg, 0, &unix.SockaddrInet4{Addr: at.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		if err, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != int(unix.EHOSTUNREACH) {
			t.Fatalf("after the message the connect says %v", unix.Errno(err))
		}
		unix.Close(fd)
		for { // what the loopback brought twice
			if _, _, err := unix.Recvfrom(wire, buf, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
	}
	counted(t, "client", own(t, f, os.Getpid()), map[FlowCounter]uint64{FlowConnects: n, FlowUnreachable: n})
}

// TestFlowSynAck lets clients ignore the answer to their SYN, so that both sides send again.
func TestFlowSynAck(t *testing.T) { undisturbedTimers(t, flowSynAck) }

func flowSynAck(t testing.TB) {
	t.Helper()
	const n = 23
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	_, at := listenAt(t, "127.0.0.1", 64)
	var fds []int
	for range n {
		fd := tcpSocket(t, at)
		deafen(t, fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, tcpAddr(at)); err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	deadline := time.Now().Add(20 * time.Second)
	for mib(t, "Tcp", "RetransSegs") < 2*n && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	var got FlowCounts
	var want uint64
	for range 50 { // the server may still send: until both were read with nothing between
		before := mib(t, "Tcp", "RetransSegs")
		got, want = own(t, f, os.Getpid()), mib(t, "Tcp", "RetransSegs")
		if before == want {
			break
		}
	}
	if got[FlowRetransmits] != want || got[FlowRetransmitsSyn]+got[FlowRetransmitsSynack] != want || got[FlowRetransmitsSynack] < n {
		t.Errorf("sent again: %d SYNs and %d answers, %d in all; the kernel counts %d",
			got[FlowRetransmitsSyn], got[FlowRetransmitsSynack], got[FlowRetransmits], want)
	}
	for _, e := range records(t, events, byUs)[EventRetransmit] {
		if answer := e.What == uint8(AgainSynack); answer != (e.State == 3) || answer != (e.LocalPort == at.Port()) {
			t.Errorf("sent again: %+v", e)
		}
	}
}

// TestFlowNarrow counts this process apart from another.
func TestFlowNarrow(t *testing.T) {
	const n = 23
	k := need(t)
	freshNetns(t)
	f := openFlow(t, k, allFlow())
	listener, at := listenAt(t, "127.0.0.1", 64)
	me, other := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}, Filter{ID: 1, Kind: FilterProcess}
	slots, err := f.Narrow([]Filter{other, me})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		fd := dialTo(t, at, nil)
		server := acceptFrom(t, listener)
		writeAll(t, fd, 5)
		readAll(t, server, 5)
		unix.Close(fd)
		unix.Close(server)
	}
	var r FlowReading
	if err := f.Read(&r, 0); err != nil {
		t.Fatal(err)
	}
	for i, s := range slots {
		want := uint64(0)
		if s == me {
			want = n
		}
		c := &r.Narrowed[i]
		if c.Counts[FlowConnects] != want || c.Counts[FlowAccepts] != want || c.Counts[FlowReceived] != 5*want ||
			c.Hists[FlowLatency][FlowLoopback].count() != want || c.Hists[FlowLife][FlowLoopback].count() != 2*want {
			t.Errorf("slot %d of %v: %v, want %d of each", i, s, c.Counts, want)
		}
	}
	if _, err := f.Narrow(nil); err != nil {
		t.Fatal(err)
	}
}

// TestFlowExpires takes out the entries of processes that count no more, and loses nothing.
func TestFlowExpires(t *testing.T) {
	k := need(t)
	freshNetns(t)
	f := openFlow(t, k, allFlow())
	knock := func() { unix.Close(dialTo(t, netip.MustParseAddrPort("127.0.0.1:1"), unix.ECONNREFUSED)) }
	read := func(now time.Duration) (counts []FlowCounts) {
		var r FlowReading
		if err := f.Read(&r, now); err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Processes {
			if int(p.TGID) == os.Getpid() {
				counts = append(counts, p.Counts)
			}
		}
		return counts
	}
	knock()
	if got := read(time.Second); len(got) != 1 || got[0][FlowRefused] != 1 {
		t.Fatalf("after one refused connect: %v", got)
	}
	if got := read(time.Second + flowIdle); len(got) != 1 {
		t.Errorf("after a minute the entry is read once more, to be taken out: %v", got)
	}
	if got := read(2*time.Second + flowIdle); len(got) != 0 {
		t.Errorf("after more than a minute: %v, want no entry", got)
	}
	knock()
	if got := read(3*time.Second + flowIdle); len(got) != 1 || got[0][FlowRefused] != 1 {
		t.Errorf("after another: %v, want one entry that began at zero", got)
	}
}

// TestFlowStorm makes connections as fast as it can. All must be counted, and every end be listed or
// counted as not listed.
func TestFlowStorm(t *testing.T) {
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	listener, at := listenAt(t, "127.0.0.1", 1024)
	before, err := events.Counts(EventConnection)
	if err != nil {
		t.Fatal(err)
	}
	segments := mib(t, "Tcp", "OutSegs")
	began := time.Now()
	n := uint64(0)
	for time.Since(began) < 3*time.Second {
		fd := dialTo(t, at, nil)
		server := acceptFrom(t, listener)
		writeAll(t, fd, 1)
		readAll(t, server, 1)
		abandon(t, fd) // leaves no TIME-WAIT, of which there may be but so many
		unix.Close(server)
		n++
	}
	t.Logf("%.0f connections and %.0f segments a second", float64(n)/3, float64(mib(t, "Tcp", "OutSegs")-segments)/3)
	if active, passive := mib(t, "Tcp", "ActiveOpens"), mib(t, "Tcp", "PassiveOpens"); active != n || passive != n {
		t.Fatalf("the kernel counts %d and %d connections, want %d", active, passive, n)
	}
	got := own(t, f, os.Getpid())
	for c, want := range map[FlowCounter]uint64{
		FlowConnects: n, FlowEstablished: n, FlowAccepts: n, FlowEnded: 2 * n, FlowSent: n, FlowReceived: n, FlowAborted: n, FlowPeerReset: n,
	} {
		if got[c] != want {
			t.Errorf("%s = %d, want %d", flowName(c), got[c], want)
		}
	}
	after, err := events.Counts(EventConnection)
	if err != nil {
		t.Fatal(err)
	}
	if all := after.Sent + after.Unlisted + after.Lost - before.Sent - before.Unlisted - before.Lost; all < 2*n {
		t.Errorf("of %d ends %d are accounted for: %+v", 2*n, all, after)
	}
	if listed := len(records(t, events, byUs)[EventConnection]); listed == 0 {
		t.Error("none is listed")
	}
}
