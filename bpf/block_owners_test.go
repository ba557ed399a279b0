// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestBlockOwnersRest lets go of an owner that does nothing for a minute, and loses no count of it.
func TestBlockOwnersRest(t *testing.T) {
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	var r BlockReading
	for _, step := range []struct {
		at       time.Duration
		requests int // before the reading
		want     uint64
	}{
		{0, 0, 0},
		{time.Second, 10, 10},
		{50 * time.Second, 4, 14},
		{100 * time.Second, 0, 14}, // 50 s later
		{111 * time.Second, 0, 14}, // it loses its place
		{112 * time.Second, 6, 20}, // it has another
		{114 * time.Second, 0, 20}, // the first is free
		{115 * time.Second, 1, 21}, // what it had there is remembered
		{176 * time.Second, 0, 21}, // it loses the second
		{179 * time.Second, 0, 21}, // which is free
		{180 * time.Second, 0, 0},
		{181 * time.Second, 5, 5},
	} {
		diskIO(t, fd, buf, step.requests)
		if err := b.Read(step.at, &r); err != nil {
			t.Fatal(err)
		}
		if got := r.ownerOn(dev, os.Getpid()); got.Reads+got.Writes != step.want {
			t.Errorf("%d requests of this process at %s, want %d", got.Reads+got.Writes, step.at, step.want)
		}
	}
}

// TestBlockOwnerInFlight keeps the place of an owner for as long as something in flight counts there.
func TestBlockOwnerInFlight(t *testing.T) {
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	diskIO(t, fd, buf, 3)
	var r BlockReading
	read := func(at time.Duration) uint64 {
		t.Helper()
		if err := b.Read(at, &r); err != nil {
			t.Fatal(err)
		}
		own := r.ownerOn(dev, os.Getpid())
		return own.Reads + own.Writes
	}
	read(0)
	var slot uint32
	var flying blockInflight
	for i := range b.obj.maps["block_requests"].MaxEntries() {
		var f blockInflight
		if err := b.obj.maps["block_requests"].Lookup(i, &f); err != nil {
			t.Fatal(err)
		}
		if f.Dev == dev && int(f.Owner.Tgid) == os.Getpid() {
			slot, flying = i, f
		}
	}
	for _, now := range []uint32{1, 0} {
		flying.Flying = now
		if err := b.obj.maps["block_requests"].Put(slot, &flying); err != nil {
			t.Fatal(err)
		}
		at := time.Duration(61+10*(1-now)) * time.Second
		read(at)
		read(at + 3*time.Second)
		if got, want := read(at+4*time.Second), uint64(3*now); got != want {
			t.Errorf("with %d requests in flight the owner has %d, want %d", now, got, want)
		}
	}
}

// TestBlockNoRoom counts what finds no place of its own for process 0 and disk 0.
func TestBlockNoRoom(t *testing.T) {
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	taken := blockBlockOwner{State: ownerLeaving}
	for place := uint32(1); place < b.obj.maps["block_owners"].MaxEntries(); place++ {
		if err := b.obj.maps["block_owners"].Put(place, &taken); err != nil {
			t.Fatal(err)
		}
	}
	var disks blockDiskTable
	for i := uint32(1); i < b.obj.maps["block_disks"].MaxEntries()/BlockClasses; i++ {
		disks.Dev[i] = 1 // no such disk
	}
	if err := b.obj.maps["block_places"].Put(uint32(0), &disks); err != nil {
		t.Fatal(err)
	}
	undisturbed(t, func() (wrong []string) {
		before := readBlock(t, b)
		was := before.classOf(0, WriteSync).Completed + before.classOf(0, ReadSync).Completed
		owned := before.ownerOn(0, 0)
		diskIO(t, fd, buf, 8)
		r := readBlock(t, b)
		// Others of the host find no place either.
		if got := r.classOf(0, WriteSync).Completed + r.classOf(0, ReadSync).Completed - was; got < 8 {
			wrong = append(wrong, fmt.Sprintf("disk 0 has %d requests, want 8 or more", got))
		}
		o := r.ownerOn(0, 0)
		if got := o.Reads + o.Writes - owned.Reads - owned.Writes; got < 8 {
			wrong = append(wrong, fmt.Sprintf("process 0 has %d requests, want 8 or more", got))
		}
		if got := r.Sums.Folded - before.Sums.Folded; got < 16 {
			wrong = append(wrong, fmt.Sprintf("%d had no place, want 16 or more", got))
		}
		if own := r.ownerOn(dev, os.Getpid()); own.TGID != 0 {
			wrong = append(wrong, fmt.Sprintf("%+v has a place", own))
		}
		return wrong
	})
}

func TestDiskPlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		disks int
		want  uint32
	}{
		"none":       {0, 16},
		"a few":      {7, 16},
		"half of it": {8, 32},
		"many":       {20, 64},
		"very many":  {300, 64},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i := range tt.disks {
				if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("vd", i)), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if got := diskPlaces(dir); got != tt.want {
				t.Errorf("diskPlaces of %d disks = %d, want %d", tt.disks, got, tt.want)
			}
		})
	}
	if got := diskPlaces(filepath.Join(t.TempDir(), "none")); got != maxDisks {
		t.Errorf("diskPlaces of no directory = %d, want %d", got, maxDisks)
	}
}
