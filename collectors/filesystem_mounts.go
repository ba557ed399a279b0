// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// sumOf is FNV-1a, to see that a file has not changed.
func sumOf(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// listMounts makes the list of file systems of a mountinfo file: those that hold something, each
// device once. beyond is how many more there are than the list takes.
func listMounts(b []byte) (list []*Mount, beyond int) {
	top := make(map[string]int) // by mount point: the line that is seen there, the last
	for i, rest := 0, b; len(rest) > 0; i++ {
		var line []byte
		line, rest = cutLine(rest)
		if m, ok := parseMount(line); ok {
			top[string(m.Point)] = i
		}
	}
	list = []*Mount{}
	at := make(map[DevID]int)
	var risky []string // mount points that may hang, and with them what is mounted below
	for i := 0; len(b) > 0; i++ {
		var line []byte
		line, b = cutLine(b)
		m, ok := parseMount(line)
		if !ok || holdsNothing(string(m.Type)) || top[string(m.Point)] != i {
			continue
		}
		remote := mayHang(string(m.Type))
		if remote {
			risky = append(risky, strings.TrimSuffix(string(m.Point), "/")+"/")
		}
		if string(m.Type) == "overlay" && string(m.Point) != "/" {
			continue // a container's view of a file system that is listed itself
		}
		if k, ok := at[m.Dev]; ok {
			list[k].Mounts++
			if nearer(m, list[k]) {
				n := newMount(m, remote)
				n.Mounts = list[k].Mounts
				list[k] = n
			}
			continue
		}
		if len(list) >= maxFileSystems {
			beyond++
			continue
		}
		at[m.Dev] = len(list)
		list = append(list, newMount(m, remote))
	}
	for _, m := range list {
		m.Remote = m.Remote || slices.ContainsFunc(risky, func(dir string) bool {
			return strings.HasPrefix(escapeMount(m.Point.Bytes()), dir)
		})
	}
	return list, beyond
}

// nearer says whether m is a better name of a file system than was: its own root before a part of
// it, a writable mount before a read-only one, and the shorter path.
func nearer(m mountLine, was *Mount) bool {
	if whole := string(m.Root) == "/"; whole != was.whole {
		return whole
	}
	if ro := hasOption(m.Options, "ro"); ro != was.ReadOnly {
		return !ro
	}
	return len(unescapeMount(m.Point)) < len(was.Point.Bytes())
}

func newMount(m mountLine, remote bool) *Mount {
	options := append(append(bytes.Clone(m.Options), ' '), m.Super...)
	n := &Mount{
		Dev: m.Dev, Point: RawString(unescapeMount(m.Point)), Source: RawString(unescapeMount(m.Source)),
		Type: RawString(unescapeMount(m.Type)), Options: RawString(string(options[:min(len(options), maxOptions)])),
		Mounts: 1, Remote: remote, Virtual: virtualType(string(m.Type)), Memory: string(m.Type) == "tmpfs", whole: string(m.Root) == "/",
		ReadOnly: hasOption(m.Options, "ro"),
	}
	n.Forced = !n.ReadOnly && !n.Virtual && hasOption(m.Super, "ro")
	return n
}

// holdsNothing names the types that store nothing: they are the kernel's own files. An autofs
// mount is asked only by who wants what is behind it.
func holdsNothing(kind string) bool {
	switch kind {
	case "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "functionfs",
		"fusectl", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "hugetlbfs", "mqueue", "nfsd", "nsfs", "pipefs", "proc",
		"pstore", "ramfs", "resctrl", "rootfs", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sockfs", "sysfs", "tracefs",
		"usbfs", "zonefs":
		return true
	}
	return false
}

// virtualType names the types that lie in memory, and images that are full by nature.
func virtualType(kind string) bool {
	switch kind {
	case "tmpfs", "devtmpfs", "overlay", "squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs", "fuse.snapfuse", "fuse.squashfuse":
		return true
	}
	return false
}

// mayHang names the types whose answer comes over a network, from a cluster or from a process.
func mayHang(kind string) bool {
	if strings.HasPrefix(kind, "fuse") || strings.HasPrefix(kind, "nfs") {
		return true
	}
	switch kind {
	case "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "ocfs2",
		"orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs":
		return true
	}
	return false
}

// escapeMount writes a path as mountinfo does.
func escapeMount(s string) string {
	if !strings.ContainsAny(s, " \t\n\\#") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(" \t\n\\#", s[i]) >= 0 {
			fmt.Fprintf(&b, `\%03o`, s[i])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
