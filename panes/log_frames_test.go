// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"time"

	"bpf60/collectors"
)

// written is a record that was in the log so long before the run began; after it, if negative.
func written(s *story, seq uint64, ago time.Duration, prio int, text string, trouble collectors.Trouble, fields ...string) *collectors.LogRecord {
	r := &collectors.LogRecord{
		Seq: seq, Since: s.uptime - ago, At: began.Add(-ago), Old: ago > 0, Level: uint8(prio & 7), Facility: uint8(prio >> 3),
		Text: collectors.RawString(text), Trouble: trouble,
	}
	for _, f := range fields {
		r.Fields = append(r.Fields, collectors.RawString(f))
	}
	return r
}

// addLog makes the kernel's log of a second: what was there, and on a busy host a kill and what
// the network says of it.
func addLog(s *story, l load, snap *collectors.Snapshot) {
	row := collectors.Probe{Name: "dmesg", State: collectors.On, Hook: "/dev/kmsg"}
	if s.kind == "denied" {
		row.State, row.Reason = collectors.Off, "needs the right to read the kernel's log: operation not permitted"
		row.Remedy = "run as root or with CAP_SYSLOG, or set kernel.dmesg_restrict=0"
	}
	snap.Probes[collectors.LogID] = []collectors.Probe{row}
	i := len(s.moments)
	if s.kind == "denied" {
		return
	}
	log := &collectors.Log{Span: snap.Host.Span, Source: "/dev/kmsg"}
	tail := []*collectors.LogRecord{
		written(s, 1, s.uptime, 5, "Linux version 6.1.0-28-amd64 (debian-kernel@lists.debian.org)", ""),
		written(s, 2, s.uptime-time.Second, 6, "virtio_net virtio0 eth0: renamed from eth1", "", "SUBSYSTEM=virtio", "DEVICE=+virtio:virtio0"),
		written(s, 3, s.uptime/2, 6, "EXT4-fs (vda1): mounted filesystem with ordered data mode", "", "SUBSYSTEM=block", "DEVICE=b254:1"),
	}
	switch s.kind {
	case "busy", "lossy":
		tail = append(tail, written(s, 4, 3*time.Hour, 3, "Memory cgroup out of memory: Killed process 771 (worker) total-vm:1048576kB, anon-rss:524288kB", collectors.TroubleOOM))
		for k := range 20 {
			tail = append(tail, written(s, uint64(5+k), 50*time.Minute-time.Duration(k)*time.Second, 30, fmt.Sprintf("systemd[1]: Started session %d.", 40+k), ""))
		}
		if i >= 35 {
			x := written(s, 25, -35*time.Second, 4, "TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.", collectors.TroubleSYN)
			tail = append(tail, x)
			if i == 35 {
				log.New, log.Levels[4] = []*collectors.LogRecord{x}, 1
			}
		}
	case "extreme":
		evil := []string{"\x1b[2J\x1b]0;owned\x07 I/O error, dev \u202esda, sector 0", "caf\xc3 \x9b31m", "日本語", "a" + fmt.Sprintf("%0900d", 7)}
		for k := range 60 {
			tail = append(tail, written(s, ^uint64(0)-100+uint64(k), time.Duration(60-k)*time.Second, k%16, evil[k%4], collectors.TroubleIO, "DEVICE=\x1b[31m"))
		}
		log.Levels[3], log.Unlisted, log.Partial = 1<<40, 1<<40, true
	}
	if s.kind == "lossy" {
		log.LostTotal, log.Behind = uint64(12*i), true
		log.Lost = 12
		for _, r := range tail[:3] {
			r.Unsure = true
		}
	}
	now := began.Add(snap.At)
	for _, r := range tail {
		switch {
		case now.Sub(r.At) > time.Hour:
		case r.Level <= collectors.LevelErr:
			log.Errors++
		case r.Level == collectors.LevelWarn:
			log.Warnings++
		}
	}
	log.Tail = &collectors.LogTail{Records: tail}
	snap.Log = log
}
