// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"net/netip"
	"time"

	"bpf60/bpf"
)

// TargetKind says what a Target names.
type TargetKind uint8

// The kinds of target.
const (
	HostTarget TargetKind = iota
	ProcessTarget
	CgroupTarget
	DiskTarget
	PeerTarget
	NamedTarget // an interface, a slab cache, a path
	CPUTarget
	SocketTarget // a TCP socket, by its cookie
)

// Target is what a view can be narrowed to. It is comparable; the zero Target is the whole host.
type Target struct {
	Kind    TargetKind
	Process Process
	Cgroup  uint64
	Dev     uint32
	Addr    netip.AddrPort
	CPU     int32
	Cookie  uint64 // of a socket
	Name    string
}

// Aside says that the target is a cgroup that events do not tell: they have that of the hierarchy that is
// shown, where it does not stand. What is counted apart for it is right.
func (t Target) Aside() bool {
	return t.Kind == CgroupTarget && bpf.Aside(t.Cgroup)
}

// Want asks for a collector (by ID) about a target.
type Want struct {
	ID     ID
	Target Target
}

// Targeted is a narrowed sample. It stands beside the host's, in slices.
type Targeted[T any] struct {
	Target Target
	Since  time.Duration // when narrowing began; before it nobody was looking
	Sample T
}
