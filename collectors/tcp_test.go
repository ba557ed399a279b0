// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseMIB(t *testing.T) {
	has := func(counters ...TCPCounter) (s TCPSet) {
		for _, c := range counters {
			s.add(c)
		}
		return s
	}
	tests := map[string]struct {
		group, in string
		want      tcpReading
		ok        bool
	}{
		"two of many":    {"Tcp:", "Tcp: RtoMin ActiveOpens New PassiveOpens\nTcp: 200 7 -1 9\n", tcpReading{Counts: TCPCounts{7, 9}, Has: has(0, 1)}, true},
		"a gauge":        {"Tcp:", "Tcp: CurrEstab\nTcp: 12\n", tcpReading{estab: 12, hasEstab: true}, true},
		"among others":   {"Tcp:", "Ip: A\nIp: 1\nTcp: ActiveOpens\nTcp: 7\nUdp: B\nUdp: 2\n", tcpReading{Counts: TCPCounts{7}, Has: has(0)}, true},
		"no last end":    {"Tcp:", "Tcp: ActiveOpens\nTcp: 7", tcpReading{Counts: TCPCounts{7}, Has: has(0)}, true},
		"nothing known":  {"Tcp:", "Tcp: A B\nTcp: 1 2\n", tcpReading{}, true},
		"negative":       {"Tcp:", "Tcp: ActiveOpens PassiveOpens\nTcp: -1 9\n", tcpReading{Counts: TCPCounts{0, 9}, Has: has(1)}, true},
		"over 64 bits":   {"Tcp:", "Tcp: ActiveOpens PassiveOpens\nTcp: 18446744073709551616 9\n", tcpReading{Counts: TCPCounts{0, 9}, Has: has(1)}, true},
		"64 bits":        {"Tcp:", "Tcp: ActiveOpens\nTcp: 18446744073709551615\n", tcpReading{Counts: TCPCounts{1<<64 - 1}, Has: has(0)}, true},
		"a name twice":   {"Tcp:", "Tcp: ActiveOpens ActiveOpens\nTcp: 1 2\n", tcpReading{Counts: TCPCounts{1}, Has: has(0)}, true},
		"fewer values":   {"Tcp:", "Tcp: ActiveOpens PassiveOpens\nTcp: 1\n", tcpReading{}, false},
		"more values":    {"Tcp:", "Tcp: ActiveOpens\nTcp: 1 2\n", tcpReading{}, false},
		"no values":      {"Tcp:", "Tcp: ActiveOpens\n", tcpReading{}, false},
		"another's":      {"Tcp:", "Tcp: ActiveOpens\nUdp: 1\n", tcpReading{}, false},
		"another group":  {"TcpExt:", "Tcp: ActiveOpens\nTcp: 1\n", tcpReading{}, false},
		"empty":          {"Tcp:", "", tcpReading{}, false},
		"of another one": {"Tcp:", "TcpExt: ActiveOpens\nTcpExt: 1\n", tcpReading{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r tcpReading
			g := mibGroup{name: tt.group}
			err := parseMIB([]byte(tt.in), &g, &r)
			if (err == nil) != tt.ok {
				t.Fatalf("parseMIB(%q): %v", tt.in, err)
			}
			if tt.ok && r != tt.want {
				t.Errorf("parseMIB(%q) = %+v, want %+v", tt.in, r, tt.want)
			}
		})
	}
}

// A kernel that is updated under a recording, or a namespace of another one, has other columns.
func TestParseMIBLearnsAnew(t *testing.T) {
	g := mibGroup{name: "Tcp:"}
	var a, b tcpReading
	if err := parseMIB([]byte("Tcp: ActiveOpens PassiveOpens\nTcp: 1 2\n"), &g, &a); err != nil {
		t.Fatal(err)
	}
	if err := parseMIB([]byte("Tcp: PassiveOpens ActiveOpens\nTcp: 3 4\n"), &g, &b); err != nil {
		t.Fatal(err)
	}
	if b.Counts[TCPActiveOpens] != 4 || b.Counts[TCPPassiveOpens] != 3 {
		t.Errorf("after the columns changed: %v, want 4 active and 3 passive", b.Counts[:2])
	}
}

// TestMIBNames fails when a name of ours is not the kernel's: such a counter would never be there.
func TestMIBNames(t *testing.T) {
	var r tcpReading
	for file, group := range map[string]string{"net/snmp": "Tcp:", "net/netstat": "TcpExt:"} {
		if err := parseMIB(fixtureFile(t, file), &mibGroup{name: group}, &r); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range tcpKeys() {
		if !r.Has.Has(TCPCounter(i)) {
			t.Errorf("%s %s is not in the captured files", k.group, k.name)
		}
	}
	if !r.hasEstab {
		t.Error("no CurrEstab")
	}
}

func TestParseSockStat(t *testing.T) {
	var s SockStat
	for _, name := range []string{"net/sockstat", "net/sockstat6"} {
		if err := parseSockStat(fixtureFile(t, name), 4096, &s); err != nil {
			t.Fatal(err)
		}
	}
	if want := (SockStat{Used: 16, TCP: 1, Allocated: 1}); s != want {
		t.Errorf("captured = %+v, want %+v", s, want)
	}
	s = SockStat{}
	in := "sockets: used 9\nTCP: inuse 3 orphan 1 new 5 tw 2 alloc 4 mem 6\nUDP: inuse 7 mem 8\nTCP6: inuse 10\nUDP6: inuse 11\nMPTCP: inuse 1\n"
	if err := parseSockStat([]byte(in), 65536, &s); err != nil {
		t.Fatal(err)
	}
	want := SockStat{Used: 9, TCP: 3, Orphans: 1, TimeWait: 2, Allocated: 4, TCPMem: 6 << 16, UDP: 7, UDPMem: 8 << 16, TCP6: 10, UDP6: 11}
	if s != want {
		t.Errorf("parseSockStat = %+v, want %+v", s, want)
	}
	for _, bad := range []string{"", "TCP: inuse\n", "TCP: inuse -1\n", "TCP: mem 99999999999999999999\n", "UNIX: inuse 3\n"} {
		if err := parseSockStat([]byte(bad), 4096, &s); err == nil {
			t.Errorf("parseSockStat(%q) succeeds", bad)
		}
	}
}

func TestParsePages3(t *testing.T) {
	for in, want := range map[string][3]uint64{
		"1\t2\t3\n": {4096, 8192, 12288},
		"1 2 3":     {4096, 8192, 12288},
		"1 2":       {},
		"1 -2 3":    {},
		"":          {},
	} {
		if got := parsePages3([]byte(in), 4096); got != want {
			t.Errorf("parsePages3(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestDeriveTCP(t *testing.T) {
	all := TCPSet(1<<TCPCounters - 1)
	span := Span{time.Second, 2 * time.Second}
	tests := map[string]struct {
		prev, cur tcpReading
		want      TCP
	}{
		"grows": {
			tcpReading{Counts: TCPCounts{5, 6}, Has: all},
			tcpReading{Counts: TCPCounts{7, 6}, Has: all},
			TCP{Delta: TCPCounts{2, 0}, Total: TCPCounts{7, 6}, Has: all},
		},
		"went back": {
			tcpReading{Counts: TCPCounts{1<<32 - 1, 6}, Has: all},
			tcpReading{Counts: TCPCounts{3, 9}, Has: all},
			TCP{Delta: TCPCounts{0, 3}, Total: TCPCounts{3, 9}, Has: all},
		},
		"came": {
			tcpReading{Counts: TCPCounts{0, 6}, Has: 2},
			tcpReading{Counts: TCPCounts{100, 9}, Has: all},
			TCP{Delta: TCPCounts{0, 3}, Total: TCPCounts{100, 9}, Has: all},
		},
		"left": {
			tcpReading{Counts: TCPCounts{100, 6}, Has: all},
			tcpReading{Counts: TCPCounts{0, 9}, Has: 2},
			TCP{Delta: TCPCounts{0, 3}, Total: TCPCounts{0, 9}, Has: 2},
		},
		"established": {
			tcpReading{}, tcpReading{estab: 12, hasEstab: true}, TCP{Established: 12, EstablishedKnown: true},
		},
		"established below zero": {
			tcpReading{}, tcpReading{estab: 1<<64 - 1, hasEstab: true}, TCP{EstablishedKnown: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.Span = span
			if diff := cmp.Diff(&tt.want, deriveTCP(&tt.prev, &tt.cur, span)); diff != "" {
				t.Errorf("deriveTCP (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTCPCollector(t *testing.T) {
	tree := procTree{t, t.TempDir()}
	snmp := func(active int) {
		tree.write("net/snmp", fmt.Sprintf("Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 %d 3\n", active))
	}
	netstat := func(overflows int) {
		tree.write("net/netstat", fmt.Sprintf("TcpExt: ListenOverflows\nTcpExt: %d\n", overflows))
	}
	snmp(100)
	netstat(7)
	tree.write("net/sockstat", "sockets: used 5\nTCP: inuse 2 orphan 0 tw 1 alloc 3 mem 4\n")
	tree.write("net/sockstat6", "TCP6: inuse 1\n")
	tree.write("sys/net/ipv4/tcp_mem", "1\t2\t3\n")
	tree.write("sys/net/ipv4/tcp_max_tw_buckets", "4096\n")
	tree.write("sys/net/core/somaxconn", "128\n")
	c := NewTCP(NewFS(tree.root))
	start(t, c)
	if p := c.Probes(); p[0].State != Warming {
		t.Errorf("Probes before the first reading = %+v, want warming", p)
	}

	page := uint64(os.Getpagesize())
	want := &TCP{
		Span:             Span{3 * time.Second, 3 * time.Second},
		Established:      3,
		EstablishedKnown: true,
		Stat:             SockStat{Known: true, SixKnown: true, Used: 5, TCP: 2, TCP6: 1, TimeWait: 1, Allocated: 3, TCPMem: 4 * page},
		Limits:           TCPLimits{TCPMem: [3]uint64{page, 2 * page, 3 * page}, MaxTimeWait: 4096, MaxListen: 128},
	}
	want.Total[TCPActiveOpens], want.Total[TCPListenOverflows] = 100, 7
	want.Has.add(TCPActiveOpens)
	want.Has.add(TCPListenOverflows)
	if diff := cmp.Diff(want, collectAs[*TCP](t, c, 3*time.Second)); diff != "" {
		t.Errorf("first sample (-want +got):\n%s", diff)
	}

	snmp(123)
	netstat(8)
	second := collectAs[*TCP](t, c, 5*time.Second)
	want.Span = Span{3 * time.Second, 5 * time.Second}
	want.Delta[TCPActiveOpens], want.Total[TCPActiveOpens] = 23, 123
	want.Delta[TCPListenOverflows], want.Total[TCPListenOverflows] = 1, 8
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("second sample (-want +got):\n%s", diff)
	}

	// A file that is away takes away its own, and what it counted meanwhile is nobody's second.
	tree.write("net/netstat", "")
	if got := collectAs[*TCP](t, c, 6*time.Second); got.Has.Has(TCPListenOverflows) || !got.Has.Has(TCPActiveOpens) {
		t.Errorf("empty netstat = %+v, want no ListenOverflows", got)
	}
	if p := c.Probes(); p[0].State != On || p[1].State != Failed || p[1].Reason == "" {
		t.Errorf("Probes without netstat = %+v", p)
	}
	netstat(5000)
	if got := collectAs[*TCP](t, c, 7*time.Second); got.Delta[TCPListenOverflows] != 0 || got.Total[TCPListenOverflows] != 5000 {
		t.Errorf("netstat is back: delta %d, want a baseline", got.Delta[TCPListenOverflows])
	}
	tree.write("net/sockstat", "nonsense\n")
	if got := collectAs[*TCP](t, c, 8*time.Second); got.Stat.Known {
		t.Errorf("broken sockstat = %+v, want unknown", got.Stat)
	}
	if p := c.Probes(); p[2].State != Failed {
		t.Errorf("Probes without sockstat = %+v", p)
	}
	if err := os.Remove(filepath.Join(tree.root, "net/sockstat6")); err != nil {
		t.Fatal(err)
	}
	tree.write("net/sockstat", "sockets: used 5\n")
	tree.write("sys/net/ipv4/tcp_mem", "4 5 6\n")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := collectAs[*TCP](t, c, 90*time.Second); !got.Stat.Known || got.Stat.SixKnown || got.Seconds() != 0 {
		t.Errorf("without IPv6 = %+v, want a new baseline, IPv4 known and IPv6 not", got)
	}
	if p := c.Probes(); p[2].State != On {
		t.Errorf("a host without IPv6 has probes %+v, want sockstat on", p)
	}
	if got := collectAs[*TCP](t, c, 151*time.Second); got.Limits.TCPMem[0] != 4*page {
		t.Errorf("a minute later the limits are %+v, want them read anew", got.Limits)
	}

	for _, name := range []string{"snmp", "netstat", "sockstat"} {
		tree.write("net/"+name, "")
	}
	if _, err := c.Collect(context.Background(), 200*time.Second); err == nil || !strings.Contains(err.Error(), "snmp") {
		t.Errorf("Collect of three empty files: %v, want an error", err)
	}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("a returned sample was written (-want +got):\n%s", diff)
	}
}

func BenchmarkCollectTCP(b *testing.B) { benchmarkCollect(b, NewTCP(NewFS(""))) }

func BenchmarkParseMIB(b *testing.B) {
	text := fixtureFile(b, "net/netstat")
	g := mibGroup{name: "TcpExt:"}
	var r tcpReading
	b.ReportAllocs()
	for b.Loop() {
		if err := parseMIB(text, &g, &r); err != nil {
			b.Fatal(err)
		}
	}
}
