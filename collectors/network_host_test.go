// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netns starts a process in a network namespace of its own and returns its number.
func netns(t *testing.T) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrPermission) {
			lacking(t, "needs CAP_SYS_ADMIN to make a network namespace")
		}
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

// inNetNS runs f in a process's network namespace, on a thread that ends with it.
func inNetNS(t *testing.T, pid int, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go enter(pid, f, done)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func enter(pid int, f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() { // the first thread's namespace is that of /proc/self: leave it
		inner := make(chan error, 1)
		go enter(pid, f, inner)
		done <- <-inner
		runtime.UnlockOSThread()
		return
	}
	// The thread stays locked, so that it ends with this goroutine: it is of no use to others.
	done <- func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	}()
}

// ip runs the ip command in a process's namespace.
func ip(t *testing.T, pid int, lines ...string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		lacking(t, "needs the ip command")
	}
	for _, l := range lines {
		args := append([]string{"-t", strconv.Itoa(pid), "-n", "ip"}, strings.Fields(l)...)
		if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", l, err, out)
		}
	}
}

// spaceOf finds a namespace by the process it is read through.
func spaceOf(n *Network, pid int) *NetSpace {
	for i := range n.Spaces {
		if int(n.Spaces[i].PID) == pid {
			return &n.Spaces[i]
		}
	}
	return nil
}

// TestNetworkCounts sends 23 datagrams of 100 bytes from one namespace to another, over a pair, and
// finds all of them and no more on both ends; then a namespace is lost, and found when it is back.
func TestNetworkCounts(t *testing.T) {
	from, _ := netns(t)
	to, stop := netns(t)
	for _, pid := range []int{from, to} {
		inNetNS(t, pid, func() error { // or neighbours would be looked for, and packets with them
			return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		})
	}
	ip(t, from, fmt.Sprintf("link add bpf60a address 02:00:00:00:00:0a type veth peer name bpf60b address 02:00:00:00:00:0b netns %d", to),
		"addr add 192.0.2.1/24 dev bpf60a", "link set lo up")
	// The receiving end comes up first: then the other one has a carrier from the start, and the
	// kernel does not drop what it sends until a worker has noticed.
	ip(t, to, "addr add 192.0.2.2/24 dev bpf60b", "link set bpf60b arp off up")
	ip(t, from, "link set bpf60a arp off up", "neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0b dev bpf60a nud permanent")

	c := NewNetwork(NewFS(""))
	start(t, c)
	now := time.Duration(0)
	until := func(what string, done func(*Network) bool) {
		t.Helper()
		for end := now + 2*time.Minute; now < end; now += time.Second {
			if done(collectAs[*Network](t, c, now)) {
				now += time.Second
				return
			}
		}
		t.Fatalf("%s: not within two minutes of samples", what)
	}
	got := make(map[int]bool)
	until("both namespaces are found", func(n *Network) bool {
		for _, pid := range []int{from, to} {
			got[pid] = got[pid] || spaceOf(n, pid) != nil
		}
		return got[from] && got[to]
	})

	const packets, payload = 23, 100
	inNetNS(t, from, func() error {
		conn, err := net.Dial("udp", "192.0.2.2:9")
		if err != nil {
			return err
		}
		defer conn.Close()
		for range packets {
			// The other end says that nobody listens there: the next write fails for it, and sends nothing.
			if _, err := conn.Write(make([]byte, payload)); err != nil {
				if _, err = conn.Write(make([]byte, payload)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	const frame = 14 + 20 + 8 + payload
	var sent, received IfaceCounts
	var noPort, out uint64
	clear(got)
	until("the datagrams are counted", func(n *Network) bool {
		for i := range n.Ifaces {
			switch r := &n.Ifaces[i]; r.Name.Bytes() {
			case "bpf60a":
				sent.Plus(&r.IfaceCounts)
			case "bpf60b":
				received.Plus(&r.IfaceCounts)
			}
		}
		for _, pid := range []int{from, to} {
			if s := spaceOf(n, pid); s != nil && s.Seconds() > 0 {
				got[pid] = true
				noPort += s.UDPNoPort
				out += s.UDPOut
			}
		}
		return got[from] && got[to] && noPort >= packets && out >= packets
	})
	if sent.TxPackets != packets || sent.TxBytes != packets*frame {
		t.Errorf("sent %d packets, %d bytes, want %d and %d", sent.TxPackets, sent.TxBytes, packets, packets*frame)
	}
	if received.RxPackets != packets || received.RxBytes != packets*frame {
		t.Errorf("received %d packets, %d bytes, want %d and %d", received.RxPackets, received.RxBytes, packets, packets*frame)
	}
	if noPort != packets || out != packets {
		t.Errorf("%d datagrams sent and %d to no port, want %d", out, noPort, packets)
	}

	stop()
	until("the namespace is gone", func(n *Network) bool {
		if spaceOf(n, to) != nil {
			t.Fatalf("a namespace is read that nobody is in")
		}
		return c.(*networkCollector).others.spaces[deadSpace(c, to)] == nil
	})
	again, _ := netns(t)
	until("a new namespace is found", func(n *Network) bool { return spaceOf(n, again) != nil })
}

// deadSpace is the ID of the namespace that is read through a process.
func deadSpace(c Collector, pid int) uint64 {
	for id, x := range c.(*networkCollector).others.spaces {
		if int(x.pid) == pid || int(x.place.PID) == pid {
			return id
		}
	}
	return 0
}

// TestNetworkAgrees holds the sample's totals against the kernel's other file.
func TestNetworkAgrees(t *testing.T) {
	c := newNetwork(NewFS(""), newLinkSource(NewFS("")))
	start(t, c)
	s := collectAs[*Network](t, c, 0)
	for _, r := range s.Ifaces {
		for file, total := range map[string]uint64{"rx_bytes": r.Total.RxBytes, "tx_packets": r.Total.TxPackets} {
			now, ok := sysNumber("/sys/class/net/"+r.Name.Bytes()+"/statistics", file)
			if !ok {
				lacking(t, "/sys is not of this namespace")
			}
			if now < total || now-total > 1<<26 {
				t.Errorf("%s of %s = %d, /sys says %d a moment later", file, r.Name.Bytes(), total, now)
			}
		}
	}
	answers, err := newLinkSource(NewFS(""))(linkQuestion{})
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]linkAnswer, len(answers))
	for _, a := range answers {
		byName[a.Name] = a
	}
	for _, want := range interfaces {
		a, ok := byName[want.Name]
		if !ok || int(a.Index) != want.Index || int(a.MTU) != want.MTU || a.Loopback != (want.Flags&net.FlagLoopback != 0) {
			t.Errorf("%s = %+v, want %+v", want.Name, a, want)
		}
	}
}

// TestLinkPeer finds the namespace at the other end of a pair.
func TestLinkPeer(t *testing.T) {
	from, _ := netns(t)
	to, _ := netns(t)
	ip(t, from, fmt.Sprintf("link add bpf60c type veth peer name bpf60d netns %d", to))
	inNetNS(t, from, func() error {
		answers, err := askLinks(linkQuestion{spaces: map[uint64]int32{77: int32(to)}})
		if err != nil {
			return err
		}
		for _, a := range answers {
			if a.Name == "bpf60c" {
				if a.Type != "veth" || a.Peer != 77 || a.kind() != LinkVeth {
					t.Errorf("bpf60c = %+v, want a veth whose other end is in 77", a)
				}
				return nil
			}
		}
		return errors.New("bpf60c is not among the interfaces")
	})
}

// TestNamespaceIsLetGo holds that reading a namespace does not keep it: its pair goes with it.
func TestNamespaceIsLetGo(t *testing.T) {
	from, _ := netns(t)
	to, stop := netns(t)
	ip(t, from, fmt.Sprintf("link add bpf60e type veth peer name bpf60f netns %d", to))
	c := NewNetwork(NewFS(""))
	start(t, c)
	for i := range 30 {
		collectAs[*Network](t, c, time.Duration(i)*time.Second)
	}
	if deadSpace(c, to) == 0 {
		t.Fatal("the namespace was not found")
	}
	stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", from))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "bpf60e") {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the pair outlives the namespace's last process by ten seconds")
		}
		runtime.Gosched()
	}
}
