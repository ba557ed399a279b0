// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"
)

// pair is a pseudo terminal and a function that reads what arrived at its other end.
func pair(t *testing.T) (master, tty *os.File, arrived func() string) {
	t.Helper()
	master, tty = openPty(t)
	if _, err := term.MakeRaw(tty.Fd()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); tty.Close() })
	return master, tty, func() string {
		t.Helper()
		if err := master.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		const mark = 0x1e
		if _, err := tty.Write([]byte{mark}); err != nil {
			t.Fatal(err)
		}
		var got []byte
		buf := make([]byte, 4096)
		for len(got) == 0 || got[len(got)-1] != mark {
			n, err := master.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		return string(got[:len(got)-1])
	}
}

func TestOutputMarksFrames(t *testing.T) {
	small, large := strings.Repeat("s", syncFrom-1), strings.Repeat("l", syncFrom)
	for name, tt := range map[string]struct{ term, frame, want string }{
		"small":   {"xterm", small, small},
		"large":   {"xterm", large, syncBegin + large + syncEnd},
		"console": {"linux", large, large},
	} {
		t.Run(name, func(t *testing.T) {
			_, tty, arrived := pair(t)
			o := newOutput(tty, tt.term)
			defer o.close()
			if o.async == nil {
				t.Fatal("the terminal cannot be opened once more")
			}
			if n, err := o.Write([]byte(tt.frame)); n != len(tt.frame) || err != nil {
				t.Errorf("Write = %d, %v, want %d", n, err, len(tt.frame))
			}
			if got := arrived(); got != tt.want {
				t.Errorf("%d bytes arrived, want %d", len(got), len(tt.want))
			}
			if o.Fd() != tty.Fd() {
				t.Error("Fd is not that of the terminal")
			}
		})
	}
}

// A write to a terminal that takes nothing can be given up, and none after it goes out.
func TestOutputAbort(t *testing.T) {
	master, tty, _ := pair(t)
	o := newOutput(tty, "xterm")
	defer o.close()
	o.lost = func(err error) { t.Errorf("a write given up is reported as lost: %v", err) }
	done := make(chan error, 1)
	go func() {
		_, err := o.Write(make([]byte, 1<<20))
		done <- err
	}()
	stuff(t, master, tty, func() bool { return true })
	select {
	case err := <-done:
		t.Fatalf("the write ended by itself: %v", err)
	default:
	}
	o.abort()
	o.abort() // again is nothing new
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the write given up: %v, want no error, so that the program goes on ending", err)
		}
	case <-time.After(patience):
		t.Fatal("the write goes on")
	}
	if n, err := o.Write([]byte("more")); n != 4 || err != nil {
		t.Errorf("Write after abort = %d, %v, want 4 and no error", n, err)
	}
}

func TestOutputReportsLossOnce(t *testing.T) {
	master, tty := openPty(t)
	defer tty.Close()
	o := newOutput(tty, "xterm")
	defer o.close()
	var lost []error
	o.lost = func(err error) { lost = append(lost, err) }
	master.Close()
	for range 2 {
		if _, err := o.Write([]byte("x")); !errors.Is(err, unix.EIO) {
			t.Errorf("Write = %v, want EIO", err)
		}
	}
	if len(lost) != 1 {
		t.Errorf("lost was called with %v, want once", lost)
	}
}

// A message for a terminal that takes nothing is given up, and leaves no lock behind.
func TestWriteWithinStall(t *testing.T) {
	master, tty, arrived := pair(t)
	stuff(t, master, tty, func() bool { return true })
	if writeWithin(tty, "message", time.Millisecond) {
		t.Error("writeWithin = true on a full terminal")
	}
	if err := unix.IoctlSetInt(int(tty.Fd()), unix.TCFLSH, unix.TCOFLUSH); err != nil {
		t.Fatal(err)
	}
	writeNow(tty, "after")
	if got := strings.Trim(arrived(), "\x00"); got != "after" {
		t.Errorf("%q arrived, want only what was written after the stall", got)
	}
}

// stderr in a file must be appended to, never opened anew at its beginning.
func TestWriteWithinFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range []string{"one\n", "", "two\n"} {
		if !writeWithin(f, s, time.Minute) {
			t.Errorf("writeWithin(%q) = false", s)
		}
	}
	if got := content(f.Name()); got != "one\ntwo\n" {
		t.Errorf("the file holds %q", got)
	}
}
