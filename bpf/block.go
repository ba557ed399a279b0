// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// CostBlock is what a request costs in all, from its start to its end: run time with the 90 ns that
// each of two empty programs has, as measured in a 6.18 guest: 440, and more where others take its caches.
// The clock alone is 90.
const CostBlock = 450

// firstSlow is what requests must take to be listed until SetSlow says otherwise.
const firstSlow = time.Millisecond

// Block is the facade of block.bpf.c: how long requests wait and take, how large they are and who
// asks for them.
type Block struct {
	obj       *object
	ended     *ebpf.Program
	errno     bool // the kernel says errors as errno, not as blk_status_t
	byBio     bool // owners are found by bio
	stamping  bool // block_issued is attached
	unstamped uint64

	ownersErr, mergesErr, requeuesErr, stampErr error

	disks   map[BlockKey]*BlockCounts
	counts  []blockBlockCounts // one row, by CPU
	owners  ownerPlaces
	sums    []blockBlockSums
	targets []blockBlockTarget
	flights []blockInflight // what does not fly is zero
	flying  *mapped[blockInflight]
	lives   []life
	fate    *ebpf.Program // tells whether a request is still there; nil: not on this kernel
	unseen  uint64        // requests that ended and looked as if they hung
}

// OpenBlock loads and attaches the programs. Only the one on block_rq_complete is indispensable. The
// caller owns the result and closes it.
func OpenBlock(k *Kernel) (*Block, error) { return openBlockBy(k, false) }

// openBlockBy finds owners by bio, as kernels before 6.5 need, also where it could be had better.
func openBlockBy(k *Kernel, bio bool) (*Block, error) {
	obj, err := newObject(k, loadBlock)
	if err != nil {
		return nil, err
	}
	b := &Block{
		obj: obj, byBio: bio,
		disks: make(map[BlockKey]*BlockCounts), owners: ownerPlaces{known: make(map[ownerKey]*knownOwner)},
	}
	if err := b.open(); err != nil {
		return nil, errors.Join(err, obj.Close())
	}
	return b, nil
}

func (b *Block) open() error {
	if err := b.obj.kernel.needBTF(); err != nil {
		return err
	}
	types, err := b.obj.kernel.types().Kernel()
	if err != nil {
		return b.obj.kernel.explain("reading kernel BTF", err)
	}
	if err := b.arguments(types); err != nil {
		return err
	}
	if err := b.makeRoom(diskPlaces("/sys/block")); err != nil {
		return err
	}
	if err := b.SetSlow(firstSlow); err != nil {
		return err
	}
	// The end first: what starts before its end can be seen would look as if it hung.
	if err := b.obj.attachTracing("block_ended"); err != nil {
		return err
	}
	b.ended = b.obj.progs[len(b.obj.progs)-1]
	if p, err := b.obj.load("block_fate_of"); err == nil {
		b.fate = p // without it the collector asks the kernel's own count
	}
	b.requeuesErr = b.obj.attachTracing("block_requeued")
	if b.mergesErr = b.obj.attachTracing("block_merged"); b.mergesErr != nil {
		b.ownersErr = b.mergesErr // what is merged would hang for ever
		return nil
	}
	if !b.byBio {
		b.ownersErr = b.obj.attachTracing("block_started")
		return nil
	}
	if b.ownersErr = b.obj.attachTracing("block_asked"); b.ownersErr == nil {
		b.ownersErr = b.obj.attachTracing("block_issued")
		b.stamping = b.ownersErr == nil
	}
	return nil
}

// arguments finds out what the hooks are given on this kernel, and tells the programs.
func (b *Block) arguments(types *btf.Spec) error {
	complete, err := traceArgs(types, "block_rq_complete")
	if err != nil {
		return err
	}
	if len(complete) < 3 || !isStructPtr(complete[0], "request") {
		return fmt.Errorf("attaching block_ended: block_rq_complete has an argument list that is not known: %w", ErrUnsupported)
	}
	_, status := complete[1].(*btf.Typedef)
	b.errno = !status
	if _, err := traceArgs(types, "block_io_start"); err != nil {
		b.byBio = true
	}
	request, err := argOf(types, "block_rq_issue", "request")
	if err != nil {
		return err
	}
	vars := map[string]any{"request_arg": request, "owner_by_bio": b.byBio}
	if b.byBio {
		if vars["getrq_bio"], err = argOf(types, "block_getrq", "bio"); err != nil {
			return err
		}
	}
	for name, v := range vars {
		if err := b.obj.set(name, v); err != nil {
			return err
		}
	}
	return nil
}

// argOf is which argument of a tracepoint, the first or the second, points to the struct.
func argOf(types *btf.Spec, tracepoint, structure string) (uint32, error) {
	args, err := traceArgs(types, tracepoint)
	if err != nil {
		return 0, err
	}
	for i, a := range args[:min(len(args), 2)] {
		if isStructPtr(a, structure) {
			return uint32(i), nil
		}
	}
	return 0, fmt.Errorf("attaching to %s: it has an argument list that is not known: %w", tracepoint, ErrUnsupported)
}

// maxDisks is DISKS of block_types.bpf.h, and a row of counts is some 600 bytes on each CPU.
const maxDisks, minDisks = 64, 16

// diskPlaces is how many disks to have room for: a power of two that leaves half of it to those to come.
func diskPlaces(dir string) uint32 {
	disks, err := os.ReadDir(dir)
	if err != nil {
		return maxDisks
	}
	n := uint32(minDisks)
	for n < maxDisks && int(n) <= 2*len(disks) {
		n *= 2
	}
	return n
}

func (b *Block) makeRoom(disks uint32) error {
	return errors.Join(b.obj.set("disk_places", disks), b.obj.resize("block_disks", disks*BlockClasses))
}

// Hook is how requests and their owners are seen.
func (b *Block) Hook() string {
	s := "tp_btf block_rq_complete"
	switch {
	case b.ownersErr != nil:
	case b.byBio:
		return s + ", block_getrq, block_rq_issue"
	default:
		s += ", block_io_start"
	}
	if b.stamping {
		s += ", block_rq_issue"
	}
	return s
}

// OwnersErr says why it is not known who asks, nor what is in flight; nil if it is.
func (b *Block) OwnersErr() error { return b.ownersErr }

// StampErr says why the time on the device is not known of queues for which the kernel keeps no time
// of issue; nil if it is, or if there is no such queue.
func (b *Block) StampErr() error { return b.stampErr }

// RequeuesErr says why requeues are not counted; nil if they are.
func (b *Block) RequeuesErr() error { return b.requeuesErr }

// SetSlow sets from which duration on requests are listed as events: 0 lists every request. Stalls of
// a second and more are always listed.
func (b *Block) SetSlow(d time.Duration) error {
	m, err := b.obj.createMap("block_slow")
	if err != nil {
		return err
	}
	if err := m.Put(uint32(0), uint64(max(d, 0))); err != nil {
		return fmt.Errorf("writing map block_slow: %w", err)
	}
	return nil
}

// Narrow counts targets apart: processes, cgroups and disks.
func (b *Block) Narrow(want []Filter) (Slots, error) { return b.obj.narrow(want) }

// Pause detaches the programs and keeps what they counted, or attaches them again.
func (b *Block) Pause(on bool) error {
	if !on && b.obj.paused {
		// What ended meanwhile would look as if it hung.
		if err := b.forget(); err != nil {
			return err
		}
	}
	return b.obj.pause(on)
}

// forget empties the list of what is in flight.
func (b *Block) forget() error {
	m, err := b.obj.createMap("block_requests")
	if err != nil {
		return err
	}
	var none blockInflight
	for i := range m.MaxEntries() {
		if err := m.Put(i, &none); err != nil {
			return fmt.Errorf("writing map block_requests: %w", err)
		}
	}
	return nil
}

// stamp makes up for a kernel that keeps no time of issue, once it is seen that it does not.
func (b *Block) stamp(unstamped uint64) {
	if unstamped == b.unstamped || b.stamping || b.ownersErr != nil || b.stampErr != nil {
		return
	}
	b.unstamped = unstamped
	if b.stampErr = b.obj.attachTracing("block_issued"); b.stampErr == nil {
		b.stamping = true
	}
}

// Close detaches the programs and frees the maps.
func (b *Block) Close() error {
	return errors.Join(b.flying.close(), b.owners.inUse.close(), b.owners.having.close(), b.obj.Close())
}
