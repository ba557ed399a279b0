// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestMappedArray reads in place what is written by system calls.
func TestMappedArray(t *testing.T) {
	b := openBlock(t)
	ids, err := b.obj.createMap("block_owners")
	if err != nil {
		t.Fatal(err)
	}
	array, err := mapArray[blockBlockOwner](ids)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := array.close(); err != nil {
			t.Error(err)
		}
	}()
	last := int(ids.MaxEntries()) - 1
	if len(array.values) != last+1 {
		t.Fatalf("%d values, want %d", len(array.values), last+1)
	}
	want := blockBlockOwner{State: ownerLeaving, Dev: 1<<32 - 1, Start: 1<<64 - 1, Tgid: -23, Cgroup: 7, Comm: [16]int8{'x', 15: -1}}
	for _, place := range []int{1, last} {
		if err := ids.Put(uint32(place), &want); err != nil {
			t.Fatal(err)
		}
		var got, next blockBlockOwner
		array.read(place, &got)
		array.read(place-1, &next)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(want)); diff != "" {
			t.Errorf("value %d (-want +got):\n%s", place, diff)
		}
		if next.Tgid == want.Tgid {
			t.Errorf("value %d is what stands at %d", place-1, place)
		}
	}
	if _, err := mapArray[blockOwnerHad](ids); err == nil {
		t.Error("mapped as values of another size")
	}
}

// BenchmarkBlockRead is a reading of all maps of block I/O, and of what is in flight.
func BenchmarkBlockRead(b *testing.B) {
	block := openBlock(b)
	var r BlockReading
	var flights []BlockFlight
	for name, read := range map[string]func() error{
		"all":       func() error { return block.Read(time.Second, &r) },
		"in flight": func() (err error) { flights, err = block.InFlight(time.Second, 0, flights[:0]); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
