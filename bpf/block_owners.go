// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
)

const (
	// ownerRest is how long an owner that does nothing keeps its place.
	ownerRest = 60 * time.Second
	// ownerLeave is how long a place that is let go of is still looked at: long enough for a program that
	// had found it to count.
	ownerLeave = 2 * time.Second
)

// States of a place: enum owner_state.
const (
	ownerFree    = 0
	ownerInUse   = 1
	ownerLeaving = 2
)

// ownerPlaces are the places of those who ask. An owner has one, but may have a second while it leaves
// the first.
type ownerPlaces struct {
	known map[ownerKey]*knownOwner
	ids   []blockBlockOwner
	had   []blockOwnerHad
	left  map[uint32]time.Duration // places that are let go of, and since when nothing in flight counts there

	inUse  *mapped[blockBlockOwner] // where ids and had are read from
	having *mapped[blockOwnerHad]
}

type ownerKey struct {
	tgid  int32
	dev   uint32
	start uint64
}

type knownOwner struct {
	retired BlockOwnerCounts // of places that it had and that are free again
	counts  BlockOwnerCounts // of all, with those
	last    BlockOwnerCounts // of the reading before
	moved   time.Duration
	id      *blockBlockOwner // of this reading; nil: it has no place any more
}

// readOwners appends the owners to dst. Those that rest lose their place, and are gone once it is free.
func (b *Block) readOwners(now time.Duration, dst []BlockOwner) ([]BlockOwner, error) {
	ids, err := b.obj.createMap("block_owners")
	if err != nil {
		return dst, err
	}
	had, err := b.obj.createMap("block_had")
	if err != nil {
		return dst, err
	}
	o := &b.owners
	if err := o.read(ids, had); err != nil {
		return dst, err
	}
	o.sum(now)
	for key, k := range o.known {
		if k.id == nil {
			delete(o.known, key)
			continue
		}
		dst = append(dst, BlockOwner{
			TGID: key.tgid, Dev: key.dev, Start: key.start, Comm: k.id.Comm, Cgroup: k.id.Cgroup, Kernel: k.id.Kernel != 0,
			BlockOwnerCounts: k.counts,
		})
	}
	return dst, b.releaseOwners(ids, had, now)
}

// read reads the places that are not free. That of process 0 never is.
func (o *ownerPlaces) read(ids, had *ebpf.Map) (err error) {
	if o.having == nil {
		if o.inUse, err = mapArray[blockBlockOwner](ids); err != nil {
			return err
		}
		if o.having, err = mapArray[blockOwnerHad](had); err != nil {
			return errors.Join(err, o.inUse.close())
		}
		n := ids.MaxEntries()
		o.ids, o.had, o.left = make([]blockBlockOwner, n), make([]blockOwnerHad, n), map[uint32]time.Duration{}
	}
	for place := range o.ids {
		if place != 0 && atomic.LoadUint32(&o.inUse.values[place].State) == ownerFree {
			o.ids[place].State = ownerFree
			continue
		}
		// Who it is first: what a place has counted is its owner's then, as only free frees it.
		o.inUse.read(place, &o.ids[place])
		o.having.read(place, &o.had[place])
	}
	return nil
}

// sum adds up what each owner has in its places.
func (o *ownerPlaces) sum(now time.Duration) {
	for _, k := range o.known {
		k.last, k.counts, k.id = k.counts, k.retired, nil
	}
	for place := range o.ids {
		id := &o.ids[place]
		if id.State == ownerFree && place != 0 {
			continue
		}
		key := ownerKey{id.Tgid, id.Dev, id.Start}
		k := o.known[key]
		if k == nil {
			k = &knownOwner{moved: now}
			o.known[key] = k
		}
		if k.id == nil || id.State == ownerInUse {
			k.id = id
		}
		k.counts.add(&o.had[place])
	}
	for _, k := range o.known {
		if k.counts != k.last {
			k.moved = now
		}
	}
}

func (c *BlockOwnerCounts) add(v *blockOwnerHad) {
	c.Reads += v.Requests[0]
	c.Writes += v.Requests[1]
	c.Others += v.Requests[2] + v.Requests[3]
	c.Flushes += v.Flushes
	c.ReadBytes += v.Bytes[0]
	c.WriteBytes += v.Bytes[1]
	c.IONs += v.IoNs
	c.FlushNs += v.FlushNs
	c.Errors += v.Errors
}

// releaseOwners lets go of the places of owners that rest, and frees those that nothing in flight counts
// in any more.
func (b *Block) releaseOwners(ids, had *ebpf.Map, now time.Duration) error {
	o := &b.owners
	for place := uint32(1); place < uint32(len(o.ids)); place++ {
		id := &o.ids[place]
		if id.State != ownerInUse || now-o.known[ownerKey{id.Tgid, id.Dev, id.Start}].moved < ownerRest {
			continue
		}
		id.State = ownerLeaving
		if err := ids.Put(place, id); err != nil {
			return fmt.Errorf("writing map block_owners: %w", err)
		}
		o.left[place] = now
	}
	if len(o.left) == 0 {
		return nil
	}
	if err := b.readFlights(); err != nil {
		return err
	}
	for i := range b.flights {
		if f := &b.flights[i]; f.Flying != 0 {
			if _, ok := o.left[uint32(f.Place)]; ok {
				o.left[uint32(f.Place)] = now
			}
		}
	}
	for place, since := range o.left {
		if now-since < ownerLeave {
			continue
		}
		if err := b.freePlace(ids, had, place); err != nil {
			return err
		}
		delete(o.left, place)
	}
	return nil
}

// freePlace makes a place anybody's. The programs leave it alone until its state, the last that is written,
// says so.
func (b *Block) freePlace(ids, had *ebpf.Map, place uint32) error {
	claims, err := b.obj.createMap("block_claims")
	if err != nil {
		return err
	}
	if err := had.Put(place, &blockOwnerHad{}); err != nil {
		return fmt.Errorf("writing map block_had: %w", err)
	}
	err = claims.Delete(&blockBlockClaim{Place: place})
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("deleting from map block_claims: %w", err)
	}
	if err := ids.Put(place, &blockBlockOwner{}); err != nil {
		return fmt.Errorf("writing map block_owners: %w", err)
	}
	id := &b.owners.ids[place]
	b.owners.known[ownerKey{id.Tgid, id.Dev, id.Start}].retired.add(&b.owners.had[place])
	return nil
}
