// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/triage"
)

// keyUser filters a table by its column of users.
const keyUser = "filter.user"

// userKey is that key, for panes that have such a column.
func userKey() keymap.Key {
	return keymap.New(keyUser, "u", "user", "u").In("keep the rows of one user: begins the filter user=")
}

// wordKey does what the keys stand for that begin to type something; false if it is another.
func (r *Root) wordKey(id string) bool {
	switch id {
	case keyUser:
		r.openFilter()
		if p, ok := r.over.(*filterLine); ok {
			p.text = "user="
		}
	case keymap.Jump:
		p := &palette{}
		p.say("at ")
		r.over = p
	default:
		return false
	}
	return true
}

// pidChoices are the processes of the moment that is shown, those that use most CPU first.
func pidChoices(r *Root) []choice {
	set := processesOver(r.frame)
	if set == nil {
		return nil
	}
	list := make([]*process, 0, len(set.list))
	for i := range set.list {
		if x := &set.list[i]; x.ProcInfo != nil {
			list = append(list, x)
		}
	}
	sortStably(list, func(a, b *process) int { return cmp.Compare(b.run, a.run) })
	out := make([]choice, 0, len(list))
	for _, x := range list {
		name := strconv.Itoa(int(x.PID))
		out = append(out, choice{name: name, does: clean(x.Comm), do: func(r *Root) tea.Cmd { return takePID(r, name) }})
	}
	return out
}

// takePID makes a process what all panes are about, or says why not.
func takePID(r *Root, text string) tea.Cmd {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		r.status = status{text: text + " is no process: a number is needed, as in :pid 812", alert: true}
		return nil
	}
	if set := processesOver(r.frame); set != nil {
		for i := range set.list {
			if x := &set.list[i]; x.ProcInfo != nil && x.PID == int32(n) {
				return r.takeScope(targetOf(x.ProcInfo))
			}
		}
	}
	r.status = status{text: "there is no process " + text + r.then(), alert: true}
	return nil
}

// cgroupPlaces are the cgroups that are known in a frame by their paths: those that are read, and those
// that processes are in.
func cgroupPlaces(f Frame) map[string]collectors.Target {
	out := make(map[string]collectors.Target)
	if set := processesOver(f); set != nil {
		for i := range set.list {
			if x := &set.list[i]; x.ProcInfo != nil && x.NamedCgroup() != 0 && x.CgroupPath.Bytes() != "" {
				out[clean(x.CgroupPath)] = aboutCgroup(x.NamedCgroup(), cmp.Or(clean(x.CgroupName()), clean(x.CgroupPath)))
			}
		}
	}
	rows, _ := cgroupsOver(f)
	for i := range rows {
		out[clean(rows[i].Path)] = aboutCgroup(rows[i].ID, clean(rows[i].Name))
	}
	return out
}

func cgroupChoices(r *Root) []choice {
	places := cgroupPlaces(r.frame)
	var out []choice
	for _, path := range sortedKeys(places) {
		if len(path) <= mostTyped { // a longer one cannot be typed
			out = append(out, choice{name: path, does: places[path].Name, do: func(r *Root) tea.Cmd { return takeCgroup(r, path) }})
		}
	}
	return out
}

// takeCgroup makes a cgroup what all panes are about, by its path with or without where cgroups are mounted.
func takeCgroup(r *Root, text string) tea.Cmd {
	path := "/" + strings.Trim(strings.TrimPrefix(text, "/sys/fs/cgroup"), "/")
	if t, ok := cgroupPlaces(r.frame)[path]; ok && t.Kind != collectors.HostTarget {
		return r.takeScope(t)
	}
	r.status = status{text: "there is no cgroup " + path + r.then(), alert: true}
	return nil
}

// takeScope makes a target what all panes are about, as f does of a row.
func (r *Root) takeScope(t collectors.Target) tea.Cmd {
	r.setScope(NewScope(t))
	r.status = status{text: "every pane is about " + r.frame.Scope.Name + " now; f or Esc drops it"}
	return nil
}

// then says of which moment something is said, if it is not the present.
func (r *Root) then() string {
	if r.tape.paused && r.frame.Now.Snapshot != nil {
		return " at " + r.frame.At.Format(time.TimeOnly)
	}
	return " here"
}

// timeChoices are the moments at which something happened, the newest first.
func timeChoices(r *Root) []choice {
	past := r.past()
	list := happenings(past)
	var out []choice
	for _, h := range slices.Backward(list) {
		at := sort.Search(len(past), func(i int) bool { return past[i].At >= h.at })
		name := past[min(at, len(past)-1)].Taken.Format(time.TimeOnly)
		if i := slices.IndexFunc(out, func(c choice) bool { return c.name == name }); i >= 0 {
			out[i].does += ", " + h.text
			continue
		}
		out = append(out, choice{name: name, does: h.text, do: func(r *Root) tea.Cmd { return r.jump(h.at) }})
	}
	return out
}

// takeTime moves the time cursor to a time of day, or back by a duration, and says why not.
func takeTime(r *Root, text string) tea.Cmd {
	past := r.past()
	if len(past) == 0 {
		r.status = status{text: "nothing is kept yet"}
		return nil
	}
	first, last := past[0], past[len(past)-1]
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := time.ParseDuration(ago)
		if err != nil {
			r.status = status{text: text + " is no time: write 12:31, 12:31:05 or -5m", alert: true}
			return nil
		}
		return r.jumpTo(past, last.Taken.Add(-d), text)
	}
	at, err := time.Parse(time.TimeOnly, text)
	if err != nil {
		at, err = time.Parse("15:04", text)
	}
	if err != nil {
		r.status = status{text: text + " is no time: write 12:31, 12:31:05 or -5m", alert: true}
		return nil
	}
	day := last.Taken
	want := time.Date(day.Year(), day.Month(), day.Day(), at.Hour(), at.Minute(), at.Second(), 0, day.Location())
	for want.After(last.Taken) && want.AddDate(0, 0, -1).After(first.Taken.Add(-time.Minute)) {
		want = want.AddDate(0, 0, -1) // a recording may be of several days: the last one that has this time
	}
	return r.jumpTo(past, want, text)
}

// jumpTo goes to the first moment of the second of a time, or of one after it.
func (r *Root) jumpTo(past []triage.Moment, want time.Time, text string) tea.Cmd {
	first, last := past[0], past[len(past)-1]
	i := slices.IndexFunc(past, func(m triage.Moment) bool { return !m.Taken.Truncate(time.Second).Before(want.Truncate(time.Second)) })
	if i < 0 || want.Before(first.Taken.Truncate(time.Minute)) {
		r.status = status{text: fmt.Sprintf("%s is not kept: %s to %s are", text, first.Taken.Format(time.TimeOnly), last.Taken.Format(time.TimeOnly)), alert: true}
		return nil
	}
	return r.jump(past[i].At)
}

// jump stops the time at a moment.
func (r *Root) jump(at time.Duration) tea.Cmd {
	if !r.tape.paused {
		r.pause(true)
	}
	return r.stepped(func() { r.show(at) })
}
