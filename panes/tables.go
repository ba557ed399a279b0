// SPDX-License-Identifier: Apache-2.0

package panes

// namedTable is a table of a pane under the name that the configuration has for it.
type namedTable struct {
	name    string
	list    *list
	columns func() []Column // those it has without any data, which are those it has
}

// hasTables is a pane whose columns can be chosen in the configuration. The first table has the
// pane's name.
type hasTables interface{ tables() []namedTable }

// columnsOf returns the columns of a table that is made of nothing.
func columnsOf(table func(f Frame) Table) func() []Column {
	return func() []Column { return table(Frame{}).Columns }
}

func (p *CPU) tables() []namedTable {
	softirqs, lines := newIRQState(), newIRQState()
	softirqs.view, lines.view = softirqView, irqView
	return []namedTable{
		{"cpu", &p.order, columnsOf(cpuTable)},
		{"cpu-softirqs", &p.irqs.softirqs, columnsOf(softirqs.table)},
		{"cpu-interrupts", &p.irqs.lines, columnsOf(lines.table)},
		{"cpu-stacks", &p.off.stacks, columnsOf((&offState{}).stackTable)},
	}
}

func (p *Processes) tables() []namedTable {
	return []namedTable{
		{"processes", &p.byProcess, columnsOf(NewProcesses().Table)},
		{"processes-threads", &p.byThread, threadColumns},
	}
}

func (p *Memory) tables() []namedTable {
	var out []namedTable
	for v, name := range [memoryViews]string{"memory", "memory-waits", "memory-kills", "memory-pages", "memory-where", "memory-limits"} {
		out = append(out, namedTable{name, &p.lists[v], columnsOf(func(f Frame) Table { return NewMemory().listed(f, memoryView(v)) })})
	}
	return out
}

func (p *Disk) tables() []namedTable {
	var out []namedTable
	for v, name := range [diskViews]string{"disk", "disk-latency", "disk-slowest", "disk-processes", "disk-files"} {
		q := NewDisk()
		q.view = diskView(v)
		out = append(out, namedTable{name, &p.lists[v], columnsOf(q.current)})
	}
	return out
}

func (p *Network) tables() []namedTable {
	var out []namedTable
	for d, name := range [netDraws]string{"network", "network-errors", "network-softnet", "network-namespaces", "network-drops"} {
		q := Network{draw: netDraw(d)}
		out = append(out, namedTable{name, &p.lists[d], columnsOf(func(f Frame) Table { return q.shown(f, netOver(f)) })})
	}
	return out
}

func (p *TCP) tables() []namedTable {
	var out []namedTable
	for v, name := range [tcpViews]string{"tcp", "tcp-listeners", "tcp-peers", "tcp-counters"} {
		q := NewTCP()
		q.view = tcpView(v)
		out = append(out, namedTable{name, &p.lists[v], columnsOf(q.current)})
	}
	for i, x := range p.sections {
		out = append(out, namedTable{"tcp-" + x.id, &p.happened[i], columnsOf(func(f Frame) Table { return x.table(f, nil) })})
	}
	return out
}

func (p *Exec) tables() []namedTable {
	var out []namedTable
	for i, x := range p.sections {
		name := "exec-" + x.id
		if i == 0 {
			name = "exec"
		}
		out = append(out, namedTable{name, &p.lists[i], columnsOf(x.table)})
	}
	return out
}

func (p *Probes) tables() []namedTable {
	return []namedTable{{"probes", &p.probes, columnsOf(p.probeTable)}, {"probes-programs", &p.programs, columnsOf(p.programTable)}}
}

func (p *Log) tables() []namedTable {
	return []namedTable{{"log", &p.list, logColumns}}
}

func (p *Stalls) tables() []namedTable {
	return []namedTable{{"stalls", &p.blocked, columnsOf(p.Table)}, {"stalls-asleep", &p.asleep, columnsOf(p.sleeping)}}
}

func (p *DNS) tables() []namedTable {
	var out []namedTable
	for tab, name := range [dnsTabs]string{"dns", "dns-processes", "dns-questions"} {
		out = append(out, namedTable{name, &p.lists[tab], columnsOf(func(f Frame) Table { return NewDNS().shown(f, dnsOver(f), dnsTab(tab)) })})
	}
	return out
}

func (p *Cgroups) tables() []namedTable {
	return []namedTable{{"cgroups", &p.list, columnsOf(NewCgroups().Table)}}
}

func (p *Profile) tables() []namedTable {
	var out []namedTable
	for k, name := range [...]string{"profile", "profile-off-cpu"} {
		out = append(out, namedTable{name, &p.lists[k], flameTime(k).columns})
	}
	return out
}

func (p *Syscalls) tables() []namedTable {
	timed := &Syscalls{times: true}
	return []namedTable{{"syscalls", &p.byCall, columnsOf(timed.callTable)}, {"syscalls-processes", &p.byProcess, columnsOf(timed.processTable)}}
}
