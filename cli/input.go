// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	// splitWait is how long the rest of a key may take. Bubble Tea takes the end of a read for the
	// end of a key, so an arrow that arrives in two pieces would be an Esc and two letters.
	splitWait = 20 * time.Millisecond

	// longestKey bounds the wait in bytes: beyond it nothing is a key.
	longestKey = 64
)

// errGone says that the terminal hung up. It is not io.EOF, which Bubble Tea would swallow.
var errGone = errors.New("the terminal is gone")

// input is the terminal for Bubble Tea: the same file, so that raw mode works, with reads that end
// at the end of a key.
type input struct {
	*os.File
	interrupt func() // called when ctrl+c is among what was read; may be nil
}

// Read returns whole keys unless the rest of one stays away. It keeps nothing back between calls,
// because the caller waits for the terminal before it calls again. The first read leaves room for
// the rest.
func (in *input) Read(p []byte) (int, error) {
	room := len(p)
	if room > 2*longestKey {
		room -= longestKey
	}
	n, err := in.read(p[:room])
	if err != nil {
		return 0, err
	}
	deadline := time.Now().Add(splitWait)
	for n < len(p) && incomplete(p[:n]) {
		if !in.ready(time.Until(deadline)) {
			break
		}
		// One byte at a time, to stop where the key does.
		m, err := in.read(p[n : n+1])
		if err != nil {
			break // it comes again at the next read
		}
		n += m
	}
	if in.interrupt != nil {
		for _, b := range p[:n] {
			if b == 0x03 {
				in.interrupt()
				break
			}
		}
	}
	return withoutPaste(p[:n]), nil
}

// withoutPaste takes the marks of pasted text out of b and returns what is left in it. Nobody
// asked for them, and Bubble Tea would collect all that follows a mark until the other one comes.
func withoutPaste(b []byte) int {
	n := 0
	for i := 0; i < len(b); {
		if rest := b[i:]; bytes.HasPrefix(rest, []byte("\x1b[200~")) || bytes.HasPrefix(rest, []byte("\x1b[201~")) {
			i += len("\x1b[200~")
			continue
		}
		b[n] = b[i]
		n++
		i++
	}
	return n
}

func (in *input) read(p []byte) (int, error) {
	n, err := in.File.Read(p)
	switch {
	case n > 0:
		return n, nil
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, unix.EIO):
		return 0, errGone
	}
	return 0, fmt.Errorf("reading the terminal: %w", err)
}

// ready waits until there is something to read.
func (in *input) ready(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
	for deadline := time.Now().Add(d); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll(fds, int(left/time.Millisecond)+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

// incomplete says whether b ends within an escape sequence or a UTF-8 character.
func incomplete(b []byte) bool {
	from := len(b) - longestKey
	if from < 0 {
		from = 0
	}
	for i := len(b) - 1; i >= from; i-- {
		if b[i] == 0x1b {
			return partial(b[i+1:])
		}
	}
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			return b[i] >= utf8.RuneSelf && !utf8.FullRune(b[i:])
		}
	}
	return false
}

// partial says whether b, which follows an ESC, is the beginning of a key and not yet all of it.
func partial(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	switch b[0] {
	case '[':
	case 'O': // SS3: one more byte, after an optional modifier digit
		return len(b) == 1 || len(b) == 2 && b[1] >= '0' && b[1] <= '9'
	default:
		return b[0] >= utf8.RuneSelf && !utf8.FullRune(b) // alt and a character
	}
	b = b[1:]
	switch {
	case len(b) == 0:
		return true
	case b[0] == 'M': // mouse as of X10: three bytes more
		return len(b) < 4
	case b[0] == '[': // function keys of the Linux console: one byte more
		return len(b) < 2
	}
	for _, c := range b {
		if c < 0x20 || c > 0x3f { // neither parameter nor intermediate: the final byte, or nonsense
			return false
		}
	}
	return true
}
