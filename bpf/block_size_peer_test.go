// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// sizedIO writes and reads n times each of several sizes, from half a KiB to what the buffer holds, and
// returns how many requests that is, if the disk takes each as a whole.
func sizedIO(t *testing.T, fd int, buf []byte, n int) (requests uint64) {
	t.Helper()
	for size := 512; size <= len(buf); size *= 2 {
		for i := range n {
			at := int64(i * size % (8 << 20))
			if _, err := unix.Pwrite(fd, buf[:size], at); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Pread(fd, buf[:size], at); err != nil {
				t.Fatal(err)
			}
			requests += 2
		}
	}
	return requests
}

// sizesOn is the histogram of sizes of all classes of a disk.
func (r *BlockReading) sizesOn(dev uint32) (h Hist) {
	for class := range BlockClass(BlockClasses) {
		for slot, n := range r.classOf(dev, class).Sizes {
			h.Slots[slot] += n
		}
	}
	return h
}

// TestBlockSizesAgainstBitesize compares with the bitesize of libbpf-tools, attached over the same load: the
// sizes on one disk, which are those of one process. It sees requests as they are issued.
func TestBlockSizesAgainstBitesize(t *testing.T) {
	path := peer(t, "bitesize")
	b := openBlock(t)
	device, dev := loopDevice(t, false)
	fd, buf := blockFile(t, device)
	undisturbed(t, func() (wrong []string) {
		tool := (*peerTool)(startHistogram(t, path, "-d", filepath.Base(device)))
		before := readBlock(t, b)
		was, owner := before.sizesOn(dev), before.ownerOn(dev, os.Getpid())
		want := sizedIO(t, fd, buf, 230)
		after := readBlock(t, b)
		ours, mine := after.sizesOn(dev), after.ownerOn(dev, os.Getpid())
		ours.minus(&was)
		var theirs Hist
		for _, h := range tool.stop(t) { // by who issued them
			theirs.plus(&h)
		}
		if diff := cmp.Diff(theirs.Slots, ours.Slots); diff != "" {
			wrong = append(wrong, "sizes (-bitesize +ours):\n"+diff)
		}
		if n := theirs.count(); n < want {
			wrong = append(wrong, fmt.Sprintf("bitesize counted %d requests, want %d", n, want))
		}
		if n := mine.Reads + mine.Writes - owner.Reads - owner.Writes; n != theirs.count() {
			wrong = append(wrong, fmt.Sprintf("%d requests of this process, bitesize counted %d", n, theirs.count()))
		}
		return wrong
	})
}
