// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// keyedIdle is how long a key may stand still before it makes room for others.
const keyedIdle = time.Minute

// idleKeys notes when the keys of a hash last moved, and deletes those that stand still. What a key counts
// between its last reading and its deletion is lost to the key; totals are kept apart.
type idleKeys[K comparable] struct {
	now   time.Duration
	round uint64
	keys  map[K]idleKey
}

type idleKey struct {
	count uint64
	at    time.Duration
	round uint64
}

func (m *idleKeys[K]) begin(now time.Duration) {
	if m.keys == nil {
		m.keys = map[K]idleKey{}
	}
	m.now = now
	m.round++
}

// see notes a key and its count, which only grows.
func (m *idleKeys[K]) see(k K, count uint64) {
	was, ok := m.keys[k]
	if !ok || was.count != count {
		was.at = m.now
	}
	m.keys[k] = idleKey{count, was.at, m.round}
}

// forget deletes what stood still from the map, and drops what was not seen in this round.
func (m *idleKeys[K]) forget(hash *ebpf.Map) error {
	for k, was := range m.keys {
		if was.round == m.round && m.now-was.at < keyedIdle {
			continue
		}
		delete(m.keys, k)
		if was.round != m.round {
			continue
		}
		if err := hash.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting a key of %v: %w", hash, err)
		}
	}
	return nil
}
