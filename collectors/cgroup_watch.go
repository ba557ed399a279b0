// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// cgroupWatch tells in which directories others came or went: one read a tick instead of a stat
// for each directory. The kernel forgets a watch with its directory.
type cgroupWatch struct {
	fd   int // of inotify; -1: there is none
	at   map[int32]*cgroupNode
	full bool // some directory has no watch, or events were lost: look at all, in turn
	buf  []byte
}

func newCgroupWatch() cgroupWatch {
	w := cgroupWatch{at: map[int32]*cgroupNode{}, buf: make([]byte, 16<<10)}
	var err error
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		w.fd, w.full = -1, true // there are 128 for each user
	}
	return w
}

// add watches a directory of n.
func (w *cgroupWatch) add(n *cgroupNode, dir string) {
	if w.fd < 0 {
		return
	}
	wd, err := unix.InotifyAddWatch(w.fd, dir, unix.IN_ONLYDIR|unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO)
	switch {
	case err == nil:
		w.at[int32(wd)] = n
	case !errors.Is(err, unix.ENOENT): // what is gone needs no watch
		w.full = true
	}
}

// changed returns the nodes in whose directories something came or went since the last call.
func (w *cgroupWatch) changed() map[*cgroupNode]bool {
	if w.fd < 0 {
		return nil
	}
	var out map[*cgroupNode]bool
	const rounds = 64 // a storm of events must not hold the tick
	for range rounds {
		n, err := unix.Read(w.fd, w.buf)
		if err != nil || n <= 0 {
			break
		}
		for b := w.buf[:n]; len(b) > 0; {
			var wd int32
			var mask uint32
			wd, mask, b = nextEvent(b)
			if mask&unix.IN_Q_OVERFLOW != 0 {
				w.full = true
			}
			node := w.at[wd]
			if mask&unix.IN_IGNORED != 0 {
				delete(w.at, wd)
			}
			if node != nil && !node.gone {
				if out == nil {
					out = map[*cgroupNode]bool{}
				}
				out[node] = true
			}
		}
	}
	return out
}

// nextEvent takes the first struct inotify_event off b. One that does not fit ends it.
func nextEvent(b []byte) (wd int32, mask uint32, rest []byte) {
	if len(b) < unix.SizeofInotifyEvent {
		return 0, 0, nil
	}
	wd, mask = int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
	name := binary.NativeEndian.Uint32(b[12:])
	if uint64(name) > uint64(len(b)-unix.SizeofInotifyEvent) {
		return wd, mask, nil
	}
	return wd, mask, b[unix.SizeofInotifyEvent+int(name):]
}

func (w *cgroupWatch) close() error {
	if w.fd < 0 || w.at == nil {
		return nil
	}
	err := unix.Close(w.fd)
	w.fd, w.at = -1, nil
	return err
}
