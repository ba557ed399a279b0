// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	_ "embed"
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

//go:embed include/flow_types.bpf.h
var flowSource string

// TestFlowNames holds the Go constants against the program's, in their order.
func TestFlowNames(t *testing.T) {
	for enum, want := range map[string][]string{
		"flow_counter": strings.Fields(`CONNECTS ACCEPTS ESTABLISHED REFUSED TIMED_OUT UNREACHABLE NO_PORT GIVEN_UP FAILED
			HANDSHAKES ENDED PEER_RESET ABORTED EXPIRED SENT RECEIVED RETRANSMITS RETRANSMITS_SYN RETRANSMITS_SYNACK
			RETRANSMITS_TIMEOUT RETRANSMITS_PROBE RETRANSMITS_FAILED RESETS_SENT RESETS_RECEIVED FLOW_COUNTERS`),
		"flow_again": strings.Fields("AGAIN_FAST AGAIN_TIMEOUT AGAIN_PROBE AGAIN_SYN AGAIN_SYNACK AGAIN_FAILED"),
		"flow_hist":  strings.Fields("LATENCY LIFE RTT FLOW_HISTS"),
		"flow_path":  strings.Fields("NETWORK LOOPBACK FLOW_PATHS"),
		"flow_role":  strings.Fields("UNKNOWN ACTIVE PASSIVE"),
	} {
		_, body, _ := strings.Cut(flowSource, "enum "+enum+" {")
		body, _, _ = strings.Cut(body, "}")
		body = regexp.MustCompile(`//.*`).ReplaceAllString(body, "")
		got := regexp.MustCompile(`\w+`).FindAllString(body, -1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("enum %s (-want +C):\n%s", enum, diff)
		}
	}
	if FlowCounters != 24 || FlowHists != 3 || FlowPaths != 2 || AgainFailed != 5 || FlowPassive != 2 {
		t.Error("the Go constants do not count like the lists above")
	}
}

func openFlow(t testing.TB, k *Kernel, parts FlowParts) *Flow {
	t.Helper()
	f, err := OpenFlow(k, parts)
	if err != nil {
		t.Fatalf("OpenFlow: %v", err)
	}
	closing(t, f)
	return f
}

func allFlow() FlowParts { return FlowParts{State: true, Retransmit: true, Reset: true, Read: true} }

// own is what was counted for a process, zero if nothing was.
func own(t testing.TB, f *Flow, tgid int) FlowCounts {
	t.Helper()
	var r FlowReading
	if err := f.Read(&r, 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Processes {
		if int(p.TGID) == tgid {
			return p.Counts
		}
	}
	return FlowCounts{}
}

func (c FlowCounts) minus(o FlowCounts) FlowCounts {
	for i := range c {
		c[i] -= o[i]
	}
	return c
}

// counted compares what a process counted with what it did. Counters that the test does not name must
// be zero, but for those of what is sent again, which a slow host does by itself.
func counted(t testing.TB, who string, got FlowCounts, want map[FlowCounter]uint64) {
	t.Helper()
	for i, n := range got {
		c := FlowCounter(i)
		if _, named := want[c]; !named && c >= FlowRetransmits && c <= FlowRetransmitsProbe {
			continue
		}
		if n != want[c] {
			t.Errorf("%s: counter %d (%s) = %d, want %d", who, i, flowName(c), n, want[c])
		}
	}
}

func flowName(c FlowCounter) string {
	_, body, _ := strings.Cut(flowSource, "enum flow_counter {")
	body, _, _ = strings.Cut(body, "}")
	body = regexp.MustCompile(`//.*`).ReplaceAllString(body, "")
	return regexp.MustCompile(`\w+`).FindAllString(body, -1)[c]
}

// records drains the ring and returns this process's records by kind.
func records(t testing.TB, e *Events, mine func(*FlowEvent) bool) map[EventKind][]FlowEvent {
	t.Helper()
	out := map[EventKind][]FlowEvent{}
	err := e.Drain(func(kind EventKind, b []byte) {
		ev, ok := DecodeFlow(b)
		if !ok || ev.Head.Size != uint32(unsafe.Sizeof(ev)) {
			t.Errorf("a record of %d bytes, of kind %d", len(b), kind)
		}
		if mine(&ev) {
			out[kind] = append(out[kind], ev)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openFlowEvents(t testing.TB, k *Kernel) *Events {
	t.Helper()
	e, err := OpenEvents(k)
	if err != nil {
		t.Fatalf("OpenEvents: %v", err)
	}
	closing(t, e)
	return e
}

func byUs(e *FlowEvent) bool { return int(e.Owner.Tgid) == os.Getpid() }

// acceptEnv makes TestFlowLives the server that it starts.
const acceptEnv = "BPF60_TEST_ACCEPT"

// serveConnections accepts and answers on the socket that it inherited.
func serveConnections(t *testing.T, n int) {
	const listener = 3
	for range n {
		fd := acceptFrom(t, listener)
		readAll(t, fd, 5)
		writeAll(t, fd, 7)
		unix.Close(fd)
	}
}

// TestFlowLives makes 23 connections of known size to another process: connects count here, accepts
// there, and bytes without SYN and FIN.
func TestFlowLives(t *testing.T) {
	const n = 23
	if os.Getenv(acceptEnv) != "" {
		serveConnections(t, n)
		return
	}
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	if errs := f.Errs(); errs.State != nil || errs.Read != nil {
		t.Fatal(errs)
	}
	listener, at := listenAt(t, "127.0.0.1", 64)
	server := exec.Command("/proc/self/exe", "-test.run", "^TestFlowLives$")
	server.Env = append(os.Environ(), acceptEnv+"=1")
	server.ExtraFiles = []*os.File{os.NewFile(uintptr(listener), "listener")}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for range n {
		fd := dialTo(t, at, nil)
		writeAll(t, fd, 5)
		readAll(t, fd, 7)
		if m, err := unix.Read(fd, make([]byte, 1)); m != 0 || err != nil {
			t.Fatalf("after its 7 bytes the server sent %d, %v", m, err)
		}
		unix.Close(fd)
	}
	child := server.Process.Pid
	if err := server.Wait(); err != nil {
		t.Fatal(err)
	}
	counted(t, "client", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowConnects: n, FlowEstablished: n, FlowEnded: n, FlowSent: 5 * n, FlowReceived: 7 * n,
	})
	counted(t, "server", own(t, f, child), map[FlowCounter]uint64{
		FlowAccepts: n, FlowEnded: n, FlowSent: 7 * n, FlowReceived: 5 * n,
	})
	var r FlowReading
	if err := f.Read(&r, 0); err != nil {
		t.Fatal(err)
	}
	for _, h := range []int{FlowLatency, FlowLife, FlowRTT} {
		want := uint64(n)
		if h != FlowLatency {
			want *= 2 // both ends
		}
		if got := r.Host.Hists[h][FlowLoopback].count(); got < want {
			t.Errorf("histogram %d holds %d, want at least %d", h, got, want)
		}
	}
	peer := map[uint8]FlowPeer{}
	for _, p := range r.Peers {
		if netip.AddrFrom16(p.Addr).Unmap() == at.Addr() && p.Port == at.Port() {
			peer[p.Role] = p
		}
	}
	latency := uint32(0)
	for _, c := range peer[FlowActive].Latency {
		latency += c
	}
	if c := peer[FlowActive].Counts; c[FlowConnects] != n || c[FlowSent] != 5*n || latency != n {
		t.Errorf("peer that we connect to: %v, latency of %d", c, latency)
	}
	if c := peer[FlowPassive].Counts; c[FlowAccepts] != n || c[FlowSent] != 7*n {
		t.Errorf("peer that connects to us: %v", c)
	}
	seen := records(t, events, func(e *FlowEvent) bool { return byUs(e) || int(e.Owner.Tgid) == child })[EventConnection]
	ends := map[uint8]int{}
	for _, e := range seen {
		ends[e.Role]++
		if e.Lasted == 0 || e.LocalPort == 0 || e.RemotePort == 0 || e.Sent+e.Received != 12 {
			t.Errorf("end of a connection: %+v", e)
		}
	}
	if ends[FlowActive] != n || ends[FlowPassive] != n {
		t.Errorf("%v connections listed by role, want %d each", ends, n)
	}
}

// TestFlowRefused knocks at a closed port, 23 times in both families.
func TestFlowRefused(t *testing.T) {
	const four, six = 12, 11
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	for addr, n := range map[string]int{"127.0.0.1": four, "::1": six} {
		for range n {
			unix.Close(dialTo(t, netip.AddrPortFrom(netip.MustParseAddr(addr), 1), unix.ECONNREFUSED))
		}
	}
	counted(t, "client", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowConnects: four + six, FlowRefused: four + six, FlowResetsReceived: four + six,
	})
	families := map[netip.Addr]int{}
	listed := records(t, events, func(e *FlowEvent) bool { return byUs(e) || e.What == 1 && e.LocalPort == 1 })
	if len(f.reasons) > 0 { // the other end: a reset that no socket sends is told since 6.10
		if got := len(listed[EventReset]); got != four+six {
			t.Errorf("%d resets sent are listed, want %d", got, four+six)
		}
		for _, e := range listed[EventReset] {
			if f.ResetReason(e.Reason) != "no socket" || !address(e.Remote.Word).IsLoopback() || e.RemotePort == 0 {
				t.Errorf("a reset sent: %+v", e)
			}
		}
	}
	for _, e := range listed[EventConnectFail] {
		if e.What != uint8(FlowRefused) || e.Reason != int32(unix.ECONNREFUSED) || e.RemotePort != 1 || e.State != 2 {
			t.Errorf("a failed connect: %+v", e)
		}
		families[address(e.Remote.Word)]++
	}
	if diff := cmp.Diff(map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): four, netip.IPv6Loopback(): six}, families,
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("refused by (-want +got):\n%s", diff)
	}
}

func address(words [4]uint32) netip.Addr {
	var b [16]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return netip.AddrFrom16(b).Unmap()
}

// TestFlowUnanswered connects to a port that drops everything: 23 connects time out, each after it
// has sent its SYN again; 23 are given up.
func TestFlowUnanswered(t *testing.T) { undisturbedTimers(t, flowUnanswered) }

func flowUnanswered(t testing.TB) {
	t.Helper()
	const n = 23
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	deaf, at := listenAt(t, "127.0.0.1", 64)
	deafen(t, deaf)
	var fds []unix.PollFd
	for range n {
		fd := dialing(t, at)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
	}
	for range n {
		unix.Close(dialing(t, at))
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, p := range fds {
		for p.Revents == 0 && time.Now().Before(deadline) {
			one := []unix.PollFd{p}
			if _, err := unix.Poll(one, 1000); err != nil && err != unix.EINTR {
				t.Fatal(err)
			}
			p = one[0]
		}
		if err, _ := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR); err != int(unix.ETIMEDOUT) {
			t.Fatalf("a connect that nobody answers ended with %v", unix.Errno(err))
		}
		unix.Close(int(p.Fd))
	}
	got := own(t, f, os.Getpid())
	again := mib(t, "Tcp", "RetransSegs") // since 6.5 more than TCP_SYNCNT says
	if again < n {
		t.Errorf("the kernel sent %d SYNs again, want at least %d", again, n)
	}
	counted(t, "client", got, map[FlowCounter]uint64{
		FlowConnects: 2 * n, FlowTimedOut: n, FlowGivenUp: n, FlowRetransmits: again, FlowRetransmitsSyn: again,
	})
	listed := records(t, events, byUs)
	if got := len(listed[EventConnectFail]); got != 2*n {
		t.Errorf("%d failed connects are listed, want %d", got, 2*n)
	}
	for _, e := range listed[EventRetransmit] {
		if e.What != uint8(AgainSyn) || e.State != 2 || e.RemotePort != at.Port() || e.Retrans != 1 {
			t.Errorf("a SYN sent again: %+v", e)
		}
	}
	if got := len(listed[EventRetransmit]); uint64(got) != again {
		t.Errorf("%d SYNs sent again are listed, want %d", got, again)
	}
}
