// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bpf60/panes"
)

// snapshots writes what the key S keeps, and remembers what did not get onto the disk.
type snapshots struct {
	write func(path string, body []byte) error
	host  string
	now   func() time.Time

	mu      sync.Mutex
	pending map[int]pending // by serial number
	serial  int
	failed  []string
	idle    chan struct{} // closed while nothing is pending; nil while something is
}

func newSnapshots(who identity, host string, now func() time.Time) *snapshots {
	return &snapshots{
		write:   func(path string, body []byte) error { return writeNew(who, path, body) },
		host:    host,
		now:     now,
		pending: make(map[int]pending),
	}
}

// mostPending is how many snapshots may wait for a disk that does not answer.
const mostPending = 4

// save notes a snapshot at once, so that its loss is told however the run ends, and returns what writes it:
// text to bpf60-HOST-TIME.txt in the current directory, with a number behind it if that exists, and data
// beside it as .json. That blocks as long as the disk does.
func (s *snapshots) save() panes.Writer {
	base := fmt.Sprintf("bpf60-%s-%s", fileWord(s.host), s.now().Format("20060102-150405"))
	id, ok := s.begin(base)
	if !ok {
		return func(_, _ []byte, _ error) (string, error) {
			return "", fmt.Errorf("writing %s.txt: %d snapshots are on their way already: wait for one, or look why the disk hangs", base, mostPending)
		}
	}
	return func(text, data []byte, failed error) (path string, err error) {
		defer func() { s.end(id, err) }()
		if failed != nil {
			return "", failed
		}
		s.writing(id)
		return s.files(base, text, data)
	}
}

// files writes the two files of a snapshot.
func (s *snapshots) files(base string, text, data []byte) (path string, err error) {
	const tries = 100 // that many snapshots within one second
	name := base
	for n := 1; n <= tries; n++ {
		if n > 1 {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		err = s.write(name+".txt", text)
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if err := s.write(name+".json", data); err != nil {
		return "", fmt.Errorf("saved %s.txt alone: %w", name, err)
	}
	return name + ".txt", nil
}

// pending is a snapshot that is not on the disk.
type pending struct {
	name string // without suffix
	made bool   // and being written
}

// begin notes a snapshot that is on its way; false if too many are.
func (s *snapshots) begin(name string) (id int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch len(s.pending) {
	case 0:
		s.idle = make(chan struct{})
	case mostPending:
		return 0, false
	}
	s.serial++
	s.pending[s.serial] = pending{name: name}
	return s.serial, true
}

func (s *snapshots) writing(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[id] = pending{s.pending[id].name, true}
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
	for _, p := range s.pending {
		why := "the disk has not answered"
		if !p.made {
			why = "bpf60 ended before it was made"
		}
		out = append(out, fmt.Sprintf("writing %s.txt: %s: the snapshot is lost", p.name, why))
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
