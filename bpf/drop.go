// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// CostDrop is what a run of drop.bpf.c costs in ns, as measured in a 6.18 guest less what the measuring
// itself takes; make bench measures it anew.
const CostDrop = 200

const (
	// dropIdle is when a place or a socket that dropped nothing gives up its row.
	dropIdle = time.Minute
	// dropSweep is how often rows are read although nothing was dropped, to give up the idle ones.
	dropSweep   = 10 * time.Second
	dropReasons = 256 // REASONS in drop.bpf.c
)

// DropPlace is where and why packets are dropped.
type DropPlace struct {
	Place     uint64 // address in the kernel's text
	Reason    uint32 // enum skb_drop_reason; a subsystem's number is in the upper half
	Netns     uint32 // inode of the namespace; 0: not known
	Ifindex   uint32 // of the interface, in its namespace; 0: not known
	Protocol  uint16 // ETH_P_*: 0x0800 is IPv4
	Transport uint8  // IPPROTO_*; 0: not IP, or not known
}

// DropRow is one place.
type DropRow struct {
	DropPlace
	Packets uint64 // cumulative since it got its row
}

// DropSocket is a socket whose receive queue was full.
type DropSocket struct {
	Inode    uint32 // 0: it is in no file any more
	Netns    uint32
	Port     uint16 // local; of a raw socket its protocol
	Family   uint16 // AF_*
	Protocol uint32 // IPPROTO_*
}

// DropSocketRow is what one socket dropped, cumulative since it got its row.
type DropSocketRow struct {
	DropSocket
	Full   uint64 // packets: the receive buffer was full
	Memory uint64 // packets: all sockets of the protocol together had too much
	Rcvbuf uint32 // bytes, when it last happened
}

// DropReading is what Read returns. Its slices are valid until the next one.
type DropReading struct {
	Reasons [dropReasons]uint64 // packets by reason, cumulative and exact; the last: of subsystems
	Rows    []DropRow
	Sockets []DropSocketRow
	Others  DropSocketRow // of sockets without a row
	Missed  uint64        // runs that the kernel left out, as the program was running on that CPU already
}

// DropReasons are the names of the running kernel's reasons.
type DropReasons struct {
	Known       bool   // this kernel tells reasons
	Unspecified uint32 // the one that says nothing
	names       map[uint32]string
	subsystems  map[uint32]string
}

// Name is the name of a reason, without its prefix: "NO_SOCKET".
func (r *DropReasons) Name(reason uint32) string {
	if name, ok := r.names[reason]; ok {
		return name
	}
	if name, ok := r.subsystems[reason>>16]; ok && reason>>16 != 0 {
		return fmt.Sprintf("%s %d", name, reason&0xffff)
	}
	return fmt.Sprintf("reason %d", reason)
}

// Drop is the facade of drop.bpf.c: dropped packets by reason and place, and full sockets.
type Drop struct {
	obj     *object
	reasons DropReasons

	errPackets, errSockets, errHeaders error

	out     DropReading
	places  map[dropDropKey]dropMoved
	sockets map[dropDropSocket]dropMoved
	raw     []dropReasonCounts
	moved   bool          // something was dropped before the last reading
	swept   time.Duration // when places and sockets were last read
}

type dropMoved struct {
	n    uint64
	at   time.Duration
	seen bool
}

// OpenDrop loads and attaches the programs. One that this kernel refuses costs what it counts:
// PacketsErr and SocketsErr tell. The caller owns the result and closes it.
func OpenDrop(k *Kernel) (*Drop, error) {
	obj, err := newObject(k, loadDrop)
	if err != nil {
		return nil, err
	}
	if err := k.needBTF(); err != nil {
		return nil, err
	}
	d := &Drop{obj: obj, places: map[dropDropKey]dropMoved{}, sockets: map[dropDropSocket]dropMoved{}}
	types, err := k.types().Kernel()
	if err != nil {
		return nil, errors.Join(k.explain("reading kernel BTF", err), obj.Close())
	}
	for _, name := range []string{"drop_places", "drop_reasons", "drop_sockets", "drop_others"} {
		if _, err := obj.createMap(name); err != nil {
			return nil, errors.Join(err, obj.Close())
		}
	}
	d.errPackets = d.attachPackets(types)
	for _, name := range []string{"drop_udp", "drop_queue"} {
		d.errSockets = errors.Join(d.errSockets, obj.attachTracing(name))
	}
	if d.errPackets != nil && d.errSockets != nil {
		return nil, errors.Join(d.errPackets, obj.Close())
	}
	return d, nil
}

// attachPackets picks the program by the arguments of kfree_skb, and the value of "not specified" by
// its name.
func (d *Drop) attachPackets(types *btf.Spec) error {
	args, err := traceArgs(types, "kfree_skb")
	if err != nil {
		return err
	}
	if len(args) < 3 {
		return d.attachHeaders("drop_placed")
	}
	if d.reasons, err = readDropReasons(types); err != nil {
		return d.obj.kernel.explain("finding the reasons of drops in BTF", err)
	}
	if err := d.obj.set("unspecified", d.reasons.Unspecified); err != nil {
		return err
	}
	return d.attachHeaders("drop_reasoned")
}

// attachHeaders attaches a program that reads the headers of packets, or without that part.
func (d *Drop) attachHeaders(name string) error {
	err := d.obj.attachTracing(name)
	if err == nil {
		return nil
	}
	if e := d.obj.set("headers", false); e != nil {
		return e
	}
	if d.obj.attachTracing(name) != nil {
		return err
	}
	d.errHeaders = d.obj.kernel.readRefused(err)
	return nil
}

func readDropReasons(types *btf.Spec) (DropReasons, error) {
	r := DropReasons{names: map[uint32]string{}, subsystems: map[uint32]string{}}
	var e *btf.Enum
	if err := types.TypeByName("skb_drop_reason", &e); err != nil {
		return r, err
	}
	const prefix, not, subsystem = "SKB_DROP_REASON_", "NOT_SPECIFIED", "SKB_DROP_REASON_SUBSYS_"
	for _, v := range e.Values {
		name := strings.TrimPrefix(strings.TrimPrefix(v.Name, prefix), "SKB_")
		if name == "MAX" || name == "SUBSYS_MASK" {
			continue
		}
		r.names[uint32(v.Value)] = name
		if name == not {
			r.Known, r.Unspecified = true, uint32(v.Value)
		}
	}
	if !r.Known {
		return r, fmt.Errorf("%s%s is not there: %w", prefix, not, ErrUnsupported)
	}
	if err := types.TypeByName("skb_drop_reason_subsys", &e); err == nil { // from 6.4 on
		for _, v := range e.Values {
			r.subsystems[uint32(v.Value)] = strings.TrimPrefix(v.Name, subsystem)
		}
	}
	return r, nil
}

// Reasons are the names of the reasons.
func (d *Drop) Reasons() *DropReasons { return &d.reasons }

// PacketsErr says why dropped packets are not counted; nil if they are.
func (d *Drop) PacketsErr() error { return d.errPackets }

// HeadersErr says why the protocol and the ends of packets are not known; nil if they are.
func (d *Drop) HeadersErr() error { return d.errHeaders }

// SocketsErr says why full sockets are not counted, or not all of them; nil if they are.
func (d *Drop) SocketsErr() error { return d.errSockets }

// Pause detaches the programs, or attaches them again.
func (d *Drop) Pause(on bool) error { return d.obj.pause(on) }

// Read copies the counts.
func (d *Drop) Read() (*DropReading, error) {
	now, err := bootTime()
	if err != nil {
		return nil, err
	}
	r := &d.out
	was := r.Reasons
	if err := d.readReasons(); err != nil {
		return nil, err
	}
	// A program counts by reason first: when nothing moved there, all else is as it was read after the
	// last time that something did. Reasons are read again at the end, as a sum over places must not
	// be more than its reason's.
	moved := r.Reasons != was
	if moved || d.moved || now-d.swept >= dropSweep {
		d.swept = now
		if err := d.readPlaces(now); err != nil {
			return nil, err
		}
		if err := d.readSockets(now); err != nil {
			return nil, err
		}
		if err := d.readReasons(); err != nil {
			return nil, err
		}
	}
	d.moved = moved
	r.Missed = 0
	for _, p := range d.obj.progs {
		s, err := p.Stats()
		if err != nil {
			continue // before 5.12 nobody counts them
		}
		r.Missed += s.RecursionMisses
	}
	return r, nil
}

func (d *Drop) readReasons() error {
	zero := uint32(0)
	if err := d.obj.maps["drop_reasons"].Lookup(&zero, &d.raw); err != nil {
		return fmt.Errorf("reading map drop_reasons: %w", err)
	}
	d.out.Reasons = [dropReasons]uint64{}
	for i := range d.raw {
		for k, n := range d.raw[i].Packets {
			d.out.Reasons[k] += n
		}
	}
	return nil
}

func (d *Drop) readPlaces(now time.Duration) error {
	m := d.obj.maps["drop_places"]
	d.out.Rows = d.out.Rows[:0]
	err := readPerCPUHash(m, func(k *dropDropKey, cpus []uint64) {
		row := DropRow{DropPlace: dropPlaceOf(k)}
		for _, n := range cpus {
			row.Packets += n
		}
		d.out.Rows = append(d.out.Rows, row)
		d.places[*k] = d.places[*k].moved(row.Packets, now)
	})
	if err != nil {
		return err
	}
	return forget(m, d.places, now)
}

func (d *Drop) readSockets(now time.Duration) error {
	m := d.obj.maps["drop_sockets"]
	d.out.Sockets = d.out.Sockets[:0]
	err := readHash(m, func(k *dropDropSocket, c *dropDropCounts) {
		d.out.Sockets = append(d.out.Sockets, DropSocketRow{
			DropSocket: DropSocket{k.Inode, k.Netns, k.Port, k.Family, k.Protocol},
			Full:       c.Full, Memory: c.Memory, Rcvbuf: c.Rcvbuf,
		})
		d.sockets[*k] = d.sockets[*k].moved(c.Full+c.Memory, now)
	})
	if err != nil {
		return err
	}
	zero := uint32(0)
	var others dropDropCounts
	if err := d.obj.maps["drop_others"].Lookup(&zero, &others); err != nil {
		return fmt.Errorf("reading map drop_others: %w", err)
	}
	d.out.Others = DropSocketRow{Full: others.Full, Memory: others.Memory, Rcvbuf: others.Rcvbuf}
	return forget(m, d.sockets, now)
}

func (m dropMoved) moved(n uint64, now time.Duration) dropMoved {
	if n != m.n || m.at == 0 {
		m.n, m.at = n, now
	}
	m.seen = true
	return m
}

// forget deletes the rows that did not move for long.
func forget[K comparable](m *ebpf.Map, rows map[K]dropMoved, now time.Duration) error {
	for k, is := range rows {
		if is.seen && now-is.at < dropIdle {
			is.seen = false
			rows[k] = is
			continue
		}
		delete(rows, k)
		if !is.seen {
			continue
		}
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("deleting from %v: %w", m, err)
		}
	}
	return nil
}

// Close detaches the programs and frees the maps.
func (d *Drop) Close() error { return d.obj.Close() }

// DroppedPacket is an event: one of the first packets dropped at a place, or one of many.
type DroppedPacket struct {
	DropPlace
	At           time.Duration  // boot time
	Inode        uint32         // of the packet's own socket; 0: it has none
	Source, Dest netip.AddrPort // not valid unless it is an IP packet; ports of TCP and UDP only
	Length       uint32         // bytes, headers included as far as it has them
}

// ReadDroppedPacket decodes an event of kind EventDrop; false if it is none.
func ReadDroppedPacket(record []byte) (DroppedPacket, bool) {
	var e dropDropEvent
	if uintptr(len(record)) < unsafe.Sizeof(e) {
		return DroppedPacket{}, false
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), record)
	p := DroppedPacket{DropPlace: dropPlaceOf(&e.Key), At: time.Duration(e.Event.At), Inode: e.Inode, Length: e.Length}
	if e.Source != [16]byte{} || e.Dest != [16]byte{} {
		p.Source = netip.AddrPortFrom(netip.AddrFrom16(e.Source).Unmap(), swap16(e.SourcePort))
		p.Dest = netip.AddrPortFrom(netip.AddrFrom16(e.Dest).Unmap(), swap16(e.DestPort))
	}
	return p, true
}

func dropPlaceOf(k *dropDropKey) DropPlace {
	return DropPlace{k.Place, k.Reason, k.Netns, k.Ifindex, swap16(k.Protocol), k.Transport}
}

// swap16 turns a number of the network's byte order into ours.
func swap16(v uint16) uint16 { return v<<8 | v>>8 }

// NewDropReasons are the reasons of a kernel that knows these names; for tests of what shows them.
func NewDropReasons(unspecified uint32, names map[uint32]string) DropReasons {
	return DropReasons{Known: true, Unspecified: unspecified, names: names}
}
