// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"bpf60/bpf"
)

// FindProcess is the target of a process by its number in /proc, with its name. It tells no start: whoever has
// the number now is meant. Proc is where /proc is mounted.
func FindProcess(k *bpf.Kernel, proc string, pid int32) (Target, error) {
	comm, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(int(pid)), "comm"))
	if err != nil {
		return Target{}, fmt.Errorf("there is no process %d: `pgrep -a NAME` finds numbers", pid)
	}
	host, err := k.HostPID(pid)
	if err != nil {
		return Target{}, err
	}
	return Target{Kind: ProcessTarget, Process: Process{TGID: host}, Name: Clean(Raw{string(bytes.TrimSpace(comm))}).String()}, nil
}

// FindCgroup is the target of a cgroup by its path, below the mount of any hierarchy that can be filtered by,
// or by its directory. Proc is where /proc is mounted.
func FindCgroup(proc, path string) (Target, error) {
	b, err := os.ReadFile(filepath.Join(proc, "self", "mountinfo"))
	if err != nil {
		return Target{}, fmt.Errorf("reading where cgroups are mounted: %w", err)
	}
	mounts := parseCgroupMounts(b)
	shown := NewFS(proc).shownHierarchy()
	order := append([]hierarchy{shown}, allHierarchies()...)
	stands := func(h hierarchy, path string) (id uint64) {
		var st syscall.Stat_t
		if mounts[h] == "" || syscall.Stat(mounts[h]+path, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return 0
		}
		return st.Ino
	}
	below := filepath.Clean("/" + path)
	for _, h := range order { // a directory
		if rest, ok := strings.CutPrefix(below, mounts[h]); ok && (rest == "" || rest[0] == '/') && stands(h, rest) != 0 {
			below = filepath.Clean("/" + rest)
			break
		}
	}
	for _, h := range order {
		if id := stands(h, below); id != 0 {
			return Target{
				Kind: CgroupTarget, Cgroup: bpf.CgroupID(bpf.Hierarchy(shown), bpf.Hierarchy(h), id),
				Name: Clean(RawString(containerName(below))).String(),
			}, nil
		}
	}
	return Target{}, fmt.Errorf("there is no cgroup %s in the hierarchies of version 2 or of v1's cpu, memory, blkio, pids and freezer, which can be filtered by: `systemd-cgls` or /proc/PID/cgroup show paths", path)
}

func allHierarchies() []hierarchy {
	out := make([]hierarchy, hierarchies)
	for i := range out {
		out[i] = hierarchy(i)
	}
	return out
}
