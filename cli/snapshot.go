// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// snapshots writes what the key S keeps, and remembers what did not get onto the disk.
type snapshots struct {
	write func(path string, body []byte) error
	host  string
	now   func() time.Time

	mu      sync.Mutex
	pending map[int]string // name without suffix, by serial number
	serial  int
	failed  []string
	idle    chan struct{} // closed while nothing is pending; nil while something is
}

func newSnapshots(who identity, host string, now func() time.Time) *snapshots {
	return &snapshots{
		write:   func(path string, body []byte) error { return writeNew(who, path, body) },
		host:    host,
		now:     now,
		pending: make(map[int]string),
	}
}

// save writes body to bpf60-HOST-TIME.txt in the current directory, with a number behind it if
// that exists. It blocks as long as the disk does.
func (s *snapshots) save(body []byte) (path string, err error) {
	base := fmt.Sprintf("bpf60-%s-%s", fileWord(s.host), s.now().Format("20060102-150405"))
	id := s.begin(base)
	defer func() { s.end(id, err) }()
	const tries = 100 // that many snapshots within one second
	for n := 1; n <= tries; n++ {
		path = base + ".txt"
		if n > 1 {
			path = fmt.Sprintf("%s-%d.txt", base, n)
		}
		err = s.write(path, body)
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	return path, nil
}

func (s *snapshots) begin(name string) (id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		s.idle = make(chan struct{})
	}
	s.serial++
	s.pending[s.serial] = name
	return s.serial
}

func (s *snapshots) end(id int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = append(s.failed, err.Error())
	}
	delete(s.pending, id)
	if len(s.pending) == 0 {
		close(s.idle)
	}
}

// unwritten waits at most d for writes under way and returns a line for each snapshot that is not
// on the disk.
func (s *snapshots) unwritten(d time.Duration) []string {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle != nil {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-idle:
		case <-t.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]string(nil), s.failed...)
	for _, name := range s.pending {
		out = append(out, fmt.Sprintf("writing %s.txt: the disk has not answered: the snapshot is lost", name))
	}
	return out
}

// fileWord makes a host's name, which others may have chosen, a plain part of a file name.
func fileWord(s string) string {
	const most = 64
	word := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == '.':
			return r
		}
		return '_'
	}, s)
	word = strings.Trim(word, ".")
	if len(word) > most {
		word = word[:most]
	}
	if word == "" {
		return "host"
	}
	return word
}
