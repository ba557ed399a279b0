// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flowTool is the path of a tool of libbpf-tools; without it the test is skipped, but not in CI.
func flowTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
			t.Fatalf("%s of libbpf-tools is not installed: make test-deps", name)
		}
		t.Skipf("%s of libbpf-tools is not installed: make test-deps", name)
	}
	return path
}

// startFlowTool starts a tool that prints a line an event, and returns when it is attached.
func startFlowTool(t *testing.T, path string) *flowToolRun {
	t.Helper()
	cmd := exec.Command("stdbuf", "-oL", path, "-w")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p := &flowToolRun{cmd: cmd, out: bufio.NewScanner(out)}
	if !p.out.Scan() { // the heads of the columns come once it is attached
		t.Fatalf("%s prints nothing: %v", path, p.out.Err())
	}
	return p
}

type flowToolRun struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

// stop ends the tool and returns its lines, in fields.
func (p *flowToolRun) stop(t *testing.T) (lines [][]string) {
	t.Helper()
	readUp(t, p.cmd)
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for p.out.Scan() {
		lines = append(lines, strings.Fields(p.out.Text()))
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v: %v", p.cmd, err)
	}
	return lines
}

// exchanges makes connections of known size to a port. It returns the port, and how long the longest
// handshake took.
func exchanges(t *testing.T, n int) (port string, handshake time.Duration) {
	t.Helper()
	listener, at := listenAt(t, "127.0.0.1", 64)
	for range n {
		began := time.Now()
		fd := dialTo(t, at, nil)
		handshake = max(handshake, time.Since(began))
		server := acceptFrom(t, listener)
		writeAll(t, fd, 10<<10)
		readAll(t, server, 10<<10)
		writeAll(t, server, 20<<10)
		readAll(t, fd, 20<<10)
		unix.Close(fd)
		unix.Close(server)
	}
	return strconv.Itoa(int(at.Port())), handshake
}

// TestFlowBesideTcplife compares every connection that ended with the line of libbpf-tools' tcplife:
// process, ports, kilobytes and life span.
func TestFlowBesideTcplife(t *testing.T) {
	const n = 23
	path := flowTool(t, "tcplife")
	if inWorld(t, "tracefs") {
		return
	}
	k := need(t)
	freshNetns(t)
	events := openFlowEvents(t, k)
	openFlow(t, k, allFlow())
	tool := startFlowTool(t, path)
	port, handshake := exchanges(t, n)
	lines := tool.stop(t)
	type line struct{ pid, local, remote string }
	theirs := map[line][]string{}
	for _, f := range lines { // PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS
		if len(f) == 9 && (f[3] == port || f[5] == port) {
			theirs[line{f[0], f[3], f[5]}] = f[6:]
		}
	}
	ours := records(t, events, byUs)[EventConnection]
	if len(ours) != 2*n || len(theirs) != 2*n {
		t.Errorf("%d ends, by tcplife %d, want %d", len(ours), len(theirs), 2*n)
	}
	for _, e := range ours {
		l := line{strconv.Itoa(int(e.Owner.Tgid)), strconv.Itoa(int(e.LocalPort)), strconv.Itoa(int(e.RemotePort))}
		f := theirs[l]
		if f == nil {
			t.Errorf("tcplife has no line of %+v", l)
			continue
		}
		for i, want := range []float64{float64(e.Sent) / 1024, float64(e.Received) / 1024, float64(e.Lasted) / 1e6} {
			got, err := strconv.ParseFloat(f[i], 64)
			// It counts SYN and FIN as a byte each, and a life from the end of the handshake. Both look at the
			// clock in the same call, one after the other: an interrupt may come between.
			if slack := []float64{0.02, 0.02, 5 + float64(handshake)/1e6}[i]; err != nil || math.Abs(got-want) > slack {
				t.Errorf("%+v: tcplife says %s, we %.2f", l, f[i], want)
			}
		}
	}
}

// TestFlowBesideTcpstates compares the changes of state with the lines of libbpf-tools' tcpstates. Both
// see the whole host, and the tool from a little earlier to a little later than we.
func TestFlowBesideTcpstates(t *testing.T) {
	const n = 23
	path := flowTool(t, "tcpstates")
	if inWorld(t, "tracefs") {
		return
	}
	k := need(t)
	freshNetns(t)
	f := openFlow(t, k, allFlow())
	tool := startFlowTool(t, path)
	var before, after FlowReading
	if err := f.Read(&before, 0); err != nil {
		t.Fatal(err)
	}
	port, _ := exchanges(t, n)
	if err := f.Read(&after, 0); err != nil {
		t.Fatal(err)
	}
	names := []string{1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}
	var least, most [FlowStates][FlowStates]uint64
	for _, l := range tool.stop(t) { // SKADDR PID COMM IP LADDR LPORT RADDR RPORT OLD -> NEW MS
		if len(l) < 12 {
			continue
		}
		l = l[len(l)-8:] // a name may hold blanks
		from, to := slices.Index(names, l[4]), slices.Index(names, l[6])
		if from < 0 || to < 0 {
			t.Fatalf("a line of tcpstates: %q", l)
		}
		most[from][to]++
		if l[1] == port || l[3] == port {
			least[from][to]++
		}
	}
	if least[2][1] != n || least[3][1] != n {
		t.Fatalf("tcpstates saw %d connects and %d accepts, want %d each", least[2][1], least[3][1], n)
	}
	for from := range after.Moves {
		for to, now := range after.Moves[from] {
			if got := now - before.Moves[from][to]; got < least[from][to] || got > most[from][to] {
				t.Errorf("%d changes from %d to %d, by tcpstates %d to %d", got, from, to, least[from][to], most[from][to])
			}
		}
	}
}
