// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"bpf60/bpf"
)

// TestCPUProfileLive: of a process that runs one function alone nine samples in ten are in it, and it is
// the same in the sample of the host and in that of the process as a target. When nobody looks at the host
// any more, others are not sampled.
func TestCPUProfileLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k := bpf.Inspect()
	target := Target{Kind: ProcessTarget, Process: Process{TGID: int32(startProfiled(t, self, profiledAlone))}}
	fs := NewFS("")
	fs.names.ask = func(addrs []uint64, each func(bpf.Function)) error { return bpf.Functions(k, addrs, each) }
	c := newProfileCollector(fs, func(int) (liveReader, error) {
		return bpf.OpenProfile(k, 997, nil) // the test is shorter so
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	narrow := func(host bool) { // the samples of before have other targets, and a part of the next one
		t.Helper()
		c.Host(host)
		if err := c.Narrow([]Target{target}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := c.Collect(t.Context(), time.Since(began)); err != nil && !errors.Is(err, ErrWarming) {
				t.Fatal(err)
			}
		}
	}
	for _, host := range []bool{true, false} {
		narrow(host)
		var of, onHost, unlisted uint64
		in := map[string]uint64{} // by the innermost function
		for of < 300 {
			if time.Since(began) > 5*time.Minute {
				t.Fatalf("%d samples in 5 minutes, want 300", of)
			}
			time.Sleep(profileTick)
			got, err := c.Collect(t.Context(), time.Since(began))
			if err != nil {
				t.Fatal(err)
			}
			s := got.(*CPUProfile)
			if s.Partial == host || !host && s.Samples > 0 || len(s.Narrowed) != 1 || s.Narrowed[0].Target != target {
				t.Fatalf("the host is looked at: %t; partial %t, %d samples of it, targets %+v", host, s.Partial, s.Samples, s.Narrowed)
			}
			unlisted += s.Unlisted
			for _, x := range s.Stacks {
				if x.Task.TGID == target.Process.TGID {
					onHost += x.Count
				}
			}
			for _, x := range s.Narrowed[0].Sample.Stacks {
				if x.Task.TGID != target.Process.TGID {
					t.Fatalf("a sample of process %d, want %d alone", x.Task.TGID, target.Process.TGID)
				}
				of += x.Count
				in[strings.TrimPrefix(x.Frames[len(x.Frames)-1].Name, "bpf60/collectors.")] += x.Count
			}
		}
		if host && onHost+unlisted < of { // it may have some of before, which waited for their names
			t.Errorf("%d samples of the process in those of the host, %d in its own", onHost, of)
		}
		if 10*in["profiledOnly"] < 9*of {
			t.Errorf("%d of %d samples are in the function that runs: %v", in["profiledOnly"], of, in)
		}
	}
}
