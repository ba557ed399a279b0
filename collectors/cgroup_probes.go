// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
)

// subtreeControl lists the controllers that count in the cgroups below.
const subtreeControl = "cgroup.subtree_control"

// offers says which files the cgroups are likely to have, without a look at each: those of a mounted
// hierarchy of v1, and those of v2 that its root hands down.
func (t *cgroupTree) offers() (out [cgroupSlots]bool) {
	var down []string
	pressure := false
	if at := t.at[unified]; at >= 0 {
		b, err := os.ReadFile(t.dirs[at] + "/" + subtreeControl)
		if err == nil {
			down = strings.Fields(string(b))
		}
		_, err = os.Stat(t.dirs[at] + "/memory.pressure")
		pressure = err == nil
	}
	for s, n := range slotNames() {
		controller, _, _ := strings.Cut(n.v2, ".")
		out[s] = n.v1 != "" && t.mounts[n.h] != "" || slices.Contains(down, controller)
		if strings.HasSuffix(n.v2, ".pressure") {
			out[s] = pressure
		}
	}
	return out
}

// offered says whether a part can be had as soon as somebody looks, and from where.
func (c *cgroupCollector) offered(p *Probe, slots []cgroupSlot) bool {
	for _, s := range slots {
		if !c.offers[s] {
			continue
		}
		if n := c.reader.names[s]; n.v1 != "" && c.tree.mounts[n.h] != "" {
			p.Hook = "v1 " + n.v1
		} else {
			p.Hook = n.v2
		}
		return true
	}
	return false
}

// Probes implements Collector: one row for each controller, since each may be off by itself.
func (c *cgroupCollector) Probes() []Probe {
	state, reason := stateOf(c.begun, c.err)
	part := func(name, off, remedy string, slots ...cgroupSlot) Probe {
		p := Probe{Name: name, State: state, Reason: reason}
		var v2, v1 bool
		for _, s := range slots {
			v2, v1 = v2 || c.reader.seen[s], v1 || c.reader.seenV1[s]
			for _, set := range [...]struct {
				is   bool
				name string
			}{{c.reader.seen[s], c.reader.names[s].v2}, {c.reader.seenV1[s], "v1 " + c.reader.names[s].v1}} {
				if set.is && p.Hook == "" {
					p.Hook = set.name
				}
			}
		}
		switch {
		case state != On:
		case !v1 && !v2 && !c.looked && c.offered(&p, slots):
			p.State, p.Reason = Idle, "read while somebody looks at cgroups"
		case !v1 && !v2:
			p.State, p.Reason, p.Remedy = Off, off, remedy
			for _, s := range slots {
				if err := c.reader.failed[s]; err != nil {
					p.Reason = off + ": " + clean(err.Error())
				}
			}
		default:
			for _, s := range slots {
				if err := c.reader.failed[s]; errors.Is(err, errFormat) {
					p.State, p.Reason = Degraded, c.reader.names[s].v2+": "+clean(err.Error())
				}
			}
		}
		return p
	}
	enable := func(controller string) string {
		if v2 := c.tree.mounts[unified]; v2 != "" {
			return "echo +" + controller + " >" + v2 + "/" + subtreeControl
		}
		if controller == "io" {
			controller = "blkio"
		}
		return "mount -t cgroup -o " + controller + " none /sys/fs/cgroup/" + controller
	}
	all := part("cgroup", "no cgroup has a controller that counts", "", slotCPU, slotMemory, slotPids, slotIO)
	if all.State == On && c.tree.omitted > 0 {
		all.State, all.Reason = Degraded, "more than "+strconv.Itoa(MaxCgroups)+" cgroups: some are not known"
	}
	if all.State == On && c.untold != nil {
		all.State, all.Reason = Degraded, "not all that is below a cgroup counts for it: "+clean(c.untold.Error())
	}
	io := part("cgroup io", "no cgroup counts I/O", enable("io"), slotIO)
	if c.reader.idleIO && io.State == On {
		io.State, io.Reason = Off, "since Linux 6.10 v1 counts only the I/O of disks that somebody has limited, and nobody has"
		io.Remedy = "boot with systemd.unified_cgroup_hierarchy=1"
	}
	return []Probe{
		all,
		part("cgroup cpu", "the cpu controller is on nowhere", enable("cpu"), slotCPU, slotThrottle),
		part("cgroup memory", "the memory controller is on nowhere", enable("memory"), slotMemory),
		io,
		part("cgroup pids", "the pids controller is on nowhere", enable("pids"), slotPids),
		part("cgroup psi", "cgroups of v1 have no PSI, and PSI may be off", "boot with psi=1 and systemd.unified_cgroup_hierarchy=1", slotPSIMemory),
	}
}
