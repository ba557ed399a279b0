// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// liveFlow starts the collector of a namespace of our own, with its baseline read.
func liveFlow(t *testing.T) *flowCollector {
	t.Helper()
	inNetns(t)
	k := bpf.Inspect()
	c := newFlowOf(k, NewFS(""), here, newFeed(k), nil)
	var need *NeedError
	if err := c.Start(t.Context()); errors.As(err, &need) {
		lacking(t, "%v", need)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Collect(t.Context(), 0); !errors.Is(err, ErrWarming) {
		t.Fatalf("the first reading: %v, want %v", err, ErrWarming)
	}
	return c
}

// ours is this process's row, zero without one.
func (f *Flow) ours() FlowProcess {
	for _, p := range f.Processes {
		if int(p.TGID) == os.Getpid() {
			return p
		}
	}
	return FlowProcess{}
}

// TestFlowCounts23 makes 23 connections of each kind.
func TestFlowCounts23(t *testing.T) {
	c := liveFlow(t)
	listener, port := listenTCP(t, "127.0.0.1", 64)
	for range 23 {
		client := dial(t, "127.0.0.1", port, true)
		server := accept(t, listener)
		send(t, client, 5)
		receive(t, server, 5)
		unix.Close(client)
		unix.Close(server)
	}
	refused := tcpAddr("::1", 1)
	for range 23 {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, refused); err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	f := collectAs[*Flow](t, c, time.Second)
	got := f.ours()
	for counter, want := range map[FlowCounter]uint64{
		FlowConnects: 46, FlowEstablished: 23, FlowRefused: 23, FlowAccepts: 23, FlowEnded: 46, FlowSent: 115, FlowReceived: 115,
	} {
		if got.Counts[counter] != want {
			t.Errorf("counter %d = %d, want %d", counter, got.Counts[counter], want)
		}
	}
	if got.Start == 0 || got.Comm.Bytes() == "" {
		t.Errorf("the process is %+v", got)
	}
	listed := map[FlowCounter]int{}
	for _, list := range f.lists() {
		for _, e := range list.Rows {
			if int(e.Process.TGID) != os.Getpid() {
				continue
			}
			listed[e.Kind]++
			if e.At < -time.Minute || e.At > time.Minute || !e.Local.IsValid() || !e.Remote.Addr().IsLoopback() {
				t.Errorf("a row: %+v", e)
			}
		}
	}
	if listed[FlowRefused] != 23 || listed[FlowEnded] != 46 {
		t.Errorf("listed by kind: %v, want 23 refused and 46 ended", listed)
	}
	for _, p := range c.Probes() {
		if p.State != On && p.Name != "tcpaccept" { // Degraded where old sockets have no owner
			t.Errorf("%s is %s: %s", p.Name, p.State, p.Reason)
		}
	}
}

// TestFlowListen forces overflows: the listening socket and its process are named, and the count is
// the kernel's.
func TestFlowListen(t *testing.T) {
	c := liveFlow(t)
	_, port := listenTCP(t, "127.0.0.1", 1)
	overflow(t, port, 23)
	low := kernelCounter(t, "netstat", "TcpExt", "ListenOverflows")
	f := collectAs[*Flow](t, c, time.Second)
	high := kernelCounter(t, "netstat", "TcpExt", "ListenOverflows")
	l := f.Listen
	if l.Overflows < low || l.Overflows > high || l.Drops < l.Overflows {
		t.Errorf("overflows %d and drops %d, want %d to %d", l.Overflows, l.Drops, low, high)
	}
	if len(l.Rows) != 1 {
		t.Fatalf("rows %+v (%s), want one", l.Rows, l.Why)
	}
	r := l.Rows[0]
	if r.Drops < low || r.Drops > high || int(r.Local.Port()) != port || r.Backlog != 1 {
		t.Errorf("row %+v, want %d to %d drops at port %d", r, low, high, port)
	}
	if r.Owner == nil || int(r.Owner.TGID) != os.Getpid() {
		t.Errorf("the owner is %+v, want %d", r.Owner, os.Getpid())
	}
}
