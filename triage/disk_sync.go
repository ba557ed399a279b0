// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bpf60/collectors"
)

// eachFlush is how long a flush took that a process waited for, in the mean, in milliseconds.
func eachFlush(o *collectors.BlockOwner) float64 {
	if o.Flushes == 0 {
		return 0
	}
	return o.FlushTime.Seconds() * 1e3 / float64(o.Flushes)
}

// syncers sum up who had which disk flush.
func (r *recent) syncers() (list []*collectors.BlockOwner, seconds float64) {
	type key struct {
		process collectors.Process
		dev     collectors.DevID
	}
	by, heads := map[key]*collectors.BlockOwner{}, r.paths()
	for _, m := range r.moments {
		if m.Block == nil {
			continue
		}
		seconds += m.Block.Seconds()
		for i := range m.Block.Owners {
			o := &m.Block.Owners[i]
			if o.Flushes == 0 && !o.Kernel {
				continue
			}
			k := key{o.Process, heads.head(o.Dev)}
			if by[k] == nil {
				by[k] = &collectors.BlockOwner{Process: o.Process, Comm: o.Comm, Kernel: o.Kernel, Dev: k.dev}
				list = append(list, by[k])
			}
			by[k].Flushes += o.Flushes
			by[k].FlushTime += o.FlushTime
		}
	}
	return list, seconds
}

// inJournal is what looks at waiting threads saw of file systems' journals in the window.
type inJournal struct {
	at      map[collectors.Process]int // of the looks, at how many a thread of it stood there
	names   map[collectors.Process]collectors.Raw
	looks   int
	seconds float64 // that they cover
}

// enough says that the looks are worth a share of the time: there are several, and they cover the window.
func (j *inJournal) enough() bool { return j.looks >= fewLooks && j.seconds >= covered }

// fewLooks is how often a thread must be seen somewhere to be said to stay there. /proc is looked through
// every 5 s, so there are no more in the window.
const fewLooks = 2

// journal sums up which processes had a thread stand in a file system's journal.
func (r *recent) journal() inJournal {
	j := inJournal{at: map[collectors.Process]int{}, names: map[collectors.Process]collectors.Raw{}}
	for _, m := range r.moments {
		if m.Stalls == nil {
			continue
		}
		j.looks++
		j.seconds += m.Stalls.Seconds()
		seen := map[collectors.Process]bool{}
		for i := range m.Stalls.Rows {
			x := &m.Stalls.Rows[i]
			if x.Stack == nil || x.Class != collectors.WaitJournal || x.Kernel || seen[x.Task] {
				continue
			}
			seen[x.Task], j.names[x.Task] = true, x.Comm
			j.at[x.Task]++
		}
	}
	return j
}

// most are the processes that stood there, those that did at most looks first.
func (j *inJournal) most() []collectors.Process {
	return slices.SortedFunc(maps.Keys(j.at), func(a, b collectors.Process) int {
		return cmp.Or(cmp.Compare(j.at[b], j.at[a]), cmp.Compare(a.TGID, b.TGID))
	})
}

// unreadWaits says that /proc does not tell where threads wait that were seen to; empty where it is known.
func (r *recent) unreadWaits() string {
	if s := lastOf(r.moments, stallsOf); s != nil && s.Source == "/proc" {
		for i := range s.Rows {
			if x := &s.Rows[i]; !x.Kernel && (x.Stack == nil || x.Function == "") {
				return "/proc does not tell where all threads in D wait"
			}
		}
	}
	return ""
}

func stallsOf(s *collectors.Snapshot) *collectors.Stalls { return s.Stalls }

// syncing: a process waits most of its time until its writes are safe, and the disk takes long for that.
func syncing(chosen Limits) Rule {
	r := Rule{
		ID: "disk.sync_storm", Says: "a process waits much of its time until what it wrote is safe, and a flush takes long",
		Resource: "disk", Needs: []string{"biolatency", "stalls"}, Fallback: true,
		Blind: func(h *History) (reason, remedy string) {
			w := recently(h)
			if w == nil {
				return "", ""
			}
			if j := w.journal(); !j.enough() {
				return "threads in D are looked at too seldom", "" // by a long --interval, or in a large /proc
			}
			return w.unreadWaits(), ""
		},
	}
	least := r.limit(chosen, Limit{"ms", 16, "ms", 0.1, 100000, "that a flush takes: its mean where the process flushes itself, the lower edge of the disk's p50 where the journal does"})
	share := r.limit(chosen, Limit{"share", 30, "%", 1, 100, "of 10 s that the process stood in it"})
	number := r.limit(chosen, Limit{"flushes", 1, "a second", 0.1, 1e6, "flushes, below which nothing is said"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		list, seconds := w.syncers()
		if !w.covers(blockSpan) || len(list) == 0 {
			return Finding{}, nil
		}
		find := func(who Culprit, dev collectors.DevID, part, took float64, n uint64, how string) Finding {
			d := w.disk(dev)
			return Finding{
				ID: "disk.sync_storm", Severity: Warning, Resource: d.name(), Line: "iostat", Value: part, Threshold: share, Unit: "%", N: n, Window: recentFor,
				Title:    fmt.Sprintf("%s waits for %s to make its writes safe %.0f %% of the time", who.Name, d.name(), part),
				Evidence: []string{fmt.Sprintf("%.0f flushes/s of %.0f ms", float64(n)/seconds, took), how},
				Culprits: []Culprit{who}, Explains: []string{"proc.blocked", "fs.slow", "fs.journal"}, Pane: "disk", Row: d.name(), Command: "biosnoop; strace -Tfe fsync,fdatasync -p PID",
			}
		}
		slices.SortStableFunc(list, func(a, b *collectors.BlockOwner) int { return cmp.Compare(b.FlushTime, a.FlushTime) })
		for _, s := range list {
			part := percent(s.FlushTime.Seconds(), seconds)
			if s.Kernel || float64(s.Flushes) < number*seconds || eachFlush(s) < least || part < share {
				continue
			}
			return find(w.stranger(s.Process, s.Comm, 0), s.Dev, min(part, 100), eachFlush(s), s.Flushes, "it flushes the disk itself"), nil
		}
		// The journal's thread flushes for who waits for it: such threads are seen in D.
		j := w.journal()
		if !j.enough() {
			return Finding{}, nil
		}
		for _, p := range j.most() {
			part := percent(uint64(j.at[p]), uint64(j.looks))
			if part < share || j.at[p] < fewLooks {
				break
			}
			for _, s := range list {
				took, n := w.flushes(s.Dev)
				if !s.Kernel || !strings.HasPrefix(s.Comm.Bytes(), "jbd2/") || float64(n) < number*seconds || took < least {
					continue
				}
				return find(w.stranger(p, j.names[p], 0), s.Dev, part, took, n, "the journal flushes for it"), nil
			}
		}
		return Finding{}, nil
	})
	return r
}

// flushes are how long a disk mostly took for one in the window, in milliseconds, and how many there were.
func (r *recent) flushes(dev collectors.DevID) (took float64, n uint64) {
	var sum collectors.Hist
	heads := r.paths()
	for _, m := range r.moments {
		if m.Block == nil {
			continue
		}
		for i := range m.Block.Rows {
			if x := &m.Block.Rows[i]; heads.head(x.Dev) == dev && x.Class == collectors.Flush {
				h := x.Device.Hist()
				sum.Plus(&h)
			}
		}
	}
	return edge(&sum, 0.5).Seconds() * 1e3, sum.Count()
}

// holdsUp says that who waits in a function waits for room in the journal, which somebody else's
// transaction keeps from it.
func holdsUp(function string) bool {
	for _, s := range []string{"wait_transaction_locked", "wait_transaction_switching", "start_this_handle", "add_transaction_credits", "do_get_write_access", "xlog_grant_head", "wait_current_trans"} {
		if strings.HasPrefix(function, s) {
			return true
		}
	}
	return false
}

// heldUpFor is how long threads must be seen to wait for room in a journal: two seconds, as ticks are not exact.
const heldUpFor = 1500 * time.Millisecond

// journaling: several threads wait until a file system's journal has room for them.
func journaling(chosen Limits) Rule {
	r := Rule{
		ID: "fs.journal", Says: "threads wait until a file system's journal lets them in: all that write there stand behind one", Resource: "stalls", Needs: []string{"stalls"}, Fallback: true,
		Blind: func(h *History) (reason, remedy string) {
			if w := recently(h); w != nil {
				return w.unreadWaits(), ""
			}
			return "", ""
		},
	}
	least := r.limit(chosen, Limit{"tasks", 3, "threads", 1, 1e6, "that wait there, at each look of two seconds, and at two at least"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		looks, tasks, long := 0, 0, false
		var newest time.Duration
		var where *collectors.Stall
		var victims []Culprit
		for _, m := range slices.Backward(w.h.Since(w.now - time.Minute)) {
			if m.Stalls == nil {
				continue
			}
			if looks == 0 {
				if newest = m.At; w.now-newest >= recentFor {
					return Finding{}, nil
				}
			}
			n := 0
			for i := range m.Stalls.Rows {
				x := &m.Stalls.Rows[i]
				if x.Stack == nil || x.Kernel || !holdsUp(x.Function) {
					continue
				}
				n++
				if looks == 0 {
					if where == nil {
						where = x
					}
					if len(victims) < few {
						victims = append(victims, w.stranger(x.Task, x.Comm, 0))
					}
				}
			}
			if float64(n) < least {
				return Finding{}, nil
			}
			if looks == 0 {
				tasks = n
			}
			if looks++; looks >= fewLooks && newest-m.At >= heldUpFor {
				long = true
				break
			}
		}
		if !long {
			return Finding{}, nil
		}
		on := ""
		if name := collectors.Clean(where.Device.Name).String(); name != "" {
			on = " of " + name
		}
		f := Finding{
			ID: "fs.journal", Severity: Warning, Resource: cmp.Or(strings.TrimPrefix(on, " of "), "journal"), Line: "stalls", Value: float64(tasks), Threshold: least, Unit: "threads", N: uint64(tasks),
			Title: fmt.Sprintf("%d threads wait for the journal%s in %s", tasks, on, where.Function), Victims: victims, Explains: []string{"proc.blocked", "fs.slow"},
			Pane: "stalls", Row: strings.TrimRight(where.Class+" "+where.Function+" "+where.Device.Name.Bytes(), " "), Command: "ps -eo state,pid,wchan:30,comm | grep ^D",
		}
		// Who waits for the commit itself is who asked for it.
		j := w.journal()
		for _, p := range j.most() {
			if s, _ := w.syncers(); slices.ContainsFunc(s, func(x *collectors.BlockOwner) bool { return x.Process == p && x.Flushes > 0 }) {
				f.Culprits = append(f.Culprits, w.stranger(p, j.names[p], 0))
				break
			}
		}
		return f, nil
	})
	return r
}

// upkeepOf says what a process that is known by its name does with a disk in the background: a
// rebuild, a scrub, a trim.
func upkeepOf(o *collectors.BlockOwner) string {
	name := o.Comm.Bytes()
	switch {
	case o.Kernel && strings.HasPrefix(name, "md") && strings.HasSuffix(name, "_resync"):
		return "a RAID is rebuilt or checked"
	case strings.HasPrefix(name, "btrfs-scrub"), o.Kernel && strings.HasPrefix(name, "z_scrub"), name == "xfs_scrub":
		return "a file system is scrubbed"
	case name == "fstrim":
		return "a file system is trimmed"
	}
	return ""
}

// background: a disk is rebuilt, scrubbed or trimmed.
func background(chosen Limits) Rule {
	r := Rule{ID: "disk.background", Says: "a disk is rebuilt, scrubbed or trimmed, which others may have to wait for", Resource: "disk", Needs: []string{"biolatency"}, Fallback: true}
	rate := r.limit(chosen, Limit{"mib", 1, "MiB a second", 0, 1e6, "that it reads and writes, in 10 s"})
	r.Check = lately(func(w *recent) (Finding, []collectors.Want) {
		seconds := 0.0
		bytes, who := map[string]uint64{}, map[string]*collectors.BlockOwner{}
		for _, m := range w.moments {
			if m.Block == nil {
				continue
			}
			seconds += m.Block.Seconds()
			for i := range m.Block.Owners {
				o := &m.Block.Owners[i]
				if what := upkeepOf(o); what != "" {
					bytes[what] += o.ReadBytes + o.WriteBytes
					who[what] = o
				}
			}
		}
		for _, what := range slices.Sorted(maps.Keys(bytes)) {
			each := float64(bytes[what]) / max(seconds, 1e-9)
			if !w.covers(blockSpan) || each < rate*(1<<20) {
				continue
			}
			o := who[what]
			d := w.disk(o.Dev)
			return Finding{
				ID: "disk.background", Severity: Info, Resource: d.name(), Line: "iostat", Value: each / (1 << 20), Threshold: rate, Unit: "MiB a second", Window: recentFor,
				Title:    fmt.Sprintf("%s: %s, %s/s", d.name(), what, bytesText(uint64(each))),
				Culprits: []Culprit{w.stranger(o.Process, o.Comm, 0)}, Explains: []string{"disk.latency", "disk.saturated"}, Pane: "disk", Row: d.name(), Command: "cat /proc/mdstat; iostat -xz 1",
			}, nil
		}
		return Finding{}, nil
	})
	return r
}

// deletedFor is how old a look at deleted files may be.
const deletedFor = 3 * time.Minute

// heldOpen says who holds deleted files of a file system, and how much.
func (r *recent) heldOpen(f *Finding, dev collectors.DevID) []collectors.Want {
	target := collectors.Target{Kind: collectors.DiskTarget, Dev: uint32(dev)}
	wants := []collectors.Want{{ID: collectors.DeletedID, Target: target}}
	for _, m := range slices.Backward(r.h.Since(r.now - deletedFor)) {
		if m.Deleted == nil {
			continue
		}
		for i := range m.Deleted.Narrowed {
			x := &m.Deleted.Narrowed[i]
			if x.Target != target {
				continue
			}
			if x.Sample.Bytes > 0 && len(x.Sample.Rows) > 0 {
				row := &x.Sample.Rows[0]
				f.Evidence = append(f.Evidence, fmt.Sprintf("%s of %d deleted file%s held open, most by %s: %s", bytesText(x.Sample.Bytes), x.Sample.Files, plural(x.Sample.Files), named(row.Comm, row.TGID), collectors.Clean(row.Path)))
				f.Culprits = append([]Culprit{r.byNumber(row.Process, row.Comm, percent(row.Bytes, x.Sample.Bytes)/100)}, f.Culprits...)
				f.Command += "; lsof +L1 " + f.Resource
			}
			return wants
		}
	}
	return wants
}
