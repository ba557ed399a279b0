// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFlowRetransmits sends to sockets that drop what comes. What is sent again must be equal to the
// kernel's count.
func TestFlowRetransmits(t *testing.T) { undisturbedTimers(t, flowRetransmits) }

func flowRetransmits(t testing.TB) {
	t.Helper()
	const n = 23
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	listener, at := listenAt(t, "127.0.0.1", 64)
	var clients []int
	for range n {
		clients = append(clients, dialTo(t, at, nil))
		server := acceptFrom(t, listener)
		t.Cleanup(func() { unix.Close(server) })
		deafen(t, server)
	}
	for _, fd := range clients {
		writeAll(t, fd, 100)
	}
	deadline := time.Now().Add(20 * time.Second)
	for mib(t, "Tcp", "RetransSegs") < 3*n && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, fd := range clients {
		abandon(t, fd)
	}
	got, want := own(t, f, os.Getpid()), mib(t, "Tcp", "RetransSegs")
	if got[FlowRetransmits] != want || want < 3*n {
		t.Errorf("%d segments were sent again, the kernel counts %d, want the same and at least %d", got[FlowRetransmits], want, 3*n)
	}
	if probes, timeouts := got[FlowRetransmitsProbe], got[FlowRetransmitsTimeout]; probes != n || probes+timeouts != want {
		t.Errorf("%d probes and %d timeouts, want %d and the rest of %d", probes, timeouts, n, want)
	}
	if got[FlowAborted] != n || got[FlowResetsSent] != n {
		t.Errorf("%d aborted and %d resets sent, want %d each", got[FlowAborted], got[FlowResetsSent], n)
	}
	listed := records(t, events, byUs)[EventRetransmit]
	if uint64(len(listed)) != want {
		t.Errorf("%d are listed, want %d", len(listed), want)
	}
	for _, e := range listed {
		if e.State != 1 || e.RemotePort != at.Port() || e.Retrans != 1 || address(e.Remote.Word) != at.Addr() {
			t.Errorf("a segment sent again: %+v", e)
		}
	}
}

// TestFlowResets lets the server close with data that it has not read: it resets, we are reset.
func TestFlowResets(t *testing.T) {
	const n = 23
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	f := openFlow(t, k, allFlow())
	listener, at := listenAt(t, "::1", 64)
	for range n {
		fd := dialTo(t, at, nil)
		server := acceptFrom(t, listener)
		writeAll(t, fd, 10)
		unix.Close(server)
		if _, err := unix.Read(fd, make([]byte, 1)); err != unix.ECONNRESET {
			t.Fatalf("reading from a connection that was reset: %v", err)
		}
		unix.Close(fd)
	}
	counted(t, "both ends", own(t, f, os.Getpid()), map[FlowCounter]uint64{
		FlowConnects: n, FlowEstablished: n, FlowAccepts: n, FlowEnded: 2 * n, FlowSent: 10 * n, FlowReceived: 10 * n,
		FlowAborted: n, FlowPeerReset: n, FlowResetsSent: n, FlowResetsReceived: n,
	})
	sent := map[uint8]int{}
	for _, e := range records(t, events, byUs)[EventReset] {
		sent[e.What]++
		if e.What == 1 && len(f.reasons) > 0 && f.ResetReason(e.Reason) != "tcp abort on close" {
			t.Errorf("a reset was sent for reason %d, %q", e.Reason, f.ResetReason(e.Reason))
		}
	}
	if sent[0] != n || sent[1] != n {
		t.Errorf("%d resets received and %d sent are listed, want %d each", sent[0], sent[1], n)
	}
}
