// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"net/netip"

	"bpf60/collectors"
)

// Scope is what all panes are about; the zero Scope is the whole host.
type Scope struct {
	Target collectors.Target
	Name   string // for people: fio[4121]; clean
}

// On says whether there is a scope.
func (s Scope) On() bool { return s.Target.Kind != collectors.HostTarget }

// NewScope makes the scope of a row's target. Of that it keeps what the scope is of: the cgroup of a
// process is not part of which process it is.
func NewScope(t collectors.Target) Scope {
	name := t.Name
	switch t.Kind {
	case collectors.ProcessTarget:
		s := Scope{Target: collectors.Target{Kind: t.Kind, Process: t.Process}}
		s.Name = fmt.Sprintf("%s[%d]", cmp.Or(name, "process"), t.Process.TGID)
		return s
	case collectors.CgroupTarget:
		return Scope{collectors.Target{Kind: t.Kind, Cgroup: t.Cgroup}, cmp.Or(name, fmt.Sprintf("cgroup %d", t.Cgroup))}
	case collectors.DiskTarget:
		return Scope{collectors.Target{Kind: t.Kind, Dev: t.Dev}, cmp.Or(name, fmt.Sprintf("%d:%d", t.Dev>>20, t.Dev&(1<<20-1)))}
	case collectors.PeerTarget:
		whom := t.Addr.Addr().String()
		if t.Addr.Port() != 0 {
			whom = t.Addr.String()
		}
		return Scope{collectors.Target{Kind: t.Kind, Addr: t.Addr}, cmp.Or(name, whom)}
	case collectors.CPUTarget:
		return Scope{collectors.Target{Kind: t.Kind, CPU: t.CPU}, fmt.Sprintf("cpu%d", t.CPU)}
	case collectors.SocketTarget:
		return Scope{collectors.Target{Kind: t.Kind, Cookie: t.Cookie}, cmp.Or(name, "socket "+cookieID(t.Cookie))}
	case collectors.NamedTarget:
		return Scope{t, name}
	case collectors.HostTarget:
	}
	return Scope{}
}

// why says why no row passes.
func (s Scope) why() string {
	if s.Target.Aside() {
		return "scope " + s.Name + "; rows tell of another hierarchy"
	}
	return "scope " + s.Name
}

// aboutProcess is the target of a row that a process owns. Whoever is not known owns none.
func aboutProcess(p collectors.Process, comm collectors.Raw) collectors.Target {
	if p.TGID == 0 {
		return collectors.Target{}
	}
	return collectors.Target{Kind: collectors.ProcessTarget, Process: p, Name: clean(comm)}
}

// aboutCgroup is the target of a row that a cgroup owns; none for 0, which is not known.
func aboutCgroup(id uint64, name string) collectors.Target {
	if id == 0 {
		return collectors.Target{}
	}
	return collectors.Target{Kind: collectors.CgroupTarget, Cgroup: id, Name: name}
}

// aboutDisk is the target of a row about a device.
func aboutDisk(dev collectors.DevID, name string) collectors.Target {
	return collectors.Target{Kind: collectors.DiskTarget, Dev: uint32(dev), Name: name}
}

// onDisk says of a target which device it is about, too.
func onDisk(t collectors.Target, dev collectors.DevID) collectors.Target {
	t.Dev = uint32(dev)
	return t
}

// inCgroup says of a target which cgroup it is in, too.
func inCgroup(t collectors.Target, id uint64) collectors.Target {
	t.Cgroup = id
	return t
}

// targetOf is the target of a process's row.
func targetOf(p *collectors.ProcInfo) collectors.Target {
	return inCgroup(aboutProcess(p.Process, p.Comm), p.Cgroup)
}

// sameTarget says whether two rows are about the same thing.
func sameTarget(a, b collectors.Target) bool {
	return a.Kind == b.Kind && a.Kind != collectors.HostTarget && NewScope(a).matches(b)
}

// told says whether a row's target tells what the scope is about: the process, the cgroup, the disk.
func (s Scope) told(t collectors.Target) bool {
	switch s.Target.Kind {
	case collectors.ProcessTarget:
		return t.Process.TGID != 0
	case collectors.CgroupTarget:
		return t.Cgroup != 0 || t.Process.TGID != 0
	case collectors.DiskTarget:
		return t.Dev != 0
	case collectors.PeerTarget:
		return t.Addr.IsValid()
	case collectors.CPUTarget, collectors.SocketTarget, collectors.NamedTarget:
		return t.Kind == s.Target.Kind
	case collectors.HostTarget:
	}
	return false
}

// tells says whether a table can be narrowed: a row of it tells what the scope is about.
func (s Scope) tells(rows []Row) bool {
	for i := range rows {
		if s.told(rows[i].Target) {
			return true
		}
	}
	return false
}

// matches says whether a row is of the scope, by what the row itself tells. A start that is not known
// is no other's.
func (s Scope) matches(t collectors.Target) bool {
	want := s.Target
	if !s.told(t) {
		return false
	}
	switch want.Kind {
	case collectors.ProcessTarget:
		a, b := want.Process, t.Process
		return a.TGID == b.TGID && (a.Start == b.Start || a.Start == 0 || b.Start == 0)
	case collectors.CgroupTarget:
		return t.Cgroup == want.Cgroup
	case collectors.DiskTarget:
		return t.Dev == want.Dev
	case collectors.PeerTarget:
		port := want.Addr.Port()
		return t.Addr.Addr().Unmap() == want.Addr.Addr().Unmap() && (port == 0 || port == t.Addr.Port())
	case collectors.CPUTarget:
		return t.CPU == want.CPU
	case collectors.SocketTarget:
		return t.Cookie == want.Cookie
	case collectors.NamedTarget:
		return t.Name == want.Name
	case collectors.HostTarget:
	}
	return false
}

// holds returns what says whether a row is of the scope; nil without one. To a cgroup belongs what is
// below it, and what its processes own; to a disk what lies on it.
func (s Scope) holds(f Frame) func(collectors.Target) bool {
	if !s.On() {
		return nil
	}
	switch s.Target.Kind {
	case collectors.DiskTarget:
		on := s.disks(f)
		return func(t collectors.Target) bool { return on[t.Dev] }
	case collectors.CgroupTarget:
	default:
		return s.matches
	}
	below, of := s.cgroups(f)
	return func(t collectors.Target) bool {
		id, known := of[t.Process.TGID]
		if t.Cgroup > 1 || !known { // the root of one hierarchy tells nothing of the others
			id = t.Cgroup
		}
		return below[id]
	}
}

// disks are the devices of the scope: itself and what lies on it, partitions and volumes.
func (s Scope) disks(f Frame) map[uint32]bool {
	on := map[uint32]bool{s.Target.Dev: true}
	all := diskOver(Frame{Now: f.Now, Past: f.Past})
	for i := range disksOf(all) {
		if d := &all.Disks[i]; uint32(d.Dev) == s.Target.Dev {
			for _, x := range all.above(d.row()) {
				on[uint32(x.Dev)] = true
			}
		}
	}
	return on
}

// cgroups are the cgroups of the scope, itself among them, and the cgroup of each process. One that stands
// in another hierarchy than processes' numbers are of knows its processes by their paths.
func (s Scope) cgroups(f Frame) (below map[uint64]bool, of map[int32]uint64) {
	below, of = map[uint64]bool{s.Target.Cgroup: true}, make(map[int32]uint64)
	paths := make(map[uint64]string)
	if rows, _ := cgroupsOver(Frame{Now: f.Now, Past: f.Past}); rows != nil {
		for i := range rows {
			paths[rows[i].ID] = rows[i].Path.Bytes()
		}
	}
	set := processesOver(Frame{Now: f.Now, Past: f.Past})
	if set != nil {
		for i := range set.list {
			if x := &set.list[i]; x.ProcInfo != nil {
				of[x.PID] = x.Cgroup
				if path := x.CgroupPath.Bytes(); path != "" && x.NamedCgroup() != 0 {
					paths[x.Cgroup] = path
				}
			}
		}
	}
	root, ok := paths[s.Target.Cgroup]
	if !ok {
		return below, of
	}
	for id, path := range paths {
		if path == root || isAbove(root, path) {
			below[id] = true
		}
	}
	if set != nil {
		for i := range set.list {
			if x := &set.list[i]; x.ProcInfo != nil && x.NamedCgroup() == 0 && x.CgroupPath.Bytes() != "" {
				if path := x.CgroupPath.Bytes(); path == root || isAbove(root, path) {
					of[x.PID] = s.Target.Cgroup
				}
			}
		}
	}
	return below, of
}

// wants asks each collector to count the scope apart, in the kernel, where its filters know what the
// scope is. Others go on counting the host.
func (s Scope) wants(ids ...collectors.ID) []collectors.Want {
	var out []collectors.Want
	switch s.Target.Kind {
	case collectors.ProcessTarget, collectors.CgroupTarget:
		for _, id := range ids {
			out = append(out, collectors.Want{ID: id, Target: s.Target})
		}
	case collectors.PeerTarget: // only they see whom an event is exchanged with
		for _, id := range ids {
			if id == collectors.FlowID || id == collectors.DNSID {
				out = append(out, collectors.Want{ID: id, Target: s.Target})
			}
		}
	case collectors.HostTarget, collectors.DiskTarget, collectors.NamedTarget, collectors.CPUTarget, collectors.SocketTarget:
	}
	return out
}

// aboutPeer is the target of a row about another host.
func aboutPeer(addr netip.Addr) collectors.Target {
	return collectors.Target{Kind: collectors.PeerTarget, Addr: netip.AddrPortFrom(addr.Unmap(), 0)}
}

// toPeer is the target of a connection: its process where that is known, else the other host.
func toPeer(p collectors.Process, comm collectors.Raw, remote netip.AddrPort) collectors.Target {
	t := aboutProcess(p, comm)
	if t.Kind == collectors.HostTarget {
		t = aboutPeer(remote.Addr())
	}
	t.Addr = remote
	return t
}
