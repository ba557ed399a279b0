// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bpf60/collectors"
	"bpf60/triage"
)

// TestTheCursorStaysOnItsEvent: in every table of single events the rows of a frame have the same IDs when newer
// ones have come, so that the cursor stays; and each its own, also of events at the same time.
func TestTheCursorStaysOnItsEvent(t *testing.T) {
	who := collectors.Process{TGID: 7, Start: 3}
	comm := collectors.RawString("app")
	// Each sample has two events of the same process at the same time, and one later. The texts tell them apart.
	texts := [][3]string{{"a", "b", "c"}, {"d", "e", "f"}}
	at := func(sample, i int) time.Duration {
		return time.Duration(sample)*time.Second + 500*time.Millisecond + time.Duration(i/2)*time.Millisecond
	}
	paths := func(sample int) (out []collectors.PathEvent) {
		for i, text := range texts[sample] {
			out = append(out, collectors.PathEvent{At: at(sample, i), Process: who, Comm: comm, Path: collectors.RawString(text)})
		}
		return out
	}
	ago := func(sample, i int) time.Duration { return time.Duration(sample+1)*time.Second - at(sample, i) }
	tests := map[string]struct {
		fill  func(s *collectors.Snapshot, sample int)
		table func(f Frame) Table
		text  string // the column that tells the events apart
	}{
		"opens": {func(s *collectors.Snapshot, sample int) { s.Opens = &collectors.Opens{Events: paths(sample)} }, openTable, "PATH"},
		"failed execs": {func(s *collectors.Snapshot, sample int) {
			s.ExecFails = &collectors.ExecFails{Events: paths(sample)}
		}, execFailTable, "PROGRAM"},
		"slow files": {fillSlowFiles(texts, at, who), slowFileTable, "FILE"},
		"slow files of a process": {fillSlowFiles(texts, at, who), func(f Frame) Table {
			return targetSlowFileTable(f, collectors.Target{Kind: collectors.ProcessTarget, Process: who})
		}, "FILE"},
		"deleted files": {func(s *collectors.Snapshot, sample int) {
			s.Files = &collectors.Files{}
			for i, text := range texts[sample] {
				s.Files.Lives = append(s.Files.Lives, collectors.FileLife{At: at(sample, i), By: who, Comm: comm, Path: collectors.RawString(text)})
			}
		}, fileLifeTable, "FILE"},
		"waits for memory": {func(s *collectors.Snapshot, sample int) {
			s.Reclaim = &collectors.Reclaim{}
			for i, text := range texts[sample] { // the newer the longer, and so the higher; of threads that end at the same time
				s.Reclaim.Stalls = append(s.Reclaim.Stalls, collectors.MemoryStall{
					At: at(sample, i), Process: who, TID: int32(i), Comm: collectors.RawString(text), Took: time.Duration(sample) * time.Millisecond,
				})
			}
		}, func(f Frame) Table { return waitsTable(f, waitsSingly) }, "COMM"},
		"packets": {func(s *collectors.Snapshot, sample int) {
			s.Drops = &collectors.Drops{}
			for i := range texts[sample] {
				s.Drops.Packets = append(s.Drops.Packets, collectors.DroppedPacket{Ago: ago(sample, i), Length: uint32(10*sample + i)})
			}
		}, func(f Frame) Table { return newDropPage("").table(f, dropsOver(f), dropPackets) }, "LEN"},
		"questions": {func(s *collectors.Snapshot, sample int) {
			s.DNS = &collectors.DNS{}
			for i, text := range texts[sample] {
				s.DNS.Events = append(s.DNS.Events, collectors.DNSEvent{Ago: ago(sample, i), Process: who, Comm: comm, Name: collectors.RawString(text)})
			}
		}, func(f Frame) Table { return questionTable(dnsOver(f), nil) }, "NAME"},
		"programs": {func(s *collectors.Snapshot, sample int) { // by name: another one comes between
			s.Runs = &collectors.Runs{Programs: []collectors.ProgramRuns{{Name: "a"}, {Name: "c"}}}
			if sample > 0 {
				s.Runs.Programs = slices.Insert(s.Runs.Programs, 1, collectors.ProgramRuns{Name: "b"})
			}
		}, func(f Frame) Table { return NewProbes().programTable(f) }, "program"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var f Frame
			var was map[string]string
			for sample := range texts {
				s := &collectors.Snapshot{At: time.Duration(sample+1) * time.Second, Taken: began.Add(time.Duration(sample+1) * time.Second)}
				tt.fill(s, sample)
				f.Now = triage.Moment{Snapshot: s}
				f.Past, f.At = append(f.Past, f.Now), s.Taken
				table := tt.table(f)
				column := slices.IndexFunc(table.Columns, func(c Column) bool { return c.ID == tt.text })
				now := map[string]string{}
				for _, r := range table.Rows {
					now[r.ID] = strings.TrimSpace(r.Cells[column].Format(0))
				}
				if len(now) != len(table.Rows) || len(now) <= len(was) {
					t.Fatalf("%d rows have %d IDs, %d before", len(table.Rows), len(now), len(was))
				}
				for id, text := range was {
					if now[id] != text {
						t.Errorf("the cursor was on %q, now it is on %q", text, now[id])
					}
				}
				was = now
			}
		})
	}
}

func fillSlowFiles(texts [][3]string, at func(sample, i int) time.Duration, who collectors.Process) func(s *collectors.Snapshot, sample int) {
	return func(s *collectors.Snapshot, sample int) {
		s.SlowFiles = &collectors.SlowFiles{}
		for i, text := range texts[sample] {
			s.SlowFiles.Events = append(s.SlowFiles.Events, collectors.SlowFile{At: at(sample, i), Process: who, Path: collectors.RawString(text)})
		}
	}
}
