// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeSocket is a socket as the fake kernel describes it.
type fakeSocket struct {
	cookie         uint64
	state          SocketState
	local, remote  string
	recvQ, sendQ   uint32
	inode          uint32
	acked, recvd   uint64
	retrans, drops uint32
	rtt            uint32
	cong           string
	infoLen        int // 0: 248 bytes
	noInfo         bool
}

func put32(b []byte, at int, v uint32) { binary.NativeEndian.PutUint32(b[at:], v) }
func put64(b []byte, at int, v uint64) { binary.NativeEndian.PutUint64(b[at:], v) }

// attribute appends a netlink attribute.
func attribute(b []byte, kind uint16, body []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// message appends a netlink message.
func message(b []byte, kind uint16, body []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, nlHeader)...)
	b = append(b, body...)
	put32(b, at, uint32(nlHeader+len(body)))
	binary.NativeEndian.PutUint16(b[at+4:], kind)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// bytes writes the socket as the kernel does.
func (f fakeSocket) bytes() []byte {
	b := make([]byte, diagMsgLen)
	local, remote := netip.MustParseAddrPort(f.local), netip.MustParseAddrPort(f.remote)
	b[0] = unix.AF_INET6
	if local.Addr().Is4() {
		b[0] = unix.AF_INET
	}
	b[1] = uint8(f.state)
	binary.BigEndian.PutUint16(b[4:], local.Port())
	binary.BigEndian.PutUint16(b[6:], remote.Port())
	copy(b[8:24], local.Addr().AsSlice())
	copy(b[24:40], remote.Addr().AsSlice())
	put64(b, 44, f.cookie)
	put32(b, 56, f.recvQ)
	put32(b, 60, f.sendQ)
	put32(b, 68, f.inode)
	if !f.noInfo {
		n := f.infoLen
		if n == 0 {
			n = 248
		}
		info := make([]byte, max(n, 248))
		put32(info, infoRTT, f.rtt)
		put32(info, infoTotalRetrans, f.retrans)
		put64(info, infoAcked, f.acked)
		put64(info, infoReceived, f.recvd)
		b = attribute(b, attrInfo, info[:n])
	}
	mem := make([]byte, 36)
	put32(mem, 4*memDrops, f.drops)
	b = attribute(b, attrMem, mem)
	if f.cong != "" {
		b = attribute(b, attrCong, append([]byte(f.cong), 0))
	}
	return attribute(b, attrCgroup, []byte{7, 0, 0, 0, 0, 0, 0, 0})
}

// fakeKernel dumps what it is given.
type fakeKernel struct {
	four, six []fakeSocket
	err, err6 error
	closed    int
}

func (k *fakeKernel) Dump(_ context.Context, family uint8, each func(*diagMsg)) error {
	list, err := k.four, k.err
	if family == unix.AF_INET6 {
		list, err = k.six, k.err6
	}
	var b []byte
	for _, s := range list {
		b = message(b, unix.SOCK_DIAG_BY_FAMILY, s.bytes())
	}
	b = message(b, unix.NLMSG_DONE, make([]byte, 4))
	var m diagMsg
	if got := parseDiag(b, &m, each); !errors.Is(got, errDone) {
		return fmt.Errorf("the fake's own dump: %w", got)
	}
	return err
}

func (k *fakeKernel) Close() error {
	k.closed++
	return nil
}

func (k *fakeKernel) collector() *socketCollector {
	return everySecond(newSockets(func() (diagSource, error) { return k, nil }, noOwners()))
}

// everySecond lets a test read as often as it likes, however slow its machine is.
func everySecond(c *socketCollector) *socketCollector {
	c.clock = func() time.Duration { return 0 }
	return c
}

// flow is an established connection number i.
func flow(i int, acked uint64) fakeSocket {
	return fakeSocket{
		cookie: uint64(i + 1), state: Established, acked: acked, inode: uint32(i + 1000), rtt: 100, cong: "cubic",
		local: "10.0.0.1:80", remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000).String(),
	}
}

func TestParseDiagErrors(t *testing.T) {
	good := message(nil, unix.SOCK_DIAG_BY_FAMILY, flow(1, 1).bytes())
	fault := func(code int32) []byte {
		var body [20]byte
		put32(body[:], 0, uint32(-code))
		return message(nil, unix.NLMSG_ERROR, body[:])
	}
	long := append([]byte(nil), good...)
	put32(long, 0, uint32(len(good)+1))
	family := append([]byte(nil), good...)
	family[nlHeader] = 99
	tests := map[string]struct {
		in      []byte
		sockets int
		want    error
	}{
		"nothing":          {nil, 0, nil},
		"one":              {good, 1, nil},
		"two and the end":  {message(append(append([]byte(nil), good...), good...), unix.NLMSG_DONE, make([]byte, 4)), 2, errDone},
		"an error":         {fault(int32(unix.ENOENT)), 0, unix.ENOENT},
		"an answer of 0":   {fault(0), 0, nil},
		"an error at end":  {message(nil, unix.NLMSG_DONE, []byte{0xff, 0xff, 0xff, 0xff}), 0, unix.EPERM},
		"something else":   {message(nil, 99, []byte("hello")), 0, nil},
		"half a header":    {good[:10], 0, errFormat},
		"cut off":          {good[:len(good)-8], 0, errFormat},
		"too long":         {long, 0, errFormat},
		"a short socket":   {message(nil, unix.SOCK_DIAG_BY_FAMILY, make([]byte, diagMsgLen-1)), 0, errFormat},
		"a strange family": {family, 0, errFormat},
		"length 0":         {make([]byte, nlHeader), 0, errFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var m diagMsg
			n := 0
			err := parseDiag(tt.in, &m, func(*diagMsg) { n++ })
			if !errors.Is(err, tt.want) || n != tt.sockets {
				t.Errorf("parseDiag: %d sockets, %v; want %d, %v", n, err, tt.sockets, tt.want)
			}
		})
	}
}

// An older kernel gives less of tcp_info: what is there counts, what is not is 0.
func TestParseDiagOldKernel(t *testing.T) {
	s := flow(1, 77)
	s.retrans = 5
	for _, tt := range []struct {
		length         int
		acked          uint64
		retrans        uint32
		hasInfo        bool
		minRTT, detail int
	}{{248, 77, 5, true, 0, 248}, {128, 77, 5, true, 0, 128}, {124, 0, 5, true, 0, 124}, {104, 0, 5, true, 0, 104}, {100, 0, 0, false, 0, 0}} {
		s.infoLen = tt.length
		var m diagMsg
		if err := m.parse(s.bytes()); err != nil {
			t.Fatal(err)
		}
		var r SocketRow
		m.row(&r)
		if got := m.number64(infoAcked); got != tt.acked || r.RetransTotal != tt.retrans || r.HasInfo != tt.hasInfo || m.detail().Length != tt.detail {
			t.Errorf("%d bytes of tcp_info: acked %d, retrans %d, info %v; want %+v", tt.length, got, r.RetransTotal, r.HasInfo, tt)
		}
		if id := m.identity(); id.Congestion.Bytes() != "cubic" || id.Cgroup != 7 || id.Remote.String() != "10.1.0.1:4000" {
			t.Errorf("identity = %+v", id)
		}
	}
}

// deltas collects and returns the bytes acknowledged by cookie.
func deltas(t *testing.T, c *socketCollector, now time.Duration) map[uint64]uint64 {
	t.Helper()
	s := collectAs[*Sockets](t, c, now)
	out := make(map[uint64]uint64)
	for _, r := range s.Rows {
		out[r.Cookie] = r.Acked
	}
	return out
}

// Sockets come and go between two dumps, and their order may be another.
func TestSocketsMatch(t *testing.T) {
	const n = 60
	all := func(acked uint64) (list []fakeSocket) {
		for i := range n {
			list = append(list, flow(i, acked+uint64(i)))
		}
		return list
	}
	reversed := func(list []fakeSocket) (out []fakeSocket) {
		for i := range list {
			out = append(out, list[len(list)-1-i])
		}
		return out
	}
	fresh := flow(500, 9)
	tests := map[string]struct {
		second []fakeSocket
		want   map[uint64]uint64 // where not 10
	}{
		"the same":         {all(10), nil},
		"one new in front": {append([]fakeSocket{fresh}, all(10)...), map[uint64]uint64{501: 9}},
		"one new at last":  {append(all(10), fresh), map[uint64]uint64{501: 9}},
		"every other":      {everyOther(all(10)), nil},
		"the last 20":      {all(10)[40:], nil},
		"the first 20":     {all(10)[:20], nil},
		"backwards":        {reversed(all(10)), nil},
		"none":             {nil, nil},
		"went back":        {[]fakeSocket{flow(3, 1)}, map[uint64]uint64{4: 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &fakeKernel{four: all(0)}
			c := k.collector()
			start(t, c)
			for cookie, got := range deltas(t, c, 0) {
				if got != 0 {
					t.Errorf("first dump: socket %d has a delta of %d", cookie, got)
				}
			}
			k.four = tt.second
			got := deltas(t, c, time.Second)
			if len(got) != len(tt.second) {
				t.Errorf("%d rows, want %d", len(got), len(tt.second))
			}
			for cookie, d := range got {
				want, ok := tt.want[cookie]
				if !ok {
					want = 10
				}
				if d != want {
					t.Errorf("socket %d: delta %d, want %d", cookie, d, want)
				}
			}
		})
	}
}

func everyOther(list []fakeSocket) (out []fakeSocket) {
	for i := 0; i < len(list); i += 2 {
		out = append(out, list[i])
	}
	return out
}

// Of many sockets those that did most are listed, and all are counted.
func TestSocketsBusiest(t *testing.T) {
	const n = 5000
	k := &fakeKernel{}
	for i := range n {
		k.four = append(k.four, flow(i, 0))
	}
	c := k.collector()
	start(t, c)
	collectAs[*Sockets](t, c, 0)
	for i := range k.four {
		k.four[i].acked = uint64(i * 7 % n) // every value once
	}
	k.four[17].acked, k.four[17].retrans = 0, 1 // nothing moved, but something was lost
	if err := c.Narrow([]Target{{Kind: SocketTarget, Cookie: 1}, {Kind: CPUTarget, CPU: 3}}); err != nil {
		t.Fatal(err)
	}
	s := collectAs[*Sockets](t, c, time.Second)
	if len(s.Rows) != socketRows || s.UnlistedRows != n-socketRows || s.Total != n || s.States[Established] != n {
		t.Fatalf("%d rows, %d unlisted, %d in all; want %d of %d", len(s.Rows), s.UnlistedRows, s.Total, socketRows, n)
	}
	if s.Rows[0].Cookie != 18 {
		t.Errorf("the first row is socket %d, want the one that sent again", s.Rows[0].Cookie)
	}
	for i := 1; i < len(s.Rows)-1; i++ {
		if want := uint64(n - i); s.Rows[i].Acked != want {
			t.Fatalf("row %d moved %d bytes, want %d", i, s.Rows[i].Acked, want)
		}
	}
	if last := s.Rows[len(s.Rows)-1]; last.Cookie != 1 || last.Detail == nil {
		t.Errorf("the last row is %+v, want the one that was asked for", last)
	}
	if len(s.Peers) != peerRows || s.UnlistedPeers != n-peerRows || s.Peers[0].Retrans != 1 {
		t.Errorf("%d peers, %d unlisted, the first with %d retransmits", len(s.Peers), s.UnlistedPeers, s.Peers[0].Retrans)
	}
}
