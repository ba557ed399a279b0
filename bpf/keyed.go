// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// keyedBatch is how many entries one system call brings.
const keyedBatch = 256

// readHash calls each with every entry of a hash map whose values are not per CPU. Entries that come
// or go meanwhile may be missed or, rarely, come twice. Both pointers are valid during the call only.
// K and V must be of fixed size, without padding that Go does not have.
func readHash[K comparable, V any](m *ebpf.Map, each func(*K, *V)) error {
	keys, values := make([]K, keyedBatch), make([]V, keyedBatch)
	return readBatches(m, func(cursor *ebpf.MapBatchCursor) (int, error) {
		n, err := m.BatchLookup(cursor, keys, values, nil)
		for i := range n {
			each(&keys[i], &values[i])
		}
		return n, err
	}, func() error {
		var k K
		var v V
		it := m.Iterate()
		for it.Next(&k, &v) {
			each(&k, &v)
		}
		return it.Err()
	})
}

// readPerCPUHash is readHash for a per-CPU map: each gets the values of all possible CPUs.
func readPerCPUHash[K comparable, V any](m *ebpf.Map, each func(*K, []V)) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting possible CPUs: %w", err)
	}
	keys, values := make([]K, keyedBatch), make([]V, keyedBatch*cpus)
	return readBatches(m, func(cursor *ebpf.MapBatchCursor) (int, error) {
		n, err := m.BatchLookup(cursor, keys, values, nil)
		for i := range n {
			each(&keys[i], values[i*cpus:(i+1)*cpus])
		}
		return n, err
	}, func() error {
		var k K
		var v []V
		it := m.Iterate()
		for it.Next(&k, &v) {
			each(&k, v)
		}
		return it.Err()
	})
}

// readBatches reads by batches, or one by one where the kernel knows no batches of this map or a
// bucket holds more than one batch.
func readBatches(m *ebpf.Map, batch func(*ebpf.MapBatchCursor) (int, error), single func() error) error {
	var cursor ebpf.MapBatchCursor
	for first := true; ; first = false {
		n, err := batch(&cursor)
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case first && n == 0 && err != nil:
			if err := single(); err != nil {
				return fmt.Errorf("reading %v: %w", m, err)
			}
			return nil
		case err != nil:
			return fmt.Errorf("reading %v: %w", m, err)
		}
	}
}
