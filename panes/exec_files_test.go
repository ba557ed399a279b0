// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// addFileLives makes what the second's busiest process does with temporary files.
func addFileLives(s *story, l load, snap *collectors.Snapshot) {
	p := collectors.Probe{Name: "filelife", State: collectors.On, Hook: "fentry d_instantiate, vfs_unlink", NsPerEvent: 900}
	switch s.kind {
	case "denied":
		p.State, p.Reason, p.Remedy = collectors.Off, "needs root, or CAP_BPF and CAP_PERFMON", "run sudo bpf60"
	case "lossy":
		p.State, p.Hook = collectors.Degraded, "tp_btf ext4_allocate_inode, ext4_unlink_exit"
		p.Reason = "ext4 alone is seen: needs permission for this kind of program: loading unlink_begins: operation not permitted"
	}
	snap.Probes[collectors.FilesID] = []collectors.Probe{p}
	if s.kind == "denied" || len(l.tasks) == 0 || snap.At == 0 {
		return
	}
	n := 3
	x := &collectors.Files{Span: snap.Host.Span, EveryFS: s.kind != "lossy"}
	name := func(i int) string {
		return fmt.Sprintf("…/home/build/obj/tmp/cc%06x.s", int(snap.At/time.Second)*16+i)
	}
	if s.kind == "extreme" {
		n = 200
		name = func(i int) string {
			return fmt.Sprintf("/\x1b[2J/\u202e日本語日本語日本語日本語日本語日本語/%d", i)
		}
	}
	t := l.tasks[0]
	by := collectors.Process{TGID: t.pid, Start: uint64(t.pid) * 1e9}
	for i := range n {
		life := time.Duration(1+i*i) * 7 * time.Millisecond
		x.Life.Add(uint64(life))
		x.Lives = append(x.Lives, collectors.FileLife{
			At: snap.At - time.Duration(n-i)*time.Millisecond, Life: life, By: by, Comm: collectors.RawString(t.name), MadeBy: by,
			Path: collectors.RawString(name(i)), FS: "ext4", Dev: collectors.MakeDev(254, 0), Size: uint64(1000 * i),
		})
	}
	x.Made, x.Deleted = uint64(n)+1, uint64(n)
	if s.kind == "lossy" {
		x.Deleted, x.Forgotten, x.LivesUnlisted, x.LivesLost = 90_000, 400, 89_000, 12
		x.Made = x.Deleted
	}
	// The histogram since start is the story's seconds, all alike.
	for range int(snap.At / time.Second) {
		x.LifeTotal.Plus(&x.Life)
	}
	x.Churn = []collectors.FileChurn{{
		Process: by, Comm: collectors.RawString(t.name), Directory: collectors.RawString("tmp"), Dev: collectors.MakeDev(254, 0), Ino: 1234,
		Made: x.Made - 1, Deleted: x.Deleted, Aged: uint64(n), Life: time.Duration(x.Life.Sum),
	}, {
		Process: by, Comm: collectors.RawString(t.name), Dev: collectors.MakeDev(0, 25), Ino: 7, Made: 1,
	}}
	snap.Files = x
}
