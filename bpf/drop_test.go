// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openDrop(t testing.TB, k *Kernel) *Drop {
	t.Helper()
	d, err := OpenDrop(k)
	if err != nil {
		t.Fatalf("OpenDrop: %v", err)
	}
	closing(t, d)
	if err := d.PacketsErr(); err != nil {
		t.Fatalf("dropped packets are not seen: %v", err)
	}
	if err := d.SocketsErr(); err != nil {
		t.Fatalf("full sockets are not seen: %v", err)
	}
	return d
}

func readDrop(t testing.TB, d *Drop) *DropReading {
	t.Helper()
	r, err := d.Read()
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

// snmpUDP reads a counter of the calling thread's namespace from the lines of Udp or, by its name, from
// snmp6.
func snmpUDP(t testing.TB, name string) (n uint64) {
	t.Helper()
	read := func(file string) string {
		b, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	var heads []string
	for line := range strings.Lines(read("snmp")) {
		f := strings.Fields(line)
		if f[0] != "Udp:" {
			continue
		}
		if heads == nil {
			heads = f
			continue
		}
		for i := range heads {
			if heads[i] == name {
				v, _ := strconv.ParseUint(f[i], 10, 64)
				n += v
			}
		}
	}
	for line := range strings.Lines(read("snmp6")) {
		if f := strings.Fields(line); f[0] == "Udp6"+name {
			v, _ := strconv.ParseUint(f[1], 10, 64)
			n += v
		}
	}
	return n
}

// ownNetns is the inode of the calling thread's namespace, as programs see it.
func ownNetns(t testing.TB) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Error(err)
	}
	return uint32(st.Ino)
}

// of sums the rows of a namespace and a reason.
func (d *Drop) of(r *DropReading, netns uint32, reason string) (n uint64, rows []DropRow) {
	for _, row := range r.Rows {
		if row.Netns == netns && d.reasons.Name(row.Reason) == reason {
			n += row.Packets
			rows = append(rows, row)
		}
	}
	return n, rows
}

func sendUDP(t testing.TB, n int, to netip.AddrPort) {
	t.Helper()
	a, family := sockaddr(to)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	m := make([]byte, 64)
	for range n {
		if err := unix.Sendto(fd, m, 0, a); err != nil { // of a socket that is not connected: no ECONNREFUSED
			t.Error(err)
			return
		}
	}
}

// TestDropClosedPort sends to ports that nobody listens at.
func TestDropClosedPort(t *testing.T) {
	k := need(t)
	d := openDrop(t, k)
	events, err := OpenEvents(k)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, events)
	for _, addr := range []netip.Addr{localhost4, localhost6} {
		var netns uint32
		var kernel uint64
		before := readDrop(t, d)
		reason := reasonValue(d, "NO_SOCKET")
		was, unspecified := before.Reasons[reason], before.Reasons[d.reasons.Unspecified]
		inNetns(t, func() {
			netns = ownNetns(t)
			sendUDP(t, 23, netip.AddrPortFrom(addr, 9))
			kernel = snmpUDP(t, "NoPorts")
		})
		if kernel != 23 {
			t.Fatalf("the kernel counted %d datagrams to no port, want 23", kernel)
		}
		r := readDrop(t, d)
		if !d.reasons.Known { // before 5.17 only the place is told
			if n := r.Reasons[0] - unspecified; n < 23 {
				t.Errorf("%d packets freed, want at least 23", n)
			}
			continue
		}
		n, rows := d.of(r, netns, "NO_SOCKET")
		if n != 23 || len(rows) != 1 {
			t.Errorf("to %v: %d dropped in %d rows, want 23 in one", addr, n, len(rows))
			continue
		}
		protocol := uint16(0x0800)
		if addr.Is6() {
			protocol = 0x86dd
		}
		if p := rows[0]; p.Ifindex != 1 || p.Protocol != protocol || p.Transport != unix.IPPROTO_UDP || p.Place == 0 {
			t.Errorf("to %v: dropped at %+v", addr, p)
		}
		if n := r.Reasons[reason] - was; n < 23 {
			t.Errorf("to %v: %d by reason, want 23", addr, n)
		}
		listed := 0
		if err := events.Drain(func(kind EventKind, rec []byte) {
			p, ok := ReadDroppedPacket(rec)
			if kind != EventDrop || !ok {
				t.Fatalf("a record of kind %d, %d bytes", kind, len(rec))
			}
			if p.Netns == netns {
				listed++
				if p.Dest != netip.AddrPortFrom(addr, 9) || p.Source.Addr() != addr || p.Source.Port() == 0 || p.Transport != unix.IPPROTO_UDP {
					t.Errorf("listed: %+v", p)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if listed < 16 || listed > 23 {
			t.Errorf("%d of 23 listed, want the first 16 of each CPU", listed)
		}
	}
}

func reasonValue(d *Drop, name string) uint32 {
	for v, n := range d.reasons.names {
		if n == name {
			return v
		}
	}
	return d.reasons.Unspecified
}

// TestDropStorm floods a closed port and a socket that nobody reads, and compares with the kernel's own
// counts of that namespace.
func TestDropStorm(t *testing.T) {
	n := stormOf(60_000)
	d := openDrop(t, need(t))
	missed := readDrop(t, d).Missed
	for _, addr := range []netip.Addr{localhost4, localhost6} {
		t.Run(addr.String(), func(t *testing.T) {
			var netns, inode uint32
			var noPorts, full uint64
			inNetns(t, func() {
				netns = ownNetns(t)
				deaf := udpSocket(t, netip.AddrPortFrom(addr, 7))
				var st unix.Stat_t
				if err := unix.Fstat(deaf, &st); err != nil {
					t.Error(err)
				}
				inode = uint32(st.Ino)
				began := time.Now()
				sendUDP(t, n, netip.AddrPortFrom(addr, 9))
				sendUDP(t, n, netip.AddrPortFrom(addr, 7))
				t.Logf("%.0f packets a second", 2*float64(n)/time.Since(began).Seconds())
				noPorts, full = snmpUDP(t, "NoPorts"), snmpUDP(t, "RcvbufErrors")
			})
			if noPorts != uint64(n) || full < uint64(n)/3 {
				t.Fatalf("the kernel counted %d to no port and %d to a full buffer", noPorts, full)
			}
			r := readDrop(t, d)
			if d.reasons.Known {
				if got, _ := d.of(r, netns, "NO_SOCKET"); got != noPorts {
					t.Errorf("%d dropped for want of a port, the kernel says %d", got, noPorts)
				}
				if got, _ := d.of(r, netns, "SOCKET_RCVBUFF"); got != full {
					t.Errorf("%d dropped at a full buffer, the kernel says %d", got, full)
				}
			}
			var row DropSocketRow
			for _, s := range r.Sockets {
				if s.Netns == netns {
					row = s
				}
			}
			if addr.Is6() && row == (DropSocketRow{}) && before(t, 6, 9) {
				t.Skip("udp_fail_queue_rcv_skb is not called for IPv6 before 5152de7b79ab (6.9)")
			}
			if row.Full != full || row.Memory != 0 || row.Port != 7 || row.Inode != inode || row.Rcvbuf == 0 || row.Protocol != unix.IPPROTO_UDP {
				t.Errorf("the socket: %+v, want %d dropped by inode %d", row, full, inode)
			}
		})
	}
	if m := readDrop(t, d).Missed - missed; m != 0 {
		t.Logf("%d runs were left out, of one program while it ran", m)
	}
}

// before says whether the kernel is older than a release.
func before(t testing.TB, major, minor int) bool {
	t.Helper()
	var is [2]int
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.SplitN(string(b), ".", 3)[:2] {
		if is[i], err = strconv.Atoi(part); err != nil {
			t.Fatalf("a release of %q", b)
		}
	}
	return is[0] < major || is[0] == major && is[1] < minor
}

// TestDropWithoutHeaders is the rung for a kernel that lets nobody read packets: reasons, places and
// interfaces are told all the same.
func TestDropWithoutHeaders(t *testing.T) {
	k := need(t)
	obj, err := newObject(k, loadDrop)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, obj)
	d := &Drop{obj: obj, places: map[dropDropKey]dropMoved{}, sockets: map[dropDropSocket]dropMoved{}}
	types, err := k.types().Kernel()
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.set("headers", false); err != nil {
		t.Fatal(err)
	}
	if err := d.attachPackets(types); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"drop_sockets", "drop_others"} {
		if _, err := obj.createMap(name); err != nil {
			t.Fatal(err)
		}
	}
	var netns uint32
	inNetns(t, func() {
		netns = ownNetns(t)
		sendUDP(t, 23, netip.AddrPortFrom(localhost4, 9))
	})
	r := readDrop(t, d)
	if !d.reasons.Known {
		if r.Reasons[0] < 23 {
			t.Errorf("%d packets freed, want at least 23", r.Reasons[0])
		}
		return
	}
	n, rows := d.of(r, netns, "NO_SOCKET")
	if n != 23 || len(rows) != 1 || rows[0].Transport != 0 || rows[0].Ifindex != 1 {
		t.Errorf("%d dropped at %+v, want 23 of an unknown protocol", n, rows)
	}
}

// TestDropReasons looks the names up: they are never ours.
func TestDropReasons(t *testing.T) {
	d := openDrop(t, need(t))
	if !d.reasons.Known {
		t.Skip("kfree_skb tells no reason before 5.17")
	}
	if got := d.reasons.Name(d.reasons.Unspecified); got != "NOT_SPECIFIED" {
		t.Errorf("the unspecified reason is called %q", got)
	}
	if reasonValue(d, "NO_SOCKET") == d.reasons.Unspecified {
		t.Error("there is no NO_SOCKET")
	}
	if got := d.reasons.Name(0xfff0_0001); got != "reason 4293918721" {
		t.Errorf("a reason that is not known is called %q", got)
	}
}
