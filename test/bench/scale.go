// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// scaleRows: a host with very many sockets, and one with very many CPUs.
func scaleRows(o options) ([]row, error) {
	sockets, err := socketRows(o)
	if err != nil {
		return nil, err
	}
	return append(sockets, cpusRow()), nil
}

// heldPairs are connections that are held: each has two sockets.
const heldPairs = 25_000

// socketRows: what the list of connections costs while 50,000 sockets are open, and whether it is drawn in
// time.
func socketRows(o options) ([]row, error) {
	end, err := manySockets()
	if err != nil {
		return nil, err
	}
	defer end()
	p, err := play(80, 24, o.path)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.settle(); err != nil {
		return nil, err
	}
	if err := p.press("7"); err != nil {
		return nil, err
	}
	listed := func(rows []string) bool { return strings.Contains(strings.Join(rows[:2], ""), "[7") }
	if _, err := p.until("the connections", listed); err != nil {
		return nil, err
	}
	time.Sleep(warmUp)
	begun := pressureNow()
	before, err := cpuTime(p.pid())
	if err != nil {
		return nil, err
	}
	p.counted()
	time.Sleep(o.span)
	after, err := cpuTime(p.pid())
	if err != nil {
		return nil, err
	}
	used := 100 * float64(after-before) / float64(time.Since(begun.at))
	gaps := p.gaps()
	rss, err := peakRSS(p.pid())
	if err != nil {
		return nil, err
	}
	return []row{
		row{
			what: fmt.Sprintf("own CPU, %d sockets, TCP pane open", 2*heldPairs), ours: fmt.Sprintf("%.2f %%", used),
			note: fmt.Sprintf("of one CPU; resident, peak %.1f MB", rss/1e6),
		}.below(used, 5, "5 %").busySince(begun),
		// A frame is in time if it comes before the next one is due.
		row{
			what: "  from frame to frame, at most", ours: fmt.Sprintf("%.2f s", quantile(gaps, 1)),
			note: fmt.Sprintf("median %.2f s, n %d", median(gaps), len(gaps)),
		}.below(quantile(gaps, 1), 2, "2 s").busySince(begun),
	}, nil
}

// holdArg makes this program hold connections to itself.
const holdArg = "-hold"

// manySockets starts processes that hold connections, and returns once all are there.
func manySockets() (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		return nil, fmt.Errorf("asking for the limit of open files: %w", err)
	}
	// As few as two, if each may have so many files open.
	each := int(min(most.Max, heldPairs+64)-64) / 2
	for i, left := 0, heldPairs; left > 0; i, left = i+1, left-each {
		cmd := exec.Command(self, holdArg, strconv.Itoa(i), strconv.Itoa(min(each, left)))
		cmd.Stderr, cmd.SysProcAttr = os.Stderr, mortal()
		in, err := cmd.StdinPipe()
		if err != nil {
			end()
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			end()
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			end()
			return nil, fmt.Errorf("starting a holder of connections: %w", err)
		}
		ends = append(ends, func() {
			in.Close()
			_ = cmd.Wait() // it said what went wrong
		})
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			end()
			return nil, fmt.Errorf("holding connections: it says %q: %w", line, err)
		}
	}
	return end, nil
}

// holdMain is a process that manySockets starts: it ends with its input.
func holdMain(args []string) error {
	if len(args) != 2 {
		return errors.New(holdArg + " takes an address and a number of connections")
	}
	at, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	// An address of its own: ports are short.
	socket, addr, err := listening([4]byte{127, 0, 60, byte(1 + at)})
	if err != nil {
		return err
	}
	for range n {
		if err := holdOne(socket, addr); err != nil {
			return err
		}
	}
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// holdOne makes a connection that leaves nothing behind when the process ends.
func holdOne(listener int, at unix.Sockaddr) error {
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	if err := unix.Connect(client, at); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return fmt.Errorf("setting a socket to end at once: %w", err)
		}
	}
	return nil
}

// cpusRow is what a frame of the CPU pane takes on a host of 256 CPUs, as the benchmark of the panes
// measures it.
func cpusRow() row {
	r := row{what: "a frame of 256 CPUs, of the interval"}
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkView$/^cpu-of-256$", "-benchtime", "200x", "./panes").CombinedOutput()
	if err == nil {
		var ns float64
		if ns, err = nsPerOp(string(out)); err == nil {
			share := 100 * ns / 1e9
			r.ours, r.note = fmt.Sprintf("%.2f ms", ns/1e6), "of 1 s; 200 columns, 50 lines"
			r.ratio = fmt.Sprintf("%.4f", ns/1e9)
			return r.below(share, 5, "5 %")
		}
	}
	last := strings.Split(strings.TrimSpace(string(out)), "\n")
	r.ok, r.note = absent, fmt.Sprintf("not measured: %v: %s", err, last[len(last)-1])
	return r
}

// nsPerOp is the time of the one benchmark in what go test prints.
func nsPerOp(text string) (float64, error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		for i := 1; i < len(f); i++ {
			if f[i] == "ns/op" {
				return strconv.ParseFloat(f[i-1], 64)
			}
		}
	}
	return 0, errors.New("reading what go test prints: no time")
}
