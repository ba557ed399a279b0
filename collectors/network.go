// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// NetworkID is the collector of interfaces, their namespaces, softnet and connection tracking.
const NetworkID ID = "network"

// Network is what moved on the network since the last sample, in every network namespace that was
// read at this tick: our own at each, the others in turn, every othersEvery. In the first sample,
// whose span is empty, deltas are zero and the totals stand.
type Network struct {
	Span

	// Spaces are the namespaces read at this tick, our own first. A namespace that is not here was
	// not read, and counts on in its next sample.
	Spaces []NetSpace

	// Ifaces are the interfaces of Spaces that counted something in their namespace's span. One that
	// is in NetPlace.Links and not here did nothing. At most maxIfaces, the busiest; the rest is
	// summed in Unlisted.
	Ifaces   []NetIface
	Unlisted IfaceCounts
	NUnlist  int  // how many interfaces Unlisted sums
	Thin     bool // Spaces is ours alone and Ifaces its devices: the history has given up the rest

	Softnet      []SoftnetCPU // by CPU; global, not of a namespace
	SoftnetAll   SoftnetCPU   // their sum; CPU is -1
	SoftnetKnown bool

	ConntrackMax uint64 // entries a namespace may hold; 0 if not known

	Neighbours []NeighTable // of all namespaces; nil where it was not their turn, or they cannot be read

	Coverage Coverage
}

// Coverage is how many network namespaces there are, and how many of them are counted.
type Coverage struct {
	Known     int  // namespaces seen, our own included
	Covered   int  // those that are read in turn
	NoProcess int  // of Known: named under /run, with no process to read them through
	Hidden    int  // processes whose namespace may not be asked for
	Complete  bool // every process has been asked at least once
}

// NetPlace is what is known of a network namespace. It is not written after it is published and
// is shared by samples until something in it changes.
type NetPlace struct {
	ID    uint64 // inode of its /proc/PID/net/dev; 0 if it cannot be told, then it is our own
	Inode uint64 // of the namespace, as lsns prints it; 0 if it may not be read, and for our own
	Own   bool   // the one bpf60 runs in
	Name  Raw    // as under /run/netns, else the process's with its number; empty for our own
	PID   int32  // the process it is read through; 0 for our own
	Links []*NetLink
}

// NetSpace is one namespace over its own span.
type NetSpace struct {
	Span
	*NetPlace `record:"must"`
	StackCounts
	StackKnown bool // snmp was read
	TCPExt     bool // netstat was read: the TCPListen and TCPReceive columns count

	Conntrack Conntrack
}

// Conntrack is a namespace's table of connections, from /proc/net/stat/nf_conntrack.
type Conntrack struct {
	Known        bool
	Entries      uint64 // gauge
	Drop         uint64 // delta: packets dropped, the table being full or an entry unwanted
	EarlyDrop    uint64 // delta: entries thrown out to make room
	InsertFailed uint64 // delta: entries that another packet had made meanwhile; the packet is dropped
}

// IfaceCounts are the columns of /proc/net/dev. Drops are those of the device and the missed ones
// together, as the kernel prints them (net/core/net-procfs.c); received errors hold frame errors.
type IfaceCounts struct {
	RxBytes, RxPackets, RxErrors, RxDropped, RxFIFO, RxFrame, RxCompressed, Multicast    uint64
	TxBytes, TxPackets, TxErrors, TxDropped, TxFIFO, Collisions, TxCarrier, TxCompressed uint64
}

// NetIface is one interface over the span of its namespace.
type NetIface struct {
	*NetLink    `record:"must"`
	IfaceCounts             // deltas
	Total       IfaceCounts // since the interface was made, or since its driver last began anew
	Missed      uint64      // delta of rx_missed_errors, inside RxDropped: the device had no room. Counted when the links are asked, every linksEvery
	QdiscDrops  uint64      // delta: dropped by the queue above the device, not in TxDropped; as often
	New         bool        // it appeared in the span: no baseline
	Restarted   bool        // its counters began anew in the span: deltas are 0
}

// LinkKind is what an interface is, as far as sums are concerned.
type LinkKind uint8

// Kinds of interfaces.
const (
	LinkUnknown  LinkKind = iota // of another namespace, or not asked yet
	LinkDevice                   // has a device behind it: a NIC, virtual ones included
	LinkLoopback                 // lo
	LinkVeth                     // one end of a pair: the other end counts the same packets
	LinkStacked                  // bond, bridge, vlan, …: what it counts, one below counts too
	LinkVirtual                  // tun, dummy, ifb, …
)

// NetLink is what is known of an interface beside its counters. It is not written after it is
// published and is shared by samples until something in it changes.
type NetLink struct {
	Space uint64 // NetPlace.ID
	Name  Raw
	Kind  LinkKind
	LinkFacts
}

// LinkFacts are what rtnetlink and /sys/class/net tell of the interfaces of our own namespace. All
// are zero in the others.
type LinkFacts struct {
	Index    int32  // in its namespace
	Type     string // "veth", "bridge", …: the kind of rtnetlink; empty for a device
	Master   int32  // index of the bond or bridge it is in
	Lower    int32  // index of the one below it, of the other end of a veth
	Peer     uint64 // namespace of the other end, 0 if unknown or ours
	Up       bool   // operstate up, or unknown with IFF_UP as of lo and tun
	State    string // operstate: "up", "down", "lowerlayerdown", …
	MTU      uint32
	RxQueues uint32
	TxQueues uint32
	Carriers uint64 // carrier changes since it was made
	Speed    uint64 // Mbit/s; 0 if unknown
	Half     bool   // half duplex: both directions share the speed
	Driver   string
	Address  string // of the hardware
	Backlog  uint64 // bytes waiting in its queue
}

// SoftnetCPU is one CPU's line of /proc/net/softnet_stat over the span. The kernel counts in 32
// bits.
type SoftnetCPU struct {
	CPU       int32
	New       bool   // it came online in this span
	Processed uint32 // packets taken from the devices' queues
	Dropped   uint32 // backlog was full (net.core.netdev_max_backlog)
	Squeezed  uint32 // net_rx_action ended with work left: its budget was spent
	RPS       uint32 // wake-ups from other CPUs to receive for them
	FlowLimit uint32 // dropped by the flow limit
	Backlog   uint32 // gauge: packets waiting
}

// StackCounts are a namespace's protocol counters, IPv4 and IPv6 together except TCP, which has one
// set for both. Deltas over the span.
type StackCounts struct {
	IPIn, IPForwarded, IPInHeader, IPInDiscards, IPOutDiscards, IPNoRoutes, IPReasmFails, IPFragFails uint64
	UDPIn, UDPOut, UDPNoPort, UDPInErrors, UDPReceiveFull, UDPSendFull, UDPChecksum, UDPMemory        uint64
	TCPActive, TCPPassive, TCPAttemptFails, TCPEstabResets, TCPIn, TCPOut, TCPRetrans, TCPOutResets   uint64
	TCPListenOverflows, TCPListenDrops, TCPReceiveDrops, TCPBacklogDrops                              uint64 // of other namespaces than ours: tcp has our own
}

func (n *Network) put(s *Snapshot) { s.Network = n }

// How often is asked what is dear or changes seldom.
const (
	othersEvery = 5 * time.Second  // each of the other namespaces
	linksEvery  = 10 * time.Second // rtnetlink and /sys/class/net
	maxEvery    = 60 * time.Second // nf_conntrack_max
)

const (
	maxIfaces = 200 // rows of a sample
	maxSpaces = 64  // namespaces read, our own included
)

type networkCollector struct {
	fs      FS
	own     *ownSpace
	scan    *nsScan
	others  *otherSpaces
	links   *linkReader
	softnet *softnetReader
	neigh   *neighReader
	max     *procFile

	begun   bool
	last    time.Duration
	maxAt   time.Duration
	maxConn uint64
	err     error // of the last Collect
}

// NewNetwork returns the collector of Network. It needs no privilege, but where /proc is mounted so
// that other users' processes are hidden.
func NewNetwork(fs FS) Collector { return newNetwork(fs, newLinkSource(fs)) }

func newNetwork(fs FS, links linkSource) *networkCollector {
	scan := newNSScan(fs)
	return &networkCollector{
		fs: fs, own: newOwnSpace(fs), scan: scan, others: newOtherSpaces(fs, scan),
		links: newLinkReader(links), softnet: newSoftnetReader(fs), neigh: newNeighReader(fs), max: fs.file("sys/net/netfilter/nf_conntrack_max"),
	}
}

func (c *networkCollector) Meta() Meta { return Meta{ID: NetworkID} }

func (c *networkCollector) Start(ctx context.Context) error {
	c.begun, c.err = false, nil
	c.own.reset()
	c.softnet.reset()
	c.neigh.reset()
	c.others.reset()
	c.links.reset()
	c.scan.open() // without it there is one namespace less to see, and Probes says so
	return ctx.Err()
}

// Collect reads our own namespace, and of the others those whose turn it is. Only our own
// /proc/net/dev is needed; each other part takes away its own numbers when it cannot be read.
func (c *networkCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	first := !c.begun
	if first {
		c.last, c.maxAt = now, now-maxEvery
	}
	n := &Network{Span: Span{c.last, now}}
	c.own.is(c.scan.self)
	c.links.poll(ctx, now, c.own, c.others)
	rows, err := c.own.collect(ctx, n, nil)
	if c.err = err; err != nil {
		c.err = fmt.Errorf("reading /proc/net/dev: %w", err)
		return nil, c.err
	}
	c.begun = true
	elapsed := now - c.last
	c.last = now

	n.Softnet, n.SoftnetKnown = c.softnet.collect(ctx)
	n.SoftnetAll = sumSoftnet(n.Softnet)
	if now-c.maxAt >= maxEvery {
		c.maxAt, c.maxConn = now, readMax(ctx, c.max)
	}
	n.ConntrackMax = c.maxConn
	if !first { // the first snapshot is wanted at once
		c.scan.step(ctx, now)
		rows = c.others.collect(ctx, n, elapsed, rows)
		n.Neighbours = c.neigh.collect(ctx, now, c.places)
	}
	n.Ifaces, n.Unlisted, n.NUnlist = busiestIfaces(rows)
	n.Coverage = c.others.coverage()
	return n, ctx.Err()
}

// places are the namespaces that are read, our own first.
func (c *networkCollector) places() []*NetPlace {
	out := []*NetPlace{c.own.place}
	for _, x := range c.others.spaces {
		out = append(out, x.place)
	}
	return out
}

// size is about what n holds in memory, in bytes, without what samples share.
func (n *Network) size() int {
	size := allocSize(unsafe.Sizeof(*n)) + sliceSize(n.Spaces) + sliceSize(n.Ifaces) + sliceSize(n.Softnet) + sliceSize(n.Neighbours)
	for i := range n.Neighbours {
		size += sliceSize(n.Neighbours[i].Holders)
	}
	return size
}

// thin returns n, or a copy of n that keeps our own namespace and the devices in it.
func (n *Network) thin() *Network {
	keep := func(r *NetIface) bool { return r.Kind == LinkDevice }
	devices := 0
	for i := range n.Ifaces {
		if keep(&n.Ifaces[i]) {
			devices++
		}
	}
	if len(n.Spaces) <= 1 && devices == len(n.Ifaces) {
		return n
	}
	c := *n
	c.Thin = true
	c.Spaces, c.Ifaces = slices.Clone(n.Spaces[:min(len(n.Spaces), 1)]), make([]NetIface, 0, devices)
	for i := range n.Ifaces {
		if keep(&n.Ifaces[i]) {
			c.Ifaces = append(c.Ifaces, n.Ifaces[i])
		}
	}
	return &c
}

func readMax(ctx context.Context, f *procFile) uint64 {
	b, err := f.read(ctx)
	if err != nil {
		return 0
	}
	line, _ := cutLine(b)
	n, _ := parseUint(line)
	return n
}

func (c *networkCollector) Probes() []Probe {
	dev := Probe{Name: "sar DEV", Hook: "/proc/net/dev"}
	dev.State, dev.Reason = stateOf(c.begun, c.err)
	udp := Probe{Name: "sar UDP", Hook: "/proc/net/snmp, snmp6", State: dev.State, Reason: dev.Reason}
	soft := Probe{Name: "softnet", Hook: "/proc/net/softnet_stat", State: dev.State, Reason: dev.Reason}
	conn := Probe{Name: "conntrack", Hook: "/proc/net/stat/nf_conntrack", State: dev.State, Reason: dev.Reason}
	link := Probe{Name: "ip link", Hook: "rtnetlink, /sys/class/net", State: dev.State, Reason: dev.Reason}
	if dev.State == On {
		if err := c.own.stackErr; err != nil {
			udp.State, udp.Reason = Off, clean(err.Error())
		}
		if err := c.softnet.err; err != nil {
			soft.State, soft.Reason = Off, clean(err.Error())
		}
		if need := c.own.conntrackNeed(); need != nil {
			conn.State, conn.Reason, conn.Remedy = Off, need.Need, need.Remedy
		}
		c.links.probe(&link)
	}
	spaces := c.others.probe()
	if dev.State != On {
		spaces.State, spaces.Reason, spaces.Remedy = dev.State, dev.Reason, ""
	}
	return []Probe{dev, udp, soft, conn, link, spaces}
}

func (c *networkCollector) Close() error {
	c.begun = false
	c.scan.close()
	return errors.Join(c.own.close(), c.softnet.close(), c.neigh.close(), c.max.close())
}
