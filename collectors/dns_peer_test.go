// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/bpf"
)

// tool finds a program that the packages of make test-deps bring.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lacking(t, "no %s: make test-deps", name)
	}
	return path
}

// command runs a program in the namespaces of the calling thread.
func command(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

// answerAll answers every question at a socket with one address, 127.0.0.9, until it is shut down.
func answerAll(fd int) {
	buf := make([]byte, 1500)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil || n < 17 || from == nil {
			return
		}
		end := 12
		for end < n && buf[end] != 0 {
			end += int(buf[end]) + 1
		}
		if end += 5; end > n {
			continue
		}
		m := append([]byte(nil), buf[:end]...)
		m[2], m[3], m[7] = m[2]|0x80, 0x80, 1
		m[8], m[9], m[10], m[11] = 0, 0, 0, 0 // what else was asked, as EDNS, is left out
		m = append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9)
		_ = unix.Sendto(fd, m, 0, from)
	}
}

// TestDNSAcrossBridge asks from a bridge through one of its ports into another namespace. Questions and
// answers pass two devices of the same namespace, and count once.
func TestDNSAcrossBridge(t *testing.T) {
	ip := tool(t, "ip")
	k := bpf.Inspect()
	collect := live(t, NewDNS(k, NewFS(""), newFeed(k), nil))
	inNetns(t)
	thread, done := make(chan int), make(chan struct{})
	served := make(chan error)
	go func() { // the server's namespace
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			thread <- 0
			return
		}
		thread <- unix.Gettid()
		<-done // the device has come
		var fd int
		err := exec.Command(ip, "addr", "add", "10.9.9.2/24", "dev", "b60e").Run()
		if err == nil {
			err = exec.Command(ip, "link", "set", "b60e", "up").Run()
		}
		if err == nil {
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		}
		if err == nil {
			t.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR); _ = unix.Close(fd) })
			err = unix.Bind(fd, tcpAddr("10.9.9.2", 53))
		}
		served <- err
		if err == nil {
			answerAll(fd)
		}
	}()
	tid := <-thread
	if tid == 0 {
		lacking(t, "needs a second network namespace")
	}
	command(t, ip, "link", "add", "b60b", "type", "bridge")
	command(t, ip, "link", "add", "b60p", "type", "veth", "peer", "name", "b60e", "netns", strconv.Itoa(tid))
	command(t, ip, "link", "set", "b60p", "master", "b60b", "up")
	command(t, ip, "link", "set", "b60b", "up")
	command(t, ip, "addr", "add", "10.9.9.1/24", "dev", "b60b")
	close(done)
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	fd, buf := udpAt(t, "10.9.9.1", 0), make([]byte, 512)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		t.Fatal(err)
	}
	ask := func(id byte) bool {
		q := []byte{9, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 0, 0, 1, 0, 1}
		if err := unix.Sendto(fd, q, 0, tcpAddr("10.9.9.2", 53)); err != nil {
			t.Fatal(err)
		}
		for { // past late answers to questions that were given up
			if n, _, err := unix.Recvfrom(fd, buf, 0); err != nil || n > 1 && buf[1] == id {
				return err == nil
			}
		}
	}
	for try := byte(0); !ask(200 + try); try++ { // until the bridge forwards
		if try == 10 {
			t.Fatal("the bridge does not forward")
		}
	}
	collect()
	for i := range byte(23) {
		if !ask(i) {
			t.Fatalf("question %d got no answer", i)
		}
	}
	s := collect().(*DNS)
	var got DNSCounts
	for i := range s.Pairs {
		if p := &s.Pairs[i]; int(p.TGID) == os.Getpid() && p.Server == netip.MustParseAddr("10.9.9.2") {
			got.Plus(&p.DNSCounts)
		}
	}
	if got.Queries != 23 || got.Answers != 23 || got.Retries != 0 || s.Unmatched != 0 {
		t.Errorf("%d questions, %d answers, %d retries, %d answers of nobody, want 23, 23, 0, 0", got.Queries, got.Answers, got.Retries, s.Unmatched)
	}
}

// TestDNSBesideGethostlatency has libc look up 23 names, and compares with the gethostlatency of
// libbpf-tools: as many look-ups, and none faster than its answer came.
func TestDNSBesideGethostlatency(t *testing.T) {
	peer, getent, unshare, stdbuf := tool(t, "gethostlatency"), tool(t, "getent"), tool(t, "unshare"), tool(t, "stdbuf")
	k := bpf.Inspect()
	collect := live(t, NewDNS(k, NewFS(""), newFeed(k), nil))
	cmd := exec.Command(stdbuf, "-oL", peer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	rows := make(chan []string, 1024)
	go func() {
		defer close(rows)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			rows <- strings.Fields(sc.Text())
		}
	}()
	for attached := false; !attached; { // until it sees a look-up of ours
		if err := exec.Command(getent, "ahostsv4", "localhost").Run(); err != nil {
			lacking(t, "getent finds no localhost: %v", err)
		}
		select {
		case r, ok := <-rows:
			if !ok {
				lacking(t, "gethostlatency does not run here")
			}
			attached = len(r) == 5 && r[4] == "localhost"
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("gethostlatency did not attach")
		}
	}
	inNetns(t)
	command(t, tool(t, "ip"), "addr", "add", "10.9.9.9/32", "dev", "lo") // libc asks nobody where there is but loopback
	fd := udpAt(t, "127.0.0.1", 53)
	go answerAll(fd)
	t.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	dir := t.TempDir()
	conf, nss := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf")
	for file, text := range map[string]string{conf: "nameserver 127.0.0.1\n", nss: "hosts: dns\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	script := fmt.Sprintf(`mount --bind %s /etc/resolv.conf && mount --bind %s /etc/nsswitch.conf || exit 77
		for i in $(seq 23); do %s ahostsv4 name$i.bpf60.example >/dev/null || exit 1; done`, conf, nss, getent)
	if out, err := exec.Command(unshare, "-m", "sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("looking names up: %v: %s", err, out)
	}
	s := collect().(*DNS)
	var ours DNSCounts
	processes := map[int32]time.Duration{}
	for i := range s.Pairs {
		if p := &s.Pairs[i]; p.Comm.Bytes() == "getent" && p.Server == netip.MustParseAddr("127.0.0.1") {
			ours.Plus(&p.DNSCounts)
			processes[p.TGID] = p.Latency.Mean()
		}
	}
	if ours.Queries != 23 || ours.Answers != 23 || len(processes) != 23 {
		t.Errorf("%d questions and %d answers of %d processes, want 23 of each", ours.Queries, ours.Answers, len(processes))
	}
	theirs := 0
	for end := time.After(3 * time.Second); theirs < 23; {
		select {
		case r := <-rows:
			if len(r) != 5 || !strings.HasSuffix(r[4], ".bpf60.example") {
				continue
			}
			theirs++
			pid, err := strconv.Atoi(r[1])
			ms, err2 := strconv.ParseFloat(r[3], 64)
			if err != nil || err2 != nil {
				t.Fatalf("gethostlatency printed %q", r)
			}
			if d, ok := processes[int32(pid)]; !ok || d <= 0 || d.Seconds()*1e3 > ms+0.001 {
				t.Errorf("gethostlatency has %s by process %d in %.3f ms, we in %v (seen: %v)", r[4], pid, ms, d, ok)
			}
		case <-end:
			t.Fatalf("gethostlatency saw %d look-ups, want 23", theirs)
		}
	}
}
