// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"strings"
	"testing"
)

// printMIB prints a group as the kernel would.
func printMIB(group string, r *tcpReading) string {
	names, values := group, group
	for i, k := range tcpKeys() {
		if k.group == group && r.Has.Has(TCPCounter(i)) {
			names += " " + k.name
			values += fmt.Sprint(" ", r.Counts[i])
		}
	}
	if r.hasEstab {
		names += " CurrEstab"
		values += fmt.Sprint(" ", r.estab)
	}
	return names + "\n" + values + "\n"
}

func FuzzMIB(f *testing.F) {
	seed(f, "net/snmp", "net/netstat")
	for _, s := range []string{
		"Tcp: ActiveOpens\nTcp: 1\n", "Tcp: ActiveOpens\nTcp: -1\n", "Tcp: ActiveOpens\nTcp: 18446744073709551616\n",
		"Tcp: ActiveOpens CurrEstab\nTcp: 1\n", "Tcp: ActiveOpens\nTcp: 1 2\n", "Tcp:\nTcp:\n", "Tcp: a b\nUdp: 1 2\n",
		"TcpExt: ListenDrops ListenDrops\nTcpExt: 1 2\n", "TcpExt:" + strings.Repeat(" x", 40000) + "\nTcpExt:\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, group := range []string{"Tcp:", "TcpExt:"} {
			g := mibGroup{name: group}
			var r, twice, again tcpReading
			if parseMIB(b, &g, &r) != nil {
				continue
			}
			if err := parseMIB(b, &g, &twice); err != nil || twice != r {
				t.Errorf("parseMIB(%q) = %v, with its columns known %v, %v", b, r, twice, err)
			}
			text := printMIB(group, &r)
			if err := parseMIB([]byte(text), &mibGroup{name: group}, &again); err != nil || again != r {
				t.Errorf("parseMIB(%q) = %v, printed and parsed again: %v, %v", b, r, again, err)
			}
		}
	})
}

func FuzzSockStat(f *testing.F) {
	seed(f, "net/sockstat", "net/sockstat6")
	f.Add([]byte("TCP: inuse 1 orphan\nTCP: inuse -1\n"))
	f.Add([]byte("TCP: mem 18446744073709551615\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again SockStat
		if parseSockStat(b, 4096, &s) != nil {
			return
		}
		text := fmt.Sprintf("sockets: used %d\nTCP: inuse %d orphan %d tw %d alloc %d mem %d\nUDP: inuse %d mem %d\nTCP6: inuse %d\nUDP6: inuse %d\n",
			s.Used, s.TCP, s.Orphans, s.TimeWait, s.Allocated, s.TCPMem/4096, s.UDP, s.UDPMem/4096, s.TCP6, s.UDP6)
		if err := parseSockStat([]byte(text), 4096, &again); err != nil || again != s {
			t.Errorf("parseSockStat(%q) = %+v, printed and parsed again: %+v, %v", b, s, again, err)
		}
		if min(s.Used, s.TCP, s.TCP6, s.Orphans, s.TimeWait, s.Allocated, s.UDP, s.UDP6) < 0 {
			t.Errorf("parseSockStat(%q) = %+v: negative", b, s)
		}
	})
}

func FuzzPages3(f *testing.F) {
	seed(f, "sys/net/ipv4/tcp_mem")
	f.Fuzz(func(t *testing.T, b []byte) {
		p := parsePages3(b, 4096)
		if again := parsePages3(fmt.Appendln(nil, p[0]/4096, p[1]/4096, p[2]/4096), 4096); again != p {
			t.Errorf("parsePages3(%q) = %v, printed and parsed again: %v", b, p, again)
		}
	})
}
