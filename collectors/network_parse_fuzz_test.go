// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// As in parse_fuzz_test.go: no bytes make a parser panic, and what it accepts is the same when it
// is printed as the kernel would and parsed again.

const devHeads = "Inter-|   Receive                                                |  Transmit\n" +
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"

func printDev(lines []devLine) []byte {
	b := []byte(devHeads)
	for i := range lines {
		b = fmt.Appendf(b, "%6s:", lines[i].Name)
		for _, v := range lines[i].columns() {
			b = fmt.Appendf(b, "%d ", *v)
		}
		b = append(b, '\n')
	}
	return b
}

func FuzzNetDev(f *testing.F) {
	for _, s := range []string{
		"", devHeads, devHeads + "eth0:123 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n",
		devHeads + "  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n  eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18446744073709551615\n",
		devHeads + "\x1b]0;x\x07\xff: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18446744073709551616\n",
		devHeads + ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", "|\n|\nx", devHeads + "eth0: 1 2 3\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parseNetDev(b, nil)
		if err != nil {
			return
		}
		again, err := parseNetDev(printDev(lines), nil)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(lines) {
			t.Errorf("parseNetDev(%q) = %v, printed and parsed again: %v, %v", b, lines, again, err)
		}
		s := newSpaceState(NetPlace{}) // and what is made of it holds together
		rows := s.derive(lines, Span{}, nil)
		if more := s.derive(lines, Span{0, 1}, nil); len(rows) > len(lines) || len(more) > len(lines) {
			t.Errorf("derive of %d lines: %d and %d rows", len(lines), len(rows), len(more))
		}
	})
}

const snmpSample = `Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits
Ip: 2 64 35218 1 0 2 0 3 35218 31263 4 5 0 0 0 6 0 7 0 31263
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 11 12 13 14 15 16 17 18 19 20 0
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 197 21 22 199 23 24 25 0 26
`

func FuzzNetStack(f *testing.F) {
	for _, s := range []string{
		"", snmpSample, snmpSample[:300], "Udp: NoPorts\nUdp: 1\n", "Udp: NoPorts InErrors\nUdp: 1\n", "Udp: NoPorts\nTcp: 1\n",
		"TcpExt: ListenDrops X\nTcpExt: 18446744073709551616 1\n", "Udp: NoPorts\nUdp: -1\n", "Udp: NoPorts NoPorts\nUdp: 1 2\n", ":\n:", "\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fresh, used stackLayout
		var c, again StackCounts
		err := fresh.parse(b, &c)
		var ignored StackCounts
		_ = used.parse([]byte(snmpSample), &ignored) // another file's layout is not taken for this one's
		if e := used.parse(b, &again); (e == nil) != (err == nil) || err == nil && c != again {
			t.Errorf("parse(%q) = %v, %v, with a layout learned before: %v, %v", b, c, err, again, e)
		}
	})
}

func FuzzNetStackSix(f *testing.F) {
	for _, s := range []string{"", "Udp6NoPorts\t1\nX 2\nUdp6InErrors  3\n", "Udp6NoPorts\n", "Udp6NoPorts -1\n", "Ip6InReceives 18446744073709551616\n"} {
		f.Add([]byte(s), []byte("Ip6InReceives 7\nUdp6NoPorts 1\n"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var l stackLayout
		var c StackCounts
		if l.parseSix(a, &c) != nil {
			return
		}
		var again StackCounts
		if err := l.parseSix(a, &again); err != nil || again != c {
			t.Errorf("parseSix(%q) = %v, again %v, %v", a, c, again, err)
		}
		_ = l.parseSix(b, &again)
	})
}

func FuzzSoftnet(f *testing.F) {
	for n := 8; n <= 16; n++ {
		row := strings.Repeat("0000000a ", n)
		f.Add([]byte(row + "\n"))
		f.Add([]byte(row + "\n" + row + "\n"))
	}
	f.Add([]byte("ffffffff 0 0 0 0 0 0 0 0 100000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		cpus, err := parseSoftnet(b, nil)
		if err != nil {
			return
		}
		var text []byte
		for _, c := range cpus {
			text = fmt.Appendf(text, "%08x %08x %08x 0 0 0 0 0 0 %08x %08x %08x %08x 0 0\n",
				c.Processed, c.Dropped, c.Squeezed, c.RPS, c.FlowLimit, c.Backlog, c.CPU)
		}
		again, err := parseSoftnet(text, nil)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(cpus) {
			t.Errorf("parseSoftnet(%q) = %v, printed and parsed again: %v, %v", b, cpus, again, err)
		}
	})
}

func FuzzConntrack(f *testing.F) {
	for _, s := range []string{"", "entries drop\n", "entries drop\nff 1\nff 2\n", "entries  a b\n00000001 2 3 4\n", "x\n1\n", "entries\n-1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConntrack(b)
		if err != nil {
			return
		}
		text := fmt.Appendf(nil, "entries drop early_drop insert_failed\n%x %x %x %x\n", c.Entries, c.Drop, c.EarlyDrop, c.InsertFailed)
		if again, err := parseConntrack(text); err != nil || again != c {
			t.Errorf("parseConntrack(%q) = %v, printed and parsed again: %v, %v", b, c, again, err)
		}
	})
}

func FuzzNSLink(f *testing.F) {
	f.Add([]byte("net:[4026531833]"))
	f.Add([]byte("net:["))
	f.Add([]byte("net:[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := parseNSLink(b)
		if again, _ := parseNSLink(fmt.Appendf(nil, "net:[%d]", n)); ok && again != n {
			t.Errorf("parseNSLink(%q) = %d, printed and parsed again: %d", b, n, again)
		}
	})
}

// rtnlAttr is one attribute of rtnetlink.
func rtnlAttr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func rtnlMessage(kind uint16, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(rtnlHeader+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, 1) // the sequence
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, payload...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func linkMessage() []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], 7)
	binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)
	word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	stats := make([]byte, 200)
	binary.NativeEndian.PutUint64(stats[8*statsMissed:], 42)
	return bytes.Join([][]byte{
		b, rtnlAttr(unix.IFLA_IFNAME, []byte("veth7\x00")), rtnlAttr(unix.IFLA_MTU, word(1500)), rtnlAttr(unix.IFLA_LINK, word(2)),
		rtnlAttr(unix.IFLA_LINK_NETNSID, word(3)), rtnlAttr(unix.IFLA_OPERSTATE, []byte{6}), rtnlAttr(unix.IFLA_STATS64, stats),
		rtnlAttr(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1}),
		rtnlAttr(unix.IFLA_LINKINFO|1<<15, rtnlAttr(unix.IFLA_INFO_KIND, []byte("veth\x00"))),
	}, nil)
}

func TestParseLink(t *testing.T) {
	a, ok := parseLink(linkMessage())
	want := linkAnswer{Name: "veth7", Missed: 42, peerNS: 3, LinkFacts: LinkFacts{
		Index: 7, Type: "veth", Lower: 2, Up: true, State: "up", MTU: 1500, Address: "02:00:00:00:00:01",
	}}
	if !ok || a != want {
		t.Errorf("parseLink = %+v, %v, want %+v", a, ok, want)
	}
}

func FuzzRTNL(f *testing.F) {
	link := linkMessage()
	f.Add(rtnlMessage(unix.RTM_NEWLINK, link))
	f.Add(append(rtnlMessage(unix.RTM_NEWLINK, link), rtnlMessage(unix.NLMSG_DONE, []byte{0, 0, 0, 0})...))
	f.Add(rtnlMessage(unix.NLMSG_ERROR, []byte{0xff, 0xff, 0xff, 0xff}))
	f.Add(rtnlMessage(unix.RTM_NEWLINK, append(link, 3, 0, 1, 0)))
	f.Add(rtnlMessage(unix.RTM_NEWQDISC, append(make([]byte, sizeofTcmsg), rtnlAttr(tcaStats2, rtnlAttr(tcaStatsQueue, make([]byte, 20)))...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		_, err := eachMessage(b, 1, func(p []byte) {
			size += rtnlHeader + len(p)
			parseLink(p)
			parseQdisc(p)
			parseNSID(p)
		})
		if size > len(b) {
			t.Errorf("eachMessage(%q) hands out %d of %d bytes, %v", b, size, len(b), err)
		}
	})
}
