// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// rowIdle is how long a key of a map of counts may stand still before it makes room for others.
const rowIdle = 60 * time.Second

// aging tells which keys of a map stand still.
type aging[K comparable] struct {
	seen map[K]*keyAge
	idle []K // of this reading
	turn uint32
}

type keyAge struct {
	count uint64
	since time.Duration // when it last moved
	turn  uint32
}

// stands says whether a key has not moved for rowIdle. count is what it has counted, now the time of
// the reading, monotonic.
func (a *aging[K]) stands(key *K, count uint64, now time.Duration) bool {
	k := a.seen[*key]
	if k == nil {
		if a.seen == nil {
			a.seen = make(map[K]*keyAge)
		}
		k = &keyAge{count: count, since: now}
		a.seen[*key] = k
	}
	if k.count != count {
		k.count, k.since = count, now
	}
	k.turn = a.turn
	if now-k.since < rowIdle {
		return false
	}
	a.idle = append(a.idle, *key)
	return true
}

// forgetIdle deletes the keys that stand still and calls late with one that moved in the last moment.
func forgetIdle[K comparable, V any](a *aging[K], m *ebpf.Map, count func(*V) uint64, late func(*K, *V)) error {
	for i := range a.idle {
		key, value := &a.idle[i], new(V)
		err := m.LookupAndDelete(key, value)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // hashes have it since 5.14
			if err = m.Lookup(key, value); err == nil {
				err = m.Delete(key)
			}
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("deleting from %v: %w", m, err)
		}
		if err == nil && count(value) != a.seen[*key].count {
			late(key, value)
		}
		delete(a.seen, *key)
	}
	a.idle = a.idle[:0]
	for key, k := range a.seen {
		if k.turn != a.turn {
			delete(a.seen, key)
		}
	}
	a.turn++
	return nil
}
