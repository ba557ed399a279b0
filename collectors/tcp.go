// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// TCPID is the collector of TCP's counters and gauges.
const TCPID ID = "tcp"

// TCP is what the kernel counts of TCP in one network namespace, over the span. In the first
// sample, whose span is empty, deltas are zero; totals and gauges stand.
type TCP struct {
	Span
	Delta TCPCounts // over the span; 0 where a counter went back, or was not there before
	Total TCPCounts // since the namespace was made
	Has   TCPSet    // the counters that this kernel has and let us read

	Established      int  // CurrEstab: ESTABLISHED and CLOSE_WAIT, both families
	EstablishedKnown bool // /proc/net/snmp was read

	Stat   SockStat
	Limits TCPLimits
}

// SockStat is /proc/net/sockstat and sockstat6. Counts are of the namespace where not said
// otherwise; memory, orphans and allocated sockets are the whole host's, whatever namespace reads.
type SockStat struct {
	Known     bool // sockstat was read; without it everything is 0
	SixKnown  bool // sockstat6 was read; without it TCP6 and UDP6 are 0
	Used      int  // sockets of every family
	TCP, TCP6 int  // TCP sockets by family, without TIME_WAIT and without those that wait to be accepted
	Orphans   int  // host: closed by their process, not yet by the peer
	TimeWait  int
	Allocated int    // host: TCP sockets of every state, both families
	TCPMem    uint64 // host: bytes in the queues of TCP sockets, rounded to what sockets reserve
	UDP, UDP6 int
	UDPMem    uint64 // host: bytes
}

// TCPLimits are sysctls, read once a minute. 0 is unknown.
type TCPLimits struct {
	TCPMem      [3]uint64 // bytes: below it no limit, from it pressure, from it no more
	UDPMem      [3]uint64
	MaxOrphans  int
	MaxTimeWait int
	MaxSynQueue int // tcp_max_syn_backlog
	MaxListen   int // somaxconn: no backlog is longer
	Ports       int // ip_local_port_range: how many there are for connects to one destination
}

func (t *TCP) put(s *Snapshot) { s.TCP = t }

func (t *TCP) size() int { return allocSize(tcpSize) }

// limitsEvery is how long sysctls are taken to stand.
const limitsEvery = time.Minute

type tcpCollector struct {
	fs                                    FS
	snmpFile, netstatFile, stat4F, stat6F *procFile

	snmp, netstat mibGroup
	prev, cur     tcpReading
	limits        TCPLimits
	limitsAt      time.Duration
	last          time.Duration
	begun         bool // prev is set

	snmpErr, netstatErr, statErr, sixErr error // of the last Collect
}

// NewTCP returns the collector of TCP in our own network namespace. It needs no privilege.
func NewTCP(fs FS) Collector { return newTCPOf(fs, "net") }

// newTCPOf is NewTCP for another namespace: dir is the net directory of a process that lives there,
// as in "4711/net".
func newTCPOf(fs FS, dir string) *tcpCollector {
	return &tcpCollector{
		fs:       fs,
		snmpFile: fs.file(dir + "/snmp"), netstatFile: fs.file(dir + "/netstat"),
		stat4F: fs.file(dir + "/sockstat"), stat6F: fs.file(dir + "/sockstat6"),
		snmp: mibGroup{name: "Tcp:"}, netstat: mibGroup{name: "TcpExt:"},
	}
}

func (c *tcpCollector) Meta() Meta { return Meta{ID: TCPID} }

func (c *tcpCollector) Start(ctx context.Context) error {
	c.begun = false
	c.snmpErr, c.netstatErr, c.statErr, c.sixErr = nil, nil, nil, nil
	c.limits = readTCPLimits(c.fs)
	return ctx.Err()
}

// Collect reads four files. Each that cannot be read takes away its own numbers; only with none
// left there is no sample.
func (c *tcpCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.cur = tcpReading{}
	c.snmpErr = c.readMIB(ctx, c.snmpFile, &c.snmp)
	c.netstatErr = c.readMIB(ctx, c.netstatFile, &c.netstat)
	var stat SockStat
	c.statErr = readSockStat(ctx, c.stat4F, &stat)
	stat.Known = c.statErr == nil
	c.sixErr = readSockStat(ctx, c.stat6F, &stat)
	stat.SixKnown = c.sixErr == nil
	if c.snmpErr != nil && c.netstatErr != nil && c.statErr != nil {
		return nil, c.snmpErr
	}
	if !c.begun {
		c.last, c.prev, c.limitsAt = now, c.cur, now
		c.begun = true
	}
	if now-c.limitsAt >= limitsEvery {
		c.limits, c.limitsAt = readTCPLimits(c.fs), now
	}
	t := deriveTCP(&c.prev, &c.cur, Span{c.last, now})
	t.Stat, t.Limits = stat, c.limits
	c.prev, c.last = c.cur, now
	return t, nil
}

func (c *tcpCollector) readMIB(ctx context.Context, f *procFile, g *mibGroup) error {
	b, err := f.read(ctx)
	if err == nil && len(b) == 0 {
		err = errMasked
	}
	if err == nil {
		err = parseMIB(b, g, &c.cur)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.path, err)
	}
	return nil
}

// readSockStat adds one of the two files to s. On an error nothing of s is to be used.
func readSockStat(ctx context.Context, f *procFile, s *SockStat) error {
	b, err := f.read(ctx)
	if err == nil {
		err = parseSockStat(b, uint64(os.Getpagesize()), s)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.path, err)
	}
	return nil
}

// readTCPLimits reads the sysctls. What cannot be read, as in a container that masks them, is 0.
func readTCPLimits(fs FS) (l TCPLimits) {
	page := uint64(os.Getpagesize())
	for name, to := range map[string]*[3]uint64{"tcp_mem": &l.TCPMem, "udp_mem": &l.UDPMem} {
		if b, err := fs.readSome("sys/net/ipv4/"+name, 256); err == nil {
			*to = parsePages3(b, page)
		}
	}
	for name, to := range map[string]*int{
		"ipv4/tcp_max_orphans": &l.MaxOrphans, "ipv4/tcp_max_tw_buckets": &l.MaxTimeWait,
		"ipv4/tcp_max_syn_backlog": &l.MaxSynQueue, "core/somaxconn": &l.MaxListen,
	} {
		if b, err := fs.readSome("sys/net/"+name, 64); err == nil {
			line, _ := cutLine(b)
			if n, ok := parseInt(line); ok && n > 0 {
				*to = int(n)
			}
		}
	}
	if b, err := fs.readSome("sys/net/ipv4/ip_local_port_range", 64); err == nil {
		first, rest := cutField(bytes.TrimSpace(b))
		last, _ := cutField(rest)
		from, ok := parseUint(first)
		to, ok2 := parseUint(last)
		if ok && ok2 && from <= to && to < 1<<16 {
			l.Ports = int(to-from) + 1
		}
	}
	return l
}

// deriveTCP subtracts two readings. A counter counts from its second reading on: one that was not
// read before, because the file was away or the kernel new to us, must not bring its whole life.
// The counters are 64 bits wide and never wrap here; one that went back was made anew with its
// namespace, and its delta is 0.
func deriveTCP(prev, cur *tcpReading, span Span) *TCP {
	t := &TCP{Span: span, Total: cur.Counts, Has: cur.Has, EstablishedKnown: cur.hasEstab}
	for i := range t.Delta {
		if c := TCPCounter(i); prev.Has.Has(c) && cur.Has.Has(c) {
			t.Delta[i] = since(prev.Counts[i], cur.Counts[i])
		}
	}
	// A sum over CPUs that is read while sockets close may fall below zero.
	if cur.estab <= 1<<31 {
		t.Established = int(cur.estab)
	}
	return t
}

func (c *tcpCollector) Probes() []Probe {
	sar := Probe{Name: "sar TCP", Hook: "/proc/net/snmp"}
	nstat := Probe{Name: "nstat", Hook: "/proc/net/netstat"}
	stat := Probe{Name: "sockstat", Hook: "/proc/net/sockstat, sockstat6"}
	sar.State, sar.Reason = stateOf(c.begun, c.snmpErr)
	nstat.State, nstat.Reason = stateOf(c.begun, c.netstatErr)
	stat.State, stat.Reason = stateOf(c.begun, c.statErr)
	for _, p := range []*Probe{&sar, &nstat, &stat} {
		if p.State == Failed {
			p.Remedy = "outside a container, or with /proc/net not masked, it can be read"
		}
	}
	if stat.State == On && c.sixErr != nil && !errors.Is(c.sixErr, os.ErrNotExist) { // no file: no IPv6
		stat.State, stat.Reason = Degraded, "no IPv6 sockets: "+clean(c.sixErr.Error())
	}
	return []Probe{sar, nstat, stat}
}

func (c *tcpCollector) Close() error {
	c.begun = false
	return errors.Join(c.snmpFile.close(), c.netstatFile.close(), c.stat4F.close(), c.stat6F.close())
}
