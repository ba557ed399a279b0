// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manyEnv makes a re-executed test hold that many connections.
const manyEnv = "BPF60_TEST_CONNECTIONS"

// TestHoldConnections is no test of its own: it is what the benchmark starts, several times, since
// one process may not have so many files open. It makes connections to itself, says so, and sends
// a byte on a tenth of them for each line it reads.
func TestHoldConnections(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(manyEnv))
	if err != nil {
		return
	}
	addr := fmt.Sprintf("127.0.%d.1", os.Getpid()%250)
	listener, port := listenTCP(t, addr, 1024)
	fds := make([]int, 0, n)
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, tcpAddr(addr, port)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	fmt.Fprintln(os.Stderr, "ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		for i := 0; i < len(fds); i += 10 {
			send(t, fds[i], 1)
		}
		fmt.Fprintln(os.Stderr, "sent")
	}
}

// holdConnections starts processes that hold pairs of connected sockets, and returns a function
// that makes a tenth of them move.
func holdConnections(b *testing.B, processes, pairs int) (move func()) {
	b.Helper()
	var moves []func()
	for range processes {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestHoldConnections$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", manyEnv, pairs))
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StderrPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				b.Error(err)
			}
		})
		lines := bufio.NewScanner(out)
		expect := func(want string) {
			if !lines.Scan() || lines.Text() != want {
				b.Fatalf("the holder of connections says %q, want %q", lines.Text(), want)
			}
		}
		expect("ready")
		moves = append(moves, func() {
			fmt.Fprintln(in)
			expect("sent")
		})
	}
	return func() {
		for _, m := range moves {
			m()
		}
	}
}

// BenchmarkCollectSockets reads 50,000 connected sockets, without one that moves, and with every
// twentieth moving. us-cpu is what the collector itself measures.
func BenchmarkCollectSockets(b *testing.B) {
	const processes, pairs = 5, 5000
	for name, moving := range map[string]bool{"at rest": false, "moving": true} {
		b.Run(name, func(b *testing.B) {
			inNetns(b)
			move := holdConnections(b, processes, pairs)
			c := newSockets(openDiag, noOwners())
			start(b, c)
			collectAs[*Sockets](b, c, 0)
			b.ReportAllocs()
			var now, cost time.Duration
			for b.Loop() {
				if moving {
					b.StopTimer()
					move()
					b.StartTimer()
				}
				now += time.Minute
				s := collectAs[*Sockets](b, c, now)
				if s.States[Established] != 2*processes*pairs {
					b.Fatalf("%d sockets, want %d", s.States[Established], 2*processes*pairs)
				}
				cost += s.Cost
			}
			b.ReportMetric(float64(cost.Microseconds())/float64(b.N), "us-cpu/op")
		})
	}
}
