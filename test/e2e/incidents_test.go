// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Variables of a load in a network namespace of its own: it asks for connections at an address with senders
// that do not exist, or connects to it and keeps what it gets.
const (
	loadFloods   = "BPF60_E2E_FLOODS"
	loadConnects = "BPF60_E2E_CONNECTS"
)

// trouble begins what those variables ask for.
func trouble() error {
	if addr := os.Getenv(loadFloods); addr != "" {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		port, err := listenBriefly(addr)
		if err != nil {
			return err
		}
		go flood(fd, net.ParseIP(addr).To4(), port)
	}
	if addr := os.Getenv(loadConnects); addr != "" {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			return err
		}
		go connectAgain(l)
	}
	return nil
}

// listenBriefly listens at a port of its own, for four connections at a time.
func listenBriefly(addr string) (port int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	to := &unix.SockaddrInet4{Port: 8080}
	copy(to.Addr[:], net.ParseIP(addr).To4())
	if err := unix.Bind(fd, to); err != nil {
		return 0, err
	}
	return to.Port, unix.Listen(fd, 4)
}

// flood sends two hundred SYNs a second, each from another port of a host that does not exist.
func flood(fd int, to []byte, port int) {
	dest := &unix.SockaddrInet4{}
	copy(dest.Addr[:], to)
	began, sent := time.Now(), 0
	for range time.Tick(20 * time.Millisecond) {
		for ; float64(sent) < 200*time.Since(began).Seconds(); sent++ {
			if err := unix.Sendto(fd, syn(to, port, uint16(1024+sent%60000)), 0, dest); err != nil {
				fmt.Fprintln(os.Stderr, "sending a SYN:", err)
				return
			}
		}
	}
}

// syn is a packet with a SYN to an address from one next to it.
func syn(to []byte, port int, from uint16) []byte {
	b := make([]byte, 40)
	ip, tcp := b[:20], b[20:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP // the kernel fills in length and sum
	copy(ip[12:], to)
	ip[15] = to[3] + 100
	copy(ip[16:], to)
	put16(tcp, from)
	put16(tcp[2:], uint16(port))
	tcp[12], tcp[13] = 5<<4, 2
	put16(tcp[14:], 65535)
	sum := uint32(unix.IPPROTO_TCP) + uint32(len(tcp))
	for i := 0; i < len(b)-12; i += 2 { // the addresses and all of TCP
		sum += uint32(b[12+i])<<8 + uint32(b[13+i])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	put16(tcp[16:], ^uint16(sum))
	return b
}

func put16(b []byte, n uint16) { b[0], b[1] = byte(n>>8), byte(n) }

// connectAgain connects twenty times a second and keeps what it gets, on both sides.
func connectAgain(l net.Listener) {
	keep := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the other end closes, which it does not
	for range time.Tick(50 * time.Millisecond) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			continue // no port is left: that is what it is for
		}
		if other, err := l.Accept(); err == nil {
			go keep(c)
			go keep(other)
		}
	}
}

// Requests that fill a listener's queue, and connects that find no port, in a network namespace in which the
// report is made: the listener and the client are named.
func TestIncidentsOfNetwork(t *testing.T) {
	asRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	load := func(name, variable string) string {
		return fmt.Sprintf("%s=%x %s=1 %s=1 %s=192.0.2.1 %s <&3 & ", loadName, name, loadThreads, loadMillis, variable, self)
	}
	ip := tool(t, "ip")
	// The loads end with their standard input, which is the script's, which is ours.
	script := `set -e; exec 3<&0
"$1" link set lo up; "$1" link add e2e-a type veth peer name e2e-b; "$1" addr add 192.0.2.1/24 dev e2e-a; "$1" link set e2e-a up arp off; "$1" link set e2e-b up arp off
echo 50000 50009 >/proc/sys/net/ipv4/ip_local_port_range; echo 0 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 1 >/proc/sys/net/ipv4/tcp_syncookies
` + load("e2e-floods", loadFloods) + load("e2e-connects", loadConnects) + `
"$2" report --for 15s --format json cpu </dev/null; exec 3<&- <&-; wait`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", ip, binary())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true}
	var said strings.Builder
	cmd.Stderr = &said
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		lacking(t, "cannot make a network namespace: "+err.Error())
	}
	var m measured
	err = json.NewDecoder(out).Decode(&m)
	end.Close()
	_ = cmd.Wait() // the loads are what it waits for
	if err != nil {
		t.Fatalf("reading the report: %v\n%s", err, said.String())
	}
	if f := m.find(t, "net.syn_flood"); f.Severity != "warning" || !f.blames("e2e-floods[") {
		t.Errorf("net.syn_flood: %+v, want e2e-floods, which listens\n%s", f, said.String())
	}
	if f := m.find(t, "net.ports_exhausted"); !f.blames("e2e-connects[") || f.blames("e2e-floods[") {
		t.Errorf("net.ports_exhausted: %+v, want e2e-connects\n%s", f, said.String())
	}
}

// quota makes a cgroup that gets a tenth of a CPU, and removes it with the test.
func quota(t *testing.T, name string) (dir string) {
	t.Helper()
	root, limits := "/sys/fs/cgroup/cpu", [][2]string{{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", "10000"}}
	if _, err := os.Stat(root); err != nil {
		root, limits = "/sys/fs/cgroup", [][2]string{{"cpu.max", "10000 100000"}}
	}
	dir = filepath.Join(root, fmt.Sprintf("%s-%d", name, os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		lacking(t, "cannot make a cgroup: "+err.Error())
	}
	t.Cleanup(func() { until(t, "removing "+dir, func() bool { return os.Remove(dir) == nil }) })
	for _, limit := range limits {
		if err := os.WriteFile(filepath.Join(dir, limit[0]), []byte(limit[1]), 0o600); err != nil {
			lacking(t, "cannot limit the CPU time of a cgroup: "+err.Error())
		}
	}
	return dir
}

// A cgroup that its quota stops, a command that crashes again and again, and one that is run all the time
// are named, with who starts them.
func TestIncidentsOfProcesses(t *testing.T) {
	asRoot(t)
	dir := quota(t, "e2e-quota")
	leash(t, `echo $$ >"$1/cgroup.procs" || exit; (while :; do :; done) & p=$!; read _; kill $p`, dir)
	command := func(name, script string) string {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, "#!/bin/sh\n"+script+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	leash(t, `ulimit -c 0; (while :; do "$1"; sleep 0.2; done) & p=$!; read _; kill $p`, command("e2e-crash", "kill -SEGV $$"))
	leash(t, `(while :; do "$1"; done) & p=$!; (while :; do "$1"; done) & p="$p $!"; read _; kill $p`, command("e2e-brief", ":"))

	m := measure(t, 16*time.Second, `"proc.exec_storm.share" = 1`)
	if f := m.find(t, "cpu.throttled"); f.Severity != "warning" || !f.blames("/e2e-quota") && !f.blames("e2e-quota") || !strings.Contains(f.Title, "0.10 CPU") {
		t.Errorf("cpu.throttled: %+v, want the cgroup e2e-quota", f)
	}
	if f := m.find(t, "proc.crash_loop"); f.Severity != "warning" || !f.blames("e2e-crash") || !strings.Contains(f.Title, "signal 11") {
		t.Errorf("proc.crash_loop: %+v, want e2e-crash", f)
	}
	if f := m.find(t, "proc.exec_storm"); !f.blames("e2e-brief by sh[") {
		t.Errorf("proc.exec_storm: %+v, want e2e-brief by sh", f)
	}
}
