// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"time"
	"unsafe"
)

// ExecID is the collector of what is started and what ends.
const ExecID ID = "exec"

// Exec is what was started and what ended over the span.
type Exec struct {
	Span
	ExecCounts
	Total ExecCounts // since the probes attached

	Execs         []ExecRow // oldest first
	ExecsUnlisted uint64
	Exits         []ExitRow // by when they are known to be over, oldest first
	ExitsUnlisted uint64

	Short         []ShortLived // processes that ended, by name and origin; those no scan has seen first, by CPU time
	ShortUnlisted int
	Files         []ExecFile // what was started, most often first
	FilesUnlisted int
	Forkers       []Forker // who made processes and threads, most first
	ForkersMore   int      // that are not listed

	Narrowed []Targeted[ExecCounts] // a process counts with all that descends from it, five generations deep
}

// ExecCounts are additive deltas, complete whatever the lists leave out.
type ExecCounts struct {
	Execs   uint64
	Forks   uint64 // processes made
	Threads uint64 // threads made
	Exits   uint64 // processes that ended
	Failed  uint64 // of exits: with a code that is not 0
	Killed  uint64 // of exits: by a signal
	Dumped  uint64 // of those: with a core dump

	CPU       time.Duration // that the exits had used in their lives
	Unseen    uint64        // of exits: they began and ended between two scans of the tasks
	UnseenCPU time.Duration
	UnseenAge time.Duration // from fork to exit, all together

	Reaped  uint64 // exits that were waited for: only then is their last time slice in CPU
	Late    uint64 // exits whose last time slice is in no sum
	Unkeyed uint64 // counts that had no room in Short, Files and Forkers
}

// ExecRow is a program that was started, or not.
type ExecRow struct {
	At         time.Duration // monotonic since the run began
	Process    Process
	Parent     Process
	Comm       Raw // the new name
	ParentComm Raw
	UID        uint32 // real
	User       Raw    // of /etc/passwd; empty where that does not know UID
	Cgroup     uint64
	File       Raw    // as execve got it
	Args       Raw    // joined by blanks, secrets masked; cut if shorter than ArgsWhole
	ArgsWhole  uint32 // bytes, the separators included
	ArgsKept   uint32 // bytes of those that were read
	Thread     int32  // PID of the thread that called exec, if it was not the first one; else 0
}

// ExitRow is a process that ended.
type ExitRow struct {
	At         time.Duration // monotonic since the run began
	Process    Process
	Parent     Process
	Comm       Raw
	ParentComm Raw
	UID        uint32
	Cgroup     uint64
	Age        time.Duration
	CPU        time.Duration
	Sys        Micros // of CPU, in the kernel; known if Reaped
	Read       uint64 // bytes from storage; known if Reaped
	Write      uint64 // bytes to the page cache; known if Reaped
	Reaped     bool   // it was waited for: false: CPU lacks its last time slice
	Code       uint8  // exit code
	Signal     uint8  // that ended it; 0: it ended by itself
	Core       bool   // it dumped its core
}

// ShortLived are the processes of one name and origin that ended, additive deltas.
type ShortLived struct {
	Comm       Raw
	Parent     Process // the nearest ancestor that was there at the last scan before
	ParentComm Raw

	Exits     uint64
	CPU       time.Duration // in their lives
	Age       time.Duration // all together
	Unseen    uint64        // of exits: as in ExecCounts
	UnseenCPU time.Duration
	UnseenAge time.Duration
	Failed    uint64 // not by a signal
	Killed    uint64
}

// ExecFile is how often a file was started by parents of one name.
type ExecFile struct {
	ParentComm Raw
	File       Raw // its first 127 bytes
	Execs      uint64
}

// Forker is a process that made others, or whose descendants did: those that began after the last scan
// count for the nearest ancestor that was there.
type Forker struct {
	Process Process
	Comm    Raw
	Forks   uint64
	Threads uint64
}

// maxShort is how many rows of each table of counts a sample lists.
const maxShort = 50

func (e *Exec) put(s *Snapshot) { s.Exec = e }

// Plus adds the counts of another span.
func (c *ExecCounts) Plus(d *ExecCounts) {
	c.Execs += d.Execs
	c.Forks += d.Forks
	c.Threads += d.Threads
	c.Exits += d.Exits
	c.Failed += d.Failed
	c.Killed += d.Killed
	c.Dumped += d.Dumped
	c.CPU += d.CPU
	c.Unseen += d.Unseen
	c.UnseenCPU += d.UnseenCPU
	c.UnseenAge += d.UnseenAge
	c.Reaped += d.Reaped
	c.Late += d.Late
	c.Unkeyed += d.Unkeyed
}

// size is what e holds. Names are counted with their bytes.
func (e *Exec) size() int {
	n := allocSize(unsafe.Sizeof(*e)) + sliceSize(e.Execs) + sliceSize(e.Exits) + sliceSize(e.Short) +
		sliceSize(e.Files) + sliceSize(e.Forkers) + sliceSize(e.Narrowed)
	for i := range e.Execs {
		r := &e.Execs[i]
		n += textSize(r.Comm, r.ParentComm, r.File, r.Args)
	}
	for i := range e.Exits {
		n += textSize(e.Exits[i].Comm, e.Exits[i].ParentComm)
	}
	for i := range e.Short {
		n += textSize(e.Short[i].Comm, e.Short[i].ParentComm)
	}
	for i := range e.Files {
		n += textSize(e.Files[i].ParentComm, e.Files[i].File)
	}
	for i := range e.Forkers {
		n += textSize(e.Forkers[i].Comm)
	}
	return n
}

func textSize(texts ...Raw) int {
	n := 0
	for _, t := range texts {
		n += allocSize(uintptr(len(t.s)))
	}
	return n
}

// withoutRows keeps the counts.
func (e *Exec) withoutRows() *Exec {
	if e.Execs == nil && e.Exits == nil && e.Short == nil && e.Files == nil && e.Forkers == nil {
		return e
	}
	c := *e
	c.Execs, c.Exits, c.Short, c.Files, c.Forkers = nil, nil, nil, nil, nil
	return &c
}
