// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// change is something that is not as it was: a start, a kill, a line of the kernel's log.
type change struct {
	kind string        // start, exec, kill, oom, log
	age  time.Duration // before the end of the frame; negative: not known, or a count over the whole frame
	text string
}

const (
	changesMost   = 8                // lines of the part for a ticket, its title included
	changesOf     = 3                // of each kind
	changesWithin = 10 * time.Minute // that a process is new
)

// changes are what is worth asking "what changed?" for: what the kernel's log says, who was killed, what
// was started and is still there, what is started again and again. The newest of each kind come first.
func changes(f Frame) []change {
	if f.Now.Snapshot == nil {
		return nil
	}
	if f.Span == 0 {
		f.Span = f.Now.At
	}
	return slices.Concat(logChanges(f), oomChanges(f), killChanges(f), startChanges(f), execChanges(f))
}

// logChanges are the newest errors and known troubles of the last hour; the same trouble, or the same words, counts once.
func logChanges(f Frame) []change {
	l := newest(f, logOf)
	if l == nil || l.Tail == nil {
		return nil
	}
	var out []change
	seen := make(map[string]int)
	for _, r := range slices.Backward(l.Tail.Records) {
		age := f.At.Sub(r.At)
		text := clean(r.Text)
		if r.Trouble == "" && r.Level > collectors.LevelErr || r.At.IsZero() || age > time.Hour {
			continue
		}
		key := cmp.Or(string(r.Trouble), text)
		if seen[key]++; seen[key] > 1 || len(out) == changesOf {
			continue
		}
		if r.Trouble != "" {
			text = string(r.Trouble) + ": " + text
		}
		out = append(out, change{"log", max(age, 0), text})
	}
	return out
}

func oomChanges(f Frame) []change {
	w := waitsOver(f)
	if w == nil {
		return nil
	}
	var out []change
	for _, k := range slices.Backward(w.kills) {
		if k.At > f.Now.At || len(out) == changesOf {
			continue
		}
		size := ""
		if k.Known {
			size = " with " + widget.Bytes(k.RSS())
		}
		out = append(out, change{"oom", f.Now.At - k.At, fmt.Sprintf("%s[%d] killed%s, for %s, by %s",
			clean(k.Comm), k.Victim.TGID, size, k.For, killedBy(&k))})
	}
	return out
}

// killChanges are the signals that end their target, of one kind and between the same names once.
func killChanges(f Frame) []change {
	type kind struct {
		number   uint8
		from, to string
	}
	var order []kind
	count := make(map[kind]int)
	first := make(map[kind]collectors.SignalRow)
	for _, r := range eventsOf(f, signalsOf, func(x *collectors.Signals) []collectors.SignalRow { return x.Rows }) {
		if r.Action != collectors.ActionDefault || r.Result == collectors.SignalIgnored {
			continue
		}
		k := kind{r.Number, clean(r.SenderComm), clean(r.TargetComm)}
		if count[k]++; count[k] == 1 {
			order = append(order, k)
			first[k] = r
		}
	}
	var out []change
	for _, k := range order[:min(len(order), changesOf)] {
		r := first[k]
		by := "the kernel"
		if r.Sender.TGID != 0 {
			by = from(r.SenderComm, r.Sender)
		}
		text := fmt.Sprintf("SIG%s to %s by %s", signalName(k.number), from(r.TargetComm, r.Target), by)
		if n := count[k]; n > 1 {
			text += fmt.Sprintf(", and %d more of this kind", n-1)
		}
		out = append(out, change{"kill", f.Now.At - r.At, text})
	}
	return out
}

// startChanges are the new processes that are still there, those that have used the most CPU first.
func startChanges(f Frame) []change {
	h, p := newest(f, hostOf), processesOver(f)
	if h == nil || p == nil {
		return nil
	}
	age := func(x *process) time.Duration { return h.Uptime - time.Duration(x.Start) }
	var young []*process
	names := make(map[collectors.Process]string)
	byPID := make(map[int32]string)
	for i := range p.list {
		x := &p.list[i]
		if x.ProcInfo == nil || x.ended {
			continue
		}
		names[x.Process], byPID[x.TGID] = clean(x.Comm), clean(x.Comm)
		if a := age(x); a < changesWithin && a > time.Second && !x.Kernel && a < h.Uptime-time.Minute {
			young = append(young, x)
		}
	}
	sortBy(young, func(a, b *process) int {
		return cmp.Or(cmp.Compare(b.run, a.run), cmp.Compare(b.Start, a.Start), cmp.Compare(a.TGID, b.TGID))
	})
	var out []change
	for _, x := range young[:min(len(young), changesOf)] {
		text := fmt.Sprintf("%s[%d]", names[x.Process], x.TGID)
		if parent := byPID[x.PPID]; parent != "" {
			text += fmt.Sprintf(" by %s[%d]", parent, x.PPID)
		}
		if args := clean(x.Args); args != "" {
			text += ": " + args
		}
		out = append(out, change{"start", age(x), text})
	}
	if more := len(young) - len(out); more > 0 {
		out[len(out)-1].text = widget.Clip(out[len(out)-1].text, 52) + fmt.Sprintf("  and %d more within %s", more, widget.Age(changesWithin))
	}
	return out
}

// execChanges say what is started most.
func execChanges(f Frame) []change {
	sum := sumExec(within(f, execOf))
	if sum == nil || sum.Execs == 0 {
		return nil
	}
	text := fmt.Sprintf("%s programs started, %.1f/s", widget.Count(sum.Execs), sum.perSecond(sum.Execs))
	for _, x := range sum.files[:min(len(sum.files), 2)] {
		text += fmt.Sprintf(" · %s by %s ×%s", clean(x.File), clean(x.ParentComm), widget.Count(x.Execs))
	}
	return []change{{"exec", -1, text}}
}

// textChanges prints the changes in at most room lines, the title included.
func textChanges(w *writer, f Frame, room int) {
	list := changes(f)
	if len(list) == 0 || room < 4 {
		return
	}
	w.head("what changed")
	for i, c := range list {
		if i == room-3 && i < len(list)-1 {
			w.line("  and %d more", len(list)-i)
			return
		}
		w.line("  %-5s %8s  %s", c.kind, c.ago(), c.text)
	}
}

// changeNotes are the changes as a list of lines.
func changeNotes(f Frame) []string {
	var out []string
	for _, c := range changes(f) {
		out = append(out, fmt.Sprintf("%s %s: %s", c.kind, c.ago(), c.text))
	}
	return out
}

func (c change) ago() string {
	if c.age < 0 {
		return ""
	}
	return widget.Age(c.age) + " ago"
}
