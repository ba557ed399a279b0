// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"net/netip"
	"slices"
	"strings"

	"bpf60/collectors"
	"bpf60/keymap"
)

// variants are the panes in the ways in which they have other keys than when they are opened, and
// the pages below them: what AllKeys would not find otherwise. They are named after the pane in
// whose part of the table their keys stand.
func variants() map[ID][]Pane {
	tcp := func(part tcpPart) Pane { p := NewTCP(); p.part = part; return p }
	cpu := func(view cpuView) Pane { p := NewCPU(); p.irqs.view = view; return p }
	memory := func(view memoryView) Pane { p := NewMemory(); p.view = view; return p }
	exec := func(section string) Pane {
		p := NewExec()
		p.at = slices.IndexFunc(p.sections, func(s execSection) bool { return s.id == section })
		return p
	}
	profile := func(listed bool, time flameTime) Pane {
		p := NewProfile()
		p.listed, p.time, p.top = listed, time, []flameKey{{}}
		return p
	}
	nothing := &collectors.ProcInfo{}
	return map[ID][]Pane{
		CPUPane:       {cpu(softirqView), cpu(irqView), cpu(offView), newCPUPage(0), newOffPage("")},
		ProcessesPane: {newProcessPage(nothing)},
		MemoryPane:    {memory(showWaits), memory(showPages), newSlabPage("")},
		DiskPane:      {newDiskPage("")},
		NetworkPane:   {ifacePageOf(netKey{}, ""), &spacePage{}, newDropPage("")},
		TCPPane:       {tcp(tcpHappens), tcp(tcpDelays), newSocketPage(0, Frame{}), newPeerPage(netip.Addr{})},
		ExecPane:      {exec("slowfiles"), &commandPage{}, newPathPage("", false), newPathPage("", true)},
		ProfilePane:   {profile(true, onTime), profile(false, offTime)},
		ProbesPane:    {newProbePage("")},
		LogPane:       {newLogPage(&collectors.LogRecord{})},
		StallsPane:    {newStallPage(Row{}, false)},
		DNSPane:       {&dnsPage{}},
		CgroupsPane:   {cgroupPageOf("", 0, collectors.Safe{})},
		SyscallsPane:  {newCallPage("", false, false)},
	}
}

// AllKeys lists every key there is: in sections for who reads them, each key once; and in sets of
// keys that work at the same time, which must not collide. The global ones are in no set.
func AllKeys(panes []Pane) (sections []keymap.Section, sets [][]keymap.Key) {
	global, tables, pages := GlobalKeys(panes), TableKeys(), PageKeys()
	sections = []keymap.Section{{Title: "everywhere", Keys: global}, {Title: "every table", Keys: tables}, {Title: "pages", Keys: pages}}
	listed := slices.Concat(global, tables, pages)
	add := func(title string, lists ...[]keymap.Key) {
		var own []keymap.Key
		for _, keys := range lists {
			sets = append(sets, keys)
			for _, k := range keys {
				if !slices.ContainsFunc(slices.Concat(listed, own), func(l keymap.Key) bool { return l.ID == k.ID }) {
					own = append(own, k)
				}
			}
		}
		if len(own) > 0 {
			sections = append(sections, keymap.Section{Title: title, Keys: own})
		}
	}
	more := variants()
	for _, p := range panes {
		info := p.Info()
		lists := [][]keymap.Key{p.Keys()}
		for _, v := range more[info.ID] {
			lists = append(lists, v.Keys())
		}
		add(strings.ToLower(info.Title), lists...)
	}
	add("help", helpKeys())
	add("columns", chooserKeys())
	add("command", classicKeys())
	return sections, sets
}
