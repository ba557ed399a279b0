// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"os/exec"
	"testing"
)

// TestSoftirqsAgainstLibbpfTools runs libbpf-tools' softirqs over the same load.
func TestSoftirqsAgainstLibbpfTools(t *testing.T) {
	path := peer(t, "softirqs")
	x := openSoftirqs(t)
	in, out := loopback(t)
	compare(t, "storm", "ours", "softirqs", func() (ours, theirs Hist) {
		p := startPeer(t, path, "-d")
		before := irqHists(t, x)[3]
		datagrams(out, in, 120_000)
		ours = irqHists(t, x)[3]
		theirs = p.stop(t)["net_rx"]
		ours.minus(&before)
		return ours, theirs
	})
}

// TestHardirqsAgainstLibbpfTools runs libbpf-tools' hardirqs beside ours over writes to a disk.
func TestHardirqsAgainstLibbpfTools(t *testing.T) {
	path := peer(t, "hardirqs")
	x := openHardirqs(t)
	compare(t, "disk", "ours", "hardirqs", func() (ours, theirs Hist) {
		p := startPeer(t, path, "-d")
		before := irqHists(t, x)
		direct(t, 2000)
		for irq, h := range irqHists(t, x) {
			if irq >= 0 {
				was := before[irq]
				h.minus(&was)
				ours.plus(&h)
			}
		}
		for _, h := range p.stop(t) {
			theirs.plus(&h)
		}
		return ours, theirs
	})
}

// peer finds a tool of libbpf-tools, or skips: not in CI, where test-deps has installed it.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" && os.Getenv("BPF60_TEST_GUEST") == "" {
		t.Fatalf("%s of libbpf-tools is not installed: make test-deps", name)
	}
	t.Skipf("%s of libbpf-tools is not installed: make test-deps", name)
	return ""
}
