// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzDiag feeds datagrams to the parser and what it finds to the tracker, twice: no bytes may
// make either panic, read beyond what they were given, or lose count.
func FuzzDiag(f *testing.F) {
	six := flow(2, 5)
	six.local, six.remote = "[::ffff:10.0.0.1]:80", "[2001:db8::1]:9"
	listener := flow(3, 0)
	listener.state = Listen
	var dump []byte
	for _, s := range []fakeSocket{flow(1, 1), six, listener} {
		one := message(nil, unix.SOCK_DIAG_BY_FAMILY, s.bytes())
		f.Add(one)
		f.Add(one[:len(one)/2])
		f.Add(one[:len(one)-3])
		dump = append(dump, one...)
	}
	f.Add(message(dump, unix.NLMSG_DONE, make([]byte, 4)))
	f.Add(message(nil, unix.NLMSG_ERROR, []byte{0xfe, 0xff, 0xff, 0xff}))
	f.Add([]byte{})
	tr := newSockTracker()
	tr.wanted = map[uint64]bool{2: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		tr.prev, tr.begun = nil, false
		for range 2 {
			var m diagMsg
			n := 0
			tr.begin()
			_ = parseDiag(b, &m, func(m *diagMsg) {
				n++
				tr.add(m)
			})
			s := tr.end(Span{})
			if s.Total != n || len(s.Rows)+s.UnlistedRows+len(s.Listeners)+s.UnlistedListeners != n {
				t.Fatalf("%d sockets, the sample has %d: %d rows, %d not listed, %d listeners", n, s.Total, len(s.Rows), s.UnlistedRows, len(s.Listeners))
			}
		}
	})
}

func FuzzSocketLink(f *testing.F) {
	f.Add([]byte("socket:[4711]"))
	f.Add([]byte("anon_inode:[eventpoll]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := parseSocketLink(b); !ok && n != 0 {
			t.Errorf("parseSocketLink(%q) = %d, false", b, n)
		}
	})
}
