// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// peersMap is filter_peers in include/filter_peer.bpf.h.
const peersMap = "filter_peers"

// peerKey is struct filter_peer.
type peerKey struct {
	Addr [16]byte // IPv4 as IPv6 has it
	Port uint32
}

// tellPeers makes an object's programs know the peers of its new slots. It writes only what changed.
func (o *object) tellPeers(slots Slots) error {
	want := make(map[peerKey]uint32)
	for i, f := range slots {
		if f.Kind == FilterPeer {
			want[peerKey{f.Addr.Addr().As16(), uint32(f.Addr.Port())}] |= 1 << i
		}
	}
	if len(want)+len(o.peers) == 0 {
		return nil
	}
	if elf, err := o.elf(); err != nil {
		return err
	} else if elf.Maps[peersMap] == nil {
		return errors.New("narrowing to a peer: these programs do not know whom they are about")
	}
	m, err := o.createMap(peersMap)
	if err != nil {
		return err
	}
	for k := range o.peers { // first room, then what needs it
		if want[k] != 0 {
			continue
		}
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("taking a row out of map %s: %w", peersMap, err)
		}
		delete(o.peers, k)
	}
	for k, bits := range want {
		if o.peers[k] == bits {
			continue
		}
		if err := m.Put(&k, &bits); err != nil {
			return fmt.Errorf("writing map %s: %w", peersMap, err)
		}
		if o.peers == nil {
			o.peers = make(map[peerKey]uint32)
		}
		o.peers[k] = bits
	}
	return nil
}
