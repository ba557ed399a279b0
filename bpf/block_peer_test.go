// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// diskIO reads and writes 4 KiB at random places of a device, n times.
func diskIO(t testing.TB, fd int, buf []byte, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		var err error
		at := 4096 * random.Int64N(4096)
		if i%2 == 0 {
			_, err = unix.Pwrite(fd, buf[:4096], at)
		} else {
			_, err = unix.Pread(fd, buf[:4096], at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// deviceTimes is the host's histogram of all classes of all disks: what biolatency prints.
func deviceTimes(r *BlockReading) (h Hist) {
	for _, c := range r.Disks {
		h.plus(&c.Device)
	}
	return h
}

// TestBlockAgainstBiolatency compares with the biolatency of libbpf-tools, attached over the same load.
func TestBlockAgainstBiolatency(t *testing.T) {
	path, err := exec.LookPath("biolatency")
	if err != nil {
		noDevice(t, "biolatency of libbpf-tools (make test-deps)", err)
	}
	b := openBlock(t)
	device, _ := loopDevice(t, false)
	fd, buf := blockFile(t, device)
	var why []string
	for range 3 { // what else the host does comes between the readings of the two
		peer := startHistogram(t, path)
		before := readBlock(t, b)
		was := deviceTimes(&before)
		diskIO(t, fd, buf, 5000)
		after := readBlock(t, b)
		ours := deviceTimes(&after)
		theirs := peer.stop(t)
		ours.minus(&was)
		t.Logf("ours       %v", &ours)
		t.Logf("biolatency %v", &theirs)
		why = differ("disk", &ours, &theirs)
		if x, y := float64(ours.count()), float64(theirs.count()); len(why) == 0 && (x < 5000 || x/y < 0.98 || x/y > 1.02) {
			why = append(why, "the counts are apart")
		}
		if len(why) == 0 {
			return
		}
	}
	t.Errorf("ours and biolatency do not agree: %s", strings.Join(why, "; "))
}

// startHistogram starts a tool of libbpf-tools that prints its histograms when it ends, where it finds
// tracefs.
func startHistogram(t *testing.T, path string, args ...string) *runqlat {
	t.Helper()
	script := `mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null; exec stdbuf -oL "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, path}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := &runqlat{cmd: cmd, out: bufio.NewReader(out)}
	if line, err := r.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Tracing") {
		t.Fatalf("starting %s: %q, %v", filepath.Base(path), line, err)
	}
	return r
}

// TestBlockNarrowed counts two targets apart, and a third that has nothing to do with it.
func TestBlockNarrowed(t *testing.T) {
	const n = 23
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	diskIO(t, fd, buf, 7) // before anybody looks
	process := Filter{ID: uint64(os.Getpid()), Kind: FilterProcess}
	disk, other := Filter{ID: uint64(dev), Kind: FilterDisk}, Filter{ID: 1, Kind: FilterProcess}
	slots, err := b.Narrow([]Filter{process, disk, other})
	if err != nil {
		t.Fatal(err)
	}
	before := readBlock(t, b)
	diskIO(t, fd, buf, 2*n)
	for range n {
		if err := unix.Fsync(fd); err != nil {
			t.Fatal(err)
		}
	}
	after := readBlock(t, b)
	for slot, f := range slots {
		got, was := after.Targets[slot], before.Targets[slot]
		want := uint64(n)
		if f != process && f != disk {
			want = 0
		}
		for op, bytes := range map[BlockOp]uint64{BlockRead: 4096 * want, BlockWrite: 4096 * want, BlockFlush: 0} {
			got.Device[op].minus(&was.Device[op])
			if got.Device[op].count() != want || got.Bytes[op]-was.Bytes[op] != bytes {
				t.Errorf("%+v, operation %d: %d requests, %d bytes, want %d and %d",
					f, op, got.Device[op].count(), got.Bytes[op]-was.Bytes[op], want, bytes)
			}
		}
	}
}

// TestBlockStorm makes more requests than are listed: all are counted, and those that are not listed too.
func TestBlockStorm(t *testing.T) {
	const n = 20000
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	ring := openBlockEvents(t, b)
	if err := b.SetSlow(0); err != nil {
		t.Fatal(err)
	}
	ring.take(dev)
	eventsBefore, err := ring.ring.Counts(EventBlock)
	if err != nil {
		t.Fatal(err)
	}
	before := readBlock(t, b)
	was, wrote := before.classOf(dev, ReadSync), before.classOf(dev, WriteSync)
	old := before.ownerOn(dev, os.Getpid())
	listed := 0
	for range 20 {
		diskIO(t, fd, buf, n/20)
		listed += len(ring.take(dev)[EventBlock])
	}
	// Others' requests are counted too: between these two readings there may be some.
	after := readBlock(t, b)
	events, err := ring.ring.Counts(EventBlock)
	if err != nil {
		t.Fatal(err)
	}
	reads, writes := after.classOf(dev, ReadSync), after.classOf(dev, WriteSync)
	// The kernel leaves out the end of a request that interrupts another's on the same CPU, and counts it;
	// and a few that it counts nowhere, see undisturbed.
	missed := after.Sums.Missed - before.Sums.Missed + n/100
	if r, w := reads.Completed-was.Completed, writes.Completed-wrote.Completed; r > n/2 || w > n/2 || r+w+missed < n {
		t.Errorf("%d reads and %d writes, want %d each, or %d fewer", r, w, n/2, missed)
	}
	o := after.ownerOn(dev, os.Getpid())
	if got := o.Reads + o.Writes - old.Reads - old.Writes; got > n || got+missed < n {
		t.Errorf("%d requests of this process, want %d or %d fewer", got, n, missed)
	}
	sent, rest := events.Sent-eventsBefore.Sent, events.Unlisted+events.Lost-eventsBefore.Unlisted-eventsBefore.Lost
	if listed == 0 || uint64(listed) > sent || sent+rest+missed < n {
		t.Errorf("%d listed, %d sent, %d passed over or lost, want %d in all", listed, sent, rest, n)
	}
}

// TestBlockPause counts nothing while it is paused, and goes on afterwards without ghosts in flight.
func TestBlockPause(t *testing.T) {
	b := openBlock(t)
	path, dev := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	count := func() uint64 {
		r := readBlock(t, b)
		o := r.ownerOn(dev, os.Getpid())
		return o.Reads + o.Writes
	}
	diskIO(t, fd, buf, 3)
	for _, on := range []bool{true, false} {
		if err := b.Pause(on); err != nil {
			t.Fatal(err)
		}
		diskIO(t, fd, buf, 5)
	}
	r := readBlock(t, b)
	if got := count(); got > 8 || got+r.Sums.Missed < 7 {
		t.Errorf("%d requests counted, want 3 before the pause and 5 after it, or %d fewer", got, r.Sums.Missed)
	}
}

// TestBlockStamps attaches the program that makes up for a kernel without a time of issue.
func TestBlockStamps(t *testing.T) {
	b := openBlock(t)
	if !b.byBio {
		b.stamp(1)
	}
	if err := b.StampErr(); err != nil || !b.stamping {
		t.Fatalf("StampErr = %v, stamping is %v", err, b.stamping)
	}
	path, _ := loopDevice(t, false)
	fd, buf := blockFile(t, path)
	diskIO(t, fd, buf, 1)
	var f blockInflight
	for i := range uint32(2048) {
		if err := b.obj.maps["block_requests"].Lookup(i, &f); err != nil {
			t.Fatal(err)
		}
		if f.Issued != 0 && int(f.Owner.Tgid) == os.Getpid() {
			return
		}
	}
	t.Error("no request has a time of issue")
}
